//! Timers with a resolution of microseconds, beside the timer wheel's milliseconds.
//!
//! A sleeping thread wakes late by the time that its CPU takes to leave its idle state. A shard
//! therefore sleeps until shortly before the deadline of its next precise timer
//! ([`limits::PRECISE_TIMER_SPIN_NS`]) and then polls its ring without sleeping. That costs CPU time,
//! so use these timers only where milliseconds are too coarse, as for paced requests.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::shard::Shard;
use crate::limits;
use crate::sys::time::monotonic_ns;

/// The precise timers of one shard, keyed by deadline and insertion number.
#[derive(Default)]
pub(super) struct PreciseTimers {
    waiting: BTreeMap<(u64, u64), Waker>,
    made: u64,
    spun_ns: u64,
    /// Start of the current turn if it polls without sleeping, for a deadline that is close.
    spins_since: Option<u64>,
}

impl PreciseTimers {
    /// Limits a turn's wait to the time left until spinning for the next deadline begins.
    pub(crate) fn shorten(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(&(deadline_ns, _)) = self.waiting.keys().next() else {
            return timeout;
        };
        let now_ns = monotonic_ns();
        let left_ns = deadline_ns.saturating_sub(now_ns);
        let sleep_ns = left_ns.saturating_sub(limits::PRECISE_TIMER_SPIN_NS);
        if sleep_ns == 0 {
            self.spins_since = Some(now_ns);
        }
        let sleep = Duration::from_nanos(sleep_ns);
        Some(timeout.map_or(sleep, |timeout| timeout.min(sleep)))
    }

    /// Gathers the wakers of the timers that are due.
    pub(crate) fn take_due(&mut self, wakers: &mut Vec<Waker>) {
        if self.waiting.is_empty() {
            self.spins_since = None;
            return;
        }
        let now_ns = monotonic_ns();
        if let Some(since) = self.spins_since.take()
            && wakers.is_empty()
        {
            self.spun_ns += now_ns - since;
        }
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now_ns {
                break;
            }
            wakers.push(first.remove());
        }
    }

    pub(crate) fn spun_ns(&self) -> u64 {
        self.spun_ns
    }

    fn insert(&mut self, deadline_ns: u64, waker: Waker) -> u64 {
        self.made += 1;
        self.waiting.insert((deadline_ns, self.made), waker);
        self.made
    }
}

/// Ready at a deadline; see [`sleep_until`].
pub struct SleepUntil {
    shard: Shard,
    deadline_ns: u64,
    number: Option<u64>,
}

/// Waits until `deadline_ns` of [`monotonic_ns`], to the microsecond where the CPU is free. The thread
/// should have a small timer slack ([`set_timer_slack_ns`](crate::sys::time::set_timer_slack_ns)).
pub fn sleep_until(deadline_ns: u64) -> SleepUntil {
    SleepUntil {
        shard: Shard::current(),
        deadline_ns,
        number: None,
    }
}

impl SleepUntil {
    fn forget(&mut self) -> Option<Waker> {
        let number = self.number.take()?;
        let mut timers = self.shard.0.precise_timers.borrow_mut();
        timers.waiting.remove(&(self.deadline_ns, number))
    }
}

impl Future for SleepUntil {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        drop(self.forget());
        if monotonic_ns() >= self.deadline_ns {
            return Poll::Ready(());
        }
        let mut timers = self.shard.0.precise_timers.borrow_mut();
        let number = timers.insert(self.deadline_ns, cx.waker().clone());
        drop(timers);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for SleepUntil {
    fn drop(&mut self) {
        drop(self.forget());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_waits_no_longer_than_to_the_next_precise_timer() {
        let mut timers = PreciseTimers::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(timers.shorten(None), None);
        assert_eq!(timers.shorten(Some(hour)), Some(hour));
        let now_ns = monotonic_ns();
        timers.insert(now_ns + 1_000_000_000_000, Waker::noop().clone());
        assert_eq!(timers.shorten(Some(Duration::ZERO)), Some(Duration::ZERO));
        let wait = timers.shorten(None).unwrap();
        assert!(wait < Duration::from_secs(1000) && wait > Duration::from_secs(900));
        timers.insert(now_ns, Waker::noop().clone());
        assert_eq!(timers.shorten(Some(hour)), Some(Duration::ZERO));
        let mut wakers = Vec::new();
        timers.take_due(&mut wakers);
        assert_eq!((wakers.len(), timers.waiting.len()), (1, 1));
        assert!(timers.spun_ns() > 0);
    }
}
