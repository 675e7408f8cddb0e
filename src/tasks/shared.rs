//! What all threads of a pool share, and how its threads come by their processors.
//!
//! A pool of n workers has n **processors**. A thread runs tasks while it has a processor, and there may
//! be more threads than processors: one that is held by a task or blocked in a system call loses its
//! processor to another, a **spare**, and becomes a spare itself when its task is over. Every change
//! of who has which processor is made under the lock of `Idle`.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::cell::{Stage, TaskCell};
use super::class::ClassState;
use super::global_queue::GlobalQueue;
use super::idle::Idle;
use super::monitor::MonitorSleep;
use super::queue::Queue;
use super::registry::PoolId;
use super::stats::{self, Histograms};
use super::worker::Counters;
use super::{Options, arena, worker};
use crate::limits;
use crate::observe::CallSite;
use crate::sys::atomic_ref::AtomicRef;
use crate::sys::sync::lock;

/// No processor, or a processor without a thread.
pub(super) const NONE: u32 = u32::MAX;

/// What a thread is told when it is woken.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Signal {
    Nothing,
    /// Run tasks; the processor counts as searching.
    Search,
    /// Run tasks.
    Run,
    /// The pool has ended.
    End,
}

/// What a worker is doing, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Running a task.
    Running,
    /// Between two tasks, or looking for one.
    Searching,
    /// Parked: there is nothing to do.
    Parked,
    /// In a task that held it for too long; another thread has its processor.
    Held,
    /// In [`block_in_place`](super::block_in_place); its processor is free for another thread.
    Blocked,
    /// In a long task that let others go first at a [`checkpoint`](super::checkpoint).
    Waiting,
    /// A spare thread without a processor.
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

/// One thread of the pool as the others see it.
pub(super) struct Worker {
    pub number: u32,
    pub queue: Queue,
    /// The task to run next, the last that was spawned or woken here. The owner fills it; who
    /// steals may empty it.
    pub lifo_slot: AtomicRef<TaskCell>,
    /// Its processor, or [`NONE`]. Changed under the lock of `Idle`.
    pub processor: AtomicU32,
    /// Counts the tasks it has begun: who sees the same number twice sees the same task.
    pub tick: AtomicU32,
    /// The task it runs.
    pub current: AtomicRef<TaskCell>,
    /// The task that it runs should let others go first at its next checkpoint.
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
            lifo_slot: AtomicRef::empty(),
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

    /// Tasks in its own queue, with the one that is to run next.
    pub fn queued(&self) -> usize {
        self.queue.len() + usize::from(self.lifo_slot.load(Ordering::Relaxed).is_some())
    }

    pub fn processor(&self) -> u32 {
        self.processor.load(Ordering::Relaxed)
    }

    pub fn state(&self) -> WorkerState {
        STATES[usize::from(self.state.load(Ordering::Relaxed))]
    }

    pub fn set_state(&self, state: WorkerState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.lifo_slot.load(Ordering::Acquire).is_some()
    }

    /// Tells the thread something and wakes it.
    pub fn signal(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        if let Some(thread) = &*lock(&self.thread) {
            thread.unpark();
        }
    }

    /// What the thread was told since it last asked.
    pub fn take_signal(&self) -> Signal {
        match self.signal.swap(Signal::Nothing as u8, Ordering::AcqRel) {
            0 => Signal::Nothing,
            1 => Signal::Search,
            2 => Signal::Run,
            _ => Signal::End,
        }
    }

    /// Enters the calling thread as the one to wake.
    pub fn enter(&self) {
        *lock(&self.thread) = Some(thread::current());
    }
}

/// Threads without a processor.
struct Threads {
    /// Parked spares.
    spare: Vec<u32>,
    /// Numbers that no thread has, the lowest last.
    free: Vec<u32>,
    handles: Vec<JoinHandle<()>>,
}

pub(super) struct Shared {
    id: PoolId,
    pub options: Options,
    pub idle: Idle,
    pub global_queue: GlobalQueue,
    pub monitor: MonitorSleep,
    /// The thread at each processor, or [`NONE`].
    pub processors: Box<[AtomicU32]>,
    workers: Box<[OnceLock<Arc<Worker>>]>,
    threads: Mutex<Threads>,
    classes: Box<[OnceLock<Arc<ClassState>>]>,
    /// No more tasks are let in.
    closed: AtomicBool,
    /// The pool is over: threads end, what is unfinished is stopped.
    ended: AtomicBool,
    /// Tasks in the middle of which a thread waits for its turn.
    given_way: AtomicUsize,
    /// Nanoseconds of the monotonic clock, as old as the monitor's last look.
    now_ns: AtomicU64,
    pub overruns: AtomicU64,
    /// By where they were spawned.
    pub overrun_sites: Mutex<HashMap<CallSite, u64>>,
    pub hand_offs: AtomicU64,
    /// Tasks are short now: not each has its latency taken.
    pub short_tasks: AtomicBool,
}

impl Shared {
    pub fn new(id: PoolId, options: Options) -> Self {
        let processors = options.workers;
        let threads = processors + limits::TASK_SPARES_MAX;
        Self {
            id,
            idle: Idle::new(processors),
            global_queue: GlobalQueue::default(),
            monitor: MonitorSleep::default(),
            processors: (0..processors).map(|_| AtomicU32::new(NONE)).collect(),
            workers: (0..threads).map(|_| OnceLock::new()).collect(),
            threads: Mutex::new(Threads {
                spare: Vec::new(),
                free: (0..threads as u32).rev().collect(),
                handles: Vec::new(),
            }),
            classes: (0..limits::TASK_CLASSES_MAX)
                .map(|_| OnceLock::new())
                .collect(),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            given_way: AtomicUsize::new(0),
            now_ns: AtomicU64::new(crate::sys::time::monotonic_ns()),
            overruns: AtomicU64::new(0),
            overrun_sites: Mutex::default(),
            hand_offs: AtomicU64::new(0),
            short_tasks: AtomicBool::new(false),
            options,
        }
    }

    pub fn id(&self) -> u16 {
        self.id.number()
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The pool's time, as old as the monitor's last look.
    pub fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    pub fn set_now_ns(&self, now: u64) {
        self.now_ns.store(now, Ordering::Relaxed);
    }

    // ---- classes --------------------------------------------------------------------------

    /// Enters a class; `None` if there are too many.
    pub fn add_class(&self, make: impl FnOnce(u8) -> ClassState) -> Option<Arc<ClassState>> {
        let mut make = Some(make);
        for (index, processor) in self.classes.iter().enumerate() {
            let class = processor.get_or_init(|| {
                let make = make.take();
                Arc::new(make.map_or_else(
                    || ClassState::new(index as u8, Default::default(), 1),
                    |make| make(index as u8),
                ))
            });
            if make.is_none() {
                return Some(Arc::clone(class));
            }
        }
        None
    }

    pub fn class(&self, index: u8) -> Option<&Arc<ClassState>> {
        self.classes.get(usize::from(index))?.get()
    }

    pub fn classes(&self) -> impl Iterator<Item = &Arc<ClassState>> {
        self.classes.iter().map_while(OnceLock::get)
    }

    // ---- work -----------------------------------------------------------------------------

    /// After a push: wakes a worker, if one is parked and nobody is looking for work already.
    pub fn wake_one(&self) {
        if let Some(processor) = self.idle.processor_to_wake() {
            self.wake_processor(processor);
        }
    }

    #[cold]
    fn wake_processor(&self, processor: u32) {
        match self.processors[processor as usize].load(Ordering::Acquire) {
            NONE => {
                if self.assign_processor(processor, Signal::Search).is_err() {
                    self.idle.put_back(processor);
                }
            }
            number => {
                if let Some(worker) = self.worker(number) {
                    worker.signal(Signal::Search);
                }
            }
        }
    }

    /// A task of this pool was woken: queues it.
    pub fn schedule(&self, cell: &'static TaskCell, generation: u32) {
        cell.meta.set_runnable(stats::stamp_outside(self));
        self.global_queue.push(cell.meta.owner().priority, cell);
        self.wake_one();
        self.stop_if_ended(cell, generation);
    }

    /// Somebody queued a task; if the pool ended at the same time, nobody else will look at it.
    ///
    /// A push was before this, then a fence (in `wake_one`). `end` fences as well before it
    /// looks for unfinished tasks: one of the two sees what the other did.
    pub fn stop_if_ended(&self, cell: &'static TaskCell, generation: u32) {
        fence(Ordering::SeqCst);
        if self.ended() {
            self.stop_task(cell, generation);
        }
    }

    /// Stops a task that waits or is queued.
    pub fn stop_task(&self, cell: &'static TaskCell, generation: u32) -> bool {
        let owner = cell.meta.owner();
        let Some(running) = cell.claim_unfinished(generation) else {
            return false;
        };
        if let Some(class) = self.class(owner.class) {
            class.release(1);
        }
        if let Some(vacant) = running.stop() {
            arena::put_back(vacant);
        }
        true
    }

    /// One more task lets others go first, unless as many as there are workers do.
    pub fn may_give_way(&self) -> bool {
        let may = self.given_way.fetch_add(1, Ordering::Relaxed) < self.processors.len();
        if !may {
            self.has_given_way();
        }
        may
    }

    /// It goes on.
    pub fn has_given_way(&self) {
        self.given_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether anything waits in a queue that a worker can take from.
    pub fn work_waits(&self) -> bool {
        !self.global_queue.is_empty()
            || self
                .workers_with_processor()
                .any(|worker| worker.has_work())
    }

    // ---- threads --------------------------------------------------------------------------

    pub fn worker(&self, number: u32) -> Option<&Arc<Worker>> {
        self.workers.get(number as usize)?.get()
    }

    /// Every thread there ever was, whether it has a processor or not.
    pub fn all_workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter().filter_map(OnceLock::get)
    }

    /// The threads that have a processor.
    pub fn workers_with_processor(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.processors
            .iter()
            .filter_map(|processor| self.worker(processor.load(Ordering::Acquire)))
    }

    /// Gives a processor without a thread to a spare one, or to a new one.
    pub fn assign_processor(self: &Shared, processor: u32, signal: Signal) -> io::Result<()> {
        let (number, is_new) = {
            let mut threads = lock(&self.threads);
            match threads.spare.pop() {
                Some(number) => (number, false),
                None => match threads.free.pop() {
                    Some(number) => (number, true),
                    None => return Err(io::Error::other("the pool has as many threads as it may")),
                },
            }
        };
        let worker = self.workers[number as usize].get_or_init(|| Arc::new(Worker::new(number)));
        self.idle.locked(|| {
            worker.processor.store(processor, Ordering::Release);
            self.processors[processor as usize].store(number, Ordering::Release);
        });
        if !is_new {
            worker.signal(signal);
            return Ok(());
        }
        worker.signal(signal);
        let started = self.start_thread(Arc::clone(worker));
        if started.is_err() {
            worker.take_signal();
            self.idle.locked(|| {
                worker.processor.store(NONE, Ordering::Release);
                self.processors[processor as usize].store(NONE, Ordering::Release);
            });
            lock(&self.threads).free.push(number);
        }
        started
    }

    fn start_thread(&self, worker: Arc<Worker>) -> io::Result<()> {
        let Some(shared) = self.id.pool() else {
            return Err(io::Error::other("the pool has ended"));
        };
        let name = format!("{}-{}", self.options.name, worker.number);
        let handle = thread::Builder::new()
            .name(name)
            .spawn(move || worker::run(shared, worker))?;
        let mut threads = lock(&self.threads);
        threads.handles.retain(|handle| !handle.is_finished());
        threads.handles.push(handle);
        Ok(())
    }

    /// Stops all tasks of this pool that wait or are queued.
    pub fn stop_unfinished(&self) {
        for cell in arena::cells() {
            let (generation, stage) = cell.stage();
            if matches!(stage, Stage::Runnable | Stage::Waiting)
                && cell.meta.owner().pool == self.id()
            {
                self.stop_task(cell, generation);
            }
        }
    }

    /// Waits as a spare thread for a processor. `None`: end.
    pub fn wait_as_spare(&self, worker: &Worker) -> Option<Signal> {
        worker.set_state(WorkerState::Spare);
        lock(&self.threads).spare.push(worker.number);
        // A processor may have been left without a thread for want of one.
        if self.work_waits() {
            self.wake_one();
        }
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
            if left.is_zero() {
                let mut threads = lock(&self.threads);
                let spare = &mut threads.spare;
                // If it is not there any more, somebody is about to wake it.
                if let Some(at) = spare.iter().position(|number| *number == worker.number) {
                    spare.swap_remove(at);
                    return None;
                }
            }
            thread::park_timeout(left.max(Duration::from_millis(1)));
        }
    }

    /// Notes that a thread ends, whose number another may have.
    pub fn leave(&self, worker: &Worker) {
        *lock(&worker.thread) = None;
        lock(&self.threads).free.push(worker.number);
    }

    /// Threads that there are, and how many of them are parked spares.
    pub fn thread_counts(&self) -> (usize, usize) {
        let threads = lock(&self.threads);
        let all = self.workers.len() - threads.free.len();
        (all, threads.spare.len())
    }

    // ---- the end --------------------------------------------------------------------------

    /// Ends the pool: threads end when the task that they run is over.
    pub fn end(&self) -> Vec<JoinHandle<()>> {
        self.close();
        self.ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.all_workers()
            .for_each(|worker| worker.signal(Signal::End));
        self.monitor.wake();
        std::mem::take(&mut lock(&self.threads).handles)
    }
}
