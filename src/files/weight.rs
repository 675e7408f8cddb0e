//! What a cached file takes of the cache: descriptors and bytes of memory.

use std::ops::{Add, Sub};

/// A share of the cache.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Weight {
    /// One for each file, and one for each further descriptor.
    pub files: usize,
    /// Bytes of bodies in memory.
    pub bytes: usize,
}

impl Weight {
    /// One descriptor.
    pub(crate) const DESCRIPTOR: Weight = Weight { files: 1, bytes: 0 };

    /// A weight of this many bytes of memory.
    pub(crate) fn of_bytes(bytes: usize) -> Weight {
        Weight { files: 0, bytes }
    }
}

impl Add for Weight {
    type Output = Weight;

    fn add(self, other: Weight) -> Weight {
        Weight {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sub for Weight {
    type Output = Weight;

    fn sub(self, other: Weight) -> Weight {
        Weight {
            files: self.files - other.files,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// Memory that a cached body of `body_bytes` takes: the body, and the prepared response with its copy.
pub(crate) fn prepared_and_body_bytes(body_bytes: usize) -> usize {
    body_bytes.saturating_mul(2)
}
