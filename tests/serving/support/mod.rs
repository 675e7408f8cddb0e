//! Shared by the tests: servers, a client with time-outs, and facts of a process.

mod binary;
mod client;
pub(crate) mod logged;
mod process;
mod site;

use std::time::{Duration, Instant};

pub(crate) use binary::{Binary, headwater};
pub(crate) use client::{Client, Reply, get, is_reset};
pub(crate) use process::{cpu_time, descriptor_numbers, descriptors, memory_bytes};
pub(crate) use site::{Running, Site, an_allowed_cpu, serve, two_cpus};

/// What is waited for at most, so that a broken server fails a test instead of hanging it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Looks until `is_so`, where nothing can be waited for.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
