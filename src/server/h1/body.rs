//! A request's body over HTTP/1.1.

use std::future::Future;
use std::io;
use std::pin::Pin;
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

/// What the time-out is counted for.
enum Timed {
    /// The piece that is waited for.
    Waiting,
    /// Nothing: the service is at work, which is no fault of the client's.
    Stopped,
    /// All that is left of the body.
    Rest,
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
    timed: Timed,
    /// The client waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    continue_sent: Option<PendingSend>,
    /// The same, where the socket had no room for it.
    continue_late: Option<Pin<Box<dyn Future<Output = io::Result<()>> + 'c>>>,
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
            timed: Timed::Stopped,
            expects_continue,
            continue_sent: None,
            continue_late: None,
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

    /// Goes on with the rest of a body after its response was sent. Nobody wants
    /// it, so all of it must come within the time-out of one piece.
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
        body.timed = Timed::Rest;
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
                    // Earlier answers still fill the socket.
                    Poll::Ready(Ok(Some(rest))) => {
                        self.continue_sent = None;
                        self.continue_late = Some(Box::pin(self.stream.send_all(rest)));
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(IncomingError::Io(e))),
                }
            }
            if let Some(late) = &mut self.continue_late
                && let Poll::Ready(sent) = late.as_mut().poll(cx)
            {
                self.continue_late = None;
                if let Err(e) = sent {
                    return Poll::Ready(Err(IncomingError::Io(e)));
                }
            }
            match self.receiver.poll_next(cx) {
                Poll::Ready(Ok(Some(buf))) => {
                    if matches!(self.timed, Timed::Waiting) {
                        self.timed = Timed::Stopped;
                    }
                    self.input.push(buf);
                }
                Poll::Ready(Ok(None)) => {
                    let e = io::ErrorKind::UnexpectedEof.into();
                    return Poll::Ready(Err(IncomingError::Io(e)));
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(IncomingError::Io(e))),
                Poll::Pending => {
                    if matches!(self.timed, Timed::Stopped) {
                        self.timed = Timed::Waiting;
                        self.timer.reset(self.timeout_ms);
                    }
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
