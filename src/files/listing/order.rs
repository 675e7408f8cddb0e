//! The order of a listing: folders first, then by name as a person would sort.

use std::cmp::Ordering;

use super::Entry;

/// The entries in the order in which they are shown.
pub(super) fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut keyed: Vec<(String, &Entry)> = entries
        .iter()
        .map(|entry| (String::from_utf8_lossy(&entry.name).to_lowercase(), entry))
        .collect();
    keyed.sort_unstable_by(|(key_a, a), (key_b, b)| {
        b.is_dir
            .cmp(&a.is_dir)
            .then_with(|| natural(key_a.as_bytes(), key_b.as_bytes()))
            .then_with(|| a.name.cmp(&b.name))
    });
    keyed.into_iter().map(|(_, entry)| entry).collect()
}

/// Compares runs of digits by their value and everything else byte by byte.
pub(super) fn natural(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        match (a, b) {
            ([], []) => return Ordering::Equal,
            ([], _) => return Ordering::Less,
            (_, []) => return Ordering::Greater,
            ([x, ..], [y, ..]) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (value_a, rest_a) = number(a);
                let (value_b, rest_b) = number(b);
                let order = value_a
                    .len()
                    .cmp(&value_b.len())
                    .then_with(|| value_a.cmp(value_b));
                if order.is_ne() {
                    return order;
                }
                (a, b) = (rest_a, rest_b);
            }
            ([x, rest_a @ ..], [y, rest_b @ ..]) => {
                if x != y {
                    return x.cmp(y);
                }
                (a, b) = (rest_a, rest_b);
            }
        }
    }
}

/// The leading run of digits without its leading zeros, and what follows the run.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    (&digits[zeros..], rest)
}
