//! Responses as a client reads them: heads parsed in place, bodies delimited
//! as they arrive (RFC 9112 sections 4 to 6).
//!
//! A client takes what a server must refuse: folded lines, which a user agent replaces by spaces
//! (section 5.2), and lines that end in LF alone (section 2.2). What would make the body's end
//! ambiguous is an error here too (docs/decisions/076-what-a-client-reads.md).

use std::fmt;

use super::chunked::{ChunkError, ChunkedDecoder};
use super::framing::{Fields, Framing};
use super::parse::{HeadError, ParseError, ParseLimits, bad_name};
use crate::http::known::Known;
use crate::http::{Version, scan};

/// Why an answer is none that HTTP/1.1 knows. Nothing can be read behind it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ResponseError {
    /// It does not begin with `HTTP/1.` and a version, a space and three digits.
    StatusLine,
    /// A header line is malformed, or what they say of the body's length contradicts itself.
    Head(ParseError),
    /// A chunked body is malformed.
    Chunk(ChunkError),
    /// `101 Switching Protocols`, which was not asked for.
    Upgrade,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatusLine => f.write_str("the answer does not begin with an HTTP/1 status line"),
            Self::Head(ParseError::HeadTooLarge) => f.write_str("the answer's head is too large"),
            Self::Head(ParseError::TooManyFields) => {
                f.write_str("the answer has too many header lines")
            }
            Self::Head(
                ParseError::ContentLength
                | ParseError::ContentLengthRepeated
                | ParseError::LengthAndCoding
                | ParseError::TransferEncoding
                | ParseError::TransferCodingUnknown
                | ParseError::TransferEncodingInHttp10,
            ) => f.write_str("the answer's head does not say where its body ends"),
            Self::Head(_) => f.write_str("a header line of the answer is malformed"),
            Self::Chunk(_) => f.write_str("the answer's chunked body is malformed"),
            Self::Upgrade => f.write_str("the answer switches protocols, which was not asked for"),
        }
    }
}

impl std::error::Error for ResponseError {}

impl From<ChunkError> for ResponseError {
    fn from(error: ChunkError) -> Self {
        Self::Chunk(error)
    }
}

/// What an answer's head says that its reader must know.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Head {
    status: u16,
    framing: BodyEnd,
    keep_alive: bool,
    head_bytes: usize,
}

/// How a response's body is delimited (RFC 9112 section 6.3).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum BodyEnd {
    Length(u64),
    Chunked,
    Close,
}

/// A whole answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status code, 200 to 999.
    pub status: u16,
    /// Bytes of its body, decoded from chunks.
    pub body_bytes: u64,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
}

/// What one call of [`ResponseReader::read`] did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// The answer, when it has ended; else all of the input was consumed.
    pub answer: Option<Answer>,
}

/// Reads one answer after another from a connection, however the bytes are cut.
///
/// Servers answer a repeated request with the same head but for a date, so a head
/// that equals the one before is recognised by comparing, not by parsing.
pub struct ResponseReader {
    state: State,
    limits: ParseLimits,
    /// The beginning of a head that is not whole.
    partial: Vec<u8>,
    /// The bytes of the last head and what they said.
    last: Vec<u8>,
    /// The same with its folded lines joined, if there are some.
    last_unfolded: Option<Vec<u8>>,
    last_head: Option<Head>,
    last_no_body: bool,
}

enum State {
    Head,
    Body {
        head: Head,
        left: Left,
        body_bytes: u64,
    },
}

enum Left {
    Bytes(u64),
    Chunks(ChunkedDecoder),
    UntilClose,
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new(ParseLimits::response())
    }
}

impl ResponseReader {
    /// A reader before a connection's first byte.
    pub fn new(limits: ParseLimits) -> Self {
        Self {
            state: State::Head,
            limits,
            partial: Vec::new(),
            last: Vec::new(),
            last_unfolded: None,
            last_head: None,
            last_no_body: false,
        }
    }

    /// Whether a part of an answer has come.
    pub fn is_within(&self) -> bool {
        matches!(self.state, State::Body { .. }) || !self.partial.is_empty()
    }

    /// The last answer's head, up to and with its empty line: as it came, but for folded lines, whose
    /// line ends are spaces.
    pub fn last_head(&self) -> &[u8] {
        self.last_unfolded.as_deref().unwrap_or(&self.last)
    }

    /// Goes through `input` up to the end of an answer or of the input. With `no_body`, the answer
    /// is one to HEAD. The body's bytes go to `data` as they come.
    ///
    /// # Errors
    ///
    /// See [`ResponseError`]; the reader is then of no further use.
    #[inline]
    pub fn read(
        &mut self,
        input: &[u8],
        no_body: bool,
        mut data: impl FnMut(&[u8]),
    ) -> Result<Step, ResponseError> {
        let at = self.begin(input, no_body)?;
        let State::Body {
            head,
            left,
            body_bytes,
        } = &mut self.state
        else {
            return Ok(Step {
                consumed: at,
                answer: None,
            });
        };
        let (used, done) = left.read(&input[at..], |bytes| {
            *body_bytes += bytes.len() as u64;
            data(bytes);
        })?;
        let answer = done.then_some(Answer {
            status: head.status,
            body_bytes: *body_bytes,
            keep_alive: head.keep_alive,
        });
        if done {
            self.state = State::Head;
        }
        Ok(Step {
            consumed: at + used,
            answer,
        })
    }

    /// Goes through `input` up to the end of an answer's head, unless that has been read, or up to
    /// the input's; gives how much that was. For who must know the head before the body.
    ///
    /// # Errors
    ///
    /// See [`ResponseError`]; the reader is then of no further use.
    #[inline]
    pub fn begin(&mut self, input: &[u8], no_body: bool) -> Result<usize, ResponseError> {
        let mut at = 0;
        while matches!(self.state, State::Head) {
            let Some((head, used)) = self.read_head(&input[at..], no_body)? else {
                return Ok(input.len());
            };
            at += used;
            if head.status < 200 {
                continue;
            }
            let left = match head.framing {
                BodyEnd::Length(bytes) => Left::Bytes(bytes),
                BodyEnd::Chunked => Left::Chunks(ChunkedDecoder::lenient()),
                BodyEnd::Close => Left::UntilClose,
            };
            self.state = State::Body {
                head,
                left,
                body_bytes: 0,
            };
        }
        Ok(at)
    }

    /// The status of the answer whose head has come and whose body has not ended.
    pub fn status(&self) -> Option<u16> {
        match &self.state {
            State::Body { head, .. } => Some(head.status),
            State::Head => None,
        }
    }

    /// The connection has ended: the answer that ends with it, if that is how it ends.
    pub fn end(&mut self) -> Option<Answer> {
        match &self.state {
            State::Body {
                head,
                left: Left::UntilClose,
                body_bytes,
            } => Some(Answer {
                status: head.status,
                body_bytes: *body_bytes,
                keep_alive: false,
            }),
            _ => None,
        }
    }

    /// The head at the start of `input` and how much of the input it took, or
    /// `None` when all of the input was put aside.
    fn read_head(
        &mut self,
        input: &[u8],
        no_body: bool,
    ) -> Result<Option<(Head, usize)>, ResponseError> {
        if self.partial.is_empty() {
            if let Some(head) = self.last_head
                && self.last_no_body == no_body
                && input.starts_with(&self.last)
            {
                return Ok(Some((head, head.head_bytes)));
            }
            let Some((head, unfolded)) = parse_head(input, no_body, &self.limits)? else {
                self.partial.extend_from_slice(input);
                return Ok(None);
            };
            self.remember(head, &input[..head.head_bytes], unfolded, no_body);
            return Ok(Some((head, head.head_bytes)));
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(input);
        let Some((head, unfolded)) = parse_head(&self.partial, no_body, &self.limits)? else {
            return Ok(None);
        };
        let partial = std::mem::take(&mut self.partial);
        self.remember(head, &partial[..head.head_bytes], unfolded, no_body);
        Ok(Some((head, head.head_bytes - before)))
    }

    fn remember(&mut self, head: Head, bytes: &[u8], unfolded: Option<Vec<u8>>, no_body: bool) {
        self.last.clear();
        self.last.extend_from_slice(bytes);
        self.last_unfolded = unfolded;
        self.last_head = Some(head);
        self.last_no_body = no_body;
    }
}

impl Left {
    /// Takes in what belongs to the body; gives how much that was, and whether it has ended.
    #[inline]
    fn read(
        &mut self,
        input: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), ResponseError> {
        match self {
            Self::Bytes(left) => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                if taken > 0 {
                    data(&input[..taken]);
                }
                Ok((taken, *left == 0))
            }
            Self::Chunks(decoder) => {
                let mut at = 0;
                loop {
                    let step = decoder.decode(&input[at..])?;
                    if !step.data.is_empty() {
                        data(&input[at..][step.data.clone()]);
                    }
                    at += step.consumed;
                    if step.done || at == input.len() {
                        return Ok((at, step.done));
                    }
                }
            }
            Self::UntilClose => {
                if !input.is_empty() {
                    data(input);
                }
                Ok((input.len(), false))
            }
        }
    }
}

/// A parsed head, and its bytes with folded lines joined if there were some.
type ParsedHead = (Head, Option<Vec<u8>>);

/// Parses the head at the start of `bytes`; `None` when more are needed.
fn parse_head(
    bytes: &[u8],
    no_body: bool,
    limits: &ParseLimits,
) -> Result<Option<ParsedHead>, ResponseError> {
    match parse_unfolded(bytes, no_body, limits) {
        Err(ResponseError::Head(ParseError::Folded)) => {
            let unfolded = unfold(bytes, limits);
            let head = parse_unfolded(&unfolded, no_body, limits)?;
            Ok(head.map(|head| (head, Some(unfolded))))
        }
        parsed => Ok(parsed?.map(|head| (head, None))),
    }
}

/// Parses a head without folded lines.
fn parse_unfolded(
    bytes: &[u8],
    no_body: bool,
    limits: &ParseLimits,
) -> Result<Option<Head>, ResponseError> {
    let mut fields = Fields::default();
    let lines = read_lines(bytes, limits, |version, name, value| {
        if let Some(known @ (Known::ContentLength | Known::TransferEncoding | Known::Connection)) =
            Known::of(name)
        {
            fields.note(known, value, version)?;
        }
        Ok(())
    })?;
    let Some((version, status, head_bytes)) = lines else {
        return Ok(None);
    };
    if status == 101 {
        return Err(ResponseError::Upgrade);
    }
    let keep_alive = fields.keep_alive(version);
    let framing = match fields.framing().map_err(ResponseError::Head)? {
        _ if no_body || status < 200 || status == 204 || status == 304 => BodyEnd::Length(0),
        Framing::Length(bytes) => BodyEnd::Length(bytes),
        Framing::Chunked => BodyEnd::Chunked,
        Framing::None => BodyEnd::Close,
    };
    Ok(Some(Head {
        status,
        framing,
        keep_alive: keep_alive && framing != BodyEnd::Close,
        head_bytes,
    }))
}

/// The version, the status and the length of the head at the start of `bytes`; `None` when more
/// are needed. Names and untrimmed values go to `each`.
pub(in crate::http) fn read_lines<'a>(
    bytes: &'a [u8],
    limits: &ParseLimits,
    mut each: impl FnMut(Version, &'a [u8], &'a [u8]) -> Result<(), ParseError>,
) -> Result<Option<(Version, u16, usize)>, ResponseError> {
    let bytes = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
    let whole = bytes.len() >= limits.head_bytes_max;
    let Some((version, status, block_start)) = status_line(bytes)? else {
        return match whole {
            true => Err(ResponseError::Head(ParseError::HeadTooLarge)),
            false => Ok(None),
        };
    };
    match field_lines(bytes, block_start, limits, |name, value| {
        each(version, name, value)
    }) {
        Ok(end) => Ok(Some((version, status, end))),
        Err(HeadError::Invalid(error)) => Err(ResponseError::Head(error)),
        Err(HeadError::Incomplete) if whole => Err(ResponseError::Head(ParseError::HeadTooLarge)),
        Err(HeadError::Incomplete) => Ok(None),
    }
}

/// The version, the status and where the header lines begin; `None` when the line is not whole.
fn status_line(bytes: &[u8]) -> Result<Option<(Version, u16, usize)>, ResponseError> {
    const FORM: &[u8] = b"HTTP/1.v sss";
    for (&byte, &wanted) in bytes.iter().zip(FORM) {
        let good = match wanted {
            b'v' | b's' => byte.is_ascii_digit(),
            _ => byte == wanted,
        };
        if !good {
            return Err(ResponseError::StatusLine);
        }
    }
    let [.., minor, b' ', a, b, c] = bytes.get(..FORM.len()).unwrap_or_default() else {
        return Ok(None);
    };
    let version = match minor {
        b'0' => Version::Http10,
        _ => Version::Http11,
    };
    let status = [a, b, c]
        .iter()
        .fold(0, |number, &&digit| number * 10 + u16::from(digit - b'0'));
    if status < 100 {
        return Err(ResponseError::StatusLine);
    }
    // A space and a reason, which may be empty, and which some leave out with its space.
    match bytes.get(FORM.len()) {
        None => return Ok(None),
        Some(b' ' | b'\r' | b'\n') => {}
        Some(_) => return Err(ResponseError::StatusLine),
    }
    match line_end(bytes, scan::value_end(bytes, FORM.len())) {
        Ok(next) => Ok(Some((version, status, next))),
        Err(HeadError::Incomplete) => Ok(None),
        Err(HeadError::Invalid(_)) => Err(ResponseError::StatusLine),
    }
}

/// Calls `each` with every line's name and untrimmed value; returns where the bytes behind the closing
/// empty line begin. A folded line is [`ParseError::Folded`].
#[inline]
fn field_lines<'a>(
    bytes: &'a [u8],
    start: usize,
    limits: &ParseLimits,
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), ParseError>,
) -> Result<usize, HeadError> {
    let (mut at, mut lines) = (start, 0);
    loop {
        if matches!(bytes.get(at), Some(b'\r' | b'\n')) {
            return line_end(bytes, at);
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
        let next = line_end(bytes, end)?;
        // What a fold adds to the value must be known before the value is looked at.
        match bytes.get(next) {
            None => return Err(HeadError::Incomplete),
            Some(b' ' | b'\t') => return Err(ParseError::Folded.into()),
            Some(_) => {}
        }
        each(&bytes[at..colon], &bytes[colon + 1..end])?;
        at = next;
    }
}

/// Where the line after the one that ends at `at` begins: after CRLF or LF.
#[inline]
fn line_end(bytes: &[u8], at: usize) -> Result<usize, HeadError> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(at + 2),
        (Some(b'\n'), _) => Ok(at + 1),
        (None, _) | (Some(b'\r'), None) => Err(HeadError::Incomplete),
        (Some(b'\r'), Some(_)) => Err(ParseError::BareCr.into()),
        (Some(_), _) => Err(ParseError::FieldValue.into()),
    }
}

/// The head at the start of `bytes`, with spaces in place of the line ends that are followed by white
/// space (RFC 9112 section 5.2). As long as the head is; a fold of the status line stays, and is refused.
pub(in crate::http) fn unfold(bytes: &[u8], limits: &ParseLimits) -> Vec<u8> {
    let bytes = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
    let mut head = bytes.to_vec();
    let mut begin = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let is_empty = matches!(&bytes[begin..at], [] | [b'\r']);
        if is_empty {
            head.truncate(at + 1);
            break;
        }
        if begin > 0 && matches!(bytes.get(at + 1), Some(b' ' | b'\t')) {
            head[at] = b' ';
            if bytes[at - 1] == b'\r' {
                head[at - 1] = b' ';
            }
        }
        begin = at + 1;
    }
    head
}

#[cfg(test)]
mod tests;
