//! The cells of all tasks of the process: allocated in chunks, reused, never freed.
//!
//! Each cell is therefore a `&'static TaskCell`, a report can iterate over all of them, and a
//! `TaskId` finds its cell by an index, without a lock. Later tasks of any pool reuse the cells of
//! finished ones, so there are as many cells as tasks were alive at the busiest moment, at most
//! [`TASKS_LIVE_MAX`] (docs/decisions/041-task-cells-are-reused.md). Each thread caches some vacant
//! cells; the others are in one list.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::cell::{TaskCell, VacantCell};
use crate::limits::{TASK_CHUNK, TASKS_LIVE_MAX};
use crate::sys::sync::lock;

/// Vacant cells that a thread moves between its cache and the list at a time.
const BATCH: usize = 64;

/// Cells by their index.
static CHUNKS: [OnceLock<Box<[TaskCell]>>; TASKS_LIVE_MAX / TASK_CHUNK] =
    [const { OnceLock::new() }; TASKS_LIVE_MAX / TASK_CHUNK];
static CHUNKS_MADE: AtomicUsize = AtomicUsize::new(0);
static VACANT: Mutex<Vec<VacantCell>> = Mutex::new(Vec::new());

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache(Vec::new())) };
}

struct Cache(Vec<VacantCell>);

impl Drop for Cache {
    fn drop(&mut self) {
        lock(&VACANT).append(&mut self.0);
    }
}

/// A cell for a new task; `None` when [`TASKS_LIVE_MAX`] tasks are alive.
pub(super) fn take() -> Option<VacantCell> {
    let cached = CACHE.try_with(|cache| {
        let cache = &mut cache.borrow_mut().0;
        if cache.is_empty() {
            refill(cache);
        }
        cache.pop()
    });
    // The thread is ending and has dropped its cache.
    cached.unwrap_or_else(|_| {
        let mut vacant = Vec::new();
        refill(&mut vacant);
        let one = vacant.pop();
        lock(&VACANT).append(&mut vacant);
        one
    })
}

/// Returns the cell of a finished task.
pub(super) fn put_back(vacant: VacantCell) {
    let mut left = Some(vacant);
    let _ = CACHE.try_with(|cache| {
        let cache = &mut cache.borrow_mut().0;
        if cache.len() == 2 * BATCH {
            lock(&VACANT).extend(cache.drain(BATCH..));
        }
        cache.extend(left.take());
    });
    if let Some(vacant) = left {
        lock(&VACANT).push(vacant);
    }
}

#[cold]
fn refill(cache: &mut Vec<VacantCell>) {
    let mut vacant = lock(&VACANT);
    if vacant.is_empty() {
        grow(&mut vacant);
    }
    let rest = vacant.len().saturating_sub(BATCH);
    cache.extend(vacant.drain(rest..));
}

/// Allocates another chunk. The caller holds the lock of the list, so threads take turns.
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
    // Taken from the end of the list, so in the order of their addresses.
    vacant.extend(cells.iter().rev().map(VacantCell::first));
    CHUNKS_MADE.store(made + 1, Ordering::Release);
}

/// The cell of this index, if it exists.
pub(super) fn cell(index: u32) -> Option<&'static TaskCell> {
    let index = index as usize;
    CHUNKS
        .get(index / TASK_CHUNK)?
        .get()?
        .get(index % TASK_CHUNK)
}

/// Every cell that exists.
pub(super) fn cells() -> impl Iterator<Item = &'static TaskCell> {
    let made = CHUNKS_MADE.load(Ordering::Acquire);
    CHUNKS[..made].iter().filter_map(OnceLock::get).flatten()
}

#[cfg(all(test, not(headwater_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tasks::{ClassOptions, Options, Pool};

    /// Other tests of this process have live tasks too, but fewer than this.
    const OTHERS_MAX: usize = 100;

    #[test]
    fn pools_that_come_and_go_reuse_the_same_cells() {
        const POOLS: usize = 1000;
        const TASKS: usize = 300;
        let before = CHUNKS_MADE.load(Ordering::Relaxed);
        for round in 0..POOLS {
            let pool = Pool::start(Options {
                workers: 1,
                ..Options::default()
            });
            let pool = pool.expect("a pool");
            let class = pool.handle().class(ClassOptions::default());
            let class = class.expect("a class");
            // Some are done, some are dropped with the pool, some have lost their handles.
            for n in 0..TASKS {
                match n % 3 {
                    0 => drop(class.run(move || n)),
                    1 => drop(class.spawn(std::future::pending::<()>())),
                    _ => assert_eq!(class.run(move || n).expect("room").join(), Ok(n)),
                }
            }
            if round % 2 == 0 {
                pool.stop(Duration::ZERO);
            }
        }
        let grown = CHUNKS_MADE.load(Ordering::Relaxed) - before;
        let leaked = POOLS * TASKS / TASK_CHUNK;
        assert!(grown < OTHERS_MAX && OTHERS_MAX < leaked / 5, "{grown}");
    }
}
