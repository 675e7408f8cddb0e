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
