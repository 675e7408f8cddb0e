//! The least rate at which a client must take an answer.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::runtime::{Shard, Timer};

/// Watches one response being sent: in every period the client must have taken
/// enough, or it is given up.
pub(super) struct Pace {
    timer: Timer,
    period_ms: u64,
    bytes_per_period_min: u64,
    bytes_this_period: u64,
}

impl Pace {
    pub fn new(shard: &Shard, period_ms: u64, bytes_per_s_min: u64) -> Self {
        Self {
            timer: Timer::after(shard, period_ms),
            period_ms,
            bytes_per_period_min: (bytes_per_s_min.saturating_mul(period_ms) / 1000).max(1),
            bytes_this_period: 0,
        }
    }

    /// The client has taken so much more.
    pub fn moved(&mut self, bytes: u64) {
        self.bytes_this_period = self.bytes_this_period.saturating_add(bytes);
    }

    /// Waits for a step of the sending.
    ///
    /// # Errors
    /// Of the step itself, or TimedOut when the client is too slow.
    pub async fn step<T>(&mut self, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut step = pin!(step);
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = step.as_mut().poll(cx) {
                    return Poll::Ready(result);
                }
                if self.timer.poll_elapsed(cx).is_pending() {
                    return Poll::Pending;
                }
                if self.bytes_this_period < self.bytes_per_period_min {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                self.bytes_this_period = 0;
                self.timer.reset(self.period_ms);
            }
        })
        .await
    }
}
