//! The thread that watches the workers, as Go's sysmon does.
//!
//! While a worker is awake, the monitor looks every [`limits::TASK_MONITOR_MS`]. A worker that is
//! in the same task at two looks in a row is held: first the monitor asks the task to yield at its
//! next checkpoint; then it counts the task as an overrun and, if tasks wait, another thread takes
//! the processor with all tasks queued behind it.
//!
//! When all workers have been parked for a while, the monitor sleeps until one is woken: an idle
//! pool uses no CPU time. Both sides follow the protocol of `idle.rs`: the monitor notes that it
//! sleeps, then checks whether a worker is awake; a worker is counted as awake, then checks whether
//! the monitor sleeps. While a task holds a worker that has lost its processor, the monitor still
//! looks ten times a second (`Shared::rescue`). The models in `models.rs` run this code.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::processors::Workers;
use super::shared::{Shared, Worker, WorkerState};
use super::stats;
use crate::limits;
use crate::sys::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sys::sync::thread::{self, Thread};
use crate::sys::sync::{Mutex, lock};
use crate::sys::time;

/// A function that the monitor calls periodically.
struct Watch {
    call: Box<dyn FnMut(u64) -> Option<Duration> + Send>,
    /// When to call it next, in nanoseconds.
    due_ns: Option<u64>,
}

/// How the monitor sleeps and is woken.
pub(super) struct MonitorSleep {
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
    /// Set when all watches must be called at the next look.
    call_all: AtomicBool,
    watches: Mutex<Vec<Watch>>,
}

impl Default for MonitorSleep {
    fn default() -> Self {
        Self {
            sleeps: AtomicBool::new(false),
            thread: OnceLock::new(),
            call_all: AtomicBool::new(false),
            watches: Mutex::new(Vec::new()),
        }
    }
}

impl MonitorSleep {
    /// Registers the calling thread as the monitor, to be unparked.
    pub(crate) fn enter(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Whether the monitor sleeps, for a worker that counts as awake now.
    pub(crate) fn sleeps(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeps.load(Ordering::SeqCst)
    }

    pub(crate) fn wake(&self) {
        self.sleeps.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Notes that the monitor sleeps, then sleeps for `time`, without end if `None`; returns at
    /// once if `idle`, called after the note, is false, or if the watches must be called.
    pub(crate) fn sleep(&self, time: Option<Duration>, idle: impl FnOnce() -> bool) {
        self.sleeps.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if idle() && !self.call_all.load(Ordering::SeqCst) {
            match time {
                Some(time) => thread::park_timeout(time),
                None => thread::park(),
            }
        }
        self.sleeps.store(false, Ordering::SeqCst);
    }

    pub(crate) fn watch(&self, call: Box<dyn FnMut(u64) -> Option<Duration> + Send>) {
        let due_ns = Some(0);
        lock(&self.watches).push(Watch { call, due_ns });
        self.wake();
    }

    pub(crate) fn call_all(&self) {
        self.call_all.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Calls the watches that are due, and returns the time until the next one is.
    fn call_watches(&self, now: u64) -> Option<Duration> {
        let all = self.call_all.swap(false, Ordering::SeqCst);
        let mut watches = lock(&self.watches);
        let mut next: Option<u64> = None;
        for watch in watches.iter_mut() {
            if all || watch.due_ns.is_some_and(|due| due <= now) {
                let again = (watch.call)(now);
                watch.due_ns = again.map(|again| now.saturating_add(again.as_nanos() as u64));
            }
            next = [next, watch.due_ns].into_iter().flatten().min();
        }
        next.map(|due| Duration::from_nanos(due.saturating_sub(now)))
    }
}

/// The state of one processor at the last look.
#[derive(Clone, Copy, Default)]
struct Seen {
    worker: u32,
    tick: u32,
    since_ns: u64,
}

/// Watches until the pool ends.
pub(super) fn run(shared: Arc<Shared>) {
    let (monitor, idle) = (&shared.monitor, &shared.processors.idle);
    monitor.enter();
    stats::enter_monitor(&shared);
    let mut seen = vec![Seen::default(); shared.processors.len()];
    let mut idle_looks = 0;
    while !shared.ended() {
        let now = time::monotonic_ns();
        shared.set_now_ns(now);
        look(&shared, &mut seen, now);
        shared.rescue();
        let next_watch = monitor.call_watches(now);
        if idle.awake() > 0 {
            idle_looks = 0;
        } else if idle_looks < limits::TASK_MONITOR_IDLE_LOOKS {
            idle_looks += 1;
        } else {
            let held = shared.any_held();
            let next_rescue = held.then_some(Duration::from_millis(limits::TASK_RESCUE_MS));
            let time = [next_watch, next_rescue].into_iter().flatten().min();
            monitor.sleep(time, || idle.awake() == 0 && !shared.ended());
            continue;
        }
        thread::park_timeout(Duration::from_millis(limits::TASK_MONITOR_MS));
    }
}

fn look(shared: &Shared, seen: &mut [Seen], now: u64) {
    for (processor, seen) in seen.iter_mut().enumerate() {
        let Some(worker) = shared.worker(shared.processors.worker(processor)) else {
            continue;
        };
        let tick = worker.tick.load(Ordering::Relaxed);
        if (worker.number, tick) != (seen.worker, seen.tick) {
            *seen = Seen {
                worker: worker.number,
                tick,
                since_ns: now,
            };
        } else if worker.state() == WorkerState::Running {
            held(shared, worker, tick, now.saturating_sub(seen.since_ns));
        }
    }
}

/// A worker is in the same task as at the last look.
fn held(shared: &Shared, worker: &Worker, tick: u32, held_ns: u64) {
    let all_awake = shared.processors.idle.awake() == shared.processors.len();
    if !all_awake && worker.has_work() {
        // A task that it spawned would wait for its end.
        shared.wake_one();
    }
    if held_ns >= limits::TASK_SLICE_NS {
        worker.yield_wanted.store(true, Ordering::Relaxed);
    }
    if held_ns < limits::TASK_HELD_NS {
        return;
    }
    if let Some(task) = worker.current.load(Ordering::Relaxed)
        && worker.tick.load(Ordering::Relaxed) == tick
        && task.meta.mark_overrun()
    {
        shared.overruns.fetch_add(1, Ordering::Relaxed);
        stats::overrun(shared, task, held_ns);
    }
    if all_awake && shared.work_waits() {
        shared.replace(worker, tick);
    }
}
