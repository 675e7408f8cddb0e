//! Where the cells of tasks come from and go back to.
//!
//! Slots are made in chunks and never freed: what a burst needed, the next one finds. That makes
//! a `&'static TaskCell` of each, lets reports walk over all of them, and lets a waker name its task
//! by a number. Each thread keeps some vacant ones to itself; beyond that they are in one list.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::cell::{TaskCell, VacantCell};
use crate::limits::{TASK_CHUNK, TASKS_LIVE_MAX};
use crate::sys::sync::lock;

/// VacantCell cells that a thread takes from the common list at once, and leaves there.
const BATCH: usize = 64;

/// Slots by their index.
static CHUNKS: [OnceLock<Box<[TaskCell]>>; TASKS_LIVE_MAX / TASK_CHUNK] =
    [const { OnceLock::new() }; TASKS_LIVE_MAX / TASK_CHUNK];
static CHUNKS_MADE: AtomicUsize = AtomicUsize::new(0);
static VACANT: Mutex<Vec<VacantCell>> = Mutex::new(Vec::new());

thread_local! {
    static CACHED: RefCell<Cached> = const { RefCell::new(Cached(Vec::new())) };
}

struct Cached(Vec<VacantCell>);

impl Drop for Cached {
    fn drop(&mut self) {
        lock(&VACANT).append(&mut self.0);
    }
}

/// A cell for a new task; `None` when [`TASKS_LIVE_MAX`] tasks are alive.
pub(super) fn take() -> Option<VacantCell> {
    let cached = CACHED.try_with(|cached| {
        let cached = &mut cached.borrow_mut().0;
        if cached.is_empty() {
            refill(cached);
        }
        cached.pop()
    });
    // A thread that ends has nothing of its own any more.
    cached.unwrap_or_else(|_| {
        let mut vacant = Vec::new();
        refill(&mut vacant);
        let one = vacant.pop();
        lock(&VACANT).append(&mut vacant);
        one
    })
}

/// Gives back the cell of a task that is over.
pub(super) fn put_back(vacant: VacantCell) {
    let mut left = Some(vacant);
    let _ = CACHED.try_with(|cached| {
        let cached = &mut cached.borrow_mut().0;
        if cached.len() == 2 * BATCH {
            lock(&VACANT).extend(cached.drain(BATCH..));
        }
        cached.extend(left.take());
    });
    if let Some(vacant) = left {
        lock(&VACANT).push(vacant);
    }
}

#[cold]
fn refill(cached: &mut Vec<VacantCell>) {
    let mut vacant = lock(&VACANT);
    if vacant.is_empty() {
        grow(&mut vacant);
    }
    let rest = vacant.len().saturating_sub(BATCH);
    cached.extend(vacant.drain(rest..));
}

/// Makes another chunk; called with the list locked, so by one at a time.
fn grow(vacant: &mut Vec<VacantCell>) {
    let made = CHUNKS_MADE.load(Ordering::Relaxed);
    let Some(chunk) = CHUNKS.get(made) else {
        return;
    };
    let first = made * TASK_CHUNK;
    let cells = chunk.get_or_init(|| {
        (first..first + TASK_CHUNK)
            .map(|index| TaskCell::new(index as u32))
            .collect()
    });
    // The first to be used is the last of the list.
    vacant.extend(cells.iter().rev().map(VacantCell::first));
    CHUNKS_MADE.store(made + 1, Ordering::Release);
}

/// The cell of this index, if there is one.
pub(super) fn cell(index: u32) -> Option<&'static TaskCell> {
    let index = index as usize;
    CHUNKS
        .get(index / TASK_CHUNK)?
        .get()?
        .get(index % TASK_CHUNK)
}

/// Every cell there is.
pub(super) fn cells() -> impl Iterator<Item = &'static TaskCell> {
    let made = CHUNKS_MADE.load(Ordering::Acquire);
    CHUNKS[..made].iter().filter_map(OnceLock::get).flatten()
}
