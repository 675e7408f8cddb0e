//! Sizes and times as people and programs read them.

use std::fmt::{self, Display, Formatter, Write};

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the years that ISO 8601 writes with four digits.
const ISO_UNIX_S: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// A size in the largest binary unit that leaves at least 1, with three digits or so.
pub(super) struct HumanSize(pub u64);

impl Display for HumanSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut scaled = self.0 as f64 / 1024.0;
        let mut unit = "KiB";
        for larger in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
            // 1023.5 and more would be shown as 1024.
            if scaled < 1023.5 {
                break;
            }
            scaled /= 1024.0;
            unit = larger;
        }
        if scaled < 9.95 {
            write!(f, "{scaled:.1} {unit}")
        } else {
            write!(f, "{scaled:.0} {unit}")
        }
    }
}

/// A whole number with commas between its thousands.
pub(super) struct Grouped(pub u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A moment in UTC.
#[derive(Clone, Copy)]
pub(super) struct Utc {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Utc {
    /// The moment of a Unix time, moved into the years 0000 to 9999.
    pub(super) fn from_unix_s(unix_s: i64) -> Self {
        let unix_s = unix_s.clamp(*ISO_UNIX_S.start(), *ISO_UNIX_S.end());
        let day_number = unix_s.div_euclid(86_400);
        // Years begin in March here, so that a leap day is a year's last day.
        let days = day_number + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: unix_s.rem_euclid(86_400),
        }
    }
}

/// `2026-03-01T08:05:09Z` (ISO 8601 as profiled by RFC 3339).
impl Display for Utc {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let s = self.second_of_day;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            self.year,
            self.month,
            self.day,
            s / 3600,
            s / 60 % 60,
            s % 60
        )
    }
}

/// `2026-03-01 08:05`.
pub(super) struct ToMinute(pub Utc);

impl Display for ToMinute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Utc {
            year,
            month,
            day,
            second_of_day: s,
        } = self.0;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}",
            s / 3600,
            s / 60 % 60
        )
    }
}
