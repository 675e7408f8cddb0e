//! The least rate at which a client must take an answer.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;

use crate::runtime::{Shard, Stream, Timer};
use crate::sys;

/// Watches one response being sent: in every period the client must have taken
/// enough, or it is given up.
///
/// Taken is what the client has acknowledged, not what the socket had room
/// for: a socket that was full tells of room only when a third of its buffer is
/// free, which a slow client may need many periods for.
pub(super) struct Pace {
    timer: Timer,
    period_ms: u64,
    bytes_per_period_min: u64,
    /// Given to the socket in this period.
    moved: u64,
    /// In the socket when this period began; `None` before the first wait.
    queued: Option<u64>,
}

impl Pace {
    pub fn new(shard: &Shard, period_ms: u64, bytes_per_s_min: u64) -> Self {
        Self {
            timer: Timer::after(shard, period_ms),
            period_ms,
            bytes_per_period_min: (bytes_per_s_min.saturating_mul(period_ms) / 1000).max(1),
            moved: 0,
            queued: None,
        }
    }

    /// The socket was given so much more.
    pub fn moved(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// Waits for a step of the sending on `stream`.
    ///
    /// # Errors
    /// Of the step itself, or TimedOut when the client is too slow.
    pub async fn step<T>(
        &mut self,
        stream: &Stream,
        step: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut step = pin!(step);
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = step.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                let Some(queued_before) = self.queued else {
                    self.begin_period(queued_bytes(stream));
                    continue;
                };
                if self.timer.poll_elapsed(cx).is_pending() {
                    return Poll::Pending;
                }
                let queued = queued_bytes(stream);
                let taken = queued_before
                    .saturating_add(self.moved)
                    .saturating_sub(queued);
                if taken < self.bytes_per_period_min {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.begin_period(queued);
            }
        })
        .await
    }

    fn begin_period(&mut self, queued: u64) {
        self.queued = Some(queued);
        self.moved = 0;
        self.timer.reset(self.period_ms);
    }
}

fn queued_bytes(stream: &Stream) -> u64 {
    sys::socket::unacknowledged_bytes(stream.as_fd()).map_or(0, |bytes| bytes as u64)
}
