//! Between a request's path and a file's: names on Linux are bytes, paths in
//! HTTP are percent-encoded ASCII.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

use super::{Status, scan};

/// A request's path, resolved to a path below the served folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// Relative, without slashes at its ends; empty for the root. Has no
    /// empty, `.` or `..` segment and no NUL; need not be UTF-8.
    pub path: Cow<'a, [u8]>,
    /// Whether the request's path can only name a folder: it ends in a slash,
    /// or in a dot segment.
    pub is_dir: bool,
    /// Whether a segment is a hidden name: it begins with a dot, and is not
    /// [`WELL_KNOWN`] as the first segment.
    pub has_dotfile: bool,
}

/// The folder at the top of a site whose files clients look for by fixed names (RFC 8615;
/// docs/decisions/064-well-known.md).
pub const WELL_KNOWN: &[u8] = b".well-known";

/// Why a path was refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum TargetError {
    /// It does not begin with a slash.
    NotAPath,
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// A control byte that is not percent-encoded.
    ControlByte,
    /// An encoded NUL, which no file's name can have.
    EncodedNul,
    /// An encoded slash, which no file's name can have.
    EncodedSlash,
    /// More `..` than segments before them.
    AboveRoot,
}

impl TargetError {
    /// The status to answer with.
    pub fn status(&self) -> Status {
        Status::BAD_REQUEST
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::NotAPath => "the request target is not a path; it must begin with /",
            TargetError::Escape => {
                "the path has a % that two hexadecimal digits do not follow; write a % as %25"
            }
            TargetError::ControlByte => {
                "the path has a control byte; percent-encode it, or remove it"
            }
            TargetError::EncodedNul => "the path has an encoded NUL; no file name can have one",
            TargetError::EncodedSlash => {
                "the path has an encoded slash; no file name can have one, write it as /"
            }
            TargetError::AboveRoot => {
                "the path leads above the served folder; take out the .. segments"
            }
        })
    }
}

impl std::error::Error for TargetError {}

/// Resolves a request's path: decodes it, once, and takes out empty and dot segments.
///
/// `..` may lead back within the served folder but never above it. Allocates
/// only if there is something to take out.
///
/// # Errors
///
/// See [`TargetError`].
pub fn resolve(path: &str) -> Result<Target<'_>, TargetError> {
    let rest = path
        .as_bytes()
        .strip_prefix(b"/")
        .ok_or(TargetError::NotAPath)?;
    let mut has_dotfile = false;
    let mut segment_start = 0;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            b'/' if matches!(rest[segment_start..at], [] | [b'.'] | [b'.', b'.']) => {
                return rebuild(rest);
            }
            b'/' => segment_start = at + 1,
            b'.' if at == segment_start && !(at == 0 && is_well_known(rest)) => {
                has_dotfile = true;
            }
            b'%' => return rebuild(rest),
            _ if is_control(byte) => return Err(TargetError::ControlByte),
            _ => {}
        }
    }
    let path = match &rest[segment_start..] {
        b"." | b".." => return rebuild(rest),
        [] => &rest[..segment_start.saturating_sub(1)],
        _ => rest,
    };
    Ok(Target {
        path: Cow::Borrowed(path),
        is_dir: segment_start == rest.len(),
        has_dotfile,
    })
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Whether the first segment of a relative path is [`WELL_KNOWN`].
fn is_well_known(path: &[u8]) -> bool {
    let rest = path.strip_prefix(WELL_KNOWN);
    matches!(rest, Some([] | [b'/', ..]))
}

/// Resolves a path, without its first slash, into a new one.
fn rebuild(rest: &[u8]) -> Result<Target<'static>, TargetError> {
    let mut path: Vec<u8> = Vec::with_capacity(rest.len());
    let mut is_dir = false;
    for segment in rest.split(|&byte| byte == b'/') {
        let parent_len = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        let start = path.len();
        decode(segment, &mut path)?;
        is_dir = match &path[start..] {
            b"" | b"." => {
                path.truncate(parent_len);
                true
            }
            b".." => {
                path.truncate(parent_len);
                if path.is_empty() {
                    return Err(TargetError::AboveRoot);
                }
                let slash = path.iter().rposition(|&byte| byte == b'/');
                path.truncate(slash.unwrap_or(0));
                true
            }
            _ => false,
        };
    }
    let has_dotfile = path
        .split(|&byte| byte == b'/')
        .skip(usize::from(is_well_known(&path)))
        .any(|segment| segment.starts_with(b"."));
    Ok(Target {
        path: Cow::Owned(path),
        is_dir,
        has_dotfile,
    })
}

fn decode(segment: &[u8], into: &mut Vec<u8>) -> Result<(), TargetError> {
    let mut rest = segment;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let (high, low) = scan::hex_digit(*high)
                    .zip(scan::hex_digit(*low))
                    .ok_or(TargetError::Escape)?;
                match high << 4 | low {
                    0 => return Err(TargetError::EncodedNul),
                    b'/' => return Err(TargetError::EncodedSlash),
                    byte => into.push(byte),
                }
                behind
            }
            (b'%', _) => return Err(TargetError::Escape),
            (byte, _) if is_control(*byte) => return Err(TargetError::ControlByte),
            (byte, behind) => {
                into.push(*byte);
                behind
            }
        };
    }
    Ok(())
}

/// All but RFC 3986's unreserved characters: what is left means nothing in a
/// reference nor in an HTML attribute.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A file's name as one path segment of a relative reference.
///
/// No name can be taken for a scheme, a host, a query, a fragment or several
/// segments, since all that could begin one is encoded.
pub fn encode_name(name: &[u8]) -> PercentEncode<'_> {
    percent_encode(name, NOT_UNRESERVED)
}

/// A reference from the folder's path without its slash to the one with it, for
/// a Location field: the folder's name, a slash, and `query`.
///
/// It is relative (docs/decisions/062-relative-redirects.md; RFC 3986 section 4.2; RFC 9110 section 10.2.2 allows it), so
/// that it also holds behind a proxy that adds or strips a prefix. `path` has
/// the form of [`Target::path`] and is not empty.
pub fn folder_reference(path: &[u8], query: Option<&str>) -> String {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let name = encode_name(name);
    match query {
        Some(query) => format!("{name}/?{query}"),
        None => format!("{name}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, path: &[u8], is_dir: bool, has_dotfile: bool) {
        let wanted = Target {
            path: Cow::Borrowed(path),
            is_dir,
            has_dotfile,
        };
        assert_eq!(resolve(request), Ok(wanted), "{request}");
    }

    #[test]
    fn a_clean_path_is_borrowed() {
        for (request, path, is_dir) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/b.mp4", "a/b.mp4", false),
            ("/a/b/", "a/b", true),
            ("/a..b/...", "a..b/...", false),
        ] {
            check(request, path.as_bytes(), is_dir, path.contains("/..."));
            let target = resolve(request).unwrap();
            assert!(matches!(target.path, Cow::Borrowed(_)), "{request}");
        }
    }

    #[test]
    fn decoded_once() {
        check("/a%20b", b"a b", false, false);
        check("/a%2525", b"a%25", false, false);
        check("/%E4%B8%AD", "\u{4e2d}".as_bytes(), false, false);
        check("/a%3Fb%23", b"a?b#", false, false);
        // Names need not be UTF-8, and an overlong dot is no dot.
        check(
            "/%ff%fe/%c0%ae%c0%ae/x",
            b"\xff\xfe/\xc0\xae\xc0\xae/x",
            false,
            false,
        );
        check("/a%5c..", b"a\\..", false, false);
        check("/a+b", b"a+b", false, false);
    }

    #[test]
    fn dot_and_empty_segments_are_taken_out() {
        check("//a///b//", b"a/b", true, false);
        check("/./a/./b", b"a/b", false, false);
        check("/a/.", b"a", true, false);
        check("/a/../b", b"b", false, false);
        check("/a/b/../../c/", b"c", true, false);
        check("/a/..", b"", true, false);
        check("/a/b/..", b"a", true, false);
        check("/a/%2e%2E/b", b"b", false, false);
        check("/x/y/.%2e/..", b"", true, false);
        check("//", b"", true, false);
    }

    #[test]
    fn nothing_leads_above_the_root() {
        for request in [
            "/..",
            "/../",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/%2e%2e/a",
            "/.%2e",
            "/./../a",
            "//..",
            "/a//../../b",
        ] {
            assert_eq!(resolve(request), Err(TargetError::AboveRoot), "{request}");
        }
    }

    #[test]
    fn refused_paths() {
        for (request, error) in [
            ("", TargetError::NotAPath),
            ("*", TargetError::NotAPath),
            ("a", TargetError::NotAPath),
            ("/%", TargetError::Escape),
            ("/%4", TargetError::Escape),
            ("/%4/1", TargetError::Escape),
            ("/%zz", TargetError::Escape),
            ("/%+1", TargetError::Escape),
            ("/a%00b", TargetError::EncodedNul),
            ("/a%0a\n", TargetError::ControlByte),
            ("/a%7F\x7f", TargetError::ControlByte),
            ("/a\0", TargetError::ControlByte),
            ("/a/../\n", TargetError::ControlByte),
            ("/a%2Fb", TargetError::EncodedSlash),
            ("/a/..%2f..", TargetError::EncodedSlash),
        ] {
            assert_eq!(resolve(request), Err(error), "{request:?}");
            assert_eq!(error.status(), Status::BAD_REQUEST);
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn encoded_control_bytes_are_bytes_of_a_name() {
        check("/a%0a%0D%7f%01b", b"a\n\r\x7f\x01b", false, false);
    }

    #[test]
    fn dotfiles_are_told() {
        check("/.git/config", b".git/config", false, true);
        check("/a/.hidden", b"a/.hidden", false, true);
        check("/a/%2ehidden", b"a/.hidden", false, true);
        check("/.git/../a", b"a", false, false);
        check("/a.b", b"a.b", false, false);
    }

    #[test]
    fn well_known_is_hidden_only_where_it_means_nothing() {
        check("/.well-known", b".well-known", false, false);
        check("/.well-known/", b".well-known", true, false);
        check("/.well-known/a/b", b".well-known/a/b", false, false);
        check("/%2ewell-known/a", b".well-known/a", false, false);
        check("/x/../.well-known/a", b".well-known/a", false, false);
        for request in [
            "/.well-known/.git",
            "/%2ewell-known/a/.git",
            "/.well-known2",
            "/.well-known%0a",
            "/.Well-Known/a",
            "/a/.well-known/b",
            "/a/%2ewell-known/b",
        ] {
            assert!(resolve(request).unwrap().has_dotfile, "{request}");
        }
    }

    #[test]
    fn encoded_names_are_safe_in_an_attribute() {
        assert_eq!(encode_name(b"a-1_~x.mp4").to_string(), "a-1_~x.mp4");
        assert_eq!(
            encode_name(b"a b&'\"<>?#%:/\\(x)").to_string(),
            "a%20b%26%27%22%3C%3E%3F%23%25%3A%2F%5C%28x%29"
        );
        assert_eq!(encode_name(b"\xff").to_string(), "%FF");
    }

    #[test]
    fn a_folder_is_referred_to_by_its_last_name() {
        for (path, query, wanted) in [
            (&b"a b"[..], None, "a%20b/"),
            (b"x/y/a", Some("x=1&y"), "a/?x=1&y"),
            // No scheme, no host, no query of its own, no other line.
            (b"javascript:x", None, "javascript%3Ax/"),
            (b"a/evil.example", None, "evil.example/"),
            (b"\\evil\r\n?#", Some(""), "%5Cevil%0D%0A%3F%23/?"),
        ] {
            assert_eq!(folder_reference(path, query), wanted);
        }
    }

    #[test]
    fn what_was_encoded_resolves_to_itself() {
        let name: Vec<u8> = (1..=255u8).filter(|&byte| byte != b'/').collect();
        let path = format!("/x/{}", encode_name(&name));
        assert_eq!(resolve(&path).unwrap().path[2..], name);
    }
}
