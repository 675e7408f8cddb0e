//! A pool of workers: its start, its handles, its end.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::processors::{AssignError, Signal};
use super::registry::PoolId;
use super::shared::Shared;
use super::snapshot::{LiveTasks, Snapshot, TaskState};
use super::stats::Distributions;
use super::{Class, ClassOptions, Options, PoolError, monitor};
use crate::limits;

/// A pool of workers. Dropping it stops it as [`stop`](Self::stop) with no time does.
pub struct Pool {
    shared: Arc<Shared>,
    monitor: Option<JoinHandle<()>>,
}

/// Access to a pool, to enter classes of work and to observe it; cheap to clone. Does not keep
/// the pool running.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// The tasks that were unfinished when a pool was stopped.
#[derive(Clone, Debug)]
pub struct StopReport {
    /// The unfinished tasks when the time was up. Those that were running continue to their end, on
    /// threads that end with them; the others were dropped, and give
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
    ///
    /// # Errors
    /// When the number of workers is out of range, a thread can't be started or set up as asked,
    /// or the process has [`limits::TASK_POOLS_MAX`] pools.
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
            let assigned = pool
                .shared
                .processors
                .assign(&*pool.shared, processor, Signal::Run);
            if let Err(AssignError::Start(source)) = assigned {
                return Err(PoolError::Thread(source));
            }
        }
        let shared = Arc::clone(&pool.shared);
        let monitor = thread::Builder::new()
            .name(format!("{}-monitor", shared.options.name))
            .spawn(move || monitor::run(shared))
            .map_err(PoolError::Thread)?;
        pool.monitor = Some(monitor);
        Ok(pool)
    }

    /// A handle, to spawn tasks with.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The state of the pool now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// Stops the pool: lets in no more tasks, and waits at most `deadline` until those that exist
    /// are done. Reports what was left.
    pub fn stop(mut self, deadline: Duration) -> StopReport {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> StopReport {
        let shared = &*self.shared;
        let until = Instant::now() + deadline;
        shared.close();
        let busy = || {
            let classes = shared.classes.all();
            classes.iter().any(|class| class.taken() > 0)
        };
        while busy() && Instant::now() < until {
            thread::sleep(Duration::from_millis(limits::TASK_STOP_LOOK_MS));
        }
        let left = LiveTasks::take(shared, Duration::ZERO, limits::TASKS_REPORTED);
        let mut threads = shared.end();
        shared.stop_unfinished();
        // Threads that run no task end at once; the others are not waited for.
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

/// A [`Handle`] that does not keep the pool alive, for closures that the pool itself owns.
pub(super) struct WeakHandle(Weak<Shared>);

impl WeakHandle {
    pub(crate) fn upgrade(&self) -> Option<Handle> {
        self.0.upgrade().map(|shared| Handle { shared })
    }
}

impl Handle {
    pub(super) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.shared))
    }

    /// Enters a class of work into this pool, which has room for
    /// [`limits::TASK_CLASSES_MAX`] at a time.
    ///
    /// # Errors
    /// When the queue limit is 0, or the pool has as many classes as it may.
    pub fn class(&self, options: ClassOptions) -> Result<Class, PoolError> {
        if options.queue_limit == 0 {
            return Err(PoolError::QueueLimit);
        }
        Class::enter(&self.shared, options).ok_or(PoolError::Classes)
    }

    /// The state of the pool now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.shared)
    }

    /// Makes the pool's monitor call `watch` with the nanoseconds of the monotonic clock, for the
    /// first time at once. `watch` returns the time after which to call it again; `None`: not
    /// before [`wake_monitor`](Self::wake_monitor). It must be quick, since the same thread watches
    /// tasks.
    pub fn watch(&self, watch: impl FnMut(u64) -> Option<Duration> + Send + 'static) {
        self.shared.monitor.watch(Box::new(watch));
    }

    /// Makes the monitor call now every function given to [`watch`](Self::watch).
    pub fn wake_monitor(&self) {
        self.shared.monitor.call_all();
    }

    /// How long tasks waited and ran, and how long the queues were, since the start.
    pub fn distributions(&self) -> Distributions {
        Distributions::take(&self.shared)
    }

    /// Counts the unfinished tasks that were spawned longer than `age` ago and lists the `most`
    /// oldest. Tasks that never end are among them.
    pub fn live_tasks(&self, age: Duration, most: usize) -> LiveTasks {
        LiveTasks::take(&self.shared, age, most)
    }
}

/// Tries on a temporary thread whether threads can be set up as the options say.
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
