//! Chunked bodies, decoded in place as their bytes arrive (RFC 9112 section 7.1).
//!
//! A server is strict about a request's framing, since an attacker uses what two parsers read in two
//! ways. A client takes what other clients take of an answer: see [`ChunkedDecoder::lenient`].

use std::fmt;
use std::ops::Range;

use crate::http::{Status, scan};
use crate::limits;

/// Why a chunked body was refused. The connection must be closed: where the
/// body ends is not known.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ChunkError {
    /// A chunk size that is not hexadecimal digits, or above `u64::MAX`.
    Size,
    /// A line with a control byte, or that does not end in CRLF.
    Line,
    /// No CRLF behind a chunk's data.
    DataEnd,
    /// A chunk-size line, or all chunk extensions together, above the limit.
    LineTooLong,
    /// A trailer section above the limit.
    TrailerTooLarge,
}

impl ChunkError {
    /// The status to answer with.
    pub fn status(&self) -> Status {
        match self {
            ChunkError::TrailerTooLarge => Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkError::Size => {
                "a chunk size in the body is malformed; write it in hexadecimal digits"
            }
            ChunkError::Line => {
                "a line of the chunked body is malformed; end every line with CRLF and send no control bytes"
            }
            ChunkError::DataEnd => {
                "a chunk has more data than its size says; end its data with CRLF"
            }
            ChunkError::LineTooLong => {
                "the chunk extensions of the body are longer than this server accepts; leave them out"
            }
            ChunkError::TrailerTooLarge => {
                "the body's trailer section is larger than this server accepts; send fewer trailer fields"
            }
        })
    }
}

impl std::error::Error for ChunkError {}

/// What one call of [`ChunkedDecoder::decode`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the input that were consumed, data included.
    pub consumed: usize,
    /// Where in the input the body's data lies; may be empty.
    pub data: Range<usize>,
    /// Whether the body has ended; what follows `consumed` is the next request.
    pub done: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    /// Before a size's first digit.
    SizeStart,
    Size,
    /// White space behind a size, which only an extension may follow.
    SpaceAfterSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Decodes one chunked body from pieces of any size.
///
/// Extensions and trailer fields are checked and discarded.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Of the size being read, then of the data still to come.
    chunk_left: u64,
    line_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
    lenient: bool,
}

impl Default for ChunkedDecoder {
    fn default() -> ChunkedDecoder {
        ChunkedDecoder::new()
    }
}

impl ChunkedDecoder {
    /// A decoder before its body's first byte.
    pub fn new() -> ChunkedDecoder {
        ChunkedDecoder {
            state: State::SizeStart,
            chunk_left: 0,
            line_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            lenient: false,
        }
    }

    /// A decoder for answers: a line may end in LF alone (RFC 9112 section 2.2) and a chunk size may
    /// be padded with white space, as some servers write it.
    pub fn lenient() -> ChunkedDecoder {
        ChunkedDecoder {
            lenient: true,
            ..ChunkedDecoder::new()
        }
    }

    /// Goes through `input` up to the end of the first run of data in it, the
    /// end of the body, or the end of the input.
    ///
    /// The next call gets what follows [`Step::consumed`]. No data and not
    /// done means that all of the input was consumed. After the end nothing
    /// is consumed.
    ///
    /// # Errors
    ///
    /// See [`ChunkError`]; the decoder can't be used after it.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            if self.state == State::Data {
                let room = input.len() - at;
                let taken = usize::try_from(self.chunk_left).map_or(room, |left| left.min(room));
                self.chunk_left -= taken as u64;
                if self.chunk_left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Step {
                    consumed: at + taken,
                    data: at..at + taken,
                    done: false,
                });
            }
            let Some(&byte) = input.get(at) else {
                break;
            };
            self.framing_byte(byte)?;
            at += 1;
        }
        Ok(Step {
            consumed: at,
            data: at..at,
            done: self.state == State::Done,
        })
    }

    /// Processes one byte outside of the data.
    fn framing_byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        if self.lenient && byte == b'\n' && self.is_at_line_end() {
            self.next_state(b'\r')?;
        }
        self.next_state(byte)
    }

    /// Whether CR is what a strict sender writes next.
    fn is_at_line_end(&self) -> bool {
        matches!(
            self.state,
            State::Size
                | State::SpaceAfterSize
                | State::Extension
                | State::DataCr
                | State::TrailerStart
                | State::TrailerValue
        )
    }

    fn next_state(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::SizeStart | State::Size, _) => self.size_byte(byte)?,
            (State::SpaceAfterSize, b' ' | b'\t') => self.line(State::SpaceAfterSize)?,
            (State::SpaceAfterSize, b';') => self.extension()?,
            (State::SpaceAfterSize, b'\r') if self.lenient => State::SizeLf,
            (State::SpaceAfterSize, _) => return Err(ChunkError::Size),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if scan::is(byte, scan::VALUE) => self.extension()?,
            (State::SizeLf, b'\n') => {
                self.line_bytes = 0;
                match self.chunk_left {
                    0 => State::TrailerStart,
                    _ => State::Data,
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::DataCr | State::DataLf, _) => return Err(ChunkError::DataEnd),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, _) if scan::is(byte, scan::TOKEN) => {
                self.trailer(State::TrailerName)?
            }
            (State::TrailerName, b':') => self.trailer(State::TrailerValue)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if scan::is(byte, scan::VALUE) => {
                self.trailer(State::TrailerValue)?
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(ChunkError::Line),
        };
        Ok(())
    }

    fn size_byte(&mut self, byte: u8) -> Result<State, ChunkError> {
        if let Some(digit) = scan::hex_digit(byte) {
            if self.chunk_left >> 60 != 0 {
                return Err(ChunkError::Size);
            }
            self.chunk_left = self.chunk_left << 4 | u64::from(digit);
            return self.line(State::Size);
        }
        match (self.state, byte) {
            (State::Size, b'\r') => Ok(State::SizeLf),
            (State::Size, b';') => self.extension(),
            (State::Size, b' ' | b'\t') => self.line(State::SpaceAfterSize),
            _ => Err(ChunkError::Size),
        }
    }

    /// Counts a byte of a chunk-size line.
    fn line(&mut self, next: State) -> Result<State, ChunkError> {
        self.line_bytes += 1;
        if self.line_bytes > limits::CHUNK_LINE_BYTES_MAX {
            return Err(ChunkError::LineTooLong);
        }
        Ok(next)
    }

    /// Counts a byte of an extension. The bound is over all chunks: otherwise a body of
    /// one-byte chunks could carry a line of extensions for each byte.
    fn extension(&mut self) -> Result<State, ChunkError> {
        self.extension_bytes += 1;
        if self.extension_bytes > limits::CHUNK_EXTENSIONS_BYTES_MAX {
            return Err(ChunkError::LineTooLong);
        }
        self.line(State::Extension)
    }

    /// Counts a byte of the trailer section.
    fn trailer(&mut self, next: State) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > limits::TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailerTooLarge);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body's data and what was left of `input`, fed in pieces of `piece` bytes.
    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), ChunkError> {
        decode_by(ChunkedDecoder::new(), input, piece)
    }

    fn decode_by(
        mut decoder: ChunkedDecoder,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), ChunkError> {
        let mut data = Vec::new();
        let mut offset = 0;
        loop {
            let end = input.len().min(offset + piece);
            let step = decoder.decode(&input[offset..end])?;
            data.extend_from_slice(&input[offset..end][step.data.clone()]);
            offset += step.consumed;
            if step.done {
                return Ok((data, input[offset..].to_vec()));
            }
            assert!(
                !step.data.is_empty() || offset == end,
                "stopped without a reason"
            );
            assert!(offset < input.len(), "the body does not end");
        }
    }

    #[track_caller]
    fn refused(input: &str, error: ChunkError) {
        for piece in [1, 3, 10_000] {
            assert_eq!(decode(input.as_bytes(), piece), Err(error));
        }
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let input = b"5\r\nhello\r\n00A;name=\"va;lue\" ;x\r\n, wide wor\r\n2 \t;y\r\nld\r\n\
                      0\r\nDigest: x\r\nB:\r\n\r\nGET /";
        for piece in 1..=input.len() {
            let (data, rest) = decode(input, piece).unwrap();
            assert_eq!(data, b"hello, wide world");
            assert_eq!(rest, b"GET /");
        }
    }

    #[test]
    fn a_client_takes_padded_sizes_and_bare_lf() {
        for text in [
            "5 \r\nhello\r\n0\r\n\r\nHTTP",
            "5\t \r\nhello\r\n0 \r\n\r\nHTTP",
            "5\nhello\n0\n\nHTTP",
            "5 ;x\nhello\r\n0\r\nA: b\nC: d\r\n\nHTTP",
        ] {
            for piece in 1..text.len() {
                let read = decode_by(ChunkedDecoder::lenient(), text.as_bytes(), piece);
                assert_eq!(read, Ok((b"hello".to_vec(), b"HTTP".to_vec())), "{text:?}");
            }
        }
        for text in [
            "\nhello",
            " 5\r\nhello",
            "5 5\r\nhello",
            "5\r\nhello!\n",
            "5\r\rhello",
        ] {
            assert!(
                decode_by(ChunkedDecoder::lenient(), text.as_bytes(), 3).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_empty_body() {
        assert_eq!(decode(b"0\r\n\r\n", 1).unwrap().0, b"");
        assert_eq!(decode(b"000\r\n\r\n", 5).unwrap().0, b"");
    }

    #[test]
    fn the_end_stays_the_end() {
        let mut decoder = ChunkedDecoder::new();
        assert!(decoder.decode(b"0\r\n\r\n").unwrap().done);
        let step = decoder.decode(b"5\r\n").unwrap();
        assert_eq!((step.consumed, step.done), (0, true));
    }

    #[test]
    fn malformed_sizes() {
        for size in [
            "", " 5", "+5", "-5", "0x5", "g", "5 ", "5 5", "\u{665}", ";x",
        ] {
            refused(&format!("{size}\r\nhello\r\n0\r\n\r\n"), ChunkError::Size);
        }
        refused("10000000000000000\r\n", ChunkError::Size);
        let mut decoder = ChunkedDecoder::new();
        let step = decoder.decode(b"ffffffffffffffff\r\nabc").unwrap();
        assert_eq!((step.consumed, step.data), (21, 18..21));
    }

    #[test]
    fn malformed_lines() {
        for bad in [
            "5\nhello\r\n0\r\n\r\n",
            "5;a\nhello\r\n0\r\n\r\n",
            "5\r\rhello\r\n0\r\n\r\n",
            "5;\0\r\nhello\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\nA: b\r\n c\r\n\r\n",
            "0\r\nA: \x01\r\n\r\n",
            "0\r\n\rX",
        ] {
            let error = if bad.starts_with("5\n") {
                ChunkError::Size
            } else {
                ChunkError::Line
            };
            refused(bad, error);
        }
    }

    #[test]
    fn data_must_end_where_its_size_says() {
        refused("5\r\nhello!\r\n0\r\n\r\n", ChunkError::DataEnd);
        refused("5\r\nhello\rX0\r\n\r\n", ChunkError::DataEnd);
        refused("5\r\nhello\n0\r\n\r\n", ChunkError::DataEnd);
        refused("4\r\nhello\r\n0\r\n\r\n", ChunkError::DataEnd);
    }

    #[test]
    fn bounds() {
        let line = |bytes: usize| format!("0{}\r\n\r\n", ";".repeat(bytes - 1));
        assert!(decode(line(limits::CHUNK_LINE_BYTES_MAX).as_bytes(), 7).is_ok());
        refused(
            &line(limits::CHUNK_LINE_BYTES_MAX + 1),
            ChunkError::LineTooLong,
        );

        let zeros = "0".repeat(limits::CHUNK_LINE_BYTES_MAX + 1);
        refused(&format!("{zeros}\r\n\r\n"), ChunkError::LineTooLong);

        let chunks = limits::CHUNK_EXTENSIONS_BYTES_MAX / 100;
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(99));
        let many = chunk.repeat(chunks) + "0\r\n\r\n";
        assert!(decode(many.as_bytes(), 1000).is_ok());
        refused(&(chunk.repeat(chunks + 1)), ChunkError::LineTooLong);

        let trailer = |bytes: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(bytes - 2));
        assert!(decode(trailer(limits::TRAILER_BYTES_MAX).as_bytes(), 7).is_ok());
        refused(
            &trailer(limits::TRAILER_BYTES_MAX + 1),
            ChunkError::TrailerTooLarge,
        );
        assert_eq!(ChunkError::TrailerTooLarge.status().code(), 431);
        assert_eq!(ChunkError::Size.status().code(), 400);
    }
}
