//! The options of a pool and of its classes of work, and the errors of setting them up.

use std::fmt;
use std::io;

use crate::limits;
use crate::observe::Recorder;
pub use crate::sys::scheduling::Scheduling;
use crate::sys::{cpu, scheduling};

/// The options of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tasks that run at one time, from 1 to [`limits::TASK_WORKERS_MAX`]. By default the number of
    /// CPUs that the process may use.
    pub workers: usize,
    /// The prefix of its threads' names, as `ps -L` and `top -H` show them.
    pub name: String,
    /// The CPUs that each of its threads may use; empty for those of the process.
    pub cpus: Vec<usize>,
    /// The kernel's scheduling policy for its threads.
    pub scheduling: Scheduling,
    /// The niceness of its threads, -20 to 19 (`nice(2)`); less than that of the process needs
    /// CAP_SYS_NICE. `None`: as the process.
    pub nice: Option<i32>,
    /// The flight recorder for its threads' events; by default nothing is recorded.
    pub recorder: Recorder,
}

impl Default for Options {
    fn default() -> Self {
        let cpus = cpu::allowed_of_process().map_or(1, |cpus| cpus.len());
        Self {
            workers: cpus.clamp(1, limits::TASK_WORKERS_MAX),
            name: "task".to_owned(),
            cpus: Vec::new(),
            scheduling: Scheduling::Normal,
            nice: None,
            recorder: Recorder::off(),
        }
    }
}

impl Options {
    /// Sets the calling thread up as these options say.
    pub(super) fn apply_to_current_thread(&self) -> io::Result<()> {
        if !self.cpus.is_empty() {
            cpu::pin_current_thread(&self.cpus)?;
        }
        if self.scheduling != Scheduling::Normal {
            scheduling::set_current_thread(self.scheduling)?;
        }
        match self.nice {
            Some(nice) => scheduling::nice_current_thread(nice),
            None => Ok(()),
        }
    }
}

/// Which work runs first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// A client waits for it.
    #[default]
    Interactive,
    /// It waits while there is interactive work, but not without end: a worker that has taken no
    /// background task for [`limits::TASK_BACKGROUND_WAIT_NS`] takes one before all others.
    Background,
}

/// The options of a class of work.
#[derive(Clone, Debug)]
pub struct ClassOptions {
    /// Its name in reports and metrics.
    pub name: String,
    /// Its priority beside other classes.
    pub priority: Priority,
    /// Tasks of the class that may be unfinished at one time: runnable, running or waiting. Workers
    /// reserve up to an eighth of it for tasks that are spawned inside the pool, so a spawn may be
    /// refused that much too early, but never too late.
    pub queue_limit: usize,
}

impl Default for ClassOptions {
    fn default() -> Self {
        Self {
            name: "work".to_owned(),
            priority: Priority::Interactive,
            queue_limit: limits::TASK_QUEUE_LIMIT,
        }
    }
}

/// The class has reached its limit of unfinished tasks, and nothing was spawned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturated {
    pub(super) class: String,
    pub(super) limit: usize,
}

impl fmt::Display for Saturated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tasks of class \"{}\" are unfinished; try again when some have ended",
            self.limit, self.class
        )
    }
}

impl std::error::Error for Saturated {}

/// Why a pool or a class can't be made.
#[derive(Debug)]
pub enum PoolError {
    /// The number of workers is out of range.
    Workers(usize),
    /// The queue limit of a class is 0.
    QueueLimit,
    /// The process has [`limits::TASK_POOLS_MAX`] pools.
    Pools,
    /// The pool has [`limits::TASK_CLASSES_MAX`] classes.
    Classes,
    /// A thread can't be started.
    Thread(io::Error),
    /// A thread can't be set up with these CPUs, this scheduling policy or this niceness.
    SetUp(Box<Options>, io::Error),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(workers) => write!(
                f,
                "a pool can't have {workers} workers; ask for 1 to {}",
                limits::TASK_WORKERS_MAX
            ),
            Self::QueueLimit => {
                f.write_str("a queue limit of 0 lets no task in; ask for 1 or more")
            }
            Self::Pools => write!(
                f,
                "the process has {} pools of tasks already; share one, or drop one that is not used",
                limits::TASK_POOLS_MAX
            ),
            Self::Classes => write!(
                f,
                "the pool has {} classes of work already; share one, or drop one that is not used",
                limits::TASK_CLASSES_MAX
            ),
            Self::Thread(source) => write!(
                f,
                "cannot start a thread for tasks: {source}; raise the limit of processes (ulimit -u)"
            ),
            Self::SetUp(options, source) => write!(
                f,
                "cannot set a thread for tasks up with CPUs {:?}, scheduling {:?}, nice {:?}: {source}; \
                 name CPUs that `taskset -p $$` shows, and a niceness from that of the process to 19",
                options.cpus, options.scheduling, options.nice
            ),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(source) | Self::SetUp(_, source) => Some(source),
            _ => None,
        }
    }
}
