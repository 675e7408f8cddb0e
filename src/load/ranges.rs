//! Range requests: which pieces of an object are requested, and what their answers must state.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use crate::config::Unit;
use crate::http::ByteRange;
use crate::load::limits;

/// The order in which pieces are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangePattern {
    /// Each connection reads an object from its beginning to its end.
    Sequential,
    /// Each request is for a random piece of a random object.
    Random,
    /// Each connection is a video player.
    Player,
}

/// A pattern as written: `sequential:1MB`, `random:256KiB`, `player`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSpec {
    /// The order in which pieces are requested.
    pub pattern: RangePattern,
    /// Bytes of a piece; the last piece of an object may have fewer.
    pub piece_bytes: u64,
}

/// The players' options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlayerOptions {
    /// Bits of media per second; `None`: the file's size over the duration that its `mvhd` states, or
    /// `limits::PLAYER_BITS_PER_S`.
    pub bits_per_s: Option<f64>,
    /// The mean time between seeks, which are independent events; `None`: players do not seek.
    pub seek_ms: Option<u64>,
    /// The playing time that the buffer holds.
    pub buffer_ms: u64,
}

impl Default for PlayerOptions {
    fn default() -> Self {
        Self {
            bits_per_s: None,
            seek_ms: Some(limits::PLAYER_SEEK_MS),
            buffer_ms: limits::PLAYER_BUFFER_MS,
        }
    }
}

/// Why a text is not a pattern; the message continues after the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSpecError;

impl fmt::Display for RangeSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "is no pattern of ranges; write sequential, random or player, with the size of a piece \
             as in random:256KiB, up to {}",
            Unit::Bytes.show(limits::PIECE_BYTES_MAX)
        )
    }
}

impl std::error::Error for RangeSpecError {}

impl FromStr for RangeSpec {
    type Err = RangeSpecError;

    fn from_str(text: &str) -> Result<Self, RangeSpecError> {
        let (pattern, size) = match text.split_once(':') {
            Some((pattern, size)) => (pattern, Some(size)),
            None => (text, None),
        };
        let pattern = match pattern {
            "sequential" => RangePattern::Sequential,
            "random" => RangePattern::Random,
            "player" => RangePattern::Player,
            _ => return Err(RangeSpecError),
        };
        let piece_bytes = match size {
            Some(size) => Unit::Bytes.parse(size).map_err(|_| RangeSpecError)?,
            None => limits::PIECE_BYTES,
        };
        (1..=limits::PIECE_BYTES_MAX)
            .contains(&piece_bytes)
            .then_some(Self {
                pattern,
                piece_bytes,
            })
            .ok_or(RangeSpecError)
    }
}

impl fmt::Display for RangeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = match self.pattern {
            RangePattern::Sequential => "sequential",
            RangePattern::Random => "random",
            RangePattern::Player => "player",
        };
        write!(f, "{pattern}:{}", Unit::Bytes.show(self.piece_bytes))
    }
}

/// The number of a piece of an object, from its beginning.
pub(super) type Piece = u32;

/// The whole object, without a Range.
pub(super) const WHOLE: Piece = Piece::MAX;

/// The range requests of a load.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// Order and size of the pieces.
    pub spec: RangeSpec,
    /// The size in bytes of the object of each of [`Plan::requests`](super::Plan::requests); none
    /// is empty, and none has [`u32::MAX`] pieces or more.
    pub sizes: Vec<u64>,
    /// The players' options; only [`RangePattern::Player`] uses them.
    pub player: PlayerOptions,
}

impl Ranges {
    /// The pieces that an object has.
    pub(super) fn pieces(&self, request: u32) -> Piece {
        let pieces = self.sizes[request as usize].div_ceil(self.spec.piece_bytes);
        Piece::try_from(pieces).unwrap_or(WHOLE)
    }

    pub(super) fn range(&self, request: u32, piece: Piece) -> ByteRange {
        let start = u64::from(piece) * self.spec.piece_bytes;
        let left = self.sizes[request as usize].saturating_sub(start);
        ByteRange {
            start,
            len: left.min(self.spec.piece_bytes),
        }
    }

    /// Adds a request for a piece; `head` is the request without one.
    pub(super) fn encode(&self, into: &mut Vec<u8>, head: &[u8], request: u32, piece: Piece) {
        encode(into, head, self.range(request, piece));
    }

    /// Whether an answer is the requested piece, by its head.
    pub(super) fn is_answer(
        &self,
        request: u32,
        piece: Piece,
        head: &[u8],
        body_bytes: u64,
    ) -> bool {
        let range = self.range(request, piece);
        let said = content_range(head);
        body_bytes == range.len
            && said.is_some_and(|(start, end, size)| {
                (start, end) == (range.start, range.end() - 1)
                    && size.is_none_or(|size| size == self.sizes[request as usize])
            })
    }
}

/// Adds a request for a range; `head` is the request without one, and has no body.
pub(super) fn encode(into: &mut Vec<u8>, head: &[u8], range: ByteRange) {
    into.extend_from_slice(&head[..head.len() - 2]);
    // Writing to a vector does not fail.
    let _ = write!(
        into,
        "Range: bytes={}-{}\r\n\r\n",
        range.start,
        range.end() - 1
    );
}

/// Appends a request for all bytes from `start` on.
pub(super) fn encode_from(into: &mut Vec<u8>, head: &[u8], start: u64) {
    into.extend_from_slice(&head[..head.len() - 2]);
    // Writing to a vector does not fail.
    let _ = write!(into, "Range: bytes={start}-\r\n\r\n");
}

/// First byte, last byte and size, if that is known, of a Content-Range field of an answer's head
/// (RFC 9110 section 14.4).
pub(super) fn content_range(head: &[u8]) -> Option<(u64, u64, Option<u64>)> {
    let mut lines = head.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked("content-range:".len())?;
        name.eq_ignore_ascii_case(b"content-range:")
            .then_some(value)
    })?;
    let value = str::from_utf8(value).ok()?.trim();
    let (unit, value) = value.split_once(' ')?;
    let (range, size) = value.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    unit.eq_ignore_ascii_case("bytes")
        .then_some((start.parse().ok()?, end.parse().ok()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(sizes: &[u64]) -> Ranges {
        Ranges {
            spec: "sequential:100".parse().unwrap(),
            sizes: sizes.to_vec(),
            player: PlayerOptions::default(),
        }
    }

    #[test]
    fn patterns_as_written() {
        for (text, shown) in [
            ("sequential:1MB", "sequential:1MB"),
            ("random:1", "random:1"),
            ("player", "player:1MiB"),
        ] {
            let spec: RangeSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), shown);
        }
        for text in [
            "",
            "walk",
            "random:",
            "random:0",
            "random:1K",
            "player:1TiB",
            ":1MB",
        ] {
            assert_eq!(text.parse::<RangeSpec>(), Err(RangeSpecError), "{text}");
        }
    }

    #[test]
    fn an_object_is_covered_by_its_pieces() {
        let ranges = ranges(&[250, 1, 100]);
        for (request, wanted) in [(0, 3), (1, 1), (2, 1)] {
            assert_eq!(ranges.pieces(request), wanted);
            let all = (0..wanted).map(|piece| ranges.range(request, piece));
            assert_eq!(
                all.map(|range| range.len).sum::<u64>(),
                ranges.sizes[request as usize]
            );
        }
        let mut bytes = Vec::new();
        ranges.encode(&mut bytes, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, 2);
        assert_eq!(
            bytes,
            b"GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=200-249\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_must_be_what_was_asked_for() {
        let ranges = ranges(&[250]);
        let is_answer = |field: &str, bytes| {
            let head = format!("HTTP/1.1 206 Partial Content\r\nServer: x\r\n{field}\r\n\r\n");
            ranges.is_answer(0, 2, head.as_bytes(), bytes)
        };
        assert!(is_answer("Content-Range: bytes 200-249/250", 50));
        assert!(is_answer("content-range:  BYTES 200-249/*", 50));
        for (field, bytes) in [
            ("Content-Range: bytes 200-249/250", 49),
            ("Content-Range: bytes 100-149/250", 50),
            ("Content-Range: bytes 200-249/251", 50),
            ("Content-Range: bytes 200-250/250", 50),
            ("Content-Range: lines 200-249/250", 50),
            ("Content-Range: bytes 200-249", 50),
            ("Content-Range: bytes */250", 50),
            ("X-Content-Range: bytes 200-249/250", 50),
            ("Content-Length: 50", 50),
        ] {
            assert!(!is_answer(field, bytes), "{field}");
        }
    }
}
