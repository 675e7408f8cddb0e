//! The thread that watches the workers, as Go's sysmon does.
//!
//! While any worker is awake it looks every [`limits::TASK_MONITOR_MS`]. A worker that is seen in
//! the same task again and again is held: first the task is asked to let others go first at its
//! next checkpoint; then it is an overrun, and if anything waits, another thread takes the place
//! of the worker with all that is queued behind the task.
//!
//! When all workers have been parked for a while, it sleeps until one is woken: an idle pool
//! takes no CPU at all. Who sleeps and who wakes agree as in `idle.rs`: the monitor says that it
//! sleeps, then looks whether a worker is awake; a worker counts as awake, then looks whether
//! the monitor sleeps.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::shared::{Shared, Worker, WorkerState};
use crate::limits;
use crate::sys::time;

/// How the monitor sleeps.
#[derive(Default)]
pub(super) struct MonitorSleep {
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
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
}

/// What was seen at one place.
#[derive(Clone, Copy, Default)]
struct Seen {
    number: u32,
    tick: u32,
    since_ns: u64,
}

/// Watches until the pool ends.
pub(super) fn run(shared: Arc<Shared>) {
    shared.monitor.thread.get_or_init(thread::current);
    let mut seen = vec![Seen::default(); shared.places.len()];
    let mut idle_looks = 0;
    while !shared.ended() {
        let now = time::monotonic_ns();
        shared.set_now_ns(now);
        look(&shared, &mut seen, now);
        let look_again = Duration::from_millis(limits::TASK_MONITOR_MS);
        if shared.idle.awake() > 0 {
            idle_looks = 0;
            thread::park_timeout(look_again);
        } else if idle_looks < limits::TASK_MONITOR_IDLE_LOOKS {
            idle_looks += 1;
            thread::park_timeout(look_again);
        } else {
            sleep(&shared);
        }
    }
}

fn sleep(shared: &Shared) {
    shared.monitor.sleeps.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    while shared.monitor.sleeps() && shared.idle.awake() == 0 && !shared.ended() {
        thread::park();
    }
    shared.monitor.sleeps.store(false, Ordering::SeqCst);
}

fn look(shared: &Shared, seen: &mut [Seen], now: u64) {
    for (place, seen) in shared.places.iter().zip(seen) {
        let Some(worker) = shared.worker(place.load(Ordering::Acquire)) else {
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
    let all_awake = shared.idle.awake() == shared.places.len();
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
    }
    if all_awake && shared.work_waits() {
        shared.replace(worker, tick);
    }
}
