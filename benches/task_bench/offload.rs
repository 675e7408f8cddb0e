//! Hands work over from outside the pool, as a server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater::observe::Recorder;
use headwater::tasks::{self, Class, ClassOptions, Options, Pool, Priority};

use crate::shapes::{self, Name};

/// Most live threads, where each job has one.
const THREADS_MAX: u64 = 2_000;
/// Limit of unfinished jobs of a class; the other contenders have none.
const QUEUE_LIMIT: usize = 1 << 20;
/// Stack size: less than the default of 2 MiB, as a server with a thread per request would set.
const STACK_BYTES: usize = 256 * 1024;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The class of a job, for a pool that has classes of work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Short,
    Long,
}

/// The contender that runs the jobs.
pub(crate) enum Offload {
    Headwater {
        /// Stops when it is dropped.
        _pool: Pool,
        short: Class,
        long: Class,
        checkpoint: fn(),
    },
    Tokio(tokio::runtime::Runtime),
    Rayon(rayon::ThreadPool),
    Threads(Arc<AtomicU64>),
}

impl Offload {
    /// `no_hints`: headwater gets no more information about the jobs than the others: long ones
    /// have the same priority, and no checkpoints.
    pub(crate) fn start(name: Name, workers: usize, no_hints: bool) -> Offload {
        match name {
            Name::Headwater | Name::Recorded => {
                let recorder = match name {
                    Name::Recorded => shapes::recorder(),
                    _ => Recorder::off(),
                };
                let options = Options {
                    workers,
                    recorder,
                    ..Options::default()
                };
                let pool = Pool::start(options).expect("threads can be started");
                let class = |name: &str, priority| {
                    let class = pool.handle().class(ClassOptions {
                        name: name.to_owned(),
                        priority,
                        queue_limit: QUEUE_LIMIT,
                    });
                    class.expect("a pool has room for two classes")
                };
                let (may_wait, checkpoint): (_, fn()) = match no_hints {
                    true => (Priority::Interactive, || ()),
                    false => (Priority::Background, tasks::checkpoint),
                };
                Offload::Headwater {
                    short: class("short", Priority::Interactive),
                    long: class("long", may_wait),
                    checkpoint,
                    _pool: pool,
                }
            }
            Name::Tokio => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                let runtime = builder.worker_threads(workers).build();
                Offload::Tokio(runtime.expect("threads can be started"))
            }
            Name::Rayon => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
                Offload::Rayon(pool.expect("threads can be started"))
            }
            Name::Threads => Offload::Threads(Arc::default()),
        }
    }

    /// Hands a job over; returns `false` if it is refused.
    pub(crate) fn submit(&self, length: Length, job: Job) -> bool {
        match self {
            Offload::Headwater { short, long, .. } => {
                let class = if length == Length::Short { short } else { long };
                return class.run(job).is_ok();
            }
            Offload::Tokio(runtime) => drop(runtime.spawn(async move { job() })),
            Offload::Rayon(pool) => pool.spawn(job),
            Offload::Threads(living) => return thread(living, job),
        }
        true
    }

    /// A long job calls this periodically to yield.
    pub(crate) fn checkpoint(&self) -> fn() {
        match self {
            Offload::Headwater { checkpoint, .. } => *checkpoint,
            // The other contenders have no checkpoints.
            Offload::Tokio(_) | Offload::Rayon(_) | Offload::Threads(_) => || (),
        }
    }
}

fn thread(living: &Arc<AtomicU64>, job: Job) -> bool {
    if living.load(Ordering::Relaxed) >= THREADS_MAX {
        return false;
    }
    living.fetch_add(1, Ordering::Relaxed);
    let living = Arc::clone(living);
    let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = builder.spawn(move || {
        job();
        living.fetch_sub(1, Ordering::Relaxed);
    });
    drop(thread.expect("a thread can be started"));
    true
}
