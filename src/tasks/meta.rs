//! The facts about a task that reports state: where and when it was spawned, and its class.
//!
//! Written when its cell is filled and read by any thread, with relaxed atomics only: a reader
//! compares the cell's generation before and after, as with a sequence lock.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Priority;
use crate::limits;
use crate::sys::atomic_ref::AtomicRef;

/// Which pool and class a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub pool: u16,
    /// The class's index in the pool, valid while the task is unfinished.
    pub class: u8,
    /// Distinguishes the class from later ones at the same index, for reports on finished
    /// tasks. Below [`SERIALS`].
    pub serial: u16,
    pub priority: Priority,
}

/// Serial numbers of classes, which recur.
pub(super) const SERIALS: u32 = 1 << 12;

// Pool, class, serial and two flags share 32 bits.
const _: () = assert!(limits::TASK_POOLS_MAX <= 1 << 10 && limits::TASK_CLASSES_MAX <= 1 << 8);

pub(super) struct Meta {
    site: AtomicRef<Location<'static>>,
    /// When it was spawned, in [`AGE_UNIT_NS`] of the monotonic clock; wraps in half a year.
    spawned: AtomicU32,
    /// The [`Stamp`] of when it last became runnable.
    runnable: AtomicU32,
    /// Pool (10 bits), class (8), serial (12), [`BACKGROUND`], [`OVERRUN`].
    owner: AtomicU32,
    /// The index of the cell in the arena; in this struct since the cell has no room elsewhere.
    pub index: u32,
}

/// The task held its worker for [`limits::TASK_HELD_NS`].
const OVERRUN: u32 = 1;
/// Its class is of [`Priority::Background`].
const BACKGROUND: u32 = 2;

const AGE_UNIT_NS: u64 = 4_000_000;

/// When a task became runnable: in units of 64 ns of the monotonic clock, modulo 69 s, above two
/// bits for the sampling weight, the number of tasks that it represents.
#[derive(Clone, Copy)]
pub(super) struct Stamp(u32);

const STAMP_UNIT_SHIFT: u32 = 6;
const WEIGHTS: [u32; 3] = [0, 1, limits::TASK_SAMPLE];

impl Stamp {
    /// The stamp of a task whose latency is not sampled.
    pub(crate) fn none() -> Self {
        Self(0)
    }

    /// The stamp of a task that represents itself alone.
    pub(crate) fn of_one(now_ns: u64) -> Self {
        Self(Self::units(now_ns) << 2 | 1)
    }

    /// The stamp of a task that represents [`limits::TASK_SAMPLE`] tasks.
    pub(crate) fn of_sample(now_ns: u64) -> Self {
        Self(Self::units(now_ns) << 2 | 2)
    }

    fn units(ns: u64) -> u32 {
        (ns >> STAMP_UNIT_SHIFT) as u32
    }

    /// How many tasks the latency of this one counts for; 0: it is not sampled.
    pub(crate) fn weight(self) -> u32 {
        WEIGHTS.get((self.0 & 3) as usize).copied().unwrap_or(0)
    }

    /// How long ago that was, in ns.
    pub(crate) fn waited_ns(self, now_ns: u64) -> u64 {
        let passed = (Self::units(now_ns) << 2).wrapping_sub(self.0 & !3) >> 2;
        // `now_ns` may have been read a little before the stamp was made.
        let passed = if passed > u32::MAX >> 3 { 0 } else { passed };
        u64::from(passed) << STAMP_UNIT_SHIFT
    }
}

impl Meta {
    pub(crate) fn new(index: u32) -> Self {
        Self {
            site: AtomicRef::empty(),
            spawned: AtomicU32::new(0),
            runnable: AtomicU32::new(0),
            owner: AtomicU32::new(0),
            index,
        }
    }

    /// `now_ns` may be some milliseconds old.
    pub(crate) fn set(
        &self,
        site: &'static Location<'static>,
        owner: Owner,
        now_ns: u64,
        stamp: Stamp,
    ) {
        self.site.store(Some(site), Ordering::Relaxed);
        self.spawned
            .store((now_ns / AGE_UNIT_NS) as u32, Ordering::Relaxed);
        self.set_runnable(stamp);
        let background = match owner.priority {
            Priority::Interactive => 0,
            Priority::Background => BACKGROUND,
        };
        let owner = u32::from(owner.pool) << 22
            | u32::from(owner.class) << 14
            | u32::from(owner.serial) << 2
            | background;
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Where it was spawned; `None` before its cell was first used.
    pub(crate) fn site(&self) -> Option<&'static Location<'static>> {
        self.site.load(Ordering::Relaxed)
    }

    /// How long ago it was spawned.
    pub(crate) fn age(&self, now_ns: u64) -> Duration {
        let now = (now_ns / AGE_UNIT_NS) as u32;
        let passed = now.wrapping_sub(self.spawned.load(Ordering::Relaxed));
        // Spawned after the reader took the time.
        let passed = if passed > u32::MAX >> 1 { 0 } else { passed };
        Duration::from_nanos(u64::from(passed) * AGE_UNIT_NS)
    }

    pub(crate) fn runnable(&self) -> Stamp {
        Stamp(self.runnable.load(Ordering::Relaxed))
    }

    pub(crate) fn set_runnable(&self, stamp: Stamp) {
        self.runnable.store(stamp.0, Ordering::Relaxed);
    }

    pub(crate) fn owner(&self) -> Owner {
        let owner = self.owner.load(Ordering::Relaxed);
        Owner {
            pool: (owner >> 22) as u16,
            class: (owner >> 14) as u8,
            serial: (owner >> 2) as u16 & (SERIALS - 1) as u16,
            priority: match owner & BACKGROUND {
                0 => Priority::Interactive,
                _ => Priority::Background,
            },
        }
    }

    /// Marks the task as an overrun; true the first time.
    pub(crate) fn mark_overrun(&self) -> bool {
        self.owner.fetch_or(OVERRUN, Ordering::Relaxed) & OVERRUN == 0
    }

    pub(crate) fn overrun(&self) -> bool {
        self.owner.load(Ordering::Relaxed) & OVERRUN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_how_long_ago_it_was_made_across_its_wrap() {
        let wrap_ns = 1_u64 << (30 + STAMP_UNIT_SHIFT);
        for now_ns in [0, 1000, wrap_ns - 1000, 5 * wrap_ns - 64, u64::MAX / 2] {
            for waited_ns in [0, 640, 1_000_000, 10_000_000_000] {
                let then = Stamp::of_one(now_ns);
                let found = then.waited_ns(now_ns + waited_ns);
                assert!(found.abs_diff(waited_ns) <= 64, "{found} for {waited_ns}");
                assert_eq!(then.weight(), 1);
            }
            // Read a little before.
            assert_eq!(Stamp::of_one(now_ns + 100).waited_ns(now_ns), 0);
        }
        assert_eq!(Stamp::of_sample(9).weight(), limits::TASK_SAMPLE);
        assert_eq!(Stamp::none().weight(), 0);
    }

    #[test]
    fn an_owner_is_read_as_it_was_written() {
        let meta = Meta::new(0);
        let (pools, classes) = (
            limits::TASK_POOLS_MAX as u16,
            limits::TASK_CLASSES_MAX as u8,
        );
        for (pool, class, serial) in [
            (0, 0, 0),
            (pools - 1, 0, 0),
            (0, classes - 1, 0),
            (0, 0, SERIALS as u16 - 1),
            (5, 6, 7),
        ] {
            for priority in [Priority::Interactive, Priority::Background] {
                let owner = Owner {
                    pool,
                    class,
                    serial,
                    priority,
                };
                meta.set(Location::caller(), owner, 0, Stamp::none());
                assert!(meta.mark_overrun() && !meta.mark_overrun());
                assert_eq!(meta.owner(), owner);
            }
        }
    }

    #[test]
    fn an_age_is_true_to_its_unit() {
        let meta = Meta::new(0);
        let site = Location::caller();
        let owner = Owner {
            pool: 1,
            class: 2,
            serial: 3,
            priority: Priority::Interactive,
        };
        let now_ns = 7 << 60;
        meta.set(site, owner, now_ns, Stamp::none());
        for age in [0, 1000, 86_400_000] {
            let age = Duration::from_millis(age);
            let found = meta.age(now_ns + age.as_nanos() as u64);
            assert!(
                found.abs_diff(age) <= Duration::from_nanos(AGE_UNIT_NS),
                "{found:?}"
            );
        }
        assert_eq!(meta.age(now_ns - AGE_UNIT_NS), Duration::ZERO);
    }
}
