//! Parses and prints sizes and times: `64KiB`, `1MB`, `75s`, `500ms`.

use std::fmt;

/// The unit of a number, which decides the suffixes that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count; no suffix.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes per second; a trailing `/s` is allowed.
    BytesPerSecond,
    /// Milliseconds.
    Millis,
    /// Whole seconds.
    Seconds,
}

/// Suffixes with their factors, in the order in which a number is printed:
/// the first that divides it wins.
const BYTE_SUFFIXES: &[(&str, u64)] = &[
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
const MILLI_SUFFIXES: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SECOND_SUFFIXES: &[(&str, u64)] = &[("h", 3_600), ("m", 60), ("s", 1)];

impl Unit {
    fn suffixes(self) -> &'static [(&'static str, u64)] {
        match self {
            Unit::Count => &[],
            Unit::Bytes | Unit::BytesPerSecond => BYTE_SUFFIXES,
            Unit::Millis => MILLI_SUFFIXES,
            Unit::Seconds => SECOND_SUFFIXES,
        }
    }

    /// Reads `text`, such as `64KiB`, as a number of this unit's base (bytes, milliseconds).
    ///
    /// Suffixes ignore case; `K` is refused since it means 1000 to some and
    /// 1024 to others; a time needs its suffix unless it is zero. A fraction
    /// is accepted when the result is whole (`1.5s`).
    ///
    /// # Errors
    /// Says what form is expected.
    pub fn parse(self, text: &str) -> Result<u64, QuantityError> {
        let mut text = text.trim();
        if self == Unit::BytesPerSecond {
            text = text.strip_suffix("/s").unwrap_or(text).trim_end();
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = (&text[..digits], text[digits..].trim_start());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty()
            || fraction.contains('.')
            || (fraction.is_empty() && number.contains('.'))
        {
            return Err(QuantityError::NotOne(self));
        }
        let factor = self.factor(suffix, number)?;
        self.scaled(whole, fraction, factor)
    }

    fn factor(self, suffix: &str, number: &str) -> Result<u64, QuantityError> {
        if suffix.is_empty() {
            let zero = number.bytes().all(|b| b == b'0');
            return if matches!(self, Unit::Millis | Unit::Seconds) && !zero {
                Err(QuantityError::NoUnit(self, number.to_owned()))
            } else {
                Ok(1)
            };
        }
        if let Some(&(_, factor)) = self
            .suffixes()
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(suffix))
        {
            return Ok(factor);
        }
        let bare_prefix = suffix.len() == 1 && "kmgtp".contains(&suffix.to_ascii_lowercase());
        if self.suffixes() == BYTE_SUFFIXES && bare_prefix {
            let prefix = suffix.to_ascii_uppercase();
            return Err(QuantityError::Ambiguous(format!("{number}{prefix}")));
        }
        Err(QuantityError::NotOne(self))
    }

    /// `whole.fraction * factor`.
    fn scaled(self, whole: &str, fraction: &str, factor: u64) -> Result<u64, QuantityError> {
        let fraction = fraction.trim_end_matches('0');
        let fits = || {
            let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
            Some((mantissa.checked_mul(u128::from(factor))?, scale))
        };
        let (product, scale) = fits().ok_or(QuantityError::TooLarge)?;
        if !product.is_multiple_of(scale) {
            return Err(QuantityError::NotWhole(self));
        }
        u64::try_from(product / scale).map_err(|_| QuantityError::TooLarge)
    }

    /// Prints `value` with the largest suffix that keeps it whole.
    pub fn show(self, value: u64) -> String {
        let rate = if self == Unit::BytesPerSecond {
            "/s"
        } else {
            ""
        };
        match self
            .suffixes()
            .iter()
            .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        {
            Some(("B", _)) | None => format!("{value}{rate}"),
            Some((suffix, factor)) => format!("{}{suffix}{rate}", value / factor),
        }
    }

    /// The name of this unit's form, with examples.
    fn name(self) -> &'static str {
        match self {
            Unit::Count => "a whole number such as 1000",
            Unit::Bytes => "a size such as 64KiB, 1MB or 4096",
            Unit::BytesPerSecond => "a rate in bytes per second such as 1KiB or 4096",
            Unit::Millis => "a time such as 75s, 500ms or 2m",
            Unit::Seconds => "a time in whole seconds such as 75s or 10m",
        }
    }
}

/// Why a text is not a quantity; the message continues after the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// Not of the form digits and suffix.
    NotOne(Unit),
    /// A time without its unit.
    NoUnit(Unit, String),
    /// `64K`: 1000 or 1024?
    Ambiguous(String),
    /// `0.3B`.
    NotWhole(Unit),
    /// It does not fit into 64 bits.
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOne(unit) => write!(f, "is not {}; write it like that", unit.name()),
            Self::NoUnit(unit, number) => {
                let finer = if *unit == Unit::Seconds { "m" } else { "ms" };
                write!(
                    f,
                    "has no unit; write {number}s for seconds or {number}{finer}"
                )
            }
            Self::Ambiguous(text) => write!(
                f,
                "is ambiguous; write {text}iB for powers of 1024 or {text}B for powers of 1000"
            ),
            Self::NotWhole(Unit::Millis) => {
                write!(f, "is not a whole number of milliseconds; round it")
            }
            Self::NotWhole(Unit::Seconds) => {
                write!(f, "is not a whole number of seconds; round it")
            }
            Self::NotWhole(Unit::Count) => write!(f, "is not a whole number; round it"),
            Self::NotWhole(_) => write!(f, "is not a whole number of bytes; round it"),
            Self::TooLarge => write!(f, "is too large; choose a smaller one"),
        }
    }
}

impl std::error::Error for QuantityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_families() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1MB", 1_000_000),
            ("1 MiB", 1 << 20),
            ("1.5GiB", 3 << 29),
            ("12B", 12),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(Unit::Bytes.parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(Unit::BytesPerSecond.parse("1KiB/s"), Ok(1024));
    }

    #[test]
    fn times_need_their_unit() {
        for (text, ms) in [
            ("75s", 75_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1.5h", 5_400_000),
            ("0", 0),
        ] {
            assert_eq!(Unit::Millis.parse(text), Ok(ms), "{text}");
        }
        let error = Unit::Millis.parse("75").map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("has no unit; write 75s for seconds or 75ms".to_owned())
        );
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "s", "-1s", "+1s", "1..5s", "1.s", ".5s", "1x", "1 2s", "1KiB", "１s",
        ] {
            assert!(Unit::Millis.parse(text).is_err(), "{text}");
        }
        for text in ["1s", "1e3", "0x10", "1_000", "1KiB/s", "-1"] {
            assert!(Unit::Bytes.parse(text).is_err(), "{text}");
        }
        for text in ["1KiB", "1s", "1.5"] {
            assert!(Unit::Count.parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Unit::Bytes.parse("0.3B"),
            Err(QuantityError::NotWhole(Unit::Bytes))
        );
        assert_eq!(
            Unit::Bytes.parse("64k"),
            Err(QuantityError::Ambiguous("64K".to_owned()))
        );
        assert_eq!(
            Unit::Bytes.parse("18446744073709551616"),
            Err(QuantityError::TooLarge)
        );
        assert_eq!(
            Unit::Bytes.parse("99999999PiB"),
            Err(QuantityError::TooLarge)
        );
        assert_eq!(
            Unit::Bytes.parse(&"9".repeat(100)),
            Err(QuantityError::TooLarge)
        );
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for unit in [Unit::Count, Unit::Bytes, Unit::BytesPerSecond, Unit::Millis] {
            for value in [
                0,
                1,
                999,
                1000,
                1024,
                60_000,
                65_536,
                1_000_000,
                5_400_000,
                u64::MAX,
            ] {
                assert_eq!(
                    unit.parse(&unit.show(value)),
                    Ok(value),
                    "{}",
                    unit.show(value)
                );
            }
        }
        assert_eq!(Unit::Bytes.show(65_536), "64KiB");
        assert_eq!(Unit::Bytes.show(1_000_000), "1MB");
        assert_eq!(Unit::Bytes.show(1_001), "1001");
        assert_eq!(Unit::Millis.show(75_000), "75s");
        assert_eq!(Unit::Millis.show(90_500), "90500ms");
    }

    proptest::proptest! {
        #[test]
        fn any_number_is_read_back(value: u64) {
            for unit in [Unit::Count, Unit::Bytes, Unit::BytesPerSecond, Unit::Millis] {
                assert_eq!(unit.parse(&unit.show(value)), Ok(value));
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9]{0,30}\\.?[0-9]{0,50} ?[a-zA-Zé/]{0,4}") {
            for unit in [Unit::Count, Unit::Bytes, Unit::BytesPerSecond, Unit::Millis] {
                let _ = unit.parse(&text);
            }
        }
    }
}
