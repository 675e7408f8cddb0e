//! Which processors sleep and which search for work, and the protocol that keeps none asleep while
//! work waits.
//!
//! A worker that finds nothing *searches* for a while (it steals and looks at the global queue),
//! then parks. At most half of the awake ones search at a time: more would only contend. One word
//! counts the processors that are awake and those that search.
//!
//! **The protocol.** Each of two sides writes one thing and then reads what the other writes, with
//! a sequentially consistent fence in between, so at least one of them sees the other:
//!
//! - Queueing a task: *push; fence; read the word*. If a processor searches, it will find the task
//!   or wake another, see below. If none does and one is parked, that one is woken and counts as
//!   searching from that moment, so that a burst of tasks wakes one worker, not all.
//! - Parking: *leave the count, under the lock of the list of parked processors; fence; unless
//!   another one still searches, look at all queues once more*. While another searches, that one
//!   takes care of new tasks. If the look finds something, the worker takes itself off the list as
//!   a searcher, because the pushers relied on it to wake others for the rest.
//!
//! A searcher that finds work stops searching, and if it was the last one, wakes another: more work
//! may wait. So a burst of tasks wakes the workers one after another, as fast as they find work and
//! no faster.
//!
//! The models in `models.rs` run this code in every order. After tokio's `multi_thread/idle.rs` and
//! the comment on worker parking at the top of Go's proc.go.

use crate::sys::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sys::sync::{Mutex, lock};

const AWAKE_SHIFT: u32 = 16;
const AWAKE_ONE: usize = 1 << AWAKE_SHIFT;
const SEARCHING: usize = AWAKE_ONE - 1;

/// Which processors are parked, and how many are awake and search.
pub(super) struct Idle {
    /// Processors that are awake, above [`AWAKE_SHIFT`]; those that search, below.
    word: AtomicUsize,
    /// Processors without an awake worker, the one that parked last on top, since its caches are
    /// the warmest.
    parked: Mutex<Vec<u32>>,
    processors: usize,
}

impl Idle {
    /// All of `processors` are awake, and none searches.
    pub(crate) fn new(processors: usize) -> Self {
        Self {
            word: AtomicUsize::new(processors << AWAKE_SHIFT),
            parked: Mutex::new(Vec::with_capacity(processors)),
            processors,
        }
    }

    pub(crate) fn awake(&self) -> usize {
        self.word.load(Ordering::Relaxed) >> AWAKE_SHIFT
    }

    pub(crate) fn searching(&self) -> usize {
        self.word.load(Ordering::Relaxed) & SEARCHING
    }

    /// After a push: the processor to wake for it, if any. It is awake and searching from now on.
    pub(crate) fn processor_to_wake(&self) -> Option<u32> {
        fence(Ordering::SeqCst);
        if !self.may_wake() {
            return None;
        }
        let mut parked = lock(&self.parked);
        if !self.may_wake() {
            return None;
        }
        let processor = parked.pop()?;
        self.word.fetch_add(AWAKE_ONE | 1, Ordering::SeqCst);
        Some(processor)
    }

    fn may_wake(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        word & SEARCHING == 0 && word >> AWAKE_SHIFT < self.processors
    }

    /// Counts one more searcher; false if half of the awake processors search already.
    pub(crate) fn start_search(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        if 2 * (word & SEARCHING) >= (word >> AWAKE_SHIFT) {
            return false;
        }
        self.word.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Ends a search that found something. True if none searches now: wake another.
    pub(crate) fn end_search(&self) -> bool {
        self.word.fetch_sub(1, Ordering::SeqCst) & SEARCHING == 1
    }

    /// Parks a processor, if `still` agrees once the list is locked. `None` if not; else whether
    /// none searches now: then the caller must look at all queues once more.
    pub(crate) fn park(
        &self,
        processor: u32,
        searched: bool,
        still: impl FnOnce() -> bool,
    ) -> Option<bool> {
        let mut parked = lock(&self.parked);
        if !still() {
            return None;
        }
        parked.push(processor);
        let searched = usize::from(searched);
        let before = self.word.fetch_sub(AWAKE_ONE + searched, Ordering::SeqCst);
        drop(parked);
        fence(Ordering::SeqCst);
        Some(before & SEARCHING == searched)
    }

    /// Removes a parked processor for which `fits` returns true from the list and counts it as
    /// awake; with `searches`, also as searching.
    pub(crate) fn unpark(&self, searches: bool, mut fits: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut parked = lock(&self.parked);
        let at = parked.iter().rposition(|processor| fits(*processor))?;
        let processor = parked.remove(at);
        let enter = AWAKE_ONE + usize::from(searches);
        self.word.fetch_add(enter, Ordering::SeqCst);
        Some(processor)
    }

    /// Runs `change` under the lock of the list: no processor parks or is woken meanwhile.
    pub(crate) fn locked<T>(&self, change: impl FnOnce() -> T) -> T {
        let _parked = lock(&self.parked);
        change()
    }

    /// Parks a processor again that [`processor_to_wake`](Self::processor_to_wake) chose and that
    /// no thread could take. The caller must look at all queues once more: meanwhile pushers
    /// relied on it as a searcher.
    pub(crate) fn put_back(&self, processor: u32) {
        let mut parked = lock(&self.parked);
        parked.insert(0, processor);
        self.word.fetch_sub(AWAKE_ONE | 1, Ordering::SeqCst);
        drop(parked);
        fence(Ordering::SeqCst);
    }
}
