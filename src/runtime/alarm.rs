//! Waits that end to the microsecond, beside the timer wheel's milliseconds.
//!
//! A thread that sleeps is woken late by what its CPU takes to wake up, so a
//! shard sleeps until shortly before an alarm and then looks at its ring
//! without sleeping. That costs CPU time, and so these are for those who need them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::shard::Shard;
use crate::limits;
use crate::sys::time::monotonic_ns;

/// The alarms of one shard, by time and number.
#[derive(Default)]
pub(super) struct Alarms {
    waiting: BTreeMap<(u64, u64), Waker>,
    made: u64,
    spun_ns: u64,
    /// When a turn began that only waits for the last moments of an alarm.
    spins_since: Option<u64>,
}

impl Alarms {
    /// Cuts how long a turn may wait to what the next alarm leaves.
    pub fn shorten(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(&(deadline_ns, _)) = self.waiting.keys().next() else {
            return timeout;
        };
        let now_ns = monotonic_ns();
        let left_ns = deadline_ns.saturating_sub(now_ns);
        let sleep_ns = left_ns.saturating_sub(limits::ALARM_SPIN_NS);
        if sleep_ns == 0 {
            self.spins_since = Some(now_ns);
        }
        let sleep = Duration::from_nanos(sleep_ns);
        Some(timeout.map_or(sleep, |timeout| timeout.min(sleep)))
    }

    /// Gathers the wakers of the alarms that are due.
    pub fn take_due(&mut self, wakers: &mut Vec<Waker>) {
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

    pub fn spun_ns(&self) -> u64 {
        self.spun_ns
    }

    fn insert(&mut self, deadline_ns: u64, waker: Waker) -> u64 {
        self.made += 1;
        self.waiting.insert((deadline_ns, self.made), waker);
        self.made
    }
}

/// Ready at a moment; see [`sleep_until`].
pub struct SleepUntil {
    shard: Shard,
    deadline_ns: u64,
    number: Option<u64>,
}

/// Waits until a moment of [`monotonic_ns`], to the microsecond where the CPU is free. The thread
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
        let mut alarms = self.shard.0.alarms.borrow_mut();
        alarms.waiting.remove(&(self.deadline_ns, number))
    }
}

impl Future for SleepUntil {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        drop(self.forget());
        if monotonic_ns() >= self.deadline_ns {
            return Poll::Ready(());
        }
        let mut alarms = self.shard.0.alarms.borrow_mut();
        let number = alarms.insert(self.deadline_ns, cx.waker().clone());
        drop(alarms);
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
    fn a_turn_waits_no_longer_than_to_the_next_alarm() {
        let mut alarms = Alarms::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(alarms.shorten(None), None);
        assert_eq!(alarms.shorten(Some(hour)), Some(hour));
        let now_ns = monotonic_ns();
        alarms.insert(now_ns + 1_000_000_000_000, Waker::noop().clone());
        assert_eq!(alarms.shorten(Some(Duration::ZERO)), Some(Duration::ZERO));
        let wait = alarms.shorten(None).unwrap();
        assert!(wait < Duration::from_secs(1000) && wait > Duration::from_secs(900));
        alarms.insert(now_ns, Waker::noop().clone());
        assert_eq!(alarms.shorten(Some(hour)), Some(Duration::ZERO));
        let mut wakers = Vec::new();
        alarms.take_due(&mut wakers);
        assert_eq!((wakers.len(), alarms.waiting.len()), (1, 1));
        assert!(alarms.spun_ns() > 0);
    }
}
