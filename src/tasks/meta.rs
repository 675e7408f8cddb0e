//! What is known of a task from outside: who spawned it, where, when, for which class.
//!
//! Written when its slot is filled, read by whoever reports on it, with nothing but relaxed
//! atomics: a reader compares the slot's generation before and after, as with a sequence lock.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Priority;
use crate::sys::atomic_ref::AtomicRef;

/// Which pool and class a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub pool: u16,
    pub class: u8,
    pub priority: Priority,
}

pub(super) struct Meta {
    site: AtomicRef<Location<'static>>,
    /// Nanoseconds of the monotonic clock; the lowest bit says that they are exact.
    spawned: AtomicU64,
    /// Pool, class, [`OVERRUN`], [`BACKGROUND`].
    owner: AtomicU32,
}

/// The task held its worker for too long.
const OVERRUN: u32 = 1;
/// Its class is of [`Priority::Background`].
const BACKGROUND: u32 = 2;

/// When a task was spawned.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub ns: u64,
    /// Read from the clock for this task; else the pool's time, as old as the monitor's last look.
    pub exact: bool,
}

impl Meta {
    pub const fn empty() -> Self {
        Self {
            site: AtomicRef::empty(),
            spawned: AtomicU64::new(0),
            owner: AtomicU32::new(0),
        }
    }

    pub fn set(&self, site: &'static Location<'static>, owner: Owner, spawned: Stamp) {
        self.site.store(Some(site), Ordering::Relaxed);
        let stamp = spawned.ns & !1 | u64::from(spawned.exact);
        self.spawned.store(stamp, Ordering::Relaxed);
        let background = match owner.priority {
            Priority::Interactive => 0,
            Priority::Background => BACKGROUND,
        };
        let owner = u32::from(owner.pool) << 16 | u32::from(owner.class) << 8 | background;
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Where it was spawned; `None` before its slot was first used.
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.site.load(Ordering::Relaxed)
    }

    pub fn spawned(&self) -> Stamp {
        let stamp = self.spawned.load(Ordering::Relaxed);
        Stamp {
            ns: stamp & !1,
            exact: stamp & 1 == 1,
        }
    }

    pub fn owner(&self) -> Owner {
        let owner = self.owner.load(Ordering::Relaxed);
        Owner {
            pool: (owner >> 16) as u16,
            class: (owner >> 8) as u8,
            priority: match owner & BACKGROUND {
                0 => Priority::Interactive,
                _ => Priority::Background,
            },
        }
    }

    /// Notes that it held its worker for too long; true the first time.
    pub fn mark_overrun(&self) -> bool {
        self.owner.fetch_or(OVERRUN, Ordering::Relaxed) & OVERRUN == 0
    }

    pub fn overrun(&self) -> bool {
        self.owner.load(Ordering::Relaxed) & OVERRUN != 0
    }
}
