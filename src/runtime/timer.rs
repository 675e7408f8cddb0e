//! The timer wheel: four levels of 64 buckets, a tick of one millisecond.
//!
//! A connection postpones its timer at every request, so postponing is cheap: a later deadline is
//! only stored, and the entry moves when its old bucket is due (after Varghese and Lauck, "Hashed
//! and hierarchical timing wheels", 1987).

use std::task::Waker;

use slab::Slab;

const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const LEVELS: usize = 4;
/// Longer waits are divided into steps of this many milliseconds (about 4.6 hours).
const SPAN_MS: u64 = 1 << (BUCKET_BITS * LEVELS as u32);
const NONE: u32 = u32::MAX;

/// Identifies a timer among those of its shard: a small number, reused once its timer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

impl TimerId {
    /// The number, which is smaller than the largest number of timers that the shard has had at one
    /// time.
    pub fn index(self) -> u32 {
        self.0
    }

    /// The id with this number.
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }
}

struct TimerEntry {
    deadline_ms: u64,
    waker: Option<Waker>,
    /// The bucket whose list the entry is on, or `None` when it has fired.
    bucket: Option<(u8, u8)>,
    previous: u32,
    next: u32,
}

/// The result of polling a timer.
pub(super) struct TimerPoll {
    pub elapsed: bool,
    /// The waker that was replaced, to be dropped when the wheel is not borrowed.
    pub replaced: Option<Waker>,
}

/// All timers of one shard.
pub(super) struct Wheel {
    now_ms: u64,
    heads: [[u32; BUCKETS]; LEVELS],
    /// A bit for each bucket that has entries.
    occupied: [u64; LEVELS],
    entries: Slab<TimerEntry>,
    armed: usize,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            now_ms,
            heads: [[NONE; BUCKETS]; LEVELS],
            occupied: [0; LEVELS],
            entries: Slab::new(),
            armed: 0,
        }
    }

    /// Arms a timer; a deadline that has passed fires at the next [`advance`](Self::advance).
    pub(crate) fn insert(&mut self, deadline_ms: u64) -> TimerId {
        let index = self.entries.insert(TimerEntry {
            deadline_ms,
            waker: None,
            bucket: None,
            previous: NONE,
            next: NONE,
        }) as u32;
        self.link(index);
        TimerId(index)
    }

    /// Whether the timer has fired; if not, `waker` is woken when it does.
    pub(crate) fn poll(&mut self, id: TimerId, waker: &Waker) -> TimerPoll {
        let entry = &mut self.entries[id.0 as usize];
        let elapsed = entry.bucket.is_none();
        let replaced = match &mut entry.waker {
            _ if elapsed => None,
            Some(old) if old.will_wake(waker) => None,
            old => old.replace(waker.clone()),
        };
        TimerPoll { elapsed, replaced }
    }

    /// Moves the deadline; a timer that has fired is armed again.
    pub(crate) fn reset(&mut self, id: TimerId, deadline_ms: u64) {
        let entry = &mut self.entries[id.0 as usize];
        let later = deadline_ms >= entry.deadline_ms;
        entry.deadline_ms = deadline_ms;
        match entry.bucket {
            Some(_) if later => {}
            Some(_) => {
                self.unlink(id.0);
                self.link(id.0);
            }
            None => self.link(id.0),
        }
    }

    /// Moves the deadline to now; a timer that has fired, or is gone, stays as it is.
    pub(crate) fn expire(&mut self, id: TimerId) {
        let armed = |entry: &TimerEntry| entry.bucket.is_some();
        if self.entries.get(id.0 as usize).is_some_and(armed) {
            self.unlink(id.0);
            self.entries[id.0 as usize].deadline_ms = self.now_ms;
            self.link(id.0);
        }
    }

    /// Removes a timer and gives its waker, to be dropped when the wheel is not borrowed.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<Waker> {
        if self.entries[id.0 as usize].bucket.is_some() {
            self.unlink(id.0);
        }
        self.entries.remove(id.0 as usize).waker
    }

    /// Milliseconds until the next bucket is due, which is never later than the next deadline;
    /// `None` without timers.
    pub(crate) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = BUCKET_BITS * level as u32;
            let current = self.now_ms >> shift;
            let ahead = self.occupied[level].rotate_right((current & (BUCKETS as u64 - 1)) as u32);
            // A bucket "0 ahead" on a higher level is a whole turn ahead: it was emptied on arrival.
            let steps = match (level, ahead & !1) {
                (0, _) => u64::from(ahead.trailing_zeros()),
                (_, 0) => BUCKETS as u64,
                (_, rest) => u64::from(rest.trailing_zeros()),
            };
            best = best.min((current + steps) << shift);
        }
        Some(best.saturating_sub(now_ms))
    }

    /// Advances the clock and gathers the wakers of the timers that fired.
    pub(crate) fn advance(&mut self, now_ms: u64, wakers: &mut Vec<Waker>) {
        while self.armed > 0 && self.now_ms <= now_ms {
            self.fire(0, self.bucket_now(0), wakers);
            if self.now_ms == now_ms {
                return;
            }
            // With nothing on the lowest level before the next cascade, go there directly.
            let rest = self.occupied[0] >> self.bucket_now(0);
            let step = match rest {
                0 => BUCKETS as u64 - (self.now_ms & (BUCKETS as u64 - 1)),
                _ => u64::from((rest & !1).trailing_zeros())
                    .min(BUCKETS as u64 - (self.now_ms & (BUCKETS as u64 - 1))),
            };
            self.now_ms = (self.now_ms + step.max(1)).min(now_ms);
            for level in 1..LEVELS {
                if self.now_ms & ((1 << (BUCKET_BITS * level as u32)) - 1) != 0 {
                    break;
                }
                self.cascade(level, self.bucket_now(level));
            }
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn bucket_now(&self, level: usize) -> usize {
        (self.now_ms >> (BUCKET_BITS * level as u32)) as usize & (BUCKETS - 1)
    }

    /// Fires the due timers of a bucket of the lowest level; moves the postponed ones to their new
    /// bucket.
    fn fire(&mut self, level: usize, bucket: usize, wakers: &mut Vec<Waker>) {
        let mut index = self.take_list(level, bucket);
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            let next = entry.next;
            if entry.deadline_ms <= self.now_ms {
                wakers.extend(entry.waker.take());
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    /// Spreads a bucket of a higher level over the lower ones.
    fn cascade(&mut self, level: usize, bucket: usize) {
        let mut index = self.take_list(level, bucket);
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    fn take_list(&mut self, level: usize, bucket: usize) -> u32 {
        let head = std::mem::replace(&mut self.heads[level][bucket], NONE);
        self.occupied[level] &= !(1 << bucket);
        let mut index = head;
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            entry.bucket = None;
            self.armed -= 1;
            index = entry.next;
        }
        head
    }

    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline_ms.max(self.now_ms);
        let ahead = (deadline - self.now_ms).min(SPAN_MS - 1);
        let at = self.now_ms + ahead;
        // The level is the highest one at which `at` and the current time differ, so that the
        // bucket is reached before the deadline.
        let differs = (at ^ self.now_ms) | (BUCKETS as u64 - 1);
        let level = (((63 - differs.leading_zeros()) / BUCKET_BITS) as usize).min(LEVELS - 1);
        let bucket = (at >> (BUCKET_BITS * level as u32)) as usize & (BUCKETS - 1);
        let head = std::mem::replace(&mut self.heads[level][bucket], index);
        self.occupied[level] |= 1 << bucket;
        let entry = &mut self.entries[index as usize];
        entry.bucket = Some((level as u8, bucket as u8));
        entry.previous = NONE;
        entry.next = head;
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        self.armed += 1;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let Some((level, bucket)) = entry.bucket.take() else {
            return;
        };
        let (previous, next) = (entry.previous, entry.next);
        let (level, bucket) = (usize::from(level), usize::from(bucket));
        if previous == NONE {
            self.heads[level][bucket] = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if self.heads[level][bucket] == NONE {
            self.occupied[level] &= !(1 << bucket);
        }
        self.armed -= 1;
    }
}

#[cfg(test)]
mod tests;
