//! The schedulers that are compared, and the shapes of work for the comparison. Each scheduler does
//! the same work with the same number of workers.

mod headwater;
mod rayon;
mod threads;
mod tokio;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ::headwater::observe::Recorder;
use clap::ValueEnum;

/// A scheduler that is ready to work.
pub(crate) trait Contender {
    /// How long `tasks` tasks of this shape take; `None` if it has no such shape.
    fn time(&self, shape: Shape, tasks: u64) -> Option<Duration>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Name {
    /// headwater::tasks, a closure or a future per task
    Headwater,
    /// the same with its flight recorder on
    Recorded,
    /// tokio's multi-thread runtime, a future per task
    Tokio,
    /// rayon, a closure per task
    Rayon,
    /// a thread per task
    Threads,
}

pub(crate) fn start(name: Name, workers: usize) -> Box<dyn Contender> {
    match name {
        Name::Headwater => Box::new(headwater::Headwater::start(workers, Recorder::off())),
        Name::Recorded => Box::new(headwater::Headwater::start(workers, recorder())),
        Name::Tokio => Box::new(tokio::Tokio::start(workers)),
        Name::Rayon => Box::new(rayon::Rayon::start(workers)),
        Name::Threads => Box::new(threads::Threads),
    }
}

/// A flight recorder of the size that the server uses.
pub(crate) fn recorder() -> Recorder {
    Recorder::new(::headwater::limits::RECORDER_BYTES)
}

/// Shapes from tokio's scheduler benchmark, joins as in rayon's, and an uneven load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// each task spawns the next one
    Chained,
    /// pairs of tasks that send each other a message
    PingPong,
    /// 200 tasks that yield, counted by yields
    Yield,
    /// spawned by a thread that isn't a worker
    Outside,
    /// spawned by a task
    Inside,
    /// a binary tree of joins, counted by leaves
    ForkJoin,
    /// one task spawns tasks of about a microsecond, which the others steal
    Skewed,
}

/// Tasks in flight at most, where a shape spawns without waiting.
pub(crate) const BATCH: u64 = 10_000;
/// Pairs of [`Shape::PingPong`] at one time.
pub(crate) const PAIRS: u64 = 1_000;
/// Tasks of [`Shape::Yield`].
pub(crate) const YIELDERS: u64 = 200;
/// Work of a leaf of [`Shape::ForkJoin`]: about 8 ns.
pub(crate) const LEAF_SPINS: u64 = 5;
/// Work of a task of [`Shape::Skewed`]: about 1 us.
pub(crate) const SKEWED_SPINS: u64 = 500;

/// Times `batch` for all tasks, at most `most` at a time. Each batch gets a counter that each of
/// its tasks must decrement once.
pub(crate) fn in_batches(tasks: u64, most: u64, batch: impl Fn(u64, Arc<Countdown>)) -> Duration {
    let start = Instant::now();
    let mut left = tasks;
    while left > 0 {
        let count = left.min(most);
        let (done, is_done) = mpsc::sync_channel(1);
        let countdown = Countdown {
            left: AtomicU64::new(count),
            done,
        };
        batch(count, Arc::new(countdown));
        is_done.recv().expect("a batch ends");
        left -= count;
    }
    start.elapsed()
}

/// Counts the remaining tasks of a batch, and signals the timing thread at the end.
pub(crate) struct Countdown {
    left: AtomicU64,
    done: mpsc::SyncSender<()>,
}

impl Countdown {
    /// Counts one task as done.
    pub(crate) fn end(&self) {
        self.end_many(1);
    }

    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn end_many(&self, tasks: u64) {
        if self.left.fetch_sub(tasks, Ordering::AcqRel) == tasks {
            let _ = self.done.send(());
        }
    }
}

/// Work that takes the same number of instructions everywhere: rounds of xorshift.
#[inline(never)]
pub(crate) fn spin(rounds: u64) {
    let mut x = std::hint::black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..rounds {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    std::hint::black_box(x);
}
