//! Moments as texts, each second's made once.

use crate::sys::time::{self, Calendar};

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const MINUTE_S: u32 = 60;

/// Texts of the second that was asked for last, in three forms.
#[derive(Default)]
pub(super) struct Moments {
    local: Cached,
    iso: Cached,
    utc: Cached,
}

#[derive(Default)]
struct Cached {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Cached {
    #[inline]
    fn of(&mut self, second: i64, make: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            make(&mut self.text);
        }
        &self.text
    }
}

impl Moments {
    /// `28/Nov/2026:13:55:36 +0100`, the Common Log Format's.
    #[inline]
    pub(crate) fn local(&mut self, ms: i64) -> &[u8] {
        let second = ms.div_euclid(1000);
        self.local.of(second, |out| {
            let Some(calendar) = time::local(second) else {
                return out.push(b'-');
            };
            let month = usize::from(calendar.month.clamp(1, 12) - 1) * 3;
            put_padded(out, calendar.day.into(), 2);
            out.push(b'/');
            out.extend_from_slice(&MONTHS[month..month + 3]);
            out.push(b'/');
            put_padded(out, year(&calendar), 4);
            out.push(b':');
            put_clock(out, &calendar);
            out.push(b' ');
            put_offset(out, &calendar, b"");
        })
    }

    /// `2026-11-28T13:55:36+01:00`.
    #[inline]
    pub(crate) fn iso(&mut self, ms: i64) -> &[u8] {
        let second = ms.div_euclid(1000);
        self.iso.of(second, |out| {
            if let Some(calendar) = time::local(second) {
                put_date(out, &calendar);
                put_clock(out, &calendar);
                put_offset(out, &calendar, b":");
            }
        })
    }

    /// Appends `2026-11-28T12:55:36.042Z` (RFC 3339).
    #[inline]
    pub(crate) fn put_utc(&mut self, out: &mut Vec<u8>, ms: i64) {
        let second = ms.div_euclid(1000);
        let text = self.utc.of(second, |out| {
            if let Some(calendar) = time::utc(second) {
                put_date(out, &calendar);
                put_clock(out, &calendar);
            }
        });
        out.extend_from_slice(text);
        out.push(b'.');
        put_padded(out, ms.rem_euclid(1000) as u32, 3);
        out.push(b'Z');
    }
}

fn year(calendar: &Calendar) -> u32 {
    calendar.year.clamp(0, 9999).unsigned_abs()
}

fn put_date(out: &mut Vec<u8>, calendar: &Calendar) {
    put_padded(out, year(calendar), 4);
    out.push(b'-');
    put_padded(out, calendar.month.into(), 2);
    out.push(b'-');
    put_padded(out, calendar.day.into(), 2);
    out.push(b'T');
}

fn put_clock(out: &mut Vec<u8>, calendar: &Calendar) {
    put_padded(out, calendar.hour.into(), 2);
    out.push(b':');
    put_padded(out, calendar.minute.into(), 2);
    out.push(b':');
    put_padded(out, calendar.second.into(), 2);
}

fn put_offset(out: &mut Vec<u8>, calendar: &Calendar, between: &[u8]) {
    let minutes = calendar.offset_s.unsigned_abs() / MINUTE_S;
    out.push(if calendar.offset_s < 0 { b'-' } else { b'+' });
    put_padded(out, minutes / 60, 2);
    out.extend_from_slice(between);
    put_padded(out, minutes % 60, 2);
}

/// Appends the last `digits` decimal digits of a number, zeros before them; at most four.
#[inline]
fn put_padded(out: &mut Vec<u8>, number: u32, digits: usize) {
    let digit = |by: u32| b'0' + (number / by % 10) as u8;
    let all = [digit(1000), digit(100), digit(10), digit(1)];
    out.extend_from_slice(&all[4 - digits..]);
}

/// Appends a number in decimal digits.
#[inline]
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds as seconds with three decimal places.
#[inline]
pub(super) fn put_seconds(out: &mut Vec<u8>, ms: u64) {
    put_number(out, ms / 1000);
    out.push(b'.');
    put_padded(out, (ms % 1000) as u32, 3);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_moment_in_utc() {
        let mut moments = Moments::default();
        let mut utc = |ms| text(|out| moments.put_utc(out, ms));
        assert_eq!(utc(1_795_913_736_042), "2026-11-29T00:55:36.042Z");
        assert_eq!(utc(1_795_913_736_999), "2026-11-29T00:55:36.999Z");
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999Z");
    }

    /// The zone is the machine's, so the texts are turned back into the moment.
    #[test]
    fn local_texts_name_the_moment() {
        let mut moments = Moments::default();
        for second in (0..4_000_000_000).step_by(86_400 * 17 + 3_661) {
            let calendar = time::local(second).unwrap();
            let utc = time::utc(second + i64::from(calendar.offset_s)).unwrap();
            let offset_s = calendar.offset_s;
            assert_eq!(Calendar { offset_s, ..utc }, calendar);
            let local = String::from_utf8(moments.local(second * 1000).to_vec()).unwrap();
            let iso = String::from_utf8(moments.iso(second * 1000 + 999).to_vec()).unwrap();
            assert_eq!((local.len(), iso.len()), (26, 25), "{local} {iso}");
            assert_eq!(local[..2], iso[8..10]);
            assert_eq!(local[12..20], iso[11..19]);
            assert_eq!(local[21..].replace(':', ""), iso[19..].replace(':', ""));
        }
    }

    #[test]
    fn offsets_are_signed_and_in_minutes() {
        let offset = |offset_s| {
            let calendar = Calendar {
                offset_s,
                ..time::utc(0).unwrap()
            };
            text(|out| put_offset(out, &calendar, b":"))
        };
        assert_eq!(offset(0), "+00:00");
        assert_eq!(offset(8 * 3600), "+08:00");
        assert_eq!(offset(-(3 * 3600 + 30 * 60)), "-03:30");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_library_writes_them(number in any::<u64>(), bits in 0..64) {
            let number = number >> bits;
            prop_assert_eq!(text(|out| put_number(out, number)), number.to_string());
            let (seconds, ms) = (number / 1000, number % 1000);
            prop_assert_eq!(text(|out| put_seconds(out, number)), format!("{seconds}.{ms:03}"));
        }
    }
}
