//! A class of work: its name, its priority, and how many tasks of it may be unfinished.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::closure_future::ClosureFuture;
use super::meta::{Owner, SERIALS};
use super::shared::Shared;
use super::stats;
use super::{ClassOptions, Priority, Saturated, Task, arena, context};
use crate::limits::TASK_CLASSES_MAX;
use crate::sys::sync::lock;

/// A class of work, to spawn tasks of. Cheap to clone.
///
/// The pool has room for another class when the last clone of this one is dropped, its tasks are
/// over, and each worker that ran one has begun another task or parked.
#[derive(Clone)]
pub struct Class(Arc<Registration>);

/// An entry in the pool's table of classes.
struct Registration {
    shared: Arc<Shared>,
    state: Arc<ClassState>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.classes.retire(&self.state);
    }
}

/// What the pool knows of a class.
pub(super) struct ClassState {
    pub index: u8,
    pub name: String,
    pub priority: Priority,
    serial: u16,
    limit: usize,
    /// Permits that a worker reserves at a time, which saves an atomic operation for each task; 1
    /// if the limit is too low for more.
    reserve_batch: usize,
    /// Permits taken: one for each unfinished task, and those that workers have reserved.
    taken: AtomicUsize,
    refused: AtomicU64,
    /// No `Class` is left: only its own tasks can spawn more.
    retired: AtomicBool,
}

impl ClassState {
    fn new(index: u8, options: ClassOptions, workers: usize) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        // A worker keeps at most two batches.
        let reserve_batch = (options.queue_limit / (16 * workers)).clamp(1, 64);
        Self {
            index,
            name: options.name,
            priority: options.priority,
            serial: (SERIAL.fetch_add(1, Ordering::Relaxed) % SERIALS) as u16,
            limit: options.queue_limit,
            reserve_batch,
            taken: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether a task with this owner is of this class.
    pub(crate) fn owns(&self, owner: Owner) -> bool {
        self.index == owner.class && self.serial == owner.serial
    }

    /// Unfinished tasks, and permits that awake workers have reserved.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Tasks that were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes this many permits, or none.
    pub(crate) fn acquire(&self, permits: usize) -> bool {
        if self.taken.fetch_add(permits, Ordering::AcqRel) + permits <= self.limit {
            return true;
        }
        self.release(permits);
        false
    }

    pub(crate) fn release(&self, permits: usize) {
        self.taken.fetch_sub(permits, Ordering::AcqRel);
    }

    #[cold]
    pub(crate) fn refuse(&self) -> Saturated {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Saturated {
            class: self.name.clone(),
            limit: self.limit,
        }
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether the class is retired and has no tasks. That state is final, since only its own tasks
    /// could spawn more. No worker has reserved a permit either, so its index can be given to
    /// another class.
    fn is_over(&self) -> bool {
        self.is_retired() && self.taken() == 0
    }
}

/// The classes of a pool.
#[derive(Default)]
pub(super) struct ClassTable {
    /// By index.
    classes: Mutex<Vec<Option<Arc<ClassState>>>>,
    /// Counts the classes that were entered and retired: a worker's copy of the table is valid
    /// while this is unchanged.
    version: AtomicU64,
}

impl ClassTable {
    /// Enters a class; `None` if there are [`TASK_CLASSES_MAX`].
    pub(crate) fn enter(&self, options: ClassOptions, workers: usize) -> Option<Arc<ClassState>> {
        let mut classes = self.current();
        let free = classes.iter().position(Option::is_none);
        let index = free.unwrap_or(classes.len());
        if index == TASK_CLASSES_MAX {
            return None;
        }
        if index == classes.len() {
            classes.push(None);
        }
        let class = Arc::new(ClassState::new(index as u8, options, workers));
        classes[index] = Some(Arc::clone(&class));
        // A worker that runs a task of this class sees this: it happened before the spawn.
        self.version.fetch_add(1, Ordering::Release);
        Some(class)
    }

    fn retire(&self, class: &ClassState) {
        class.retired.store(true, Ordering::Release);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The class at this index.
    pub(crate) fn get(&self, index: u8) -> Option<Arc<ClassState>> {
        lock(&self.classes).get(usize::from(index))?.clone()
    }

    /// All classes, by index.
    pub(crate) fn all(&self) -> Vec<Arc<ClassState>> {
        self.current().iter().flatten().cloned().collect()
    }

    /// The table without the classes that are over.
    fn current(&self) -> MutexGuard<'_, Vec<Option<Arc<ClassState>>>> {
        let mut classes = lock(&self.classes);
        for class in classes.iter_mut() {
            class.take_if(|class| class.is_over());
        }
        classes
    }
}

/// A worker's copy of the pool's table of classes, with the permits that it has reserved, so that
/// spawning and finishing a task neither locks nor counts in shared memory.
#[derive(Default)]
pub(super) struct LocalClasses {
    version: u64,
    /// By index.
    classes: Vec<Option<LocalClass>>,
}

/// A class as one worker has it.
pub(super) struct LocalClass {
    pub class: Arc<ClassState>,
    reserved: usize,
}

impl LocalClasses {
    /// The class at this index. `None` only if no unfinished task and no [`Class`] belongs to it.
    pub(crate) fn get(&mut self, table: &ClassTable, index: u8) -> Option<&mut LocalClass> {
        let version = table.version.load(Ordering::Acquire);
        if self.version != version {
            self.version = version;
            self.refresh(table);
        }
        self.classes.get_mut(usize::from(index))?.as_mut()
    }

    /// Returns the permits of retired classes, which are over when no worker has any, and copies
    /// the table.
    #[cold]
    fn refresh(&mut self, table: &ClassTable) {
        for local in self.classes.iter_mut().flatten() {
            if local.class.is_retired() {
                local.release_all();
            }
        }
        for class in table.all() {
            let index = usize::from(class.index);
            if self.classes.len() <= index {
                self.classes.resize_with(index + 1, || None);
            }
            let known = &mut self.classes[index];
            if known
                .as_ref()
                .is_none_or(|known| !Arc::ptr_eq(&known.class, &class))
            {
                // The class that had this index before is over, so no permit of it is reserved
                // here.
                debug_assert!(known.as_ref().is_none_or(|known| known.reserved == 0));
                *known = Some(LocalClass { class, reserved: 0 });
            }
        }
    }

    /// Returns all reserved permits.
    pub(crate) fn return_reserved(&mut self) {
        for local in self.classes.iter_mut().flatten() {
            local.release_all();
        }
    }
}

impl LocalClass {
    /// Takes a permit for a new task, from the reserved ones if there are any.
    pub(crate) fn take_permit(&mut self) -> bool {
        if self.reserved == 0 {
            let batch = self.class.reserve_batch;
            if batch == 1 || !self.class.acquire(batch) {
                return self.class.acquire(1);
            }
            self.reserved = batch;
        }
        self.reserved -= 1;
        true
    }

    /// Returns the permit of a finished task of the class.
    pub(crate) fn return_permit(&mut self) {
        self.reserved += 1;
        let batch = self.class.reserve_batch;
        if batch == 1 || self.class.is_retired() {
            self.release_all();
        } else if self.reserved > 2 * batch {
            self.reserved -= batch;
            self.class.release(batch);
        }
    }

    fn release_all(&mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        if reserved > 0 {
            self.class.release(reserved);
        }
    }
}

impl Class {
    /// Enters a class into the pool; `None` if it has too many.
    pub(super) fn enter(shared: &Arc<Shared>, options: ClassOptions) -> Option<Self> {
        let workers = shared.processors.len();
        let state = shared.classes.enter(options, workers)?;
        Some(Self(Arc::new(Registration {
            shared: Arc::clone(shared),
            state,
        })))
    }

    /// The class's name.
    pub fn name(&self) -> &str {
        &self.0.state.name
    }

    /// Runs `work` on a worker.
    ///
    /// Long work (over a millisecond or so) should call [`checkpoint`](super::checkpoint) now and
    /// then, and wrap what waits for the kernel in [`block_in_place`](super::block_in_place).
    ///
    /// # Errors
    /// When the class has as many unfinished tasks as it may; nothing was spawned then.
    #[track_caller]
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Task<T>, Saturated> {
        self.submit(ClosureFuture::new(work), Location::caller())
    }

    /// Runs a future on the workers. Each time it is woken, any of them may poll it.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
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
        let Registration { shared, state } = &*self.0;
        context::with(|local| match local {
            Some(local) if local.is_of(shared) => local.submit(state.index, work, site),
            _ => shared.submit_from_outside(state, work, site),
        })
    }
}

impl Shared {
    fn submit_from_outside<F>(
        &self,
        class: &ClassState,
        work: F,
        site: &'static Location<'static>,
    ) -> Result<Task<F::Output>, Saturated>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.closed() {
            return Ok(Task::refused());
        }
        if !class.acquire(1) {
            return Err(class.refuse());
        }
        let Some(vacant) = arena::take() else {
            class.release(1);
            return Err(class.refuse());
        };
        let meta = vacant.meta();
        meta.set(
            site,
            self.owner(class),
            self.now_ns(),
            stats::stamp_outside(self),
        );
        let (id, handle) = vacant.fill(work);
        stats::spawned_outside(id, site);
        self.global_queue.push(class.priority, id);
        self.wake_one();
        self.stop_if_ended(id);
        Ok(Task::spawned(handle))
    }

    pub(super) fn owner(&self, class: &ClassState) -> Owner {
        Owner {
            pool: self.id(),
            class: class.index,
            serial: class.serial,
            priority: class.priority,
        }
    }
}
