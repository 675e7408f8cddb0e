//! A borrowed header section.

use super::known::{Known, KnownSet};
use super::scan;

/// Validated header lines, `name: value\r\n` repeated, borrowed from where
/// they were received.
///
/// Only parsers construct one, so a block always has this form: a non-empty
/// token, a colon, a value without control bytes, CRLF. Values come back
/// without the optional white space around them.
#[derive(Copy, Clone, Debug, Default)]
pub struct Headers<'a> {
    block: &'a [u8],
    present: KnownSet,
}

impl<'a> Headers<'a> {
    /// Header lines that a parser has checked, and the known names it saw in them.
    ///
    /// With a block of another form, or a set that lacks a name, headers are not found;
    /// memory safety does not depend on it.
    #[inline]
    pub(super) fn from_checked(block: &'a [u8], present: KnownSet) -> Headers<'a> {
        Headers { block, present }
    }

    /// The lines as they were received.
    pub fn block(&self) -> &'a [u8] {
        self.block
    }

    /// Whether a line named `name` is there.
    #[inline]
    pub fn has(&self, name: Known) -> bool {
        self.present.contains(name)
    }

    /// Whether a line with one of these names is there.
    #[inline]
    pub fn has_any(&self, names: KnownSet) -> bool {
        self.present.intersects(names)
    }

    /// The first value of `name`; takes constant time when there is none.
    #[inline]
    pub fn get(&self, name: Known) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all lines named `name`, in order.
    #[inline]
    pub fn get_all(&self, name: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Named {
            block: if self.has(name) { self.block } else { &[] },
            name: name.name(),
        }
    }

    /// The first value of the field called `name`, in any case.
    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        if let Some(known) = Known::of(name.as_bytes()) {
            return self.get(known);
        }
        let mut lines = Named {
            block: self.block,
            name,
        };
        lines.next()
    }

    /// All lines, in order, names spelt as received.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        Lines { block: self.block }
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }
}

/// Splits a checked block into names and values.
struct Lines<'a> {
    block: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let block = self.block;
        let colon = scan::token_end(block, 0);
        let end = scan::value_end(block, colon);
        let value = block.get(colon + 1..end)?;
        self.block = block.get(end + 2..).unwrap_or_default();
        Some((&block[..colon], scan::trim(value)))
    }
}

/// The values of one name's lines. Checks for the colon only at the length of the name, so
/// that other lines are skipped without being split.
struct Named<'a, 'n> {
    block: &'a [u8],
    name: &'n str,
}

impl<'a> Iterator for Named<'a, '_> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let name = self.name.as_bytes();
        while !self.block.is_empty() {
            let end = scan::value_end(self.block, 0);
            let (line, rest) = self.block.split_at(end);
            self.block = rest.get(2..).unwrap_or_default();
            if line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
            {
                return Some(scan::trim(&line[name.len() + 1..]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] =
        b"Host: a\r\nrange:bytes=0-\r\nX-Empty:\r\nX-Tab:\t a\tb \r\nRANGE: \tbytes=1-\r\nx-obs: \xff\r\n";

    fn headers() -> Headers<'static> {
        let mut present = KnownSet::EMPTY;
        present.insert(Known::Host);
        present.insert(Known::Range);
        Headers::from_checked(BLOCK, present)
    }

    #[test]
    fn known_names_by_bit_then_by_line() {
        assert_eq!(headers().get(Known::Range), Some(&b"bytes=0-"[..]));
        assert_eq!(headers().get(Known::Cookie), None);
        let all: Vec<_> = headers().get_all(Known::Range).collect();
        assert_eq!(all, [&b"bytes=0-"[..], b"bytes=1-"]);
    }

    #[test]
    fn other_names_in_any_case() {
        assert_eq!(headers().find("x-tab"), Some(&b"a\tb"[..]));
        assert_eq!(headers().find("x-empty"), Some(&b""[..]));
        assert_eq!(headers().find("HOST"), Some(&b"a"[..]));
        assert_eq!(headers().find("x-none"), None);
    }

    #[test]
    fn all_lines_in_order() {
        let names: Vec<_> = headers().iter().map(|line| line.0).collect();
        assert_eq!(
            names,
            ["Host", "range", "X-Empty", "X-Tab", "RANGE", "x-obs"]
        );
        assert_eq!(
            headers().iter().last().map(|line| line.1),
            Some(&b"\xff"[..])
        );
    }

    #[test]
    fn an_empty_section_has_nothing() {
        assert_eq!(Headers::default().iter().count(), 0);
        assert_eq!(Headers::default().find("host"), None);
    }
}
