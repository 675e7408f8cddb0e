//! Buffers to send: owned bytes at a stable address.

use std::rc::Rc;

use bytes::Bytes;

use crate::buffers::{OutputBuf, ReceiveBuf};

/// Owned bytes for a send. The operation owns it until its last completion.
pub struct SendBuf {
    data: Data,
    start: usize,
}

enum Data {
    Bytes(Bytes),
    Vec(Vec<u8>),
    Shared(Rc<[u8]>),
    Static(&'static [u8]),
    Received(ReceiveBuf),
    Output(OutputBuf),
}

impl SendBuf {
    /// What is left to send.
    pub fn as_slice(&self) -> &[u8] {
        let all: &[u8] = match &self.data {
            Data::Bytes(b) => b,
            Data::Vec(b) => b,
            Data::Shared(b) => b,
            Data::Static(b) => b,
            Data::Received(b) => b,
            Data::Output(b) => b,
        };
        &all[self.start..]
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(
            count <= self.len(),
            "advance beyond the end of a send buffer"
        );
        self.start += count;
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for SendBuf {
            fn from(data: $source) -> Self {
                Self { data: Data::$variant(data), start: 0 }
            }
        }
    )*};
}

from! {
    Bytes => Bytes,
    Vec<u8> => Vec,
    Rc<[u8]> => Shared,
    &'static [u8] => Static,
    ReceiveBuf => Received,
    OutputBuf => Output,
}

impl From<&'static str> for SendBuf {
    fn from(text: &'static str) -> Self {
        text.as_bytes().into()
    }
}
