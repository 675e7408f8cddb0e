//! The four forms of a request target, reduced to one (RFC 9112 section 3.2).

use super::error::ParseError;
use crate::http::Method;
use crate::http::scan;

/// A target in origin form, `*`, or CONNECT's authority.
pub(super) struct Reduced<'a> {
    pub(super) target: &'a str,
    /// The authority, where the target itself has one.
    pub(super) authority: Option<&'a [u8]>,
}

/// Reduces `raw`, bytes of the class [`scan::TARGET`].
#[inline]
pub(super) fn reduce(method: Method, raw: &[u8]) -> Result<Reduced<'_>, ParseError> {
    let target = std::str::from_utf8(raw).map_err(|_| ParseError::Target)?;
    if target.starts_with('/') && method != Method::Connect {
        return Ok(Reduced {
            target,
            authority: None,
        });
    }
    reduce_other(method, target)
}

#[cold]
fn reduce_other(method: Method, target: &str) -> Result<Reduced<'_>, ParseError> {
    match (method, target) {
        (Method::Connect, _) => {
            let has_port = target.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && scan::decimal(port.as_bytes()).is_some()
            });
            if !has_port || !is_authority(target.as_bytes()) {
                return Err(ParseError::Target);
            }
            Ok(Reduced {
                target,
                authority: Some(target.as_bytes()),
            })
        }
        (Method::Options, "*") => Ok(Reduced {
            target,
            authority: None,
        }),
        _ => absolute(method, target),
    }
}

fn absolute(method: Method, target: &str) -> Result<Reduced<'_>, ParseError> {
    let (scheme, rest) = target.split_once("://").ok_or(ParseError::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(ParseError::Target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // An http URI with an empty host is invalid (RFC 9110 section 4.2.1), and
    // so is one with user information (section 4.2.4).
    if authority.is_empty() || authority.starts_with(':') || !is_authority(authority.as_bytes()) {
        return Err(ParseError::Host);
    }
    let target = match (target, method) {
        ("", Method::Options) => "*",
        ("", _) => "/",
        _ => target,
    };
    Ok(Reduced {
        target,
        authority: Some(authority.as_bytes()),
    })
}

/// Whether `authority` is `uri-host [":" port]` (RFC 9110 section 7.2); the
/// host may be empty.
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let port = if let [b'[', rest @ ..] = authority {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let (literal, port) = rest.split_at(end);
        if literal.is_empty() || !scan::all(literal, scan::IP_LITERAL) {
            return false;
        }
        &port[1..]
    } else {
        let end = authority
            .iter()
            .position(|&byte| !scan::is(byte, scan::HOST));
        match end {
            None => return true,
            Some(end) if authority[end] == b'%' => return is_encoded_authority(authority),
            Some(end) => &authority[end..],
        }
    };
    is_port(port)
}

/// Nothing, or a colon and decimal digits, which may be none (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A registered name with percent-encoded bytes in it.
fn is_encoded_authority(mut authority: &[u8]) -> bool {
    loop {
        match authority {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                authority = rest;
            }
            [byte, rest @ ..] if scan::is(*byte, scan::HOST) => authority = rest,
            port => return is_port(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in [
            "",
            "example.org",
            "example.org:80",
            "example.org:",
            ":80",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "[v1.a:b]",
            "a%41b:1",
            "under_score",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:1:2",
            "[::1",
            "[]",
            "[::1]x",
            "::1",
            "a%4",
            "a%zz",
            "a\\b",
            "a:123456",
            "h\u{e9}",
            "a,b/",
            "\"a\"",
            "a<",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
