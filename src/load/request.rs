//! A request as prepared bytes.

use std::fmt;

use bytes::Bytes;

use super::target::Target;
use crate::load::limits;

/// Chunks in which a body is sent with `Transfer-Encoding: chunked`.
const CHUNK_BYTES: usize = 16 * 1024;

/// The parameters of a load's requests.
#[derive(Clone, Debug, Default)]
pub struct RequestSpec {
    /// `None`: GET, or POST with a body.
    pub method: Option<String>,
    /// Header lines as curl's `-H`: `Name: value`; `Name:` removes a field that would be sent.
    pub headers: Vec<String>,
    /// The body, sent in chunks if `headers` have `Transfer-Encoding: chunked`; `None`: no body.
    pub body: Option<Vec<u8>>,
    /// Asks the server to close the connection with its answer.
    pub close: bool,
}

/// A request that is ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Several copies in one buffer, so that a burst is one send.
    burst: Bytes,
    bytes: usize,
    /// Whether the method is HEAD, whose answer has no body whatever its head states.
    pub no_body: bool,
}

impl Prepared {
    /// Makes the bytes of a request, with up to `copies` copies of it for pipelining.
    ///
    /// # Errors
    /// A method or header that can't be sent.
    pub fn new(target: &Target, spec: &RequestSpec, copies: usize) -> Result<Self, RequestError> {
        let one = encode(target, spec)?;
        let copies = copies.min(limits::BURST_BYTES_MAX / one.len()).max(1);
        Ok(Self {
            bytes: one.len(),
            burst: one.repeat(copies).into(),
            no_body: spec.method.as_deref() == Some("HEAD"),
        })
    }

    /// One request.
    pub fn one(&self) -> &[u8] {
        &self.burst[..self.bytes]
    }

    /// The path and query of its target.
    pub fn path(&self) -> &str {
        let mut words = self.one().split(|&byte| byte == b' ');
        words
            .nth(1)
            .and_then(|path| str::from_utf8(path).ok())
            .unwrap_or_default()
    }

    /// `count` requests in one piece, if at least that many are prepared.
    pub fn burst(&self, count: usize) -> Option<Bytes> {
        let end = self.bytes.checked_mul(count)?;
        (end <= self.burst.len()).then(|| self.burst.slice(..end))
    }
}

fn encode(target: &Target, spec: &RequestSpec) -> Result<Vec<u8>, RequestError> {
    let default = if spec.body.is_some() { "POST" } else { "GET" };
    let method = spec.method.as_deref().unwrap_or(default);
    if method.is_empty() || !method.bytes().all(is_token) || method == "CONNECT" {
        return Err(RequestError::Method(method.to_owned()));
    }
    let mut given = Vec::with_capacity(spec.headers.len());
    for header in &spec.headers {
        given.push(split(header)?);
    }
    let is_given = |name: &str| given.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let is_chunked = given.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
    });

    let mut head = format!("{method} {} HTTP/1.1\r\n", target.path);
    let mut field = |name: &str, value: &str| {
        if !is_given(name) {
            head += &format!("{name}: {value}\r\n");
        }
    };
    field("Host", &target.origin.authority());
    field(
        "User-Agent",
        concat!("headwater/", env!("CARGO_PKG_VERSION")),
    );
    field("Accept", "*/*");
    if spec.close {
        field("Connection", "close");
    }
    if let Some(body) = &spec.body {
        field("Content-Type", "application/x-www-form-urlencoded");
        if !is_chunked {
            field("Content-Length", &body.len().to_string());
        }
    }
    for (name, value) in given.iter().filter(|(_, value)| !value.is_empty()) {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (head + "\r\n").into_bytes();
    match &spec.body {
        Some(body) if is_chunked => {
            for chunk in body.chunks(CHUNK_BYTES) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Some(body) => bytes.extend_from_slice(body),
        None => {}
    }
    Ok(bytes)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Name and value of a header line.
fn split(header: &str) -> Result<(&str, &str), RequestError> {
    let fail = || RequestError::Header(header.to_owned());
    let (name, value) = header.split_once(':').ok_or_else(fail)?;
    let value = value.trim_matches([' ', '\t']);
    let good_value = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(good_value) {
        return Err(fail());
    }
    Ok((name, value))
}

/// Why a request can't be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The method is not a token (RFC 9110 section 5.6.2), or is CONNECT.
    Method(String),
    /// The line is not `Name: value`, or has bytes that a field can't have.
    Header(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(
                f,
                "\"{method}\" is not a method that a load can use; write one such as GET, HEAD or POST"
            ),
            Self::Header(header) => write!(
                f,
                "cannot send the header {header:?}; write it as 'Name: value'"
            ),
        }
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(spec: &RequestSpec) -> Result<String, RequestError> {
        let target = Target::parse("http://h:81/p?q").unwrap();
        let prepared = Prepared::new(&target, spec, 1)?;
        Ok(String::from_utf8(prepared.one().to_vec()).unwrap())
    }

    fn headers(lines: &[&str]) -> RequestSpec {
        RequestSpec {
            headers: lines.iter().map(|&line| line.to_owned()).collect(),
            ..RequestSpec::default()
        }
    }

    #[test]
    fn a_plain_get() {
        let agent = concat!("headwater/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(&RequestSpec::default()).unwrap(),
            format!(
                "GET /p?q HTTP/1.1\r\nHost: h:81\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n"
            )
        );
    }

    #[test]
    fn headers_replace_and_remove_as_with_curl() {
        let text = text(&headers(&[
            "host: other",
            "Accept:",
            "User-Agent: me",
            "X-A: 1",
            "X-A: 2",
        ]));
        assert_eq!(
            text.unwrap(),
            "GET /p?q HTTP/1.1\r\nhost: other\r\nUser-Agent: me\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
        );
    }

    #[test]
    fn bodies_by_length_and_in_chunks() {
        let mut spec = headers(&["Accept:", "User-Agent:", "Content-Type:"]);
        spec.body = Some(b"hello".to_vec());
        assert_eq!(
            text(&spec).unwrap(),
            "POST /p?q HTTP/1.1\r\nHost: h:81\r\nContent-Length: 5\r\n\r\nhello"
        );
        spec.headers.push("Transfer-Encoding: chunked".to_owned());
        spec.method = Some("PUT".to_owned());
        assert_eq!(
            text(&spec).unwrap(),
            "PUT /p?q HTTP/1.1\r\nHost: h:81\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn a_burst_is_copies() {
        let target = Target::parse("http://h/").unwrap();
        let prepared = Prepared::new(&target, &RequestSpec::default(), 3).unwrap();
        assert_eq!(prepared.burst(3).unwrap(), prepared.one().repeat(3));
        assert_eq!(prepared.burst(4), None);
        assert_eq!(prepared.path(), "/");
    }

    #[test]
    fn what_can_not_be_sent_is_refused() {
        for header in ["no colon", ": x", "a b: c", "A: b\r\nC: d", "A: \u{1}"] {
            assert_eq!(
                text(&headers(&[header])),
                Err(RequestError::Header(header.to_owned()))
            );
        }
        for method in ["", "GE T", "CONNECT"] {
            let spec = RequestSpec {
                method: Some(method.to_owned()),
                ..RequestSpec::default()
            };
            assert_eq!(text(&spec), Err(RequestError::Method(method.to_owned())));
        }
    }
}
