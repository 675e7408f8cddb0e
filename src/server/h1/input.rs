//! Bytes received and not yet used. They stay in the buffer that the kernel
//! filled as long as a request lies wholly in it, and are copied only when a
//! request straddles buffers or has to wait.

use crate::buffers::ReceiveBuf;

#[derive(Default)]
pub(super) enum Input {
    #[default]
    Empty,
    Received(ReceiveBuf),
    Owned {
        bytes: Vec<u8>,
        start: usize,
    },
}

impl Input {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Received(buf) => buf,
            Self::Owned { bytes, start } => &bytes[*start..],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        match self {
            Self::Empty => {}
            Self::Received(buf) => buf.advance(count),
            Self::Owned { start, .. } => *start += count,
        }
        if self.is_empty() {
            *self = Self::Empty;
        }
    }

    /// Adds what was received.
    pub(crate) fn push(&mut self, buf: ReceiveBuf) {
        if self.is_empty() {
            *self = Self::Received(buf);
            return;
        }
        self.detach();
        if let Self::Owned { bytes, start } = self {
            bytes.drain(..*start);
            *start = 0;
            bytes.extend_from_slice(&buf);
        }
    }

    /// Gives the receive buffer back, by copying what is left of it: before any
    /// wait, since there are few of them and every connection of the shard needs one.
    pub(crate) fn detach(&mut self) {
        if let Self::Received(buf) = self {
            *self = match buf.is_empty() {
                true => Self::Empty,
                false => Self::Owned {
                    bytes: buf.to_vec(),
                    start: 0,
                },
            };
        }
    }

    /// Takes the first `count` bytes out as a copy.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.bytes()[..count].to_vec();
        self.consume(count);
        taken
    }
}
