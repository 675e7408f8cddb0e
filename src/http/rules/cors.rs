//! Cross-origin requests (Fetch Standard, "HTTP extensions": the CORS protocol).

use std::fmt;

use super::header::HeaderEdits;
use crate::http::{Head, HeaderBlock, Known, Method, Response};

/// Fields of a response that a script of another origin may read, besides those that it always
/// may (Cache-Control, Content-Length, Content-Type, Expires, Last-Modified).
const EXPOSED: &str =
    "accept-ranges, content-encoding, content-length, content-range, date, etag, repr-digest";
/// Fields of a request that a script may set, besides those that the browser lets through anyway.
const ALLOWED: [&str; 7] = [
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "cache-control",
    "want-repr-digest",
];
/// How long a browser may remember a preflight's answer, in seconds: a day. Browsers cut it
/// to two hours or less.
const MAX_AGE_S: &str = "86400";

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";

/// The origins whose scripts may read what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// All of them.
    Any,
    /// These, as browsers write them: `https://player.example`.
    Listed(Vec<Box<str>>),
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError(String);

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no origin; write scheme and host, and the port if there is one, such as \
             https://player.example or http://localhost:3000, or * for all",
            self.0
        )
    }
}

impl std::error::Error for OriginError {}

impl Cors {
    /// From texts of the configuration: `*` alone, or origins.
    ///
    /// # Errors
    /// The first text that is no origin (RFC 6454 section 6.2); `null` is none, since any page
    /// can have it.
    pub fn new<T: AsRef<str>>(origins: &[T]) -> Result<Cors, OriginError> {
        if let [only] = origins
            && only.as_ref() == "*"
        {
            return Ok(Cors::Any);
        }
        let origins = origins.iter().map(|text| {
            let text = text.as_ref();
            origin(text).ok_or_else(|| OriginError(text.to_owned()))
        });
        Ok(Cors::Listed(origins.collect::<Result<_, _>>()?))
    }

    /// Adds the lines that do not depend on the request.
    pub(super) fn edit(&self, edits: &mut HeaderEdits) {
        match self {
            Cors::Any => {
                edits.line(ALLOW_ORIGIN, "*");
                edits.line(EXPOSE_HEADERS, EXPOSED);
            }
            Cors::Listed(_) => edits.vary("origin"),
        }
    }

    /// Whether the request comes from an origin that may read what is served.
    pub fn allows(&self, head: &Head<'_>) -> bool {
        match (self, head.headers.get(Known::Origin)) {
            (_, None) => false,
            (Cors::Any, _) => true,
            (Cors::Listed(origins), Some(origin)) => {
                origins.iter().any(|listed| listed.as_bytes() == origin)
            }
        }
    }

    /// What is sent besides to the listed origins, ready for one shard.
    pub fn origin_lines(&self) -> OriginLines {
        let Cors::Listed(origins) = self else {
            return OriginLines::default();
        };
        let lines = origins.iter().map(|origin| {
            let lines = HeaderBlock::new()
                .with(ALLOW_ORIGIN, origin.as_bytes())
                .with(EXPOSE_HEADERS, EXPOSED);
            (origin.clone(), lines.into_shared())
        });
        OriginLines(lines.collect())
    }
}

/// An origin as browsers write it: in lower case, without a default port.
fn origin(text: &str) -> Option<Box<str>> {
    let (scheme, authority) = text.split_once("://")?;
    let mut letters = scheme.bytes();
    let is_scheme = letters
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            port.parse::<u16>()
                .ok()
                .filter(|_| !port.starts_with('+'))?;
            host
        }
        _ => authority,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = match host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_scheme || !is_host {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let default_port = match &*scheme.to_ascii_lowercase() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Some(match lower.strip_suffix(default_port) {
        Some(short) if !default_port.is_empty() => short.into(),
        _ => lower.into(),
    })
}

/// Lines for each listed origin, for the responses to requests from there.
#[derive(Clone, Debug, Default)]
pub struct OriginLines(Vec<(Box<str>, HeaderBlock)>);

impl OriginLines {
    /// The lines for the origin that the request names, if it is listed.
    #[inline]
    pub fn of(&self, head: &Head<'_>) -> Option<HeaderBlock> {
        if self.0.is_empty() || !head.headers.has(Known::Origin) {
            return None;
        }
        let origin = head.headers.get(Known::Origin)?;
        let found = self
            .0
            .iter()
            .find(|(listed, _)| listed.as_bytes() == origin);
        found.map(|(_, lines)| lines.clone())
    }
}

/// Whether a browser asks beforehand if it may send a request.
pub fn is_preflight(head: &Head<'_>) -> bool {
    head.method == Method::Options
        && head.headers.has(Known::Origin)
        && head.headers.has(Known::AccessControlRequestMethod)
}

/// Adds the answer to a preflight for what is served with these methods. Fields that the request
/// asks for are allowed, whatever they are: what only reads files looks at none of them.
pub fn preflight(response: Response, head: &Head<'_>, methods: &'static str) -> Response {
    let mut fields = ALLOWED.join(", ");
    let asked = head.headers.get_all(Known::AccessControlRequestHeaders);
    for name in asked.flat_map(|value| value.split(|byte| *byte == b',')) {
        let Some(name) = std::str::from_utf8(name).ok().map(str::trim) else {
            continue;
        };
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let listed = ALLOWED
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name));
        if !name.is_empty() && name.bytes().all(is_token) && !listed {
            fields.push_str(", ");
            fields.push_str(name);
        }
    }
    response
        .with("access-control-allow-methods", methods)
        .with("access-control-allow-headers", fields)
        .with("access-control-max-age", MAX_AGE_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port_in_the_browsers_spelling() {
        for (text, spelt) in [
            ("https://Player.example", "https://player.example"),
            ("https://player.example:443", "https://player.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://a:80", "http://a"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(spelt), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "player.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a:x",
            "https://a:+1",
            "https://*.a",
            "https://a b",
            "://a",
            "https://a:70000",
            "https://[::x]",
            "https://a\r\nb",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn a_star_stands_alone() {
        assert_eq!(Cors::new(&["*"]), Ok(Cors::Any));
        assert_eq!(
            Cors::new(&["https://a", "*"]),
            Err(OriginError("*".to_owned()))
        );
        assert_eq!(
            Cors::new(&["https://a"]),
            Ok(Cors::Listed(vec!["https://a".into()]))
        );
    }
}
