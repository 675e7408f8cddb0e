//! A WebSocket connection from the client's side.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::error::ErrorClass;
use crate::http::websocket::{
    ClientKey, Decoder, Event, HandshakeError, Limits, Opcode, Role, WebSocketError, frame,
};
use crate::load::limits;
use crate::runtime::{Receiver, Stream};

/// A connection past its handshake.
pub(super) struct Socket {
    pub stream: Rc<Stream>,
    receiver: Receiver,
    decoder: Decoder,
    /// Bytes received together with the answer to the handshake.
    early: Vec<u8>,
    /// Control frames to send.
    pub replies: Vec<u8>,
}

/// Why a handshake failed.
pub(super) struct NotOpen {
    pub class: ErrorClass,
    /// Details beyond the class.
    pub why: Option<HandshakeError>,
}

impl From<ErrorClass> for NotOpen {
    fn from(class: ErrorClass) -> Self {
        Self { class, why: None }
    }
}

impl Socket {
    /// Sends `request` and reads the answer to it.
    pub(crate) async fn open(
        stream: Stream,
        request: Vec<u8>,
        key: &ClientKey,
    ) -> Result<Self, NotOpen> {
        let mut receiver = stream.receiver();
        let sent = stream.send_all(request).await;
        sent.map_err(|_| ErrorClass::Reset)?;
        let mut head = Vec::new();
        loop {
            let buf = match receiver.next().await {
                Ok(Some(buf)) => buf,
                Ok(None) if head.is_empty() => return Err(ErrorClass::Closed.into()),
                Ok(None) => return Err(ErrorClass::Truncated.into()),
                Err(_) => return Err(ErrorClass::Reset.into()),
            };
            head.extend_from_slice(&buf);
            drop(buf);
            let answer = key.read_answer(&head).map_err(|why| NotOpen {
                class: match why {
                    HandshakeError::Refused(_) => ErrorClass::UpgradeRefused,
                    _ => ErrorClass::BadResponse,
                },
                why: Some(why),
            })?;
            if let Some(head_bytes) = answer {
                return Ok(Self {
                    stream: Rc::new(stream),
                    receiver,
                    decoder: Decoder::new(Role::Client, Limits::default()),
                    early: head.split_off(head_bytes),
                    replies: Vec::new(),
                });
            }
        }
    }

    /// Reads received bytes: passes each piece of a message to `each`, with whether it ends the
    /// message, and before that the byte count of each receive to `received`. Ready when the
    /// connection is over.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut impl FnMut(&[u8], bool),
        mut received: impl FnMut(usize),
    ) -> Poll<ErrorClass> {
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            received(early.len());
            if let Err(end) = self.take(&mut early, each) {
                return Poll::Ready(end);
            }
        }
        loop {
            match self.receiver.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(mut buf))) => {
                    received(buf.len());
                    if let Err(end) = self.take(&mut buf, each) {
                        return Poll::Ready(end);
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(ErrorClass::Closed),
                Poll::Ready(Err(_)) => return Poll::Ready(ErrorClass::Reset),
            }
        }
    }

    fn take(
        &mut self,
        bytes: &mut [u8],
        each: &mut impl FnMut(&[u8], bool),
    ) -> Result<(), ErrorClass> {
        let mut at = 0;
        while at < bytes.len() {
            let step = match self.decoder.decode(&mut bytes[at..]) {
                Ok(step) => step,
                Err(error) => {
                    self.say_close(error);
                    return Err(ErrorClass::BadFrame);
                }
            };
            at += step.consumed;
            match step.event {
                Some(Event::Data { bytes, last, .. }) => each(bytes, last),
                Some(Event::Ping(payload)) => {
                    frame::push(&mut self.replies, Opcode::Pong, payload, Some(mask()));
                    // A server that keeps sending pings and reads no answers must not exhaust the
                    // memory.
                    if self.replies.len() > limits::REPLIES_BYTES_MAX {
                        return Err(ErrorClass::BadFrame);
                    }
                }
                Some(Event::Close(close)) => {
                    let code = close.code.map(u16::to_be_bytes);
                    let payload = code.as_ref().map_or(&[][..], |code| &code[..]);
                    self.say(Opcode::Close, payload);
                    return Err(ErrorClass::Closed);
                }
                Some(Event::Pong(_)) | None => {}
            }
        }
        Ok(())
    }

    fn say_close(&self, error: WebSocketError) {
        self.say(Opcode::Close, &error.close_code().to_be_bytes());
    }

    /// Sends a Close frame, if the socket has room.
    pub(crate) fn close(&self) {
        self.say(Opcode::Close, &1000_u16.to_be_bytes());
    }

    /// Sends a control frame at once, or drops it if the socket is full, since the connection is
    /// over.
    fn say(&self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, opcode, payload, Some(mask()));
        let _ = self.stream.try_send(&bytes, false);
    }

    /// Sends pending control frames, on a connection on which nothing else is sent.
    pub(crate) fn reply(&mut self) {
        if !self.replies.is_empty()
            && let Ok(Some(sent)) = self.stream.try_send(&self.replies, false)
        {
            self.replies.drain(..sent);
        }
    }
}

/// A masking key that an attacker cannot predict (RFC 6455 section 10.3).
pub(super) fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}
