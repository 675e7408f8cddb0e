//! Which pieces of files were found in the page cache a moment ago, so that a file that many
//! clients download is not looked up for each of them.

use std::cell::RefCell;

use crate::limits;
use crate::sys::file::File;

/// A direct-mapped table of file pieces that were in the page cache lately. A collision only
/// means that the kernel is asked again.
pub(super) struct Residency(RefCell<Box<[Seen]>>);

#[derive(Clone, Copy, Default)]
struct Seen {
    dev: u64,
    ino: u64,
    piece: u64,
    until_ms: u64,
}

const _: () = assert!(limits::RESIDENCY_ENTRIES.is_power_of_two());

impl Residency {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(
            vec![Seen::default(); limits::RESIDENCY_ENTRIES].into(),
        ))
    }

    fn slot(file: &File, offset: u64) -> (usize, u64) {
        let piece = offset / limits::RESIDENCY_PIECE_BYTES;
        let mixed = (file.stamp.ino ^ file.stamp.dev.rotate_left(32))
            .wrapping_add(piece.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        (
            (mixed >> 32) as usize & (limits::RESIDENCY_ENTRIES - 1),
            piece,
        )
    }

    /// Whether the piece of the file that holds `offset` was seen a moment ago.
    pub(crate) fn is_known(&self, file: &File, offset: u64, now_ms: u64) -> bool {
        let (slot, piece) = Self::slot(file, offset);
        let seen = self.0.borrow()[slot];
        let same = (seen.dev, seen.ino, seen.piece) == (file.stamp.dev, file.stamp.ino, piece);
        same && now_ms < seen.until_ms
    }

    /// The piece that holds `offset`, whole from there on, is in the page cache.
    pub(crate) fn note(&self, file: &File, offset: u64, now_ms: u64) {
        if !offset.is_multiple_of(limits::RESIDENCY_PIECE_BYTES) {
            return;
        }
        let (slot, piece) = Self::slot(file, offset);
        let (dev, ino) = (file.stamp.dev, file.stamp.ino);
        let until_ms = now_ms + limits::RESIDENCY_TRUST_MS;
        self.0.borrow_mut()[slot] = Seen {
            dev,
            ino,
            piece,
            until_ms,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::Stamp;

    fn file(ino: u64) -> File {
        let fd = std::fs::File::open("/dev/null").unwrap().into();
        let stamp = Stamp {
            dev: 1,
            ino,
            links: 1,
            size: 1 << 40,
            mtime_ns: 0,
            ctime_ns: 0,
        };
        File::new(fd, stamp)
    }

    #[test]
    fn a_piece_is_known_for_a_while_and_no_other_is() {
        let residency = Residency::new();
        let (a, b) = (file(1), file(2));
        let piece = limits::RESIDENCY_PIECE_BYTES;
        residency.note(&a, 3 * piece, 1000);
        assert!(residency.is_known(&a, 3 * piece + 5, 1000));
        assert!(!residency.is_known(&a, 4 * piece, 1000));
        assert!(!residency.is_known(&b, 3 * piece, 1000));
        assert!(!residency.is_known(&a, 3 * piece, 1000 + limits::RESIDENCY_TRUST_MS));
    }

    #[test]
    fn a_piece_seen_in_part_is_not_known() {
        let residency = Residency::new();
        residency.note(&file(1), 7, 1000);
        assert!(!residency.is_known(&file(1), 7, 1000));
    }
}
