use std::sync::Arc;
use std::time::Duration;

use ::rayon::{ThreadPool, ThreadPoolBuilder};

use super::{BATCH, Contender, Countdown, LEAF_SPINS, SKEWED_SPINS, Shape, in_batches, spin};

pub(super) struct Rayon {
    pool: ThreadPool,
}

impl Rayon {
    pub(super) fn start(workers: usize) -> Rayon {
        let pool = ThreadPoolBuilder::new().num_threads(workers).build();
        Rayon {
            pool: pool.expect("threads can be started"),
        }
    }

    fn inside(&self, tasks: u64, spins: u64) -> Duration {
        in_batches(tasks, BATCH, |count, end| {
            self.pool.spawn(move || {
                for _ in 0..count {
                    ::rayon::spawn(counted(&end, spins));
                }
            });
        })
    }
}

impl Contender for Rayon {
    fn time(&self, shape: Shape, tasks: u64) -> Option<Duration> {
        Some(match shape {
            Shape::Chained => in_batches(tasks, tasks, |count, end| {
                self.pool.spawn(move || chain(end, count));
            }),
            Shape::Outside => in_batches(tasks, BATCH, |count, end| {
                for _ in 0..count {
                    self.pool.spawn(counted(&end, 0));
                }
            }),
            Shape::Inside => self.inside(tasks, 0),
            Shape::Skewed => self.inside(tasks, SKEWED_SPINS),
            Shape::ForkJoin => in_batches(tasks, tasks, |leaves, end| {
                self.pool.spawn(move || {
                    tree(leaves);
                    end.end_many(leaves);
                });
            }),
            // Rayon's jobs can't wait for one another without occupying a worker each.
            Shape::PingPong | Shape::Yield => return None,
        })
    }
}

fn counted(end: &Arc<Countdown>, spins: u64) -> impl FnOnce() + Send + 'static {
    let end = Arc::clone(end);
    move || {
        spin(spins);
        end.end();
    }
}

fn chain(end: Arc<Countdown>, left: u64) {
    match left {
        0 | 1 => end.end_many(end.left()),
        _ => ::rayon::spawn(move || chain(end, left - 1)),
    }
}

fn tree(leaves: u64) {
    if leaves <= 1 {
        return spin(LEAF_SPINS);
    }
    ::rayon::join(|| tree(leaves / 2), || tree(leaves - leaves / 2));
}
