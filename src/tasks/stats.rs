//! What a pool records of its tasks: events for the flight recorder, and distributions of how long
//! tasks waited and ran and how long the workers' queues were.
//!
//! Reading the clock costs about as much as running a short task, so workers don't read it for each
//! task:
//!
//! - **Run time.** A worker reads the clock when a *batch* of tasks is over. A batch is as many
//!   tasks as recently fitted into [`limits::TASK_BATCH_NS`]: one, unless they are short. It also
//!   ends when the pool's coarse clock advanced during a task, which shows that this task was long.
//!   A batch is one record, and each of its tasks counts with the mean.
//! - **Scheduling latency**, from runnable to running, is sampled: a [`Stamp`] has a weight, the
//!   number of tasks that it represents; 0 marks one that is inexact and not counted. Where tasks
//!   are not short, each has an exact stamp.
//! - **Queue depth** is taken whenever the clock is read.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::cell::TaskCell;
use super::meta::{Meta, Stamp};
use super::shared::{Shared, Worker};
use super::task_id::TaskId;
use crate::limits;
use crate::observe::histogram::Total;
use crate::observe::{CallSite, Event, Histogram, Writer, recorder};
use crate::sys::sync::lock;
use crate::sys::time;

/// The distributions of one worker, which other threads read.
#[derive(Default)]
pub(super) struct Histograms {
    latency: Histogram,
    run_time: Histogram,
    queue_depth: Histogram,
}

/// The distributions of a pool since its start.
#[derive(Clone, Debug)]
pub struct Distributions {
    /// From runnable to running, in ns.
    pub latency: Total,
    /// The time of one poll of a task, in ns.
    pub run_time: Total,
    /// Tasks in a worker's queue, whenever that worker read the clock.
    pub queue_depth: Total,
}

impl Distributions {
    pub(super) fn take(shared: &Shared) -> Self {
        let of = |histogram: fn(&Histograms) -> &Histogram| {
            Total::of(
                shared
                    .all_workers()
                    .map(|worker| histogram(&worker.histograms)),
            )
        };
        Self {
            latency: of(|histograms| &histograms.latency),
            run_time: of(|histograms| &histograms.run_time),
            queue_depth: of(|histograms| &histograms.queue_depth),
        }
    }
}

/// A worker's statistics as kept by its own thread.
pub(super) struct WorkerStats {
    writer: Rc<Writer>,
    /// When the batch began; 0: there is no batch.
    began_ns: Cell<u64>,
    tasks: Cell<u32>,
    /// Tasks that make a batch.
    quota: Cell<u32>,
    /// The mean of the last batch.
    mean_ns: Cell<u64>,
    /// Counts the stamps that were made, to choose which of them are exact.
    stamps: Cell<u32>,
    last: Cell<(u64, Option<&'static Location<'static>>)>,
}

/// The stamp of a task that becomes runnable from outside the pool.
pub(super) fn stamp_outside(shared: &Shared) -> Stamp {
    thread_local! {
        static STAMPS: Cell<u32> = const { Cell::new(0) };
    }
    if !shared.short_tasks.load(Ordering::Relaxed) {
        return Stamp::of_one(time::monotonic_ns());
    }
    STAMPS.try_with(sample).unwrap_or(Stamp::none())
}

/// A stamp for one of [`limits::TASK_SAMPLE`] tasks.
fn sample(stamps: &Cell<u32>) -> Stamp {
    let count = stamps.get().wrapping_add(1);
    stamps.set(count);
    match count.is_multiple_of(limits::TASK_SAMPLE) {
        true => Stamp::of_sample(time::monotonic_ns()),
        false => Stamp::none(),
    }
}

/// Records that a task was spawned on a thread outside the pool.
pub(super) fn spawned_outside(id: TaskId, site: &'static Location<'static>) {
    recorder::note(|writer| {
        if writer.is_on() {
            let now_ns = time::monotonic_ns();
            writer.record(now_ns, Event::Spawn, CallSite::of(site), id.word(), 0);
        }
    });
}

/// Makes the calling thread, the monitor, record on a new track.
pub(super) fn enter_monitor(shared: &Shared) {
    let options = &shared.options;
    Rc::new(options.recorder.track(format!("{}-monitor", options.name))).enter();
}

/// Records that a task has held its worker for [`limits::TASK_HELD_NS`].
pub(super) fn overrun(shared: &Shared, task: &TaskCell, held_ns: u64) {
    let site = task.meta.site().map_or(CallSite::UNKNOWN, CallSite::of);
    *lock(&shared.overrun_sites).entry(site).or_default() += 1;
    recorder::note(|writer| {
        let began_ns = time::monotonic_ns().saturating_sub(held_ns);
        writer.record(began_ns, Event::Stall, site, 0, held_ns);
    });
}

/// Records that the queue of a worker went to another thread.
pub(super) fn handed_off(worker: u32, tasks: usize) {
    recorder::note(|writer| {
        let now_ns = time::monotonic_ns();
        writer.record(
            now_ns,
            Event::HandOff,
            CallSite::UNKNOWN,
            worker.into(),
            tasks as u64,
        );
    });
}

impl WorkerStats {
    pub(crate) fn new(shared: &Shared, me: &Worker) -> Self {
        let options = &shared.options;
        let name = format!("{}-{}", options.name, me.number);
        let writer = Rc::new(options.recorder.track(name));
        writer.enter();
        Self {
            writer,
            began_ns: Cell::new(0),
            tasks: Cell::new(0),
            quota: Cell::new(1),
            mean_ns: Cell::new(0),
            stamps: Cell::new(0),
            last: Cell::new((0, None)),
        }
    }

    /// Whether tasks are so short that they are recorded in batches.
    fn are_short(&self) -> bool {
        self.quota.get() > 1
    }

    /// The stamp of a task that becomes runnable on this thread. After [`limits::TASK_STAMPS`] in a
    /// row it is a sample: a task that makes many others runnable takes little time for each.
    pub(crate) fn stamp(&self) -> Stamp {
        if self.are_short() || self.stamps.get() >= limits::TASK_STAMPS {
            return sample(&self.stamps);
        }
        self.stamps.set(self.stamps.get() + 1);
        Stamp::of_one(time::monotonic_ns())
    }

    /// Records that a task was spawned on this thread.
    pub(crate) fn spawned(&self, id: TaskId, stamp: Stamp, site: &'static Location<'static>) {
        // Of short tasks, only those whose latency is sampled are recorded.
        if self.writer.is_on() && stamp.weight() > 0 {
            let now_ns = time::monotonic_ns();
            self.writer
                .record(now_ns, Event::Spawn, CallSite::of(site), id.word(), 0);
        }
    }

    /// Notes that a task is about to run.
    pub(crate) fn begins(&self, me: &Worker, id: TaskId, meta: &Meta) {
        let stamp = meta.runnable();
        if stamp.weight() > 0 {
            let waited_ns = stamp.waited_ns(self.close(me, false));
            let count = stamp.weight().into();
            me.histograms.latency.record_n(waited_ns, count);
        } else if self.began_ns.get() == 0 {
            self.began_ns.set(time::monotonic_ns());
        }
        if !self.are_short() {
            self.stamps.set(0);
        }
        self.last.set((id.word(), meta.site()));
    }

    /// Notes that the task has run. `long`: the pool's coarse clock advanced meanwhile.
    pub(crate) fn ends(&self, shared: &Shared, me: &Worker, long: bool) {
        let tasks = self.tasks.get() + 1;
        self.tasks.set(tasks);
        if tasks < self.quota.get() && !long {
            return;
        }
        let were_short = self.are_short();
        self.close(me, long);
        if self.are_short() != were_short {
            shared.short_tasks.store(!were_short, Ordering::Relaxed);
        }
    }

    /// Runs other tasks in the middle of one, whose time before and after that counts as two runs.
    pub(crate) fn nested<T>(&self, me: &Worker, others: impl FnOnce() -> T) -> T {
        let outer = self.last.get();
        self.tasks.set(self.tasks.get() + 1);
        self.close(me, false);
        let value = others();
        self.pause(me);
        self.began_ns.set(time::monotonic_ns());
        self.last.set(outer);
        value
    }

    /// Notes that no task runs from now on.
    pub(crate) fn pause(&self, me: &Worker) {
        if self.tasks.get() > 0 {
            self.close(me, false);
        }
        self.began_ns.set(0);
    }

    /// Ends the batch and begins another. `long`: its last task was long. Returns the time.
    fn close(&self, me: &Worker, long: bool) -> u64 {
        let now_ns = time::monotonic_ns();
        let began_ns = self.began_ns.replace(now_ns);
        let tasks = self.tasks.replace(0);
        if tasks == 0 {
            return now_ns;
        }
        let took_ns = now_ns.saturating_sub(began_ns);
        let run_time = &me.histograms.run_time;
        let mean_ns = took_ns / u64::from(tasks);
        if long && tasks > 1 {
            // Counts all but the last one as short as those before.
            let others = u64::from(tasks - 1);
            let short_ns = self.mean_ns.get();
            run_time.record_n(short_ns, others);
            run_time.record(took_ns.saturating_sub(short_ns * others));
        } else {
            run_time.record_n(mean_ns, tasks.into());
        }
        self.mean_ns.set(mean_ns);
        let quota = limits::TASK_BATCH_NS / mean_ns.max(1);
        self.quota
            .set(quota.clamp(1, limits::TASK_BATCH_MAX.into()) as u32);
        me.histograms.queue_depth.record(me.queued() as u64);
        if self.writer.is_on() {
            let (id, site) = self.last.get();
            let site = site.map_or(CallSite::UNKNOWN, CallSite::of);
            match tasks {
                1 => self.writer.record(began_ns, Event::Run, site, id, took_ns),
                _ => self
                    .writer
                    .record(began_ns, Event::RunBatch, site, tasks.into(), took_ns),
            }
        }
        now_ns
    }

    /// Records that this worker took tasks from another one.
    pub(crate) fn stole(&self, from: u32, tasks: usize) {
        if self.writer.is_on() {
            self.writer.record(
                time::monotonic_ns(),
                Event::Steal,
                CallSite::UNKNOWN,
                from.into(),
                tasks as u64,
            );
        }
    }

    /// Runs `wait`, in which the worker is parked.
    pub(crate) fn park<T>(&self, wait: impl FnOnce() -> T) -> T {
        if !self.writer.is_on() {
            return wait();
        }
        let began_ns = time::monotonic_ns();
        let value = wait();
        let took_ns = time::monotonic_ns().saturating_sub(began_ns);
        self.writer
            .record(began_ns, Event::Park, CallSite::UNKNOWN, 0, took_ns);
        value
    }
}
