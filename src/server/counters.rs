//! What one shard has served, readable by other threads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cut::{CutConnections, Phase};
use crate::http::Status;

/// Written by one shard, with plain loads and stores, and read by anyone. On cache lines of its
/// own, so that no shard waits for another's.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Counters {
    /// Connections admitted.
    pub connections: Counter,
    /// Connections refused since there were too many in all, or from their address.
    pub refused_total: Counter,
    pub refused_per_address: Counter,
    /// Requests whose head was understood.
    pub requests: Counter,
    /// Requests whose head was not.
    pub malformed: Counter,
    /// Heads that did not come to their end in time.
    pub late: Counter,
    /// Responses by the first digit of their status, from 1xx on.
    pub responses: [Counter; 5],
    /// Bytes of files that went from the page cache to sockets.
    pub file_bytes: Counter,
    /// Connections that were cut, by [`Phase`].
    cut: [Counter; Phase::OPEN],
}

impl Counters {
    pub(crate) fn count_cut(&self, phase: Phase) {
        if let Some(counter) = self.cut.get(phase as usize) {
            counter.add(1);
        }
    }

    pub(crate) fn cut(&self) -> CutConnections {
        CutConnections::new(|phase| self.cut.get(phase as usize).map_or(0, Counter::get))
    }

    pub(crate) fn count_response(&self, status: Status) {
        let class = usize::from(status.code() / 100);
        if let Some(counter) = self.responses.get(class.wrapping_sub(1)) {
            counter.add(1);
        }
    }
}

/// A number that one thread adds to.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
