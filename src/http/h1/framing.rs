//! The header fields that frame a message: where its body ends, whether the
//! connection stays open, and the host that is addressed.

use super::error::ParseError;
use super::request_target;
use crate::http::Version;
use crate::http::known::Known;
use crate::http::scan;

/// How a request's body is delimited (RFC 9112 section 6.3).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// No body: neither Content-Length nor Transfer-Encoding was sent.
    None,
    /// A body of this many bytes, which may be 0.
    Length(u64),
    /// A chunked body.
    Chunked,
}

/// The framing fields seen so far.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) expect_continue: bool,
    length: Option<u64>,
    coding: Option<TransferCoding>,
    close: bool,
    keep_alive: bool,
}

/// The transfer codings so far, over all lines.
#[derive(Copy, Clone, PartialEq, Eq)]
enum TransferCoding {
    Chunked,
    Unknown,
    UnknownThenChunked,
}

impl<'a> Fields<'a> {
    /// Processes one line; other fields are ignored.
    #[inline]
    pub(super) fn note(
        &mut self,
        name: Known,
        value: &'a [u8],
        version: Version,
    ) -> Result<(), ParseError> {
        match name {
            Known::Host => self.host(value),
            Known::Connection => {
                self.connection(value);
                Ok(())
            }
            Known::ContentLength => self.content_length(value),
            Known::TransferEncoding => self.transfer_encoding(value, version),
            Known::Expect => self.expect(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), ParseError> {
        if self.host.is_some() {
            return Err(ParseError::HostRepeated);
        }
        let value = scan::trim(value);
        if !request_target::is_authority(value) {
            return Err(ParseError::Host);
        }
        self.host = Some(value);
        Ok(())
    }

    /// RFC 9110 section 7.6.1, RFC 9112 section 9.3.
    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(scan::trim) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            }
        }
    }

    /// RFC 9112 section 6.3 allows a list of equal numbers; it is refused
    /// here, since only a broken or hostile sender produces one.
    fn content_length(&mut self, value: &[u8]) -> Result<(), ParseError> {
        if self.length.is_some() {
            return Err(ParseError::ContentLengthRepeated);
        }
        if self.coding.is_some() {
            return Err(ParseError::LengthAndCoding);
        }
        let length = scan::decimal(scan::trim(value)).ok_or(ParseError::ContentLength)?;
        self.length = Some(length);
        Ok(())
    }

    /// RFC 9112 sections 6.1 and 7.
    fn transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), ParseError> {
        if version == Version::Http10 {
            return Err(ParseError::TransferEncodingInHttp10);
        }
        if self.length.is_some() {
            return Err(ParseError::LengthAndCoding);
        }
        for coding in value.split(|&byte| byte == b',').map(scan::trim) {
            let name = coding.split(|&byte| byte == b';').next().unwrap_or(coding);
            let name = scan::trim(name);
            if name.is_empty() || !scan::all(name, scan::TOKEN) {
                return Err(ParseError::TransferEncoding);
            }
            let chunked = name.eq_ignore_ascii_case(b"chunked");
            if chunked && name.len() != coding.len() {
                return Err(ParseError::TransferEncoding);
            }
            self.coding = Some(match (self.coding, chunked) {
                // Whatever follows `chunked`, it is no longer the last.
                (Some(TransferCoding::Chunked | TransferCoding::UnknownThenChunked), _) => {
                    return Err(ParseError::TransferEncoding);
                }
                (None, true) => TransferCoding::Chunked,
                (None | Some(TransferCoding::Unknown), false) => TransferCoding::Unknown,
                (Some(TransferCoding::Unknown), true) => TransferCoding::UnknownThenChunked,
            });
        }
        Ok(())
    }

    /// RFC 9110 section 10.1.1.
    fn expect(&mut self, value: &[u8]) -> Result<(), ParseError> {
        if !scan::trim(value).eq_ignore_ascii_case(b"100-continue") {
            return Err(ParseError::Expect);
        }
        self.expect_continue = true;
        Ok(())
    }

    /// How the body is delimited, once all lines were read.
    pub(super) fn framing(&self) -> Result<Framing, ParseError> {
        match (self.coding, self.length) {
            (Some(TransferCoding::Chunked), _) => Ok(Framing::Chunked),
            (Some(TransferCoding::UnknownThenChunked), _) => Err(ParseError::TransferCodingUnknown),
            // RFC 9112 section 6.3: without a final `chunked` the body's end is not known.
            (Some(TransferCoding::Unknown), _) => Err(ParseError::TransferEncoding),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(Framing::None),
        }
    }

    /// Whether the connection may carry another request; `close` wins.
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version != Version::Http10 || self.keep_alive)
    }
}
