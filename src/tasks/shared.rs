//! What the threads of a pool share: the workers, the queues, the classes, and the end.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::cell::{Stage, TaskCell};
use super::class::ClassTable;
use super::global_queue::GlobalQueue;
use super::monitor::MonitorSleep;
use super::processors::{NONE, Processors, Signal, Workers};
use super::queue::{LifoSlot, Queue};
use super::registry::PoolId;
use super::stats::{self, Histograms};
use super::task_id::TaskId;
use super::worker::Counters;
use super::{Options, Priority, arena, worker};
use crate::limits;
use crate::observe::CallSite;
use crate::sys::atomic_ref::AtomicRef;
use crate::sys::sync::lock;

/// What a worker is doing, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It runs a task.
    Running,
    /// It is between two tasks, or looks for one.
    Searching,
    /// It is parked: there is no work.
    Parked,
    /// It runs a task that has held it for too long; another thread has its processor.
    Held,
    /// It is in [`block_in_place`](super::block_in_place); another thread may have its processor.
    Blocked,
    /// Its task has yielded to others at a [`checkpoint`](super::checkpoint).
    Waiting,
    /// It is a spare thread, without a processor.
    Spare,
}

const STATES: [WorkerState; 7] = [
    WorkerState::Running,
    WorkerState::Searching,
    WorkerState::Parked,
    WorkerState::Held,
    WorkerState::Blocked,
    WorkerState::Waiting,
    WorkerState::Spare,
];

/// A worker as all threads see it.
pub(super) struct Worker {
    pub number: u32,
    pub queue: Queue,
    pub lifo_slot: LifoSlot,
    /// Its processor, or [`NONE`]. Changed under the lock of `Idle`.
    processor: AtomicU32,
    /// Counts the tasks it has begun: the same number twice means the same task.
    pub tick: AtomicU32,
    /// The task it runs.
    pub current: AtomicRef<TaskCell>,
    /// The task that it runs should yield at its next checkpoint.
    pub yield_wanted: AtomicBool,
    state: AtomicU8,
    signal: AtomicU8,
    thread: Mutex<Option<Thread>>,
    pub counters: Counters,
    pub histograms: Histograms,
}

impl Worker {
    fn new(number: u32) -> Self {
        Self {
            number,
            queue: Queue::new(),
            lifo_slot: LifoSlot::empty(),
            processor: AtomicU32::new(NONE),
            tick: AtomicU32::new(0),
            current: AtomicRef::empty(),
            yield_wanted: AtomicBool::new(false),
            state: AtomicU8::new(WorkerState::Spare as u8),
            signal: AtomicU8::new(Signal::Nothing as u8),
            thread: Mutex::new(None),
            counters: Counters::default(),
            histograms: Histograms::default(),
        }
    }

    /// Tasks in its queue and LIFO slot.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + usize::from(!self.lifo_slot.is_empty())
    }

    pub(crate) fn processor(&self) -> u32 {
        self.processor.load(Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> WorkerState {
        STATES[usize::from(self.state.load(Ordering::Relaxed))]
    }

    pub(crate) fn set_state(&self, state: WorkerState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty() || !self.lifo_slot.is_empty()
    }

    /// Stores a signal and wakes the thread. If there are several, the strongest one counts.
    pub(crate) fn signal(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        if let Some(thread) = &*lock(&self.thread) {
            thread.unpark();
        }
    }

    /// Takes the signal that was left since the last call.
    pub(crate) fn take_signal(&self) -> Signal {
        match self.signal.swap(Signal::Nothing as u8, Ordering::AcqRel) {
            0 => Signal::Nothing,
            1 => Signal::Search,
            2 => Signal::Run,
            _ => Signal::End,
        }
    }

    /// Registers the calling thread as the one that signals wake.
    pub(crate) fn enter(&self) {
        *lock(&self.thread) = Some(thread::current());
    }
}

/// A pool, as its threads and handles share it.
pub(super) struct Shared {
    id: PoolId,
    pub options: Options,
    pub processors: Processors,
    pub global_queue: GlobalQueue,
    pub classes: ClassTable,
    pub monitor: MonitorSleep,
    workers: Box<[OnceLock<Arc<Worker>>]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// No more tasks are accepted.
    closed: AtomicBool,
    /// The pool has ended: threads end, and unfinished tasks are stopped.
    ended: AtomicBool,
    /// Tasks that have yielded and whose worker waits for a processor.
    yielded: AtomicUsize,
    /// Nanoseconds of the monotonic clock, as of the monitor's last look.
    now_ns: AtomicU64,
    pub overruns: AtomicU64,
    /// Overruns by the call site of their spawn.
    pub overrun_sites: Mutex<HashMap<CallSite, u64>>,
    pub hand_offs: AtomicU64,
    /// Tasks are short at present, so their latency is sampled.
    pub short_tasks: AtomicBool,
}

impl Shared {
    pub(crate) fn new(id: PoolId, options: Options) -> Self {
        let processors = options.workers;
        let threads = processors + limits::TASK_SPARES_MAX;
        Self {
            id,
            processors: Processors::new(processors, threads),
            global_queue: GlobalQueue::default(),
            classes: ClassTable::default(),
            monitor: MonitorSleep::default(),
            workers: (0..threads).map(|_| OnceLock::new()).collect(),
            threads: Mutex::default(),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            yielded: AtomicUsize::new(0),
            now_ns: AtomicU64::new(crate::sys::time::monotonic_ns()),
            overruns: AtomicU64::new(0),
            overrun_sites: Mutex::default(),
            hand_offs: AtomicU64::new(0),
            short_tasks: AtomicBool::new(false),
            options,
        }
    }

    pub(crate) fn id(&self) -> u16 {
        self.id.number()
    }

    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The pool's time, as of the monitor's last look.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn set_now_ns(&self, now: u64) {
        self.now_ns.store(now, Ordering::Relaxed);
    }

    // ---- work -----------------------------------------------------------------------------

    /// After a push: wakes a processor, if one is parked and none searches already.
    pub(crate) fn wake_one(&self) {
        self.processors.wake_one(self);
    }

    /// Queues a task of this pool that was woken outside it.
    pub(crate) fn schedule(&self, id: TaskId, priority: Priority) {
        if let Some(cell) = id.cell() {
            cell.meta.set_runnable(stats::stamp_outside(self));
        }
        self.global_queue.push(priority, id);
        self.wake_one();
        self.stop_if_ended(id);
    }

    /// After a push: stops the task if the pool ended at the same time, since no worker will run
    /// it then.
    ///
    /// The push came first, then a fence (in `wake_one`). `end` fences as well before it looks for
    /// unfinished tasks, so one of the two sides sees what the other did.
    pub(crate) fn stop_if_ended(&self, id: TaskId) {
        fence(Ordering::SeqCst);
        if self.ended() {
            self.stop_task(id);
        }
    }

    /// Stops a task that waits or is queued.
    fn stop_task(&self, id: TaskId) {
        let Some(cell) = id.cell() else {
            return;
        };
        let owner = cell.meta.owner();
        let Some(running) = cell.claim_unfinished(id.generation()) else {
            return;
        };
        if let Some(class) = self.classes.get(owner.class) {
            class.release(1);
        }
        if let Some(vacant) = running.stop() {
            arena::put_back(vacant);
        }
    }

    /// Stops all tasks of this pool that wait or are queued.
    pub(crate) fn stop_unfinished(&self) {
        for cell in arena::cells() {
            let (id, stage) = cell.stage();
            if matches!(stage, Stage::Runnable | Stage::Waiting)
                && cell.meta.owner().pool == self.id()
            {
                self.stop_task(id);
            }
        }
    }

    /// Counts one more task that yields; false if as many as there are processors do already.
    pub(crate) fn begin_yield(&self) -> bool {
        let may = self.yielded.fetch_add(1, Ordering::Relaxed) < self.processors.len();
        if !may {
            self.end_yield();
        }
        may
    }

    /// Counts a task that has yielded as running again.
    pub(crate) fn end_yield(&self) {
        self.yielded.fetch_sub(1, Ordering::Relaxed);
    }

    // ---- threads --------------------------------------------------------------------------

    pub(crate) fn worker(&self, number: u32) -> Option<&Arc<Worker>> {
        self.workers.get(number as usize)?.get()
    }

    /// Every worker that has ever run, with or without a processor.
    pub(crate) fn all_workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter().filter_map(OnceLock::get)
    }

    /// Waits as a spare thread for a processor. `None`: the thread ends.
    pub(crate) fn wait_as_spare(&self, worker: &Worker) -> Option<Signal> {
        worker.set_state(WorkerState::Spare);
        self.processors.enter_spares(self, worker.number);
        let until = Instant::now() + Duration::from_millis(limits::TASK_SPARE_IDLE_MS);
        loop {
            match worker.take_signal() {
                Signal::Nothing => {}
                Signal::End => return None,
                signal => return Some(signal),
            }
            if self.ended() {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && self.processors.leave_spares(worker.number) {
                return None;
            }
            thread::park_timeout(left.max(Duration::from_millis(1)));
        }
    }

    /// The thread of a worker ends.
    pub(crate) fn end_thread(&self, worker: &Worker) {
        *lock(&worker.thread) = None;
        self.processors.end_thread(self, worker.number);
    }

    // ---- the end --------------------------------------------------------------------------

    /// Ends the pool: a thread ends when the task that it runs is over.
    pub(crate) fn end(&self) -> Vec<JoinHandle<()>> {
        self.close();
        self.ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.all_workers()
            .for_each(|worker| worker.signal(Signal::End));
        self.monitor.wake();
        std::mem::take(&mut lock(&self.threads))
    }
}

impl Workers for Shared {
    fn work_waits(&self) -> bool {
        let has_work = |number| self.worker(number).is_some_and(|worker| worker.has_work());
        !self.global_queue.is_empty() || self.processors.workers().any(has_work)
    }

    fn set_processor(&self, worker: u32, processor: u32) -> u32 {
        let worker = self.workers[worker as usize].get_or_init(|| Arc::new(Worker::new(worker)));
        worker.processor.swap(processor, Ordering::AcqRel)
    }

    fn signal(&self, worker: u32, signal: Signal) {
        if let Some(worker) = self.worker(worker) {
            worker.signal(signal);
        }
    }

    fn start(&self, worker: u32, signal: Signal) -> io::Result<()> {
        let (Some(shared), Some(worker), false) =
            (self.id.pool(), self.worker(worker), self.ended())
        else {
            return Err(io::Error::other("the pool has ended"));
        };
        worker.signal(signal);
        let own = Arc::clone(worker);
        let name = format!("{}-{}", self.options.name, worker.number);
        let started = thread::Builder::new()
            .name(name)
            .spawn(move || worker::run(shared, own));
        match started {
            Ok(handle) => {
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(handle);
                Ok(())
            }
            Err(error) => {
                worker.take_signal();
                Err(error)
            }
        }
    }
}
