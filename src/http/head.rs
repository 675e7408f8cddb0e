//! The head of a request, whatever protocol carried it.

use super::{Headers, Method, Version};

/// A request head, borrowed from the bytes that were received.
#[derive(Copy, Clone, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The method as sent.
    pub method_name: &'a str,
    /// The target in origin form, `path?query`. An absolute-form target comes
    /// reduced to it and may then begin with `?` (its path is `/`). `*` for
    /// `OPTIONS *`; `host:port` for `CONNECT`. Visible ASCII only.
    pub target: &'a str,
    /// Host and port: the authority of an absolute-form or CONNECT target,
    /// else the Host field. May be empty.
    pub authority: &'a [u8],
    /// The protocol version.
    pub version: Version,
    /// The header section.
    pub headers: Headers<'a>,
}

impl<'a> Head<'a> {
    /// The target's path, before any `?`; still percent-encoded.
    pub fn path(&self) -> &'a str {
        match self.split_target() {
            Some(("", _)) => "/",
            Some((path, _)) => path,
            None => self.target,
        }
    }

    /// The target's query, after the first `?`; still percent-encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.split_target().map(|halves| halves.1)
    }

    /// What is before and behind the first `?`.
    #[inline]
    fn split_target(&self) -> Option<(&'a str, &'a str)> {
        let at = memchr::memchr(b'?', self.target.as_bytes())?;
        Some((&self.target[..at], &self.target[at + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str) -> Head<'_> {
        Head {
            method: Method::Get,
            method_name: "GET",
            target,
            authority: b"a",
            version: Version::Http11,
            headers: Headers::default(),
        }
    }

    #[test]
    fn the_target_splits_at_its_first_question_mark() {
        assert_eq!(head("/a/b").path(), "/a/b");
        assert_eq!(head("/a/b").query(), None);
        assert_eq!(head("/a?b?c").path(), "/a");
        assert_eq!(head("/a?b?c").query(), Some("b?c"));
        assert_eq!(head("?b").path(), "/");
        assert_eq!(head("/?").query(), Some(""));
    }
}
