//! Why a request head was refused.

use crate::http::Status;

/// Why a request head was refused. After any of these the connection must be
/// closed: where the next request would begin is not known.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// Bytes before the request line that no method begins with.
    Garbage,
    /// A method that is empty or not a token.
    Method,
    /// A method longer than any that exists.
    MethodTooLong,
    /// A target with a byte that may not stand in it, or of a form that its method does not take.
    Target,
    /// A target above the limit.
    TargetTooLong,
    /// No HTTP version where one must stand.
    Version,
    /// A major version other than 1.
    VersionUnsupported,
    /// A line that ends in LF alone.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// A field name that is empty or not a token.
    FieldName,
    /// White space between a field name and its colon.
    SpaceBeforeColon,
    /// A line that begins with white space.
    Folded,
    /// A control byte in a field value.
    FieldValue,
    /// More field lines than the limit.
    TooManyFields,
    /// A request line and header section above the limit.
    HeadTooLarge,
    /// HTTP/1.1 without Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host, or a target's authority, that is not a host and port.
    Host,
    /// A Content-Length that is not one number.
    ContentLength,
    /// More than one Content-Length.
    ContentLengthRepeated,
    /// Content-Length together with Transfer-Encoding.
    LengthAndCoding,
    /// A Transfer-Encoding that is malformed or does not end in one `chunked`.
    TransferEncoding,
    /// A transfer coding that this server does not implement.
    TransferCodingUnknown,
    /// Transfer-Encoding in HTTP/1.0.
    TransferEncodingInHttp10,
    /// An Expect other than `100-continue`.
    Expect,
}

impl ParseError {
    /// The status to answer with.
    pub fn status(&self) -> Status {
        match self {
            ParseError::TargetTooLong => Status::URI_TOO_LONG,
            ParseError::TooManyFields | ParseError::HeadTooLarge => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            ParseError::MethodTooLong | ParseError::TransferCodingUnknown => {
                Status::NOT_IMPLEMENTED
            }
            ParseError::VersionUnsupported => Status::HTTP_VERSION_NOT_SUPPORTED,
            ParseError::Expect => Status::EXPECTATION_FAILED,
            _ => Status::BAD_REQUEST,
        }
    }

    fn sentence(&self) -> &'static str {
        match self {
            ParseError::Garbage => {
                "the connection does not begin with an HTTP request; if this is TLS, connect to the server's TLS port"
            }
            ParseError::Method => {
                "the method is not a token; a request line reads METHOD TARGET HTTP/1.1"
            }
            ParseError::MethodTooLong => "the method is longer than any that this server knows",
            ParseError::Target => {
                "the request target is malformed; send a path that begins with / and percent-encode all but visible ASCII"
            }
            ParseError::TargetTooLong => {
                "the request target is longer than this server accepts; shorten the path or the query"
            }
            ParseError::Version => {
                "the request line does not end in an HTTP version; it must read METHOD TARGET HTTP/1.1"
            }
            ParseError::VersionUnsupported => {
                "the HTTP version is not spoken here; send HTTP/1.1 or HTTP/1.0"
            }
            ParseError::BareLf => "a line ends in LF alone; end every line with CRLF",
            ParseError::BareCr => "a CR stands alone; end every line with CRLF",
            ParseError::FieldName => {
                "a field name is empty or has a byte that may not stand in a token"
            }
            ParseError::SpaceBeforeColon => {
                "white space stands between a field name and its colon; remove it"
            }
            ParseError::Folded => {
                "a header line begins with white space; folded lines are obsolete, send each field on one line"
            }
            ParseError::FieldValue => "a field value has a control byte; remove it",
            ParseError::TooManyFields => {
                "the request has more header fields than this server accepts; send fewer"
            }
            ParseError::HeadTooLarge => {
                "the request head is larger than this server accepts; send fewer or shorter header fields"
            }
            ParseError::HostMissing => "the Host field is missing, and HTTP/1.1 requires it",
            ParseError::HostRepeated => "the Host field stands more than once; send it once",
            ParseError::Host => "the Host field or the target's authority is not a host and port",
            ParseError::ContentLength => {
                "the Content-Length is not one number of bytes in decimal digits"
            }
            ParseError::ContentLengthRepeated => {
                "the Content-Length field stands more than once; send it once"
            }
            ParseError::LengthAndCoding => {
                "Content-Length and Transfer-Encoding exclude each other; send one of them"
            }
            ParseError::TransferEncoding => {
                "the Transfer-Encoding is malformed; its last coding must be chunked, once"
            }
            ParseError::TransferCodingUnknown => {
                "the transfer coding is not implemented; send chunked alone"
            }
            ParseError::TransferEncodingInHttp10 => {
                "HTTP/1.0 has no Transfer-Encoding; send Content-Length or speak HTTP/1.1"
            }
            ParseError::Expect => {
                "the expectation is not known; the only one that can be met is 100-continue"
            }
        }
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ParseLimits, parse_request};

    /// A request for each error, with the status that it is answered with.
    const REFUSED: [(&str, ParseError, u16); 27] = [
        ("\x16\x03\x01 /", ParseError::Garbage, 400),
        ("G\"T / HTTP/1.1\r\n", ParseError::Method, 400),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n",
            ParseError::MethodTooLong,
            501,
        ),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", ParseError::Target, 400),
        ("GET /\x7f HTTP/1.1\r\n", ParseError::Target, 400),
        (
            "GET /0123456789012345678901234567890 HTTP/1.1\r\n",
            ParseError::TargetTooLong,
            414,
        ),
        ("GET / HTTX/1.1\r\n", ParseError::Version, 400),
        ("GET / HTTP/2.0\r\n", ParseError::VersionUnsupported, 505),
        (
            "GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
            ParseError::BareLf,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n",
            ParseError::BareCr,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
            ParseError::SpaceBeforeColon,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHo\"st: a\r\n\r\n",
            ParseError::FieldName,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            ParseError::SpaceBeforeColon,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            ParseError::Folded,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
            ParseError::FieldValue,
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\nF: g\r\nH: i\r\n\r\n",
            ParseError::TooManyFields,
            431,
        ),
        ("GET / HTTP/1.1\r\n\r\n", ParseError::HostMissing, 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            ParseError::HostRepeated,
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ParseError::Host, 400),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            ParseError::ContentLength,
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            ParseError::ContentLengthRepeated,
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ParseError::LengthAndCoding,
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            ParseError::TransferEncoding,
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            ParseError::TransferCodingUnknown,
            501,
        ),
        (
            "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            ParseError::TransferEncodingInHttp10,
            400,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
            ParseError::Expect,
            417,
        ),
        (
            "GET / HTTP/1.1\r\nHost: 0123456789012345678901234567890123456789\r\n\
             B: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
            ParseError::HeadTooLarge,
            431,
        ),
    ];

    #[test]
    fn every_error_has_its_request_its_status_and_a_sentence_of_its_own() {
        let limits = ParseLimits {
            head_bytes_max: 128,
            headers_max: 4,
            uri_bytes_max: 16,
        };
        let mut sentences = Vec::new();
        for (request, wanted, status) in REFUSED {
            let error = parse_request(request.as_bytes(), &limits).expect_err(request);
            assert_eq!(error, wanted, "{request:?}");
            assert_eq!(error.status().code(), status, "{request:?}");
            let sentence = error.to_string();
            assert!(sentence.len() > 20, "{sentence}");
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        assert_eq!(sentences.len(), REFUSED.len() - 2);
    }
}
