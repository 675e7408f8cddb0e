//! Frames and messages from received bytes in pieces of any size.

use super::error::WebSocketError;
use super::frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Role};
use super::mask;
use super::utf8::Utf8;
use crate::limits;

/// Bounds on a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a message, its fragments added up.
    pub message_bytes_max: u64,
    /// Frames of a message.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: limits::WEBSOCKET_MESSAGE_BYTES_MAX,
            fragments_max: limits::WEBSOCKET_FRAGMENTS_MAX,
        }
    }
}

/// What a message carries.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8, which has been checked; a piece may end within a letter.
    Text,
    /// Any bytes.
    Binary,
}

/// Why the peer closes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    /// `None`: it gave no code (1005).
    pub code: Option<u16>,
    /// At most 123 bytes; empty where the peer gave none.
    pub reason: &'a str,
}

/// What was received.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// The next piece of a message, unmasked; empty only with `last`.
    Data {
        /// Whether the message is text or binary.
        kind: Kind,
        /// Unmasked payload, borrowed from the input.
        bytes: &'a [u8],
        /// The message ends with it.
        last: bool,
    },
    /// To be answered by a Pong with the same payload.
    Ping(&'a [u8]),
    /// Payload of a Pong, which a Ping need not have asked for (RFC 6455 section 5.5.3).
    Pong(&'a [u8]),
    /// Nothing may follow it; to be answered by a Close.
    Close(Close<'a>),
}

/// What one call of [`Decoder::decode`] did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Step<'a> {
    /// Bytes of the input that were consumed.
    pub consumed: usize,
    /// `None`: all of the input was consumed.
    pub event: Option<Event<'a>>,
}

/// Decodes what one end of a connection receives. Allocates nothing, and buffers no payload except
/// that of an incomplete control frame.
pub struct Decoder {
    role: Role,
    limits: Limits,
    /// The beginning of a header that is not whole.
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// The frame whose payload comes.
    frame: Option<Frame>,
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
    message: Option<Message>,
    utf8: Utf8,
}

#[derive(Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    left: u64,
    mask: Option<mask::Key>,
}

#[derive(Clone, Copy)]
struct Message {
    kind: Kind,
    bytes: u64,
    fragments: u32,
}

impl Decoder {
    /// A decoder for what the end `role` receives.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
            message: None,
            utf8: Utf8::default(),
        }
    }

    /// Goes through `input` up to the next event, unmasking in place what is masked.
    ///
    /// # Errors
    /// See [`WebSocketError`]; the decoder can't be used after it.
    #[inline]
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, WebSocketError> {
        let mut at = 0;
        loop {
            let mut frame = match self.frame {
                Some(frame) => frame,
                None => match self.read_header(&input[at..])? {
                    (Some(header), used) => {
                        at += used;
                        self.begin(&header)?
                    }
                    (None, used) => {
                        return Ok(Step {
                            consumed: at + used,
                            event: None,
                        });
                    }
                },
            };
            let room = input.len() - at;
            let taken = usize::try_from(frame.left).map_or(room, |left| left.min(room));
            let (start, end) = (at, at + taken);
            at = end;
            frame.left -= taken as u64;
            if let Some(key) = frame.mask {
                frame.mask = Some(mask::apply(&mut input[start..end], key));
            }
            let done = frame.left == 0;
            self.frame = (!done).then_some(frame);
            if frame.opcode.is_control() {
                let event = self.control_piece(frame.opcode, &input[start..end], done)?;
                return Ok(Step {
                    consumed: at,
                    event,
                });
            }
            // Begun by `begin`.
            let Some(Message { kind, .. }) = self.message else {
                return Err(WebSocketError::Fragment);
            };
            let last = done && frame.fin;
            let bytes = &input[start..end];
            if kind == Kind::Text && !(self.utf8.push(bytes) && (!last || self.utf8.end())) {
                return Err(WebSocketError::Utf8);
            }
            if last {
                self.message = None;
            } else if taken == 0 {
                match done {
                    // An empty fragment.
                    true => continue,
                    false => {
                        return Ok(Step {
                            consumed: at,
                            event: None,
                        });
                    }
                }
            }
            return Ok(Step {
                consumed: at,
                event: Some(Event::Data {
                    kind,
                    bytes: &input[start..end],
                    last,
                }),
            });
        }
    }

    /// The header at the start of `input`, together with what was put aside, and how much of the
    /// input it took.
    #[inline]
    fn read_header(&mut self, input: &[u8]) -> Result<(Option<Header>, usize), WebSocketError> {
        if self.header_len == 0
            && let Some((header, len)) = Header::decode(input)?
        {
            return Ok((Some(header), len));
        }
        for (at, &byte) in input.iter().enumerate() {
            self.header[usize::from(self.header_len)] = byte;
            self.header_len += 1;
            let have = &self.header[..usize::from(self.header_len)];
            if let Some((header, _)) = Header::decode(have)? {
                self.header_len = 0;
                return Ok((Some(header), at + 1));
            }
        }
        Ok((None, input.len()))
    }

    /// A frame begins.
    #[inline]
    fn begin(&mut self, header: &Header) -> Result<Frame, WebSocketError> {
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(WebSocketError::Masking);
        }
        let kind = match header.opcode {
            Opcode::Text => Some(Kind::Text),
            Opcode::Binary => Some(Kind::Binary),
            Opcode::Continuation => None,
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.control_len = 0;
                return Ok(Frame::of(header));
            }
        };
        let mut message = match (kind, self.message) {
            (Some(kind), None) => Message {
                kind,
                bytes: 0,
                fragments: 0,
            },
            (None, Some(message)) => message,
            _ => return Err(WebSocketError::Fragment),
        };
        message.fragments += 1;
        if message.fragments > self.limits.fragments_max {
            return Err(WebSocketError::TooManyFragments);
        }
        message.bytes = message.bytes.saturating_add(header.len);
        if message.bytes > self.limits.message_bytes_max {
            return Err(WebSocketError::MessageTooLarge);
        }
        self.message = Some(message);
        Ok(Frame::of(header))
    }

    /// Keeps the next piece of a control frame's payload, which [`begin`](Self::begin) bounds by
    /// [`CONTROL_BYTES_MAX`]. The frame is the event once it is `done`.
    #[inline]
    fn control_piece(
        &mut self,
        opcode: Opcode,
        piece: &[u8],
        done: bool,
    ) -> Result<Option<Event<'_>>, WebSocketError> {
        let len = usize::from(self.control_len);
        self.control[len..len + piece.len()].copy_from_slice(piece);
        self.control_len += piece.len() as u8;
        match done {
            true => self.end_control(opcode).map(Some),
            false => Ok(None),
        }
    }

    /// A control frame is whole.
    fn end_control(&self, opcode: Opcode) -> Result<Event<'_>, WebSocketError> {
        let payload = &self.control[..usize::from(self.control_len)];
        Ok(match opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => Event::Close(Close::parse(payload)?),
        })
    }
}

impl Frame {
    fn of(header: &Header) -> Self {
        Self {
            opcode: header.opcode,
            fin: header.fin,
            left: header.len,
            mask: header.mask,
        }
    }
}

impl<'a> Close<'a> {
    /// The payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).
    fn parse(payload: &'a [u8]) -> Result<Self, WebSocketError> {
        let (code, reason) = match payload {
            [] => (None, &[][..]),
            [_] => return Err(WebSocketError::CloseCode),
            [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
        };
        // Of those that may stand in a frame the RFC has some, IANA's registry some more, and
        // libraries and applications have the rest.
        let good = match code {
            None | Some(1000..=1003 | 1007..=1014 | 3000..=4999) => true,
            Some(_) => false,
        };
        if !good {
            return Err(WebSocketError::CloseCode);
        }
        let reason = std::str::from_utf8(reason).map_err(|_| WebSocketError::Utf8)?;
        Ok(Self { code, reason })
    }
}

#[cfg(test)]
mod tests;
