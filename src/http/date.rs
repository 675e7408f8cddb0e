//! HTTP dates (RFC 9110 section 5.6.7).

use std::time::UNIX_EPOCH;

/// The last second that four digits of a year can write.
const LAST_SECOND: u64 = 253_402_300_799;

const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// A moment as an IMF-fixdate, the form in which HTTP sends dates; always 29 bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DateValue([u8; 29]);

impl DateValue {
    /// The date of `seconds` since 1970; stops at the end of the year 9999.
    pub fn from_unix(seconds: u64) -> DateValue {
        let seconds = seconds.min(LAST_SECOND);
        let days = seconds / 86_400;
        let (year, month, day) = civil(days);
        let second = seconds % 86_400;

        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        let weekday = (days % 7) as usize * 3;
        text[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
        put_two(&mut text, 5, day);
        let name = (month as usize - 1) * 3;
        text[8..11].copy_from_slice(&MONTHS[name..name + 3]);
        put_two(&mut text, 12, year / 100);
        put_two(&mut text, 14, year % 100);
        put_two(&mut text, 17, second / 3600);
        put_two(&mut text, 20, second / 60 % 60);
        put_two(&mut text, 23, second % 60);
        DateValue(text)
    }

    /// The 29 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }
}

fn put_two(text: &mut [u8; 29], at: usize, number: u64) {
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of the Gregorian calendar for a day counted from
/// 1970-01-01. Years are counted from March, so that the leap day comes last
/// and each month's first day is a linear function of the month.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    // 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Seconds since 1970 of a date in any of the three formats that a recipient
/// must take; `None` if it is in none of them or before 1970.
pub fn parse(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let moment = httpdate::parse_http_date(text).ok()?;
    Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(seconds: u64) -> String {
        String::from_utf8(DateValue::from_unix(seconds).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn agrees_with_httpdate_over_eight_thousand_years() {
        // A prime step, so that every time of day and weekday comes up.
        for seconds in (0..LAST_SECOND).step_by(8_640_007) {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(text(seconds), httpdate::fmt_http_date(moment));
        }
    }

    #[test]
    fn the_edges() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(LAST_SECOND), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn all_three_formats_are_read() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(date.as_bytes()), Some(784_111_777), "{date}");
        }
        for other in [
            "",
            "0",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "\u{ff}",
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }
}
