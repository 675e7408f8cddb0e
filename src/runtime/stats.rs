//! A shard's counters, which only the shard writes and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::driver::DriverStats;

/// What a shard has done since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    /// Calls of `io_uring_enter`, or of `epoll_wait`.
    pub enters: u64,
    /// Operations handed to the kernel.
    pub submissions: u64,
    /// Completions taken from the kernel.
    pub completions: u64,
    /// Turns in which the completion queue had overflowed.
    pub overflows: u64,
    /// Task polls.
    pub polls: u64,
    /// Panics of foreign code that the shard has contained: in tasks, in functions sent to it, in
    /// destructors and in wakers.
    pub panics: u64,
    /// Live tasks.
    pub tasks: u64,
}

/// One writer, plain loads and stores: no read-modify-write on the hot path.
#[derive(Default)]
pub(super) struct SharedStats {
    enters: AtomicU64,
    submissions: AtomicU64,
    completions: AtomicU64,
    overflows: AtomicU64,
    polls: AtomicU64,
    panics: AtomicU64,
    tasks: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl SharedStats {
    pub(crate) fn store_driver(&self, driver: DriverStats, tasks: usize) {
        self.enters.store(driver.enters, Ordering::Relaxed);
        self.submissions
            .store(driver.submissions, Ordering::Relaxed);
        self.completions
            .store(driver.completions, Ordering::Relaxed);
        self.overflows.store(driver.overflows, Ordering::Relaxed);
        self.tasks.store(tasks as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_poll(&self) {
        add(&self.polls, 1);
    }

    pub(crate) fn count_panics(&self, count: usize) {
        add(&self.panics, count as u64);
    }

    pub(crate) fn load(&self) -> ShardStats {
        ShardStats {
            enters: self.enters.load(Ordering::Relaxed),
            submissions: self.submissions.load(Ordering::Relaxed),
            completions: self.completions.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
            polls: self.polls.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            tasks: self.tasks.load(Ordering::Relaxed),
        }
    }
}
