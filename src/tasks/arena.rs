//! Where the slots of tasks come from and go back to.
//!
//! Slots are made in chunks and never freed: what a burst needed, the next one finds. That makes
//! a `&'static Slot` of each, lets reports walk over all of them, and lets a waker name its task
//! by a number. Each thread keeps some vacant ones to itself; beyond that they are in one list.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::cell::{Slot, Vacant};
use super::lock;
use crate::limits::{TASK_CHUNK, TASKS_LIVE_MAX};

/// Vacant slots that a thread takes from the common list at once, and leaves there.
const BATCH: usize = 64;

/// Slots by their index.
static CHUNKS: [OnceLock<Box<[Slot]>>; TASKS_LIVE_MAX / TASK_CHUNK] =
    [const { OnceLock::new() }; TASKS_LIVE_MAX / TASK_CHUNK];
static CHUNKS_MADE: AtomicUsize = AtomicUsize::new(0);
static VACANT: Mutex<Vec<Vacant>> = Mutex::new(Vec::new());

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

struct Kept(Vec<Vacant>);

impl Drop for Kept {
    fn drop(&mut self) {
        lock(&VACANT).append(&mut self.0);
    }
}

/// A slot for a new task; `None` when [`TASKS_LIVE_MAX`] tasks are alive.
pub(super) fn take() -> Option<Vacant> {
    let kept = KEPT.try_with(|kept| {
        let kept = &mut kept.borrow_mut().0;
        if kept.is_empty() {
            refill(kept);
        }
        kept.pop()
    });
    // A thread that ends has nothing of its own any more.
    kept.unwrap_or_else(|_| {
        let mut vacant = Vec::new();
        refill(&mut vacant);
        let one = vacant.pop();
        lock(&VACANT).append(&mut vacant);
        one
    })
}

/// Gives back the slot of a task that is over.
pub(super) fn put_back(vacant: Vacant) {
    let mut left = Some(vacant);
    let _ = KEPT.try_with(|kept| {
        let kept = &mut kept.borrow_mut().0;
        if kept.len() == 2 * BATCH {
            lock(&VACANT).extend(kept.drain(BATCH..));
        }
        kept.extend(left.take());
    });
    if let Some(vacant) = left {
        lock(&VACANT).push(vacant);
    }
}

#[cold]
fn refill(kept: &mut Vec<Vacant>) {
    let mut vacant = lock(&VACANT);
    if vacant.is_empty() {
        grow(&mut vacant);
    }
    let rest = vacant.len().saturating_sub(BATCH);
    kept.extend(vacant.drain(rest..));
}

/// Makes another chunk; called with the list locked, so by one at a time.
fn grow(vacant: &mut Vec<Vacant>) {
    let made = CHUNKS_MADE.load(Ordering::Relaxed);
    let Some(chunk) = CHUNKS.get(made) else {
        return;
    };
    let first = made * TASK_CHUNK;
    let slots = chunk.get_or_init(|| {
        (first..first + TASK_CHUNK)
            .map(|index| Slot::new(index as u32))
            .collect()
    });
    // The first to be used is the last of the list.
    vacant.extend(slots.iter().rev().map(Vacant::first));
    CHUNKS_MADE.store(made + 1, Ordering::Release);
}

/// The slot of this index, if there is one.
pub(super) fn slot(index: u32) -> Option<&'static Slot> {
    let index = index as usize;
    CHUNKS
        .get(index / TASK_CHUNK)?
        .get()?
        .get(index % TASK_CHUNK)
}

/// Every slot there is.
pub(super) fn slots() -> impl Iterator<Item = &'static Slot> {
    let made = CHUNKS_MADE.load(Ordering::Acquire);
    CHUNKS[..made].iter().filter_map(OnceLock::get).flatten()
}
