//! Request heads, parsed in place in one pass (RFC 9112 sections 2 to 5).
//!
//! Stateless: until the head is complete the caller calls again with a longer
//! prefix. The strictness is deliberate: what two parsers could read
//! differently (a bare CR or LF, a folded line, two lengths, a space before a
//! colon) is refused, since request smuggling exploits such differences.

pub use super::error::ParseError;
use super::framing::Fields;
pub use super::framing::Framing;
use super::request_target::{self, Reduced};
use crate::http::known::{Known, KnownSet};
use crate::http::{Head, Headers, Method, Version, scan};
use crate::limits;

/// A whole request head.
#[derive(Copy, Clone, Debug)]
pub struct Parsed<'a> {
    /// The head itself.
    pub head: Head<'a>,
    /// Length of the head in bytes, with empty lines before it and the one that ends it.
    pub head_bytes: usize,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client keeps the connection open after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// Bounds on a request head.
#[derive(Copy, Clone, Debug)]
pub struct ParseLimits {
    /// Request line and header section together, in bytes (431).
    pub head_bytes_max: usize,
    /// Header lines (431).
    pub headers_max: usize,
    /// Request target, in bytes (414).
    pub uri_bytes_max: usize,
}

impl ParseLimits {
    /// The bounds on an answer's head, wider than those on a request's: what a server sends is not
    /// for its client to choose.
    pub fn response() -> ParseLimits {
        ParseLimits {
            head_bytes_max: limits::RESPONSE_HEAD_BYTES_MAX,
            headers_max: limits::RESPONSE_HEADERS_MAX,
            ..ParseLimits::default()
        }
    }
}

impl Default for ParseLimits {
    fn default() -> ParseLimits {
        ParseLimits {
            head_bytes_max: limits::HEAD_BYTES_MAX,
            headers_max: limits::HEADERS_MAX,
            uri_bytes_max: limits::URI_BYTES_MAX,
        }
    }
}

/// Why a head could not be parsed to its end.
pub(super) enum HeadError {
    Incomplete,
    Invalid(ParseError),
}

impl From<ParseError> for HeadError {
    fn from(error: ParseError) -> HeadError {
        HeadError::Invalid(error)
    }
}

/// Parses the request head at the start of `bytes`.
///
/// `Ok(None)`: so far it is the beginning of a good head, and more bytes are
/// needed. An error is reported as soon as it is certain, not when the head is
/// whole.
///
/// # Errors
///
/// See [`ParseError`], which has the status to answer with. The connection must be closed
/// after it.
pub fn parse_request<'a>(
    bytes: &'a [u8],
    limits: &ParseLimits,
) -> Result<Option<Parsed<'a>>, ParseError> {
    let bytes = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
    match parse(bytes, limits) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(HeadError::Invalid(error)) => Err(error),
        Err(HeadError::Incomplete) if bytes.len() >= limits.head_bytes_max => {
            Err(ParseError::HeadTooLarge)
        }
        Err(HeadError::Incomplete) => Ok(None),
    }
}

fn parse<'a>(bytes: &'a [u8], limits: &ParseLimits) -> Result<Parsed<'a>, HeadError> {
    let start = skip_empty_lines(bytes)?;
    let (method, method_name, method_end) = parse_method(bytes, start)?;
    let (reduced, target_end) = parse_target(bytes, method_end + 1, method, limits)?;
    let version = parse_version(bytes, target_end + 1)?;
    // " HTTP/1.1\r\n"
    let block_start = target_end + 11;

    let mut fields = Fields::default();
    let mut present = KnownSet::EMPTY;
    let block_end = parse_lines(bytes, block_start, limits, |name, value| {
        if let Some(known) = Known::of(name) {
            present.insert(known);
            fields.note(known, value, version)?;
        }
        Ok(())
    })?;

    let host = match fields.host {
        Some(host) => host,
        None if version == Version::Http10 => &[],
        None => return Err(ParseError::HostMissing.into()),
    };
    Ok(Parsed {
        head: Head {
            method,
            method_name,
            target: reduced.target,
            authority: reduced.authority.unwrap_or(host),
            version,
            headers: Headers::from_checked(&bytes[block_start..block_end], present),
        },
        head_bytes: block_end + 2,
        framing: fields.framing()?,
        keep_alive: fields.keep_alive(version),
        // RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is ignored.
        expect_continue: fields.expect_continue && version != Version::Http10,
    })
}

/// A client may send an empty line after the previous request's body (RFC 9112
/// section 2.2).
fn skip_empty_lines(bytes: &[u8]) -> Result<usize, HeadError> {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return Err(HeadError::Incomplete),
            Some(b'\r') if at < 2 * limits::EMPTY_LINES_MAX => {
                line_end(bytes, at)?;
                at += 2;
            }
            Some(b'\n') => return Err(ParseError::BareLf.into()),
            Some(&byte) if scan::is(byte, scan::TOKEN) => return Ok(at),
            Some(_) => return Err(ParseError::Garbage.into()),
        }
    }
}

/// The method at `start`, its name and where it ends.
#[inline]
fn parse_method(bytes: &[u8], start: usize) -> Result<(Method, &str, usize), HeadError> {
    if bytes[start..].starts_with(b"GET ") {
        return Ok((Method::Get, "GET", start + 3));
    }
    let end = scan::token_end(bytes, start);
    if end - start > limits::METHOD_BYTES_MAX {
        return Err(ParseError::MethodTooLong.into());
    }
    match bytes.get(end) {
        None => Err(HeadError::Incomplete),
        Some(b' ') => {
            let token = &bytes[start..end];
            let method = Method::of(token);
            let name = match method.name() {
                Some(name) => name,
                None => std::str::from_utf8(token).map_err(|_| ParseError::Method)?,
            };
            Ok((method, name, end))
        }
        Some(_) => Err(ParseError::Method.into()),
    }
}

/// The target at `start` and where it ends.
#[inline]
fn parse_target<'a>(
    bytes: &'a [u8],
    start: usize,
    method: Method,
    limits: &ParseLimits,
) -> Result<(Reduced<'a>, usize), HeadError> {
    let end = scan::target_end(bytes, start);
    if end.saturating_sub(start) > limits.uri_bytes_max {
        return Err(ParseError::TargetTooLong.into());
    }
    match bytes.get(end) {
        None => Err(HeadError::Incomplete),
        Some(b' ') => Ok((request_target::reduce(method, &bytes[start..end])?, end)),
        Some(_) => Err(ParseError::Target.into()),
    }
}

/// The version at `start`, up to and with its CRLF.
#[inline]
fn parse_version(bytes: &[u8], start: usize) -> Result<Version, HeadError> {
    match bytes.get(start..start + 10) {
        Some(b"HTTP/1.1\r\n") => Ok(Version::Http11),
        Some(b"HTTP/1.0\r\n") => Ok(Version::Http10),
        _ => parse_rare_version(bytes, start),
    }
}

#[cold]
fn parse_rare_version(bytes: &[u8], start: usize) -> Result<Version, HeadError> {
    for (place, wanted) in b"HTTP/M.m".iter().enumerate() {
        let byte = *bytes.get(start + place).ok_or(HeadError::Incomplete)?;
        let good = match wanted {
            b'M' | b'm' => byte.is_ascii_digit(),
            _ => byte == *wanted,
        };
        if !good {
            return Err(ParseError::Version.into());
        }
    }
    if bytes[start + 5] != b'1' {
        return Err(ParseError::VersionUnsupported.into());
    }
    match bytes.get(start + 8) {
        Some(b'\r') => line_end(bytes, start + 8)?,
        Some(b'\n') => return Err(ParseError::BareLf.into()),
        Some(_) => return Err(ParseError::Version.into()),
        None => return Err(HeadError::Incomplete),
    }
    Ok(match bytes[start + 7] {
        b'0' => Version::Http10,
        _ => Version::Http11,
    })
}

/// Calls `each` with every line's name and untrimmed value; returns where the
/// closing empty line begins.
#[inline]
pub(super) fn parse_lines<'a>(
    bytes: &'a [u8],
    start: usize,
    limits: &ParseLimits,
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), ParseError>,
) -> Result<usize, HeadError> {
    let mut at = start;
    let mut lines = 0;
    loop {
        if bytes.get(at) == Some(&b'\r') {
            line_end(bytes, at)?;
            return Ok(at);
        }
        let colon = scan::token_end(bytes, at);
        if colon == at || bytes.get(colon) != Some(&b':') {
            return Err(bad_name(bytes, at, colon));
        }
        if lines == limits.headers_max {
            return Err(ParseError::TooManyFields.into());
        }
        lines += 1;
        let end = scan::value_end(bytes, colon + 1);
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err(bad_value(bytes, end));
        }
        each(&bytes[at..colon], &bytes[colon + 1..end])?;
        at = end + 2;
    }
}

/// Why no colon follows the token from `start` to `end`.
#[cold]
pub(super) fn bad_name(bytes: &[u8], start: usize, end: usize) -> HeadError {
    match bytes.get(end) {
        None => HeadError::Incomplete,
        Some(b' ' | b'\t') if start == end => ParseError::Folded.into(),
        Some(b' ' | b'\t') => ParseError::SpaceBeforeColon.into(),
        Some(b'\n') => ParseError::BareLf.into(),
        Some(_) => ParseError::FieldName.into(),
    }
}

/// Why no CRLF stands at `end`.
#[cold]
fn bad_value(bytes: &[u8], end: usize) -> HeadError {
    match bytes.get(end) {
        None => HeadError::Incomplete,
        Some(b'\n') => ParseError::BareLf.into(),
        Some(b'\r') => match line_end(bytes, end) {
            Err(stop) => stop,
            Ok(()) => ParseError::FieldValue.into(),
        },
        Some(_) => ParseError::FieldValue.into(),
    }
}

/// Checks that LF follows the CR at `at`.
#[inline]
fn line_end(bytes: &[u8], at: usize) -> Result<(), HeadError> {
    match bytes.get(at + 1) {
        Some(b'\n') => Ok(()),
        Some(_) => Err(ParseError::BareCr.into()),
        None => Err(HeadError::Incomplete),
    }
}

#[cfg(test)]
mod tests;
