//! A class of work: its name, its priority, and how much of it there may be.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::closure_future::ClosureFuture;
use super::context;
use super::meta::Owner;
use super::shared::Shared;
use super::stats;
use super::{ClassOptions, Priority, Saturated, Task, arena};

/// A class of work, to spawn tasks of. Cheap to clone.
#[derive(Clone)]
pub struct Class {
    pub(super) shared: Arc<Shared>,
    pub(super) state: Arc<ClassState>,
}

/// What the pool knows of a class.
pub(super) struct ClassState {
    pub index: u8,
    pub name: String,
    pub priority: Priority,
    limit: usize,
    /// Places for unfinished tasks that a worker sets aside at a time, so that it need not ask
    /// for each; 1 if there are not enough for that.
    pub reserve_batch: usize,
    /// Unfinished tasks, and permits set aside by workers.
    taken: AtomicUsize,
    refused: AtomicU64,
}

impl ClassState {
    pub fn new(index: u8, options: ClassOptions, workers: usize) -> Self {
        // A worker keeps two batches at most.
        let reserve_batch = (options.queue_limit / (16 * workers)).clamp(1, 64);
        Self {
            index,
            name: options.name,
            priority: options.priority,
            limit: options.queue_limit,
            reserve_batch,
            taken: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Unfinished tasks, and permits set aside by workers that are awake.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Tasks that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes this many permits, or none.
    pub fn acquire(&self, permits: usize) -> bool {
        if self.taken.fetch_add(permits, Ordering::AcqRel) + permits <= self.limit {
            return true;
        }
        self.release(permits);
        false
    }

    pub fn release(&self, permits: usize) {
        self.taken.fetch_sub(permits, Ordering::AcqRel);
    }

    #[cold]
    pub fn refuse(&self) -> Saturated {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Saturated {
            class: self.name.clone(),
            limit: self.limit,
        }
    }
}

impl Class {
    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Runs `work` on a worker.
    ///
    /// Long work (over a millisecond or so) should call [`checkpoint`](super::checkpoint) now and
    /// then, and wrap what waits for the kernel in [`block_in_place`](super::block_in_place).
    #[track_caller]
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, Saturated> {
        self.submit(ClosureFuture::new(work), Location::caller())
    }

    /// Runs a future on the workers, wherever there is one free each time it is woken.
    #[track_caller]
    pub fn spawn<F>(&self, work: F) -> Result<Task<F::Output>, Saturated>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.submit(work, Location::caller())
    }

    fn submit<F>(
        &self,
        work: F,
        site: &'static Location<'static>,
    ) -> Result<Task<F::Output>, Saturated>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        context::with(|local| match local {
            Some(local) if local.is_of(&self.shared) => local.submit(&self.state, work, site),
            _ => self.submit_from_outside(work, site),
        })
    }

    fn submit_from_outside<F>(
        &self,
        work: F,
        site: &'static Location<'static>,
    ) -> Result<Task<F::Output>, Saturated>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let class = &*self.state;
        if self.shared.closed() {
            return Ok(Task::refused());
        }
        if !class.acquire(1) {
            return Err(class.refuse());
        }
        let Some(vacant) = arena::take() else {
            class.release(1);
            return Err(class.refuse());
        };
        let stamp = stats::stamp_outside(&self.shared);
        let now_ns = self.shared.now_ns();
        vacant
            .meta()
            .set(site, self.shared.owner(class), now_ns, stamp);
        let (cell, handle) = vacant.fill(work);
        stats::spawned_outside(cell, site);
        let generation = cell.generation();
        self.shared.global_queue.push(class.priority, cell);
        self.shared.wake_one();
        self.shared.stop_if_ended(cell, generation);
        Ok(Task::spawned(handle))
    }
}

impl Shared {
    pub(super) fn owner(&self, class: &ClassState) -> Owner {
        Owner {
            pool: self.id(),
            class: class.index,
            priority: class.priority,
        }
    }
}
