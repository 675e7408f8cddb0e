//! The least rate at which a client must take an answer.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::options::ServerOptions;
use crate::runtime::{Shard, Stream, Timer};
use crate::sys;

/// Measures one response being sent: in every period the client must have taken
/// enough, or the response is given up.
///
/// Taken is what the client has acknowledged, not what the socket had room
/// for: a socket that was full reports room only when a third of its buffer is
/// free, which a slow client may need many periods for.
pub(super) struct MinimumSendRate {
    timer: Timer,
    period_ms: u64,
    bytes_per_period_min: u64,
    /// Given to the socket in this period.
    moved: u64,
    /// In the socket when this period began; `None` before the first wait.
    queued: Option<u64>,
    /// Counts all that the socket was given, for the access log.
    sent: Option<Rc<Cell<u64>>>,
}

impl MinimumSendRate {
    pub(crate) fn new(shard: &Shard, options: &ServerOptions) -> Self {
        let (period_ms, bytes_per_s_min) =
            (options.send_period_ms, options.send_rate_bytes_per_s_min);
        Self {
            timer: Timer::after(shard, period_ms),
            period_ms,
            bytes_per_period_min: (bytes_per_s_min.saturating_mul(period_ms) / 1000).max(1),
            moved: 0,
            queued: None,
            sent: None,
        }
    }

    /// Counts all that the socket is given in `sent`, too.
    pub(crate) fn counting(mut self, sent: Option<Rc<Cell<u64>>>) -> Self {
        self.sent = sent;
        self
    }

    /// Counts bytes that were given to the socket.
    pub(crate) fn moved(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
        if let Some(sent) = &self.sent {
            sent.set(sent.get() + bytes);
        }
    }

    /// Begins a new period at the next wait: what was waited for until now was not the client.
    pub(crate) fn restart(&mut self) {
        self.queued = None;
    }

    /// Waits for a step of the sending on `stream`.
    ///
    /// # Errors
    /// Of the step itself, or TimedOut when the client is too slow.
    pub(crate) async fn step<T>(
        &mut self,
        stream: &Stream,
        step: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut step = pin!(step);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = step.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            self.poll_too_slow(stream, cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Ready when the client has taken too little in the period that is over. To be polled while
    /// the client is waited for.
    pub(crate) fn poll_too_slow(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(queued_before) = self.queued else {
                self.begin_period(unacknowledged_bytes(stream));
                continue;
            };
            if self.timer.poll_elapsed(cx).is_pending() {
                return Poll::Pending;
            }
            let queued = unacknowledged_bytes(stream);
            let taken = queued_before
                .saturating_add(self.moved)
                .saturating_sub(queued);
            if taken < self.bytes_per_period_min {
                return Poll::Ready(());
            }
            self.begin_period(queued);
        }
    }

    fn begin_period(&mut self, queued: u64) {
        self.queued = Some(queued);
        self.moved = 0;
        self.timer.reset(self.period_ms);
    }
}

/// Bytes that the socket holds and the client has not acknowledged.
pub(super) fn unacknowledged_bytes(stream: &Stream) -> u64 {
    sys::socket::unacknowledged_bytes(stream.as_fd()).map_or(0, |bytes| bytes as u64)
}
