//! A pool of workers: its start, its handles, its end.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::class::ClassState;
use super::registry::PoolId;
use super::shared::{Shared, Signal};
use super::snapshot::{LiveTasks, Snapshot, TaskState};
use super::stats::Distributions;
use super::{Class, ClassOptions, Options, PoolError, monitor};
use crate::limits;

/// A pool of workers. Dropping it stops it as [`stop`](Self::stop) with no time does.
pub struct Pool {
    shared: Arc<Shared>,
    monitor: Option<JoinHandle<()>>,
}

/// A pool as those know it who use it; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// What was left when a pool was stopped.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// What was unfinished when the time was up. Those that ran go on to their end, on threads
    /// that end with them; the callers of the others got
    /// [`TaskError::Stopped`](super::TaskError::Stopped).
    pub left: LiveTasks,
}

impl StopReport {
    /// Whether all tasks were done in time.
    pub fn is_clean(&self) -> bool {
        self.left.count() == 0
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all tasks are done");
        }
        let left = &self.left;
        let running = left.in_state(TaskState::Running) + left.in_state(TaskState::Blocked);
        write!(
            f,
            "{} tasks were not done in time: {running} still run, {} were dropped",
            left.count(),
            left.count() - running
        )?;
        for task in &left.oldest {
            write!(f, "\n  {task}")?;
        }
        Ok(())
    }
}

impl Pool {
    /// Starts the workers.
    pub fn start(options: Options) -> Result<Self, PoolError> {
        if !(1..=limits::TASK_WORKERS_MAX).contains(&options.workers) {
            return Err(PoolError::Workers(options.workers));
        }
        try_out(&options)?;
        let processors = options.workers as u32;
        let shared = PoolId::enter(|id| Shared::new(id, options)).ok_or(PoolError::Pools)?;
        // From here on, a failure drops the pool, which ends what was started.
        let mut pool = Self {
            shared,
            monitor: None,
        };
        for processor in 0..processors {
            pool.shared
                .assign_processor(processor, Signal::Run)
                .map_err(PoolError::Thread)?;
        }
        let shared = Arc::clone(&pool.shared);
        let monitor = thread::Builder::new()
            .name(format!("{}-monitor", shared.options.name))
            .spawn(move || monitor::run(shared))
            .map_err(PoolError::Thread)?;
        pool.monitor = Some(monitor);
        Ok(pool)
    }

    /// A handle, for those who spawn.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What the pool is doing now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// Stops the pool: lets in no more tasks, and gives those that there are this long to be
    /// done. Always returns in time, and says what was left.
    pub fn stop(mut self, deadline: Duration) -> StopReport {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> StopReport {
        let shared = &*self.shared;
        let until = Instant::now() + deadline;
        shared.close();
        let busy = || shared.classes().any(|class| class.taken() > 0);
        while busy() && Instant::now() < until {
            thread::sleep(Duration::from_millis(limits::TASK_STOP_LOOK_MS));
        }
        let left = LiveTasks::take(shared, Duration::ZERO, limits::TASKS_REPORTED);
        let mut threads = shared.end();
        shared.stop_unfinished();
        // Threads that are not in a task end at once; the others are left to themselves.
        threads.extend(self.monitor.take());
        if left.count() == 0 {
            let own = thread::current().id();
            for thread in threads {
                if thread.thread().id() != own {
                    // A worker does not panic: tasks are contained.
                    let _ = thread.join();
                }
            }
        }
        StopReport { left }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.shared.ended() {
            self.end(Duration::ZERO);
        }
    }
}

/// A [`Handle`] that doesn't keep the pool's memory, for those that the pool itself keeps.
pub(super) struct WeakHandle(Weak<Shared>);

impl WeakHandle {
    pub fn upgrade(&self) -> Option<Handle> {
        self.0.upgrade().map(|shared| Handle { shared })
    }
}

impl Handle {
    pub(super) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.shared))
    }

    /// A class of work for this pool.
    pub fn class(&self, options: ClassOptions) -> Result<Class, PoolError> {
        if options.queue_limit == 0 {
            return Err(PoolError::QueueLimit);
        }
        let workers = self.shared.processors.len();
        let state = self
            .shared
            .add_class(|index| ClassState::new(index, options, workers))
            .ok_or(PoolError::Classes)?;
        Ok(Class {
            shared: Arc::clone(&self.shared),
            state,
        })
    }

    /// What the pool is doing now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// Has the pool's monitor call `watch` with the monotonic clock's nanoseconds, first at once.
    /// It says in how long it wants to be called again; `None`: not before
    /// [`wake_monitor`](Self::wake_monitor). It must be quick: tasks are watched by the same thread.
    pub fn watch(&self, watch: impl FnMut(u64) -> Option<Duration> + Send + 'static) {
        self.shared.monitor.watch(Box::new(watch));
    }

    /// Has the monitor call now whatever it was given to [`watch`](Self::watch).
    pub fn wake_monitor(&self) {
        self.shared.monitor.call_all();
    }

    /// How long tasks waited and ran, and how long the queues were, since the start.
    pub fn distributions(&self) -> Distributions {
        Distributions::take(&self.shared)
    }

    /// The unfinished tasks that were spawned longer than `age` ago, the `most` oldest by name:
    /// where those are to be looked for that never end.
    pub fn live_tasks(&self, age: Duration, most: usize) -> LiveTasks {
        LiveTasks::take(&self.shared, age, most)
    }
}

/// Whether a thread can be set up so.
fn try_out(options: &Options) -> Result<(), PoolError> {
    let wanted = options.clone();
    let tried = thread::Builder::new()
        .spawn(move || wanted.apply_to_current_thread())
        .map_err(PoolError::Thread)?
        .join();
    match tried {
        Ok(Err(source)) => Err(PoolError::SetUp(Box::new(options.clone()), source)),
        _ => Ok(()),
    }
}
