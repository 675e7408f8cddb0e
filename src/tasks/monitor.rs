//! The thread that watches the workers, as Go's sysmon does.
//!
//! While any worker is awake it looks every [`limits::TASK_MONITOR_MS`]. A worker that is seen in
//! the same task again and again is held: first the task is asked to let others go first at its
//! next checkpoint; then it is an overrun, and if anything waits, another thread takes the processor
//! of the worker with all that is queued behind the task.
//!
//! When all workers have been parked for a while, it sleeps until one is woken: an idle pool
//! takes no CPU at all. Who sleeps and who wakes agree as in `idle.rs`: the monitor says that it
//! sleeps, then looks whether a worker is awake; a worker counts as awake, then looks whether
//! the monitor sleeps.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::shared::{Shared, Worker, WorkerState};
use super::stats;
use crate::limits;
use crate::sys::sync::lock;
use crate::sys::time;

/// Something else that is watched.
struct Watch {
    call: Box<dyn FnMut(u64) -> Option<Duration> + Send>,
    /// When it is to be called next, in nanoseconds.
    due_ns: Option<u64>,
}

/// How the monitor sleeps, and what wakes it.
#[derive(Default)]
pub(super) struct MonitorSleep {
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
    /// All watches are to be called.
    call_all: AtomicBool,
    watches: Mutex<Vec<Watch>>,
}

impl MonitorSleep {
    pub fn sleeps(&self) -> bool {
        self.sleeps.load(Ordering::SeqCst)
    }

    pub fn wake(&self) {
        self.sleeps.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub fn watch(&self, call: Box<dyn FnMut(u64) -> Option<Duration> + Send>) {
        let due_ns = Some(0);
        lock(&self.watches).push(Watch { call, due_ns });
        self.wake();
    }

    pub fn call_all(&self) {
        self.call_all.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Calls the watches that are due, and gives the time until the next one is.
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

/// What was seen at one processor.
#[derive(Clone, Copy, Default)]
struct Seen {
    number: u32,
    tick: u32,
    since_ns: u64,
}

/// Watches until the pool ends.
pub(super) fn run(shared: Arc<Shared>) {
    shared.monitor.thread.get_or_init(thread::current);
    stats::enter_monitor(&shared);
    let mut seen = vec![Seen::default(); shared.processors.len()];
    let mut idle_looks = 0;
    while !shared.ended() {
        let now = time::monotonic_ns();
        shared.set_now_ns(now);
        look(&shared, &mut seen, now);
        let next_watch = shared.monitor.call_watches(now);
        let look_again = Duration::from_millis(limits::TASK_MONITOR_MS);
        if shared.idle.awake() > 0 {
            idle_looks = 0;
            thread::park_timeout(look_again);
        } else if idle_looks < limits::TASK_MONITOR_IDLE_LOOKS {
            idle_looks += 1;
            thread::park_timeout(look_again);
        } else {
            sleep(&shared, next_watch);
        }
    }
}

fn sleep(shared: &Shared, next_watch: Option<Duration>) {
    let monitor = &shared.monitor;
    monitor.sleeps.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let called = monitor.call_all.load(Ordering::SeqCst);
    if shared.idle.awake() == 0 && !called && !shared.ended() {
        match next_watch {
            Some(time) => thread::park_timeout(time),
            None => thread::park(),
        }
    }
    monitor.sleeps.store(false, Ordering::SeqCst);
}

fn look(shared: &Shared, seen: &mut [Seen], now: u64) {
    for (processor, seen) in shared.processors.iter().zip(seen) {
        let Some(worker) = shared.worker(processor.load(Ordering::Acquire)) else {
            continue;
        };
        let tick = worker.tick.load(Ordering::Relaxed);
        if (worker.number, tick) != (seen.number, seen.tick) {
            *seen = Seen {
                number: worker.number,
                tick,
                since_ns: now,
            };
        } else if worker.state() == WorkerState::Running {
            held(shared, worker, tick, now.saturating_sub(seen.since_ns));
        }
    }
}

/// A worker is in the same task as before.
fn held(shared: &Shared, worker: &Worker, tick: u32, held_ns: u64) {
    let all_awake = shared.idle.awake() == shared.processors.len();
    if !all_awake && worker.has_work() {
        // A spawned task waits for its spawner to end, which it does not do.
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
