//! How a pool and its classes of work are set up, and what can go wrong there.

use std::fmt;
use std::io;

use crate::limits;
use crate::observe::Recorder;
pub use crate::sys::scheduling::Scheduling;
use crate::sys::{cpu, scheduling};

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tasks that run at one time; at least 1, at most [`limits::TASK_WORKERS_MAX`]. By default
    /// as many as there are CPUs for the process.
    pub workers: usize,
    /// What the names of its threads begin with, as `ps -L` and `top -H` show them.
    pub name: String,
    /// The CPUs that its threads may use, all of them each; empty for those of the process.
    pub cpus: Vec<usize>,
    /// How the kernel schedules its threads beside others.
    pub scheduling: Scheduling,
    /// The niceness of its threads, -20 to 19 (see `nice(2)`); less than the process has is
    /// allowed with CAP_SYS_NICE only. `None` leaves it.
    pub nice: Option<i32>,
    /// What its threads' events go to; by default nothing is recorded.
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
    /// What each thread of the pool does first.
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

/// Which work goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// It may wait for others, though not for ever: a worker that has taken none for
    /// [`limits::TASK_BACKGROUND_WAIT_NS`] takes one before all others, if one waits.
    Background,
}

/// How a class of work is set up.
#[derive(Clone, Debug)]
pub struct ClassOptions {
    /// As reports and metrics call it.
    pub name: String,
    /// Which work goes first.
    pub priority: Priority,
    /// Tasks of the class that may be unfinished at one time: waiting for their turn, running, or
    /// waiting for something else. Workers set up to an eighth of it aside for tasks that are
    /// spawned inside the pool, so it may be reached that much too early, and never too late.
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

/// The class has as many unfinished tasks as it may; nothing was spawned.
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

/// Why a pool or a class can't be had.
#[derive(Debug)]
pub enum PoolError {
    /// The number of workers is out of range.
    Workers(usize),
    /// A class with no room for a single task.
    QueueLimit,
    /// The process has [`limits::TASK_POOLS_MAX`] pools.
    Pools,
    /// The pool has [`limits::TASK_CLASSES_MAX`] classes.
    Classes,
    /// A thread can't be started.
    Thread(io::Error),
    /// A thread can't be set up as asked: bound to the CPUs, scheduled so, or made that nice.
    SetUp(Box<Options>, io::Error),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(workers) => write!(
                f,
                "a pool of {workers} workers cannot be; ask for 1 to {}",
                limits::TASK_WORKERS_MAX
            ),
            Self::QueueLimit => {
                f.write_str("a queue limit of 0 lets no task in; ask for 1 or more")
            }
            Self::Pools => write!(
                f,
                "the process has {} pools of tasks already; share one",
                limits::TASK_POOLS_MAX
            ),
            Self::Classes => write!(
                f,
                "the pool has {} classes of work already; share one",
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
