//! A request's body over HTTP/1.1.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::input::Input;
use crate::http::h1::chunked::ChunkedDecoder;
use crate::http::h1::encode::CONTINUE;
use crate::http::h1::parse::Framing;
use crate::runtime::{PendingSend, Receiver, Stream, Timer};
use crate::server::service::{BodySource, IncomingError};

/// What of a body is still to come.
pub(super) enum Left {
    Length(u64),
    Chunked(ChunkedDecoder),
    Nothing,
}

/// Reads a body out of the connection's input. It lives for one request.
pub(super) struct H1Body<'c> {
    stream: &'c Stream,
    receiver: &'c mut Receiver,
    input: &'c mut Input,
    left: Left,
    announced: Option<u64>,
    bytes_left_max: u64,
    timer: Timer,
    timeout_ms: u64,
    /// The client waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    continue_sent: Option<PendingSend>,
    failed: bool,
}

impl<'c> H1Body<'c> {
    pub fn new(
        stream: &'c Stream,
        receiver: &'c mut Receiver,
        input: &'c mut Input,
        framing: Framing,
        expects_continue: bool,
        bytes_max: u64,
        timeout_ms: u64,
    ) -> Self {
        let (left, announced) = match framing {
            Framing::None | Framing::Length(0) => (Left::Nothing, Some(0)),
            Framing::Length(length) => (Left::Length(length), Some(length)),
            Framing::Chunked => (Left::Chunked(ChunkedDecoder::new()), None),
        };
        Self {
            stream,
            receiver,
            input,
            left,
            announced,
            bytes_left_max: bytes_max,
            timer: Timer::after(stream.shard(), timeout_ms),
            timeout_ms,
            expects_continue,
            continue_sent: None,
            failed: false,
        }
    }

    /// Whether the body was read to its end, so that the next request follows.
    pub fn is_done(&self) -> bool {
        !self.failed && matches!(self.left, Left::Nothing)
    }

    /// Whether reading the rest makes sense: not when the client was never told to
    /// send it, nor after an error, nor when it is longer than `bytes_max`.
    pub fn may_drain(&self, bytes_max: u64) -> bool {
        let short = match self.left {
            Left::Length(length) => length <= bytes_max,
            _ => true,
        };
        !self.failed && !self.expects_continue && short
    }

    /// Gives the connection its parts back, with what of the body was not read.
    pub fn into_left(self) -> Left {
        self.left
    }

    /// Goes on with the rest of a body after its response was sent.
    pub fn resume(
        stream: &'c Stream,
        receiver: &'c mut Receiver,
        input: &'c mut Input,
        left: Left,
        bytes_max: u64,
        timeout_ms: u64,
    ) -> Self {
        let framing = Framing::None;
        let mut body = Self::new(
            stream, receiver, input, framing, false, bytes_max, timeout_ms,
        );
        body.left = left;
        body
    }

    /// The next piece out of what is already here.
    fn piece_at_hand(&mut self) -> Result<Option<Bytes>, IncomingError> {
        while !self.input.is_empty() {
            let (piece, ended) = match &mut self.left {
                Left::Nothing => return Ok(None),
                Left::Length(length) => {
                    let take = (self.input.bytes().len() as u64).min(*length) as usize;
                    *length -= take as u64;
                    (Bytes::from(self.input.take(take)), *length == 0)
                }
                Left::Chunked(decoder) => {
                    let bytes = self.input.bytes();
                    let step = decoder
                        .decode(bytes)
                        .map_err(|e| IncomingError::Malformed(e.status(), e.to_string()))?;
                    let data = Bytes::copy_from_slice(&bytes[step.data.clone()]);
                    self.input.consume(step.consumed);
                    (data, step.done)
                }
            };
            if ended {
                self.left = Left::Nothing;
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn count(&mut self, piece: Bytes) -> Result<Option<Bytes>, IncomingError> {
        match self.bytes_left_max.checked_sub(piece.len() as u64) {
            Some(left) => {
                self.bytes_left_max = left;
                Ok(Some(piece))
            }
            None => Err(IncomingError::TooLarge),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        if self.failed {
            return Poll::Ready(Err(IncomingError::Io(io::ErrorKind::UnexpectedEof.into())));
        }
        if let Left::Length(length) = self.left
            && length > self.bytes_left_max
        {
            return Poll::Ready(Err(IncomingError::TooLarge));
        }
        loop {
            if let Some(piece) = self.piece_at_hand()? {
                return Poll::Ready(self.count(piece));
            }
            if matches!(self.left, Left::Nothing) {
                return Poll::Ready(Ok(None));
            }
            if std::mem::take(&mut self.expects_continue) {
                self.continue_sent = Some(self.stream.send_now(CONTINUE));
            }
            if let Some(sent) = &mut self.continue_sent {
                match sent.poll(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(None)) => self.continue_sent = None,
                    // A client that asks for this and has no room for 25 bytes.
                    Poll::Ready(Ok(Some(_))) => {
                        return Poll::Ready(Err(IncomingError::Io(
                            io::ErrorKind::WriteZero.into(),
                        )));
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(IncomingError::Io(e))),
                }
            }
            match self.receiver.poll_next(cx) {
                Poll::Ready(Ok(Some(buf))) => {
                    self.timer.reset(self.timeout_ms);
                    self.input.push(buf);
                }
                Poll::Ready(Ok(None)) => {
                    let e = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Err(IncomingError::Io(e)));
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(IncomingError::Io(e))),
                Poll::Pending => {
                    return self
                        .timer
                        .poll_elapsed(cx)
                        .map(|()| Err(IncomingError::TimedOut));
                }
            }
        }
    }
}

impl BodySource for H1Body<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        let poll = self.poll(cx);
        if let Poll::Ready(Err(_)) = poll {
            self.failed = true;
        }
        poll
    }

    fn announced(&self) -> Option<u64> {
        self.announced
    }
}
