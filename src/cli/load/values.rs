//! Parsers of flags' values. clap prints a parser's error after the flag and its value.

use crate::config::Unit;
use crate::limits::TIMEOUT_MS_CEILING;
use crate::load::{MESSAGE_TAG_BYTES_MIN, limits};

/// A time in milliseconds: `250ms`, `10s`, `1m`.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let ms = Unit::Millis
        .parse(text)
        .map_err(|error| error.to_string())?;
    match ms {
        1..=TIMEOUT_MS_CEILING => Ok(ms),
        _ => Err("is out of range; choose from 1ms to 24h".to_owned()),
    }
}

/// As [`time`]; `off` is 0.
pub(super) fn time_or_off(text: &str) -> Result<u64, String> {
    match text {
        "off" => Ok(0),
        _ => time(text),
    }
}

/// Bits per second: `800k`, `4M`.
pub(super) fn bits(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    match number.parse::<f64>().map(|number| number * factor) {
        Ok(bits) if (1e3..=1e12).contains(&bits) => Ok(bits),
        _ => Err("is not a number of bits per second such as 4M or 800k".to_owned()),
    }
}

/// A weight.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("is not a number above 0, such as 3 or 0.5".to_owned()),
    }
}

/// A speed: `10x`, `0.5x`.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix(['x', 'X']).unwrap_or(text);
    match number.trim().parse() {
        Ok(number) if (1e-3..=1e6).contains(&number) => Ok(number),
        _ => Err("is not a factor from 0.001x to 1000000x, such as 10x or 0.5x".to_owned()),
    }
}

/// A number of clients: `100`, `10k`, `1M`.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.as_bytes() {
        [.., b'k' | b'K'] => (&text[..text.len() - 1], 1000),
        [.., b'm' | b'M'] => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<usize>().ok();
    let number = number.and_then(|number| number.checked_mul(factor));
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| "is not a number from 1 on, such as 100 or 10k".to_owned())
}

/// Bytes of a message.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (min, max) = (MESSAGE_TAG_BYTES_MIN, limits::MESSAGE_BYTES_MAX);
    let bytes = Unit::Bytes.parse(text).map_err(|error| error.to_string())?;
    match usize::try_from(bytes) {
        Ok(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!("is out of range; choose from {min} to {max}")),
    }
}
