//! A request's body over HTTP/1.1.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::inbound::Inbound;
use super::link::Link;
use crate::http::h1::chunked::ChunkedDecoder;
use crate::http::h1::encode::CONTINUE;
use crate::http::h1::parse::Framing;
use crate::observe::access_log::Cut;
use crate::runtime::{Shard, Timer};
use crate::server::options::ServerOptions;
use crate::server::request_log::cut_of;
use crate::server::service::{BodySource, IncomingError};

/// What of a body is still to come.
pub(super) enum Left {
    Length(u64),
    Chunked(ChunkedDecoder),
    Nothing,
}

/// Reads a body out of what its connection receives. It lives for one request, and must be polled
/// inside [`Link::attend`], which does the receiving.
pub(super) struct H1Body<'c> {
    link: &'c Link,
    left: Left,
    announced: Option<u64>,
    bytes_left_max: u64,
    patience: Patience<'c>,
    /// The client waits for `100 Continue` before it sends anything.
    expects_continue: bool,
    failed: bool,
    /// Why it could not be read to its end, for the access log.
    cut: Option<Cut>,
}

impl<'c> H1Body<'c> {
    pub(crate) fn new(
        link: &'c Link,
        framing: Framing,
        expects_continue: bool,
        options: &ServerOptions,
    ) -> Self {
        let (left, announced) = match framing {
            Framing::None | Framing::Length(0) => (Left::Nothing, Some(0)),
            Framing::Length(length) => (Left::Length(length), Some(length)),
            Framing::Chunked => (Left::Chunked(ChunkedDecoder::new()), None),
        };
        Self {
            link,
            left,
            announced,
            bytes_left_max: options.body_bytes_max,
            patience: Patience::new(link.stream.shard(), options),
            expects_continue,
            failed: false,
            cut: None,
        }
    }

    /// Whether the body was read to its end, so that the next request follows.
    pub(crate) fn is_done(&self) -> bool {
        !self.failed && matches!(self.left, Left::Nothing)
    }

    /// Why it could not be read to its end, if that is the client's doing.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Whether reading the rest makes sense: not when the client was never asked to
    /// send it, nor after an error, nor when it is longer than `bytes_max`.
    pub(crate) fn may_drain(&self, bytes_max: u64) -> bool {
        let short = match self.left {
            Left::Length(length) => length <= bytes_max,
            _ => true,
        };
        !self.failed && !self.expects_continue && short
    }

    /// What of the body was not read.
    pub(crate) fn into_left(self) -> Left {
        self.left
    }

    /// Goes on with the rest of a body after its response was sent. No service reads it, so all
    /// of it must come within the time-out of one piece.
    pub(crate) fn resume(
        link: &'c Link,
        left: Left,
        bytes_max: u64,
        options: &ServerOptions,
    ) -> Self {
        let mut body = Self::new(link, Framing::None, false, options);
        body.left = left;
        body.bytes_left_max = bytes_max;
        body.patience.whole = true;
        body
    }

    /// The next piece out of what is already here.
    fn piece_at_hand(&mut self, inbound: &mut Inbound) -> Result<Option<Bytes>, IncomingError> {
        let input = &mut inbound.input;
        while !input.is_empty() {
            let (piece, ended) = match &mut self.left {
                Left::Nothing => return Ok(None),
                Left::Length(length) => {
                    let take = (input.bytes().len() as u64).min(*length) as usize;
                    *length -= take as u64;
                    (Bytes::from(input.take(take)), *length == 0)
                }
                Left::Chunked(decoder) => {
                    let bytes = input.bytes();
                    let step = decoder
                        .decode(bytes)
                        .map_err(|e| IncomingError::Malformed(e.status(), e.to_string()))?;
                    let data = Bytes::copy_from_slice(&bytes[step.data.clone()]);
                    input.consume(step.consumed);
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
        let ended = || IncomingError::Io(io::ErrorKind::UnexpectedEof.into());
        if self.failed {
            return Poll::Ready(Err(ended()));
        }
        if let Left::Length(length) = self.left
            && length > self.bytes_left_max
        {
            return Poll::Ready(Err(IncomingError::TooLarge));
        }
        let mut inbound = self.link.inbound.borrow_mut();
        let before = inbound.input.bytes().len();
        let piece = self.piece_at_hand(&mut inbound)?;
        self.patience.bytes += (before - inbound.input.bytes().len()) as u64;
        if let Some(piece) = piece {
            self.patience.piece_came()?;
            return Poll::Ready(self.count(piece));
        }
        if matches!(self.left, Left::Nothing) {
            return Poll::Ready(Ok(None));
        }
        if inbound.has_ended() {
            return Poll::Ready(Err(ended()));
        }
        if std::mem::take(&mut self.expects_continue) {
            let mut output = self.link.output.borrow_mut();
            output.put_bytes(&self.link.stream, CONTINUE);
        }
        inbound.wait_for_more(cx.waker());
        self.patience.poll_too_late(cx).map(Err)
    }
}

impl BodySource for H1Body<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        let poll = self.poll(cx);
        if let Poll::Ready(Err(error)) = &poll
            && !std::mem::replace(&mut self.failed, true)
        {
            self.cut = match error {
                IncomingError::TooLarge => None,
                IncomingError::TimedOut => Some(Cut::BodyTimeout),
                IncomingError::Malformed(..) => Some(Cut::Malformed),
                IncomingError::Io(error) => Some(cut_of(error)),
            };
        }
        poll
    }

    fn announced(&self) -> Option<u64> {
        self.announced
    }
}

/// How long a client is waited for: each piece for a time-out, and on average a least rate.
///
/// Only the time counts in which the body is read and nothing is there: while the service is at
/// work, the client may be held back by flow control.
struct Patience<'c> {
    shard: &'c Shard,
    timer: Timer,
    /// For one piece, and the length of a period over which the rate is measured.
    timeout_ms: u64,
    bytes_per_s_min: u64,
    /// When the wait under way began.
    since_ms: Option<u64>,
    /// Time spent waiting in this period, in milliseconds.
    waited_ms: u64,
    /// Bytes received in this period.
    bytes: u64,
    /// The time-out is for all of the rest, not for each piece.
    whole: bool,
}

impl<'c> Patience<'c> {
    fn new(shard: &'c Shard, options: &ServerOptions) -> Self {
        Self {
            shard,
            timer: Timer::after(shard, options.body_timeout_ms),
            timeout_ms: options.body_timeout_ms,
            bytes_per_s_min: options.body_rate_bytes_per_s_min,
            since_ms: None,
            waited_ms: 0,
            bytes: 0,
            whole: false,
        }
    }

    /// A piece has come, and the wait for it, if there was one, is over.
    ///
    /// # Errors
    /// TimedOut when the client was slower than the least rate over the last period.
    fn piece_came(&mut self) -> Result<(), IncomingError> {
        let Some(since_ms) = self.since_ms.take() else {
            return Ok(());
        };
        self.waited_ms += self.shard.now_ms().saturating_sub(since_ms);
        if self.waited_ms < self.timeout_ms {
            return Ok(());
        }
        let bytes_min = self.bytes_per_s_min.saturating_mul(self.waited_ms) / 1000;
        if self.bytes < bytes_min {
            return Err(IncomingError::TimedOut);
        }
        self.waited_ms = 0;
        self.bytes = 0;
        Ok(())
    }

    /// Ready when a piece was waited for too long.
    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<IncomingError> {
        if self.since_ms.is_none() {
            self.since_ms = Some(self.shard.now_ms());
            if !self.whole {
                self.timer.reset(self.timeout_ms);
            }
        }
        self.timer
            .poll_elapsed(cx)
            .map(|()| IncomingError::TimedOut)
    }
}
