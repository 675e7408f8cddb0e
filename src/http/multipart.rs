//! multipart/byteranges bodies, whose length is known before a byte is sent (RFC 9110 section 14.6).

use std::rc::Rc;

use bytes::Bytes;

use super::message::{Body, FileSlice, Part};
use super::range::ByteRange;
use crate::sys::file::File;

/// A multipart/byteranges body: its Content-Type, its parts, its exact length.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// The value of the response's Content-Type, which names the boundary.
    pub content_type: String,
    /// The body's length in bytes.
    pub len: u64,
    parts: Vec<(Bytes, ByteRange)>,
    tail: Bytes,
}

impl Multipart {
    /// Lays out `ranges` of a file of `size` bytes and type `content_type`.
    ///
    /// `boundary` must be unpredictable, or an uploaded file could contain it and
    /// end its own part early.
    pub fn new(ranges: &[ByteRange], size: u64, content_type: &str, boundary: u128) -> Multipart {
        let mut len = 0u64;
        let mut before = "";
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let head = format!(
                "{before}--{boundary:032x}\r\ncontent-type: {content_type}\r\ncontent-range: {}\r\n\r\n",
                range.content_range(size)
            );
            before = "\r\n";
            // Disjoint ranges add up to `size` at most; only the parts' heads add to that.
            len = len
                .saturating_add(head.len() as u64)
                .saturating_add(range.len);
            parts.push((Bytes::from(head), *range));
        }
        let tail = format!("{before}--{boundary:032x}--\r\n");
        Multipart {
            content_type: format!("multipart/byteranges; boundary={boundary:032x}"),
            len: len.saturating_add(tail.len() as u64),
            parts,
            tail: Bytes::from(tail),
        }
    }

    /// The body with its data from `file`.
    pub fn into_body(self, file: &Rc<File>) -> Body {
        self.into_parts(|range| {
            Part::File(FileSlice {
                file: Rc::clone(file),
                offset: range.start,
                len: range.len,
            })
        })
    }

    /// The body with its data from `bytes`, which is the whole file.
    /// A range outside of `bytes` becomes empty.
    pub fn into_body_of_bytes(self, bytes: &Bytes) -> Body {
        self.into_parts(|range| {
            let within = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end()).ok())
                .filter(|&(_, end)| end <= bytes.len());
            Part::Bytes(within.map_or_else(Bytes::new, |(start, end)| bytes.slice(start..end)))
        })
    }

    fn into_parts(self, data: impl Fn(ByteRange) -> Part) -> Body {
        let mut pieces = Vec::with_capacity(self.parts.len() * 2 + 1);
        for (head, range) in self.parts {
            pieces.push(Part::Bytes(head));
            pieces.push(data(range));
        }
        pieces.push(Part::Bytes(self.tail));
        Body::Parts(pieces)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::*;
    use crate::sys::file::stamp;

    fn ranges() -> [ByteRange; 2] {
        [
            ByteRange { start: 8, len: 2 },
            ByteRange { start: 0, len: 3 },
        ]
    }

    #[test]
    fn the_body_is_exactly_as_announced() {
        let plan = Multipart::new(&ranges(), 10, "video/mp4", 0xabc);
        let announced = plan.len;
        let boundary = "00000000000000000000000000000abc";
        assert_eq!(
            plan.content_type,
            format!("multipart/byteranges; boundary={boundary}")
        );
        let body = plan.into_body_of_bytes(&Bytes::from_static(b"0123456789"));
        assert_eq!(body.len(), Some(announced));
        let Body::Parts(parts) = body else {
            panic!("a body in parts");
        };
        let mut text = Vec::new();
        for part in parts {
            let Part::Bytes(bytes) = part else {
                panic!("bytes only");
            };
            text.extend_from_slice(&bytes);
        }
        assert_eq!(
            String::from_utf8(text).unwrap(),
            format!(
                "--{boundary}\r\ncontent-type: video/mp4\r\ncontent-range: bytes 8-9/10\r\n\r\n89\r\n\
                 --{boundary}\r\ncontent-type: video/mp4\r\ncontent-range: bytes 0-2/10\r\n\r\n012\r\n\
                 --{boundary}--\r\n"
            )
        );
    }

    #[test]
    fn a_body_out_of_a_file_has_the_same_length() {
        let fd = OwnedFd::from(tempfile::tempfile().unwrap());
        let (_, stamp) = stamp(fd.as_fd()).unwrap();
        let file = Rc::new(File::new(fd, stamp));
        let plan = Multipart::new(&ranges(), 10, "video/mp4", 1);
        let announced = plan.len;
        let body = plan.into_body(&file);
        assert_eq!(body.len(), Some(announced));
        let Body::Parts(parts) = body else {
            panic!("a body in parts");
        };
        let slices: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                Part::File(slice) => Some((slice.offset, slice.len)),
                Part::Bytes(_) => None,
            })
            .collect();
        assert_eq!(slices, [(8, 2), (0, 3)]);
    }
}
