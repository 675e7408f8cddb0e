//! The state of a pool at one moment, as plain data.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Priority;
use super::arena;
use super::cell::{Stage, TaskCell};
use super::class::ClassState;
use super::processors::NONE;
use super::shared::{Shared, Worker, WorkerState};
use crate::observe::CallSite;
use crate::sys::sync::lock;
use crate::sys::time;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Queued, waiting for a worker.
    Runnable,
    /// A worker is running it.
    Running,
    /// Waiting to be woken.
    Waiting,
    /// In [`block_in_place`](super::block_in_place).
    Blocked,
    /// Done; its result has not been taken yet.
    Done,
}

impl TaskState {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Runnable,
        Self::Running,
        Self::Waiting,
        Self::Blocked,
        Self::Done,
    ];

    /// The state as reports and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runnable => "runnable",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Done => "done",
        }
    }
}

/// A task at one moment.
#[derive(Clone, Debug)]
pub struct TaskSnapshot {
    /// A number that no other live task of the process has.
    pub id: u64,
    /// What it is doing.
    pub state: TaskState,
    /// Where it was spawned.
    pub site: &'static Location<'static>,
    /// The name of its class.
    pub class: String,
    /// How long ago it was spawned, to some milliseconds.
    pub age: Duration,
    /// It has held its worker for 10 ms.
    pub overrun: bool,
}

impl fmt::Display for TaskSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task {} of class \"{}\" from {}: {} after {:?}{}",
            self.id,
            self.class,
            self.site,
            self.state.name(),
            self.age,
            if self.overrun { ", an overrun" } else { "" }
        )
    }
}

/// A thread of the pool at one moment.
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// Its number, as in its name.
    pub number: u32,
    /// Its processor; `None` for a thread that has none at the moment.
    pub processor: Option<usize>,
    /// What it is doing.
    pub state: WorkerState,
    /// Tasks in its queue and LIFO slot.
    pub queued: usize,
    /// Times it has run a task since it began.
    pub polls: u64,
    /// Times it has stolen.
    pub steals: u64,
    /// Times it has parked.
    pub parks: u64,
    /// Times its queue was full.
    pub overflows: u64,
    /// The task it runs.
    pub task: Option<TaskSnapshot>,
}

/// A class of work at one moment.
#[derive(Clone, Debug)]
pub struct ClassSnapshot {
    /// Its name in reports and metrics.
    pub name: String,
    /// Whether its tasks run before those of other classes or after.
    pub priority: Priority,
    /// Tasks that may be unfinished at one time.
    pub limit: usize,
    /// Unfinished tasks, and permits that awake workers have reserved.
    pub unfinished: usize,
    /// Tasks refused since the start.
    pub refused: u64,
}

/// A pool at one moment. Its parts are read one after the other while the pool works.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Processors of the pool: tasks that may run at one time (Go's gomaxprocs).
    pub workers: usize,
    /// Workers that are parked (Go's idleprocs).
    pub idle: usize,
    /// Workers that look for work (Go's spinningthreads).
    pub searching: usize,
    /// Threads, without the monitor.
    pub threads: usize,
    /// Threads without a processor and without a task (Go's idlethreads, less parked workers).
    pub spare: usize,
    /// Interactive tasks in the global queue (Go's runqueue).
    pub interactive: usize,
    /// Background tasks in the global queue.
    pub background: usize,
    /// Tasks that have held their worker for 10 ms.
    pub overruns: u64,
    /// Where the overruns were spawned, the most frequent call site first.
    pub overrun_sites: Vec<(CallSite, u64)>,
    /// Times another thread took the processor of a held worker.
    pub hand_offs: u64,
    /// The threads that have a processor or a task, by number.
    pub threads_by_number: Vec<WorkerSnapshot>,
    /// The classes that are open or have unfinished tasks.
    pub classes: Vec<ClassSnapshot>,
}

/// The unfinished tasks of a pool: how many are in which state, and the oldest of them.
#[derive(Clone, Debug, Default)]
pub struct LiveTasks {
    counts: [usize; TaskState::ALL.len()],
    /// The oldest tasks, oldest first, as many as requested.
    pub oldest: Vec<TaskSnapshot>,
}

impl LiveTasks {
    /// How many are unfinished.
    pub fn count(&self) -> usize {
        let unfinished = TaskState::ALL.iter().filter(|s| **s != TaskState::Done);
        unfinished.map(|state| self.in_state(*state)).sum()
    }

    /// How many are in this state.
    pub fn in_state(&self, state: TaskState) -> usize {
        self.counts[state as usize]
    }

    pub(super) fn take(shared: &Shared, age: Duration, most: usize) -> Self {
        let mut live = Self::default();
        let mut tasks = Vec::new();
        let now = time::monotonic_ns();
        let classes = shared.classes.all();
        for cell in arena::cells() {
            let Some(task) = task(shared, &classes, cell, now) else {
                continue;
            };
            if task.age < age {
                continue;
            }
            live.counts[task.state as usize] += 1;
            if task.state != TaskState::Done {
                tasks.push(task);
                // Bounds the memory: the ten oldest of a million tasks are found without a copy of
                // all.
                if tasks.len() >= 2 * most.max(512) {
                    keep_oldest(&mut tasks, most);
                }
            }
        }
        keep_oldest(&mut tasks, most);
        live.oldest = tasks;
        let blocked = shared
            .all_workers()
            .filter(|worker| worker.state() == WorkerState::Blocked)
            .filter_map(|worker| {
                let cell = worker.current.load(Ordering::Relaxed)?;
                task(shared, &classes, cell, now)
            })
            .filter(|task| task.age >= age);
        for blocked in blocked {
            let running = &mut live.counts[TaskState::Running as usize];
            *running = running.saturating_sub(1);
            live.counts[TaskState::Blocked as usize] += 1;
            let same = live.oldest.iter_mut().find(|task| task.id == blocked.id);
            if let Some(same) = same {
                same.state = TaskState::Blocked;
            }
        }
        live
    }
}

fn keep_oldest(tasks: &mut Vec<TaskSnapshot>, most: usize) {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.age));
    tasks.truncate(most);
}

/// The task in a cell, if it is one of this pool.
fn task(
    shared: &Shared,
    classes: &[Arc<ClassState>],
    cell: &'static TaskCell,
    now: u64,
) -> Option<TaskSnapshot> {
    let (id, stage) = cell.stage();
    let state = match stage {
        Stage::Vacant => return None,
        Stage::Runnable => TaskState::Runnable,
        Stage::Running => TaskState::Running,
        Stage::Waiting => TaskState::Waiting,
        Stage::Done => TaskState::Done,
    };
    let owner = cell.meta.owner();
    if owner.pool != shared.id() {
        return None;
    }
    let class = classes.iter().find(|class| class.owns(owner))?;
    let snapshot = TaskSnapshot {
        id: id.word(),
        state,
        site: cell.meta.site()?,
        class: class.name.clone(),
        age: cell.meta.age(now),
        overrun: cell.meta.overrun(),
    };
    // If the cell was reused meanwhile, the parts are of two tasks.
    (cell.id() == id).then_some(snapshot)
}

impl Snapshot {
    pub(super) fn take(shared: &Shared) -> Self {
        let now = time::monotonic_ns();
        let workers = shared.processors.len();
        let (threads, spare) = shared.processors.thread_counts();
        let idle = &shared.processors.idle;
        let classes = shared.classes.all();
        Self {
            workers,
            idle: workers.saturating_sub(idle.awake()),
            searching: idle.searching(),
            threads,
            spare,
            interactive: shared.global_queue.len(Priority::Interactive),
            background: shared.global_queue.len(Priority::Background),
            overruns: shared.overruns.load(Ordering::Relaxed),
            overrun_sites: overrun_sites(shared),
            hand_offs: shared.hand_offs.load(Ordering::Relaxed),
            threads_by_number: shared
                .all_workers()
                .filter(|worker| worker.state() != WorkerState::Spare)
                .map(|worker| thread(shared, &classes, worker, now))
                .collect(),
            classes: classes
                .iter()
                .map(|class| ClassSnapshot {
                    name: class.name.clone(),
                    priority: class.priority,
                    limit: class.limit(),
                    unfinished: class.taken(),
                    refused: class.refused(),
                })
                .collect(),
        }
    }
}

fn overrun_sites(shared: &Shared) -> Vec<(CallSite, u64)> {
    let mut sites: Vec<_> = lock(&shared.overrun_sites)
        .iter()
        .map(|(site, count)| (*site, *count))
        .collect();
    sites.sort_by_key(|(site, count)| (std::cmp::Reverse(*count), *site));
    sites
}

fn thread(
    shared: &Shared,
    classes: &[Arc<ClassState>],
    worker: &Worker,
    now: u64,
) -> WorkerSnapshot {
    let processor = worker.processor();
    let state = worker.state();
    let current = worker.current.load(Ordering::Relaxed);
    let mut task = current.and_then(|cell| task(shared, classes, cell, now));
    if let Some(task) = &mut task
        && state == WorkerState::Blocked
    {
        task.state = TaskState::Blocked;
    }
    WorkerSnapshot {
        number: worker.number,
        processor: (processor != NONE).then_some(processor as usize),
        state,
        queued: worker.queued(),
        polls: worker.counters.polls.get(),
        steals: worker.counters.steals.get(),
        parks: worker.counters.parks.get(),
        overflows: worker.counters.overflows.get(),
        task,
    }
}
