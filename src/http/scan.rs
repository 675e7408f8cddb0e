//! Byte classes, and scans that take eight bytes at a time.
//!
//! The word tests mark bytes in their top bits. A borrow can only run upwards,
//! so the lowest mark is always exact, and in little-endian order the lowest
//! mark is the first byte: that is the only one these scans use.

/// May stand in a token (RFC 9110 section 5.6.2).
pub(super) const TOKEN: u8 = 1;
/// May stand in a request target: visible ASCII but `#`, which starts a
/// fragment and is never sent.
pub(super) const TARGET: u8 = 2;
/// May stand in a field value: tab, space, visible ASCII, obs-text (RFC 9110 section 5.5).
pub(super) const VALUE: u8 = 4;
/// May stand in a registered name, but for `%` (RFC 3986 section 3.2.2).
pub(super) const HOST: u8 = 8;
/// May stand between the brackets of an IP literal.
pub(super) const IP_LITERAL: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut at = 0usize;
    while at < 256 {
        let byte = at as u8;
        let mut class = 0;
        let word = byte.is_ascii_alphanumeric();
        if word || contains(b"!#$%&'*+-.^_`|~", byte) {
            class |= TOKEN;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= TARGET;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        if word || contains(b"-._~!$&'()*+,;=", byte) {
            class |= HOST;
        }
        if word || contains(b":.-_~!$&'()*+,;=", byte) {
            class |= IP_LITERAL;
        }
        table[at] = class;
        at += 1;
    }
    table
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether `byte` is of one of `classes`.
#[inline]
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASSES[byte as usize] & classes != 0
}

/// Whether all of `bytes` are of one of `classes`.
pub(super) fn all(bytes: &[u8], classes: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, classes))
}

/// Index of the first byte at or after `from` that is not of `class`, or the length.
#[inline]
fn class_end(bytes: &[u8], from: usize, class: u8) -> usize {
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        if !is(byte, class) {
            break;
        }
        at += 1;
    }
    at
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks bytes of `word` below `limit` (at most 0x80); only the lowest mark is exact.
#[inline]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// Marks bytes of `word` equal to `byte`; only the lowest mark is exact.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// Index of the first byte at or after `from` that may not stand in a token, or the length.
#[inline]
pub(super) fn token_end(bytes: &[u8], from: usize) -> usize {
    class_end(bytes, from, TOKEN)
}

/// Index of the first byte at or after `from` that may not stand in a request target, or the length.
#[inline]
pub(super) fn target_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = word_at(bytes, at) {
        let stops = below(word, 0x21) | (word & HIGHS) | equal(word, 0x7f) | equal(word, b'#');
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    class_end(bytes, at, TARGET)
}

/// Index of the first byte at or after `from` that may not stand in a field value, or the length.
#[inline]
pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = word_at(bytes, at) {
        let stops = below(word, 0x20) | equal(word, 0x7f);
        if stops == 0 {
            at += 8;
            continue;
        }
        at += stops.trailing_zeros() as usize / 8;
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
    class_end(bytes, at, VALUE)
}

/// `value` without optional white space (space and tab) around it.
#[inline]
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A run of decimal digits as a number; `None` when empty, not digits only or above `u64::MAX`.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    Some(number)
}

/// The value of a hexadecimal digit.
#[inline]
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every place of a word, against the table alone.
    #[test]
    fn word_scans_agree_with_the_table() {
        for length in [1usize, 7, 8, 9, 16, 19] {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    if place + 1 < length {
                        // A stop right behind shows a borrow that runs the wrong way.
                        bytes[place + 1] = 0x01;
                    }
                    assert_eq!(
                        value_end(&bytes, 0),
                        class_end(&bytes, 0, VALUE),
                        "{bytes:?}"
                    );
                    assert_eq!(
                        target_end(&bytes, 0),
                        class_end(&bytes, 0, TARGET),
                        "{bytes:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn decimal_stops_at_the_end_of_u64() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
        assert_eq!(decimal(b"007"), Some(7));
    }

    #[test]
    fn trim_takes_space_and_tab_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
