//! Frame headers (RFC 6455 section 5.2).

use super::error::WebSocketError;
use super::mask::{self, Key};

/// Bytes of the longest header: two, a length of eight, a masking key.
pub const HEADER_BYTES_MAX: usize = 14;
/// What a control frame may carry.
pub const CONTROL_BYTES_MAX: usize = 125;

/// Which end of the connection we are.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Sends masked frames and receives unmasked ones.
    Client,
    /// Sends unmasked frames and receives masked ones.
    Server,
}

/// What a frame is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// 0x0: a further fragment of a message.
    Continuation,
    /// 0x1: the first or only frame of a UTF-8 message.
    Text,
    /// 0x2: the first or only frame of a binary message.
    Binary,
    /// 0x8: begins or answers the closing handshake (RFC 6455 section 5.5.1).
    Close,
    /// 0x9: asks for a Pong (RFC 6455 section 5.5.2).
    Ping,
    /// 0xa: answers a Ping, or comes unasked (RFC 6455 section 5.5.3).
    Pong,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether it is a control frame, which may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame's header.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The message ends with this frame.
    pub fin: bool,
    /// What the frame is; four bits of the first byte.
    pub opcode: Opcode,
    /// `None`: not masked.
    pub mask: Option<Key>,
    /// Bytes of payload, below 2^63.
    pub len: u64,
}

impl Header {
    /// Its bytes, and how many they are.
    #[inline]
    pub fn encode(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = u8::from(self.fin) << 7 | self.opcode.number();
        let mut end = match self.len {
            len @ 0..126 => {
                bytes[1] = len as u8;
                2
            }
            len @ 126..0x1_0000 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            bytes[1] |= 0x80;
            bytes[end..end + 4].copy_from_slice(&key);
            end += 4;
        }
        (bytes, end)
    }

    /// The header at the start of `bytes` and its length, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// For what no end may send; whether `role` may be sent it is for [`Decoder`](super::Decoder).
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WebSocketError> {
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(WebSocketError::Opcode)?;
        let fin = first & 0x80 != 0;
        let short = second & 0x7f;
        if opcode.is_control() && (!fin || usize::from(short) > CONTROL_BYTES_MAX) {
            return Err(WebSocketError::Control);
        }
        let (len, mut end) = match short {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
                Some(eight) => (u64::from_be_bytes(eight), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let shortest = match end {
            4 => len >= 126,
            10 => len >= 0x1_0000 && len >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(WebSocketError::Length);
        }
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(&[a, b, c, d]) = bytes.get(end..end + 4) else {
                return Ok(None);
            };
            mask = Some([a, b, c, d]);
            end += 4;
        }
        let header = Self {
            fin,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, end)))
    }
}

/// Appends a whole frame to `out`: a message, or a control frame.
#[inline]
pub fn push(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<Key>) {
    let header = Header {
        fin: true,
        opcode,
        mask,
        len: payload.len() as u64,
    };
    let (bytes, len) = header.encode();
    out.extend_from_slice(&bytes[..len]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[start..], key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6455 section 5.7.
        let mut out = Vec::new();
        push(&mut out, Opcode::Text, b"Hello", None);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        push(
            &mut out,
            Opcode::Text,
            b"Hello",
            Some([0x37, 0xfa, 0x21, 0x3d]),
        );
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        out.clear();
        push(&mut out, Opcode::Binary, &[0; 256], None);
        assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
        out.clear();
        push(&mut out, Opcode::Binary, &[0; 65536], None);
        assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_no_end_may_send() {
        use WebSocketError as E;
        for (bytes, error) in [
            (&b"\xc1\x00"[..], E::ReservedBit),
            (b"\x83\x00", E::Opcode),
            (b"\x8b\x00", E::Opcode),
            (b"\x09\x00", E::Control),
            (b"\x89\x7e\x00\x7e", E::Control),
            (b"\x82\x7e\x00\x7d", E::Length),
            (b"\x82\x7f\0\0\0\0\0\0\xff\xff", E::Length),
            (b"\x82\x7f\x80\0\0\0\0\0\0\0", E::Length),
        ] {
            assert_eq!(Header::decode(bytes), Err(error), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn headers_come_back_and_never_from_less(
            fin: bool, number in 0u8..11, mask: Option<Key>,
            len in prop_oneof![0..300u64, 65_000..66_000u64, 0..1u64 << 63],
        ) {
            let Some(opcode) = Opcode::of(number) else { return Ok(()) };
            let len = if opcode.is_control() { len % 126 } else { len };
            let header = Header { fin: fin || opcode.is_control(), opcode, mask, len };
            let (bytes, end) = header.encode();
            prop_assert_eq!(Header::decode(&bytes[..end]), Ok(Some((header, end))));
            for cut in 0..end {
                prop_assert_eq!(Header::decode(&bytes[..cut]), Ok(None));
            }
        }
    }
}
