//! Time as futures, on the shard's timer wheel, in millisecond steps.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::shard::Shard;
use super::super::timer::TimerId;
use crate::sys::time::monotonic_ms;

/// A deadline that can be moved: cheap to postpone, as a connection does at every request.
pub struct Timer {
    shard: Shard,
    id: TimerId,
}

impl Timer {
    /// Arms a timer `wait_ms` from this turn's time ([`Shard::now_ms`]): it fires early by as much
    /// as the turn has lasted; [`sleep`] reads the clock instead.
    pub fn after(shard: &Shard, wait_ms: u64) -> Self {
        Self::at(shard, shard.now_ms().saturating_add(wait_ms))
    }

    fn at(shard: &Shard, deadline_ms: u64) -> Self {
        Self {
            shard: shard.clone(),
            id: shard.timer_insert(deadline_ms),
        }
    }

    /// Identifies it among the timers of its shard, for as long as it lives ([`Shard::expire`]).
    pub fn id(&self) -> TimerId {
        self.id
    }

    /// Moves the deadline to `wait_ms` from now, even if it has passed.
    pub fn reset(&self, wait_ms: u64) {
        self.shard
            .timer_reset(self.id, self.shard.now_ms().saturating_add(wait_ms));
    }

    /// Ready once the deadline has passed.
    pub fn poll_elapsed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.shard.timer_poll(self.id, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shard.timer_remove(self.id);
    }
}

/// Ready after a while; see [`sleep`].
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_elapsed(cx)
    }
}

/// Waits for `duration`, rounded up to a millisecond, and never less.
pub fn sleep(duration: Duration) -> Sleep {
    let ms = duration
        .as_nanos()
        .div_ceil(1_000_000)
        .min(u128::from(u64::MAX)) as u64;
    // One more, since the clock's milliseconds are cut off.
    let deadline = monotonic_ms().saturating_add(ms).saturating_add(1);
    Sleep(Timer::at(&Shard::current(), deadline))
}

/// The time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is up")
    }
}

impl std::error::Error for Elapsed {}

/// Gives up on a future after `duration` and drops it, which abandons its operations.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut limit = pin!(sleep(duration));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        limit.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
