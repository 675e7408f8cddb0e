//! Who sleeps, who looks for work, and how nobody sleeps while there is work to do.
//!
//! A worker that finds nothing *searches* for a while (steals, looks at the common queue), then
//! parks. At most half of those awake search at a time: more would only get in each other's way.
//! One word counts the workers that are awake and those that search.
//!
//! **The protocol.** Two sides write one thing and then read what the other writes, each with a
//! sequentially consistent fence in between, so at least one of them sees the other:
//!
//! - Who queues a task: *push; fence; read the word*. If somebody searches, he will find it or
//!   wake another, see below. If nobody does and a worker is parked, that one is woken and
//!   counts as searching from that moment, so that a burst of tasks wakes one worker, not all.
//! - Who parks: *leave the count, under the lock of the list of parked workers; fence; unless
//!   somebody else still searches, look at all queues once more*. While somebody does, that one
//!   looks after what comes. Who sees something takes himself off the list as a searcher: those
//!   who queued it relied on him to wake others for the rest of it.
//!
//! A searcher who finds work leaves the search, and if he was the last one, wakes another: there
//! may be more where it came from. So a burst wakes worker after worker, as fast as they find
//! something to do and no faster.
//!
//! tests/tasks_model.rs tries every order. After tokio's `multi_thread/idle.rs` and the comment on
//! worker parking at the top of Go's proc.go.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::sys::sync::lock;

const AWAKE_SHIFT: u32 = 16;
const AWAKE_ONE: usize = 1 << AWAKE_SHIFT;
const SEARCHING: usize = AWAKE_ONE - 1;

pub(super) struct Idle {
    /// Processors whose worker is awake, above [`AWAKE_SHIFT`]; those that search, below.
    word: AtomicUsize,
    /// Processors without an awake worker, the last to park on top: its caches are the warmest.
    parked: Mutex<Vec<u32>>,
    processors: usize,
}

impl Idle {
    /// All of `processors` are awake, and none searches.
    pub fn new(processors: usize) -> Self {
        Self {
            word: AtomicUsize::new(processors << AWAKE_SHIFT),
            parked: Mutex::new(Vec::with_capacity(processors)),
            processors,
        }
    }

    pub fn awake(&self) -> usize {
        self.word.load(Ordering::Relaxed) >> AWAKE_SHIFT
    }

    pub fn searching(&self) -> usize {
        self.word.load(Ordering::Relaxed) & SEARCHING
    }

    /// After a push: the processor whose worker is to be woken for it, if any. It is awake and
    /// searching from now on.
    pub fn processor_to_wake(&self) -> Option<u32> {
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

    /// Begins to search, unless half of the workers do already.
    pub fn start_search(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        if 2 * (word & SEARCHING) >= (word >> AWAKE_SHIFT) {
            return false;
        }
        self.word.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Ends a search that found something. True if nobody searches now: wake another.
    pub fn end_search(&self) -> bool {
        self.word.fetch_sub(1, Ordering::SeqCst) & SEARCHING == 1
    }

    /// Parks a processor, if `still` says so once the list is locked. `None` if not; else whether
    /// nobody searches now: then look at all queues once more.
    pub fn park(
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

    /// Takes a processor for which `fits` off the list, because its worker is awake; whether it
    /// counts as searching is up to the caller.
    pub fn unpark(&self, searches: bool, mut fits: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut parked = lock(&self.parked);
        let at = parked.iter().rposition(|processor| fits(*processor))?;
        let processor = parked.remove(at);
        let enter = AWAKE_ONE + usize::from(searches);
        self.word.fetch_add(enter, Ordering::SeqCst);
        Some(processor)
    }

    /// Runs `change` while nobody parks or is woken.
    pub fn locked<T>(&self, change: impl FnOnce() -> T) -> T {
        let _parked = lock(&self.parked);
        change()
    }

    /// Puts a processor back that was to be woken and for which no thread could be had.
    pub fn put_back(&self, processor: u32) {
        let mut parked = lock(&self.parked);
        parked.insert(0, processor);
        self.word.fetch_sub(AWAKE_ONE | 1, Ordering::SeqCst);
    }
}
