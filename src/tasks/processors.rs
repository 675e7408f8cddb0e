//! Which worker has which processor, and how processors change hands.
//!
//! A pool of n workers at a time has n **processors** (Go's P). A worker is a thread; it runs tasks
//! while it has a processor. There may be more workers than processors: one that a task holds or
//! that blocks loses its processor to another, a **spare**, and becomes a spare itself when its
//! task is over. Processors change hands only under the lock of [`Idle`].
//!
//! **No processor is left parked while work waits and a thread could take it.** Beside the cases
//! in `idle.rs`, a processor is parked without a worker when the pool has no thread left for it.
//! Again two sides write and then read, with a fence in between: a thread that becomes spare or
//! ends enters a list, then looks at the queues and wakes a processor; a thread that finds both
//! lists empty parks the processor, then looks at the queues and at the lists again.
//!
//! The models in `models.rs` run this code: it accesses a pool only through the trait [`Workers`].

use std::io;

use super::idle::Idle;
use crate::sys::sync::atomic::{AtomicU32, Ordering, fence};
use crate::sys::sync::{Mutex, lock};

/// No processor, or a processor without a worker.
pub(super) const NONE: u32 = u32::MAX;

/// Why a worker is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Signal {
    Nothing,
    /// Run tasks; its processor counts as searching.
    Search,
    /// Run tasks.
    Run,
    /// The pool has ended.
    End,
}

/// Why a processor got no worker.
#[derive(Debug)]
pub(super) enum AssignError {
    /// The pool has reached its limit of threads, and none is spare.
    NoThread,
    /// The system can't start another thread.
    Start(io::Error),
}

/// What moving processors between workers needs from the pool.
pub(super) trait Workers {
    /// Whether a task waits in a queue that a worker with a processor can take from.
    fn work_waits(&self) -> bool;
    /// Notes the processor of a worker, or [`NONE`], and returns the one before.
    fn set_processor(&self, worker: u32, processor: u32) -> u32;
    /// Wakes a worker.
    fn signal(&self, worker: u32, signal: Signal);
    /// Starts the thread of a worker, which finds this signal.
    fn start(&self, worker: u32, signal: Signal) -> io::Result<()>;
}

/// The processors of a pool and the numbers of its threads.
pub(super) struct Processors {
    pub idle: Idle,
    /// The worker of each processor, or [`NONE`].
    workers: Box<[AtomicU32]>,
    threads: Mutex<Threads>,
}

struct Threads {
    /// Workers that wait for a processor and have no task.
    spare: Vec<u32>,
    /// Numbers of workers without a thread, the lowest last.
    unused: Vec<u32>,
    most: usize,
}

impl Processors {
    /// All processors are awake and without a worker. There may be this many threads.
    pub(crate) fn new(processors: usize, threads: usize) -> Self {
        Self {
            idle: Idle::new(processors),
            workers: (0..processors).map(|_| AtomicU32::new(NONE)).collect(),
            threads: Mutex::new(Threads {
                spare: Vec::new(),
                unused: (0..threads as u32).rev().collect(),
                most: threads,
            }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// The worker of a processor, or [`NONE`].
    pub(crate) fn worker(&self, processor: usize) -> u32 {
        self.workers[processor].load(Ordering::Acquire)
    }

    /// The workers that have a processor.
    pub(crate) fn workers(&self) -> impl Iterator<Item = u32> {
        let all = self.workers.iter();
        all.map(|worker| worker.load(Ordering::Acquire))
            .filter(|worker| *worker != NONE)
    }

    /// Threads that exist, and how many of them are spares.
    pub(crate) fn thread_counts(&self) -> (usize, usize) {
        let threads = lock(&self.threads);
        (threads.most - threads.unused.len(), threads.spare.len())
    }

    // ---- waking ---------------------------------------------------------------------------

    /// After a push: wakes a processor, if one is parked and none searches already.
    pub(crate) fn wake_one(&self, pool: &impl Workers) {
        if let Some(processor) = self.idle.processor_to_wake() {
            self.wake(pool, processor);
        }
    }

    #[cold]
    fn wake(&self, pool: &impl Workers, mut processor: u32) {
        loop {
            let worker = self.worker(processor as usize);
            if worker != NONE {
                return pool.signal(worker, Signal::Search);
            }
            let assigned = self.assign(pool, processor, Signal::Search);
            if assigned.is_ok() {
                return;
            }
            self.idle.put_back(processor);
            // A thread that became spare or ended meanwhile saw this processor searching, and
            // left the work to it.
            let retry = matches!(assigned, Err(AssignError::NoThread)) && self.has_thread();
            if !retry || !pool.work_waits() {
                return;
            }
            match self.idle.processor_to_wake() {
                Some(next) => processor = next,
                None => return,
            }
        }
    }

    fn has_thread(&self) -> bool {
        let threads = lock(&self.threads);
        !threads.spare.is_empty() || !threads.unused.is_empty()
    }

    // ---- taking and giving ----------------------------------------------------------------

    /// Gives a processor without a worker to a spare thread, or to a new one.
    ///
    /// # Errors
    /// When the pool has reached its limit of threads, or no thread can be started.
    pub(crate) fn assign(
        &self,
        pool: &impl Workers,
        processor: u32,
        signal: Signal,
    ) -> Result<(), AssignError> {
        let (worker, exists) = {
            let mut threads = lock(&self.threads);
            match threads.spare.pop() {
                Some(worker) => (worker, true),
                None => match threads.unused.pop() {
                    Some(worker) => (worker, false),
                    None => return Err(AssignError::NoThread),
                },
            }
        };
        self.acquire(pool, worker, processor);
        if exists {
            pool.signal(worker, signal);
            return Ok(());
        }
        let started = pool.start(worker, signal);
        if started.is_err() {
            self.release(pool, worker);
            lock(&self.threads).unused.push(worker);
        }
        started.map_err(AssignError::Start)
    }

    /// Gives a processor without a worker to this worker.
    pub(crate) fn acquire(&self, pool: &impl Workers, worker: u32, processor: u32) {
        self.idle.locked(|| {
            pool.set_processor(worker, processor);
            self.workers[processor as usize].store(worker, Ordering::Release);
        });
    }

    /// Gives a processor that was parked without a worker to this one, which is awake. False if
    /// there is none.
    pub(crate) fn acquire_parked(&self, pool: &impl Workers, worker: u32) -> bool {
        let free = |processor: u32| self.worker(processor as usize) == NONE;
        let taken = self.idle.unpark(false, free);
        if let Some(processor) = taken {
            self.acquire(pool, worker, processor);
        }
        taken.is_some()
    }

    /// Takes the processor from a worker; `None` if it has none.
    pub(crate) fn release(&self, pool: &impl Workers, worker: u32) -> Option<u32> {
        self.release_if(pool, worker, || true)
    }

    /// As [`release`](Self::release), if `may` agrees while no processor changes hands.
    pub(crate) fn release_if(
        &self,
        pool: &impl Workers,
        worker: u32,
        may: impl FnOnce() -> bool,
    ) -> Option<u32> {
        self.idle.locked(|| {
            if !may() {
                return None;
            }
            let processor = pool.set_processor(worker, NONE);
            if processor == NONE {
                return None;
            }
            self.workers[processor as usize].store(NONE, Ordering::Release);
            Some(processor)
        })
    }

    /// Gives a processor that a worker has left to another thread; parks it if there is none.
    /// True if another thread has it.
    pub(crate) fn hand_over(&self, pool: &impl Workers, processor: u32) -> bool {
        let given = self.assign(pool, processor, Signal::Run).is_ok();
        if given {
            // That thread begins with one task; there may be more.
            self.wake_one(pool);
        } else {
            self.park(pool, processor);
        }
        given
    }

    /// As [`hand_over`](Self::hand_over), but only if there is work for it.
    pub(crate) fn hand_over_if_needed(&self, pool: &impl Workers, processor: u32) {
        if pool.work_waits() {
            self.hand_over(pool, processor);
        } else {
            self.park(pool, processor);
        }
    }

    /// Parks a processor that has no worker.
    pub(crate) fn park(&self, pool: &impl Workers, processor: u32) {
        // A thread that became spare before this found no processor to wake.
        if self.idle.park(processor, false, || true) == Some(true) && pool.work_waits() {
            self.wake_one(pool);
        }
    }

    // ---- spare threads --------------------------------------------------------------------

    /// A worker without a processor and without a task now waits for a processor.
    pub(crate) fn enter_spares(&self, pool: &impl Workers, worker: u32) {
        lock(&self.threads).spare.push(worker);
        self.look_for_work(pool);
    }

    /// A spare worker stops waiting. False if another thread is about to wake it.
    pub(crate) fn leave_spares(&self, worker: u32) -> bool {
        let spare = &mut lock(&self.threads).spare;
        let at = spare.iter().position(|number| *number == worker);
        at.map(|at| spare.swap_remove(at)).is_some()
    }

    /// The thread of a worker ends; another may have its number.
    pub(crate) fn end_thread(&self, pool: &impl Workers, worker: u32) {
        lock(&self.threads).unused.push(worker);
        self.look_for_work(pool);
    }

    /// Wakes a processor that may have been parked because no thread was available.
    fn look_for_work(&self, pool: &impl Workers) {
        fence(Ordering::SeqCst);
        if pool.work_waits() {
            self.wake_one(pool);
        }
    }
}
