//! Responses and their bodies, independent of the protocol that carries them.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{DateValue, Status};
use crate::sys::file::File;

/// A response. Date, length and connection fields are not among its headers:
/// the protocol that sends it writes them.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// The header lines.
    pub headers: HeaderBlock,
    /// Lines that depend on the request and are sent after `headers`. The piece in `prepared` is
    /// made without them, so that requests that need none or others can share it
    /// (`docs/decisions/066-edits-kept-with-the-file.md`).
    pub appended: Option<HeaderBlock>,
    /// The body.
    pub body: Body,
    /// Where the protocol may cache this response, serialised in one piece.
    pub prepared: Option<Rc<Prepared>>,
}

impl Response {
    /// A response without header lines and body.
    pub fn new(status: Status) -> Response {
        Response {
            status,
            headers: HeaderBlock::new(),
            appended: None,
            body: Body::Empty,
            prepared: None,
        }
    }

    /// A response that says in one sentence what went wrong and what to do next, for
    /// [`Response::explain`] to give it the form that the client prefers.
    pub fn error(status: Status, sentence: &str) -> Response {
        let mut text = String::with_capacity(sentence.len() + 1);
        text.push_str(sentence);
        text.push('\n');
        Response::new(status).with_body(Body::Explanation(Bytes::from(text)))
    }

    /// Adds a header line; see [`HeaderBlock::with`].
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Response {
        self.headers.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Response {
        self.body = body;
        self
    }
}

/// A whole response, head and body in one piece, kept beside a cached body for as long as its
/// Date holds.
#[derive(Debug, Default)]
pub struct Prepared {
    rendered: RefCell<Option<(DateValue, Rendered)>>,
}

/// A response in one piece.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Head and body.
    pub bytes: Bytes,
    /// Bytes of the head without the empty line that ends it: where further lines go.
    pub lines_end: usize,
}

impl Prepared {
    /// The piece made with this Date; `render` makes it when there is none.
    #[inline]
    pub fn piece(&self, date: &DateValue, render: impl FnOnce() -> Rendered) -> Ref<'_, Rendered> {
        let cached = self.rendered.borrow();
        if matches!(&*cached, Some((made, _)) if made == date) {
            return Ref::map(cached, piece_of);
        }
        drop(cached);
        let piece = render();
        *self.rendered.borrow_mut() = Some((*date, piece));
        Ref::map(self.rendered.borrow(), piece_of)
    }
}

fn piece_of(cached: &Option<(DateValue, Rendered)>) -> &Rendered {
    static NOTHING: Rendered = Rendered {
        bytes: Bytes::new(),
        lines_end: 0,
    };
    cached.as_ref().map_or(&NOTHING, |(_, piece)| piece)
}

/// Header lines to send, `name: value\r\n` repeated, names in lower case.
#[derive(Clone, Debug, Default)]
pub struct HeaderBlock(Block);

#[derive(Clone, Debug)]
enum Block {
    Building(Vec<u8>),
    Shared(Rc<[u8]>),
}

impl Default for Block {
    fn default() -> Block {
        Block::Building(Vec::new())
    }
}

impl HeaderBlock {
    /// No lines.
    pub fn new() -> HeaderBlock {
        HeaderBlock::default()
    }

    /// The lines.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Block::Building(lines) => lines,
            Block::Shared(lines) => lines,
        }
    }

    /// Adds a line.
    ///
    /// `name` is a token in lower case. A control byte in `value` is sent as a
    /// space (RFC 9110 section 5.5), so that no value can end its line and
    /// begin another.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> HeaderBlock {
        self.push(name, value);
        self
    }

    /// Adds a line; see [`HeaderBlock::with`].
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        debug_assert!(!name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        let value = value.as_ref();
        let mut lines = self.take();
        lines.reserve(name.len() + value.len() + 4);
        lines.extend_from_slice(name.as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend(value.iter().map(|&byte| match byte {
            0x7f => b' ',
            byte if byte < 0x20 && byte != b'\t' => b' ',
            byte => byte,
        }));
        lines.extend_from_slice(b"\r\n");
        self.0 = Block::Building(lines);
    }

    /// The value of the first line of `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.as_bytes().split_inclusive(|byte| *byte == b'\n');
        lines.find_map(|line| value_of(line, name))
    }

    /// Removes all lines of `name`.
    pub fn remove(&mut self, name: &str) {
        if self.get(name).is_none() {
            return;
        }
        let lines = self.as_bytes().split_inclusive(|byte| *byte == b'\n');
        let kept = lines.filter(|line| value_of(line, name).is_none());
        self.0 = Block::Building(kept.flatten().copied().collect());
    }

    /// Adds `field` to the names in Vary, unless it is listed; Vary stays one line.
    pub fn vary(&mut self, field: &str) {
        let Some(listed) = self.get("vary") else {
            self.push("vary", field);
            return;
        };
        let mut names = listed.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if names.any(|name| name.eq_ignore_ascii_case(field.as_bytes())) {
            return;
        }
        let value = [listed, b", ", field.as_bytes()].concat();
        self.remove("vary");
        self.push("vary", value);
    }

    /// Moves the lines out to be changed.
    fn take(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.0) {
            Block::Building(lines) => lines,
            Block::Shared(lines) => lines.to_vec(),
        }
    }

    /// These lines followed by `others`.
    #[must_use]
    pub fn followed_by(self, others: &HeaderBlock) -> HeaderBlock {
        HeaderBlock(Block::Building(
            [self.as_bytes(), others.as_bytes()].concat(),
        ))
    }

    /// The same lines in a form whose clones share one allocation, for a cache.
    #[must_use]
    pub fn into_shared(self) -> HeaderBlock {
        HeaderBlock(match self.0 {
            Block::Building(lines) => Block::Shared(lines.into()),
            shared => shared,
        })
    }
}

/// The value in a line `name: value\r\n` if it has this name.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b": ")?;
    value.strip_suffix(b"\r\n")
}

/// A response's body.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A sentence, as a line of UTF-8 text, that says why there is nothing else.
    Explanation(Bytes),
    /// A part of a file.
    File(FileSlice),
    /// Pieces, one after the other.
    Parts(Vec<Part>),
    /// Bytes that are produced while they are sent.
    Stream(Box<dyn BodyStream>),
}

impl Body {
    /// The length in bytes; `None` for a stream that does not know its own.
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Bytes(bytes) | Body::Explanation(bytes) => Some(bytes.len() as u64),
            Body::File(slice) => Some(slice.len),
            Body::Parts(parts) => Some(parts.iter().map(Part::len).sum()),
            Body::Stream(stream) => stream.len(),
        }
    }

    /// Whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Body::Empty => "Empty",
            Body::Bytes(_) => "Bytes",
            Body::Explanation(_) => "Explanation",
            Body::File(_) => "File",
            Body::Parts(_) => "Parts",
            Body::Stream(_) => "Stream",
        };
        f.debug_tuple(kind).field(&self.len()).finish()
    }
}

/// One piece of a body in several.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file.
    File(FileSlice),
}

impl Part {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(slice) => slice.len,
        }
    }

    /// Whether the piece has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A part of an open file.
#[derive(Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Rc<File>,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub len: u64,
}

impl fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSlice({}+{})", self.offset, self.len)
    }
}

/// A body that is produced while it is sent.
pub trait BodyStream {
    /// The next bytes; `None` at the end. An empty piece is allowed and is not the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;

    /// Bytes still to come, if known. A stream that announces a length must deliver exactly it.
    fn len(&self) -> Option<u64>;

    /// Whether the stream is known to have no bytes left.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// Why a body could not be produced to its end. The head is already sent, so the
/// connection has to be closed.
#[derive(Debug)]
pub struct BodyError {
    operation: &'static str,
    source: io::Error,
}

impl BodyError {
    /// `operation` says what was being done, as in `reading a segment`.
    pub fn new(operation: &'static str, source: io::Error) -> BodyError {
        BodyError { operation, source }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the answer was cut short while {}: {}; the client must ask again",
            self.operation, self.source
        )
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_line() {
        let block = HeaderBlock::new()
            .with("location", "/a\r\nset-cookie: b\0\x7f\tc")
            .with("etag", b"\"\xff\"");
        assert_eq!(
            block.as_bytes(),
            b"location: /a  set-cookie: b  \tc\r\netag: \"\xff\"\r\n"
        );
    }

    #[test]
    fn lines_are_found_and_removed_by_their_whole_name() {
        let mut block = HeaderBlock::new()
            .with("a", "1")
            .with("a-b", "2")
            .with("a", "3")
            .into_shared();
        assert_eq!(block.get("a"), Some(&b"1"[..]));
        assert_eq!(block.get("b"), None);
        block.remove("a");
        block.remove("b");
        assert_eq!(block.as_bytes(), b"a-b: 2\r\n");
        block.remove("a-b");
        assert_eq!(block.as_bytes(), b"");
    }

    #[test]
    fn vary_has_each_name_once_and_is_one_line() {
        let mut block = HeaderBlock::new();
        block.vary("origin");
        block.push("etag", "x");
        block.vary("accept-encoding");
        block.vary("Origin");
        assert_eq!(
            block.as_bytes(),
            b"etag: x\r\nvary: origin, accept-encoding\r\n"
        );
    }

    #[test]
    fn a_shared_block_is_copied_when_it_grows() {
        let shared = HeaderBlock::new().with("a", "1").into_shared();
        let grown = shared.clone().with("b", "2");
        assert_eq!(shared.as_bytes(), b"a: 1\r\n");
        assert_eq!(grown.as_bytes(), b"a: 1\r\nb: 2\r\n");
    }

    #[test]
    fn lengths_add_up() {
        let part = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
        let body = Body::Parts(vec![part("abc"), part(""), part("de")]);
        assert_eq!(body.len(), Some(5));
        assert!(!body.is_empty());
        assert!(Body::default().is_empty());
        assert!(part("").is_empty());
    }

    #[test]
    fn an_error_response_is_a_line_of_text() {
        let response = Response::error(Status::NOT_FOUND, "Nothing is here.");
        assert_eq!(response.status, Status::NOT_FOUND);
        assert!(matches!(&response.body, Body::Explanation(text) if text == "Nothing is here.\n"));
        assert!(response.headers.as_bytes().is_empty());
    }

    #[test]
    fn a_prepared_piece_holds_for_its_second() {
        let prepared = Prepared::default();
        let (now, later) = (DateValue::from_unix(1), DateValue::from_unix(2));
        let piece = |date, text: &'static str| {
            let render = || Rendered {
                bytes: Bytes::from_static(text.as_bytes()),
                lines_end: 0,
            };
            prepared.piece(&date, render).bytes.clone()
        };
        assert_eq!(piece(now, "a"), "a");
        assert_eq!(piece(now, "not rendered again"), "a");
        assert_eq!(piece(later, "b"), "b");
        assert_eq!(piece(now, "c"), "c");
    }

    #[test]
    fn an_error_says_what_was_being_done() {
        let error = BodyError::new("reading a segment", io::Error::other("gone"));
        assert_eq!(
            error.to_string(),
            "the answer was cut short while reading a segment: gone; the client must ask again"
        );
    }
}
