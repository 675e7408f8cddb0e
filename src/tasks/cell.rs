//! The memory of one task: its work, then its result, and the state that says whose they are.
//!
//! Slots are never freed, only used again (`arena.rs`), so a `&'static TaskCell` is valid for ever:
//! a queue, a waker or a report may name a task that is long over, and finds that out by the
//! state. This is the one file of the scheduler with `unsafe` in it; nothing outside can break
//! it, whatever order its functions are called in:
//!
//! - **[`VacantCell`]** is the right to fill a cell. It can't be copied, and is made when a cell is
//!   made and when its last user lets go of it.
//! - **[`RunningTask`]** is the right to poll the work. [`TaskCell::claim`] gives it to one of those who
//!   see the task scheduled, so a task that was queued twice by mistake would still run once.
//! - **[`ResultHandle`]** is the right to the result, once the work is done.
//!
//! State, a word of flags below a generation that counts how often the cell was used:
//!
//! ```text
//!            fill              claim             done
//!  vacant ----------> SCHEDULED -----> RUNNING ----------> DONE ----> vacant
//!                         ^              |   pending        release, by whoever is last:
//!                         +---- wake ----+ (idle: no flag)  the worker if HANDLE is gone,
//!                                                           else the handle
//! ```
//!
//! A wake-up of a running task sets SCHEDULED beside RUNNING: it is queued again when its poll
//! is over. HANDLE stands from the start until the handle is dropped or has taken the result.

use std::cell::UnsafeCell;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::meta::Meta;
use super::task::{TaskError, contained};
use crate::limits;
use crate::sys::sync::lock;

const SCHEDULED: u64 = 1;
const RUNNING: u64 = 1 << 1;
const DONE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
/// The handle has left a waker.
const WAITED: u64 = 1 << 4;
/// Nobody uses the cell.
const VACANT: u64 = 1 << 5;
const GENERATION_SHIFT: u32 = 32;
const GENERATION_ONE: u64 = 1 << GENERATION_SHIFT;
const FLAGS: u64 = GENERATION_ONE - 1;

/// Room for small work and small results; larger ones are boxed.
#[repr(C, align(16))]
struct Storage(MaybeUninit<[u8; limits::TASK_INLINE_BYTES]>);

/// The memory of one task.
#[repr(align(128))]
pub(super) struct TaskCell {
    state: AtomicU64,
    /// Written by `fill`; read by whoever has a right to the storage.
    vtable: UnsafeCell<&'static VTable>,
    /// The work until DONE, the result after it.
    storage: UnsafeCell<Storage>,
    /// Who is to be told of the end.
    waiter: Mutex<Option<Waker>>,
    /// What reports say of the task.
    pub meta: Meta,
    index: u32,
}

// SAFETY: `state`, `waiter`, `meta` and `index` are Sync. `vtable` and `storage` are touched only by
// the holder of the one right that the state gives out at a time (see above), each right passes
// on with a release and an acquire of `state`, and `fill` asks that work and result are Send.
unsafe impl Sync for TaskCell {}
// SAFETY: as for Sync.
unsafe impl Send for TaskCell {}

/// What a task is doing, as its state tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Vacant,
    Runnable,
    Running,
    Waiting,
    Done,
}

/// The functions for the type of work that a cell holds.
struct VTable {
    /// Polls the work; when that is over, puts the result in its place.
    poll: unsafe fn(*mut Storage, &mut Context<'_>) -> Poll<()>,
    /// Drops the work and puts "stopped" in its place.
    stop: unsafe fn(*mut Storage),
    drop_result: unsafe fn(*mut Storage),
}

/// The right to fill a cell.
pub(super) struct VacantCell(&'static TaskCell);

/// The right to poll a task's work.
pub(super) struct RunningTask(&'static TaskCell);

/// What became of a poll.
pub(super) enum Polled {
    /// The task is over; with the cell if its handle is gone as well.
    Done(Option<VacantCell>),
    /// It waits to be woken.
    Waiting,
    /// It was woken meanwhile and must be queued again.
    Again(&'static TaskCell),
}

/// The right to a task's result.
pub(super) struct ResultHandle<T> {
    /// `None` once the right was used.
    cell: Option<&'static TaskCell>,
    result: PhantomData<fn() -> T>,
}

impl TaskCell {
    /// A new cell and the right to fill it.
    pub fn new(index: u32) -> Self {
        Self {
            state: AtomicU64::new(VACANT),
            vtable: UnsafeCell::new(&EMPTY_VTABLE),
            storage: UnsafeCell::new(Storage(MaybeUninit::uninit())),
            waiter: Mutex::new(None),
            meta: Meta::empty(),
            index,
        }
    }

    pub fn index(&self) -> u32 {
        self.index
    }

    pub fn generation(&self) -> u32 {
        (self.state.load(Ordering::Acquire) >> GENERATION_SHIFT) as u32
    }

    /// The generation and what the task was doing when this was read.
    pub fn stage(&self) -> (u32, Stage) {
        let state = self.state.load(Ordering::Acquire);
        let stage = match state {
            _ if state & VACANT != 0 => Stage::Vacant,
            _ if state & DONE != 0 => Stage::Done,
            _ if state & RUNNING != 0 => Stage::Running,
            _ if state & SCHEDULED != 0 => Stage::Runnable,
            _ => Stage::Waiting,
        };
        ((state >> GENERATION_SHIFT) as u32, stage)
    }

    /// The right to run a scheduled task; `None` if it is not scheduled or runs already.
    pub fn claim(&'static self) -> Option<RunningTask> {
        self.take_if(|state| state & (SCHEDULED | RUNNING | DONE | VACANT) == SCHEDULED)
    }

    /// The right to run, or rather stop, a task of this generation that waits or is scheduled.
    pub fn claim_unfinished(&'static self, generation: u32) -> Option<RunningTask> {
        self.take_if(|state| {
            (state >> GENERATION_SHIFT) as u32 == generation
                && state & (RUNNING | DONE | VACANT) == 0
        })
    }

    fn take_if(&'static self, may: impl Fn(u64) -> bool) -> Option<RunningTask> {
        let mut state = self.state.load(Ordering::Relaxed);
        while may(state) {
            let claimed = (state & !SCHEDULED) | RUNNING;
            match self.state.compare_exchange_weak(
                state,
                claimed,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(RunningTask(self)),
                Err(now) => state = now,
            }
        }
        None
    }

    /// Wakes the task of this generation. True if it must be queued now: it is not queued yet,
    /// nor about to be by the worker that runs it.
    pub fn wake(&self, generation: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if (state >> GENERATION_SHIFT) as u32 != generation || state & (DONE | VACANT) != 0 {
                return false;
            }
            // Exchanged even when nothing changes, so that what came before the wake-up is seen
            // by the poll that it asks for.
            match self.state.compare_exchange_weak(
                state,
                state | SCHEDULED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return state & (RUNNING | SCHEDULED) == 0,
                Err(now) => state = now,
            }
        }
    }

    /// Ends the use of the cell.
    ///
    /// # Safety
    ///
    /// The caller is the only user of the cell, and its storage holds neither work nor result.
    unsafe fn release(&'static self) -> VacantCell {
        let state = self.state.load(Ordering::Relaxed);
        if state & WAITED != 0 {
            // Whoever finished the task may still hold this lock to take the waker.
            let left = lock(&self.waiter).take();
            contained(|| drop(left));
        }
        let next = (state & !FLAGS).wrapping_add(GENERATION_ONE) | VACANT;
        self.state.store(next, Ordering::Release);
        VacantCell(self)
    }

    /// Drops the result and ends the use of the cell.
    ///
    /// # Safety
    ///
    /// The caller is the only user of the cell, and its storage holds the result.
    unsafe fn discard(&'static self) -> VacantCell {
        // SAFETY: by the caller's word the storage is ours and holds the result that `vtable` is for.
        let drop_result = || unsafe { ((*self.vtable.get()).drop_result)(self.storage.get()) };
        contained(drop_result);
        // SAFETY: the caller is the only user, and the result is gone.
        unsafe { self.release() }
    }
}

impl VacantCell {
    /// The right to a cell that was just made.
    ///
    /// Panics if the cell was used before: each has one such right in its life.
    pub fn first(cell: &'static TaskCell) -> Self {
        let first = cell.state.compare_exchange(
            VACANT,
            VACANT | GENERATION_ONE,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        assert!(first.is_ok(), "a cell is entered once");
        Self(cell)
    }

    pub fn meta(&self) -> &'static Meta {
        &self.0.meta
    }

    /// Puts work in: the task is scheduled, and its cell is to be queued.
    pub fn fill<F>(self, work: F) -> (&'static TaskCell, ResultHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cell = self.0;
        // SAFETY: `self` is the one right to this cell, and no flag but VACANT is set, so nobody
        // else touches vtable or storage. The storage is empty.
        unsafe {
            *cell.vtable.get() = const {
                &VTable {
                    poll: poll::<F>,
                    stop: stop::<F>,
                    drop_result: drop_result::<F>,
                }
            };
            Stored::<F>::put(cell.storage.get(), work);
        }
        let generation = cell.state.load(Ordering::Relaxed) & !FLAGS;
        cell.state
            .store(generation | SCHEDULED | HANDLE, Ordering::Release);
        let handle = ResultHandle {
            cell: Some(cell),
            result: PhantomData,
        };
        (cell, handle)
    }
}

impl RunningTask {
    /// Polls the work once; `before_done` is called when that was the last time, before anybody
    /// can see it.
    pub fn poll(self, cx: &mut Context<'_>, before_done: impl FnOnce()) -> Polled {
        let cell = self.0;
        // SAFETY: `self` is the one right to the storage while RUNNING stands, and the storage holds
        // the work that `vtable` is for.
        let polled = unsafe { ((*cell.vtable.get()).poll)(cell.storage.get(), cx) };
        match polled {
            Poll::Ready(()) => {
                before_done();
                Polled::Done(self.finish())
            }
            // Before, RUNNING stood and perhaps SCHEDULED; after, the latter alone.
            Poll::Pending => match cell.state.fetch_and(!RUNNING, Ordering::AcqRel) & SCHEDULED {
                0 => Polled::Waiting,
                _ => Polled::Again(cell),
            },
        }
    }

    /// Drops the work; the handle gets [`TaskError::Stopped`].
    pub fn stop(self) -> Option<VacantCell> {
        let cell = self.0;
        // SAFETY: as in `poll`.
        unsafe { ((*cell.vtable.get()).stop)(cell.storage.get()) };
        self.finish()
    }

    /// The storage holds the result: passes it to the handle.
    fn finish(self) -> Option<VacantCell> {
        let cell = self.0;
        let mut state = cell.state.load(Ordering::Relaxed);
        while state & WAITED == 0 {
            let done = (state & !RUNNING) | DONE;
            match cell
                .state
                .compare_exchange_weak(state, done, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if state & HANDLE != 0 => return None,
                // SAFETY: DONE without a handle: nobody but us, and the result is in the storage.
                Ok(_) => return Some(unsafe { cell.discard() }),
                Err(now) => state = now,
            }
        }
        // The handle may release the cell as soon as it sees DONE, and then wants this lock.
        let mut waiter = lock(&cell.waiter);
        let waker = waiter.take();
        let before = cell.state.fetch_xor(RUNNING | DONE, Ordering::AcqRel);
        drop(waiter);
        contained(|| waker.into_iter().for_each(Waker::wake));
        // SAFETY: as above.
        (before & HANDLE == 0).then(|| unsafe { cell.discard() })
    }
}

impl<T> ResultHandle<T> {
    /// The cell, while the right to its result is not used up.
    pub fn cell(&self) -> Option<&'static TaskCell> {
        self.cell
    }

    /// Takes the result, if the task is over, and the cell, which nobody uses any more.
    pub fn take(&mut self) -> Option<(Result<T, TaskError>, VacantCell)> {
        let cell = self.cell?;
        if cell.state.load(Ordering::Acquire) & DONE == 0 {
            return None;
        }
        self.cell = None;
        // SAFETY: DONE with a handle, which we are: the storage is ours and holds the result. It was
        // filled by work whose output is T, since `fill` made this handle. Then it is empty.
        unsafe {
            let result = Stored::<Result<T, TaskError>>::take(cell.storage.get());
            Some((result, cell.release()))
        }
    }

    /// Leaves a waker for the end of the task; false if it is over already.
    pub fn wait(&self, waker: &Waker) -> bool {
        let Some(cell) = self.cell else {
            return false;
        };
        let old = {
            let mut waiter = lock(&cell.waiter);
            match &*waiter {
                Some(known) if known.will_wake(waker) => None,
                _ => waiter.replace(waker.clone()),
            }
        };
        drop(old);
        cell.state.fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
    }

    /// Gives the right up; with the cell if the task is over.
    pub fn detach(&mut self) -> Option<VacantCell> {
        let cell = self.cell.take()?;
        let before = cell.state.fetch_and(!HANDLE, Ordering::AcqRel);
        // SAFETY: DONE, and the handle, which we were, is gone: nobody else uses the cell, and
        // nobody has taken the result.
        (before & DONE != 0).then(|| unsafe { cell.discard() })
    }
}

/// A value of type `V` in a storage: in place if it fits, else boxed.
struct Stored<V>(PhantomData<V>);

impl<V> Stored<V> {
    const FITS: bool =
        size_of::<V>() <= size_of::<Storage>() && align_of::<V>() <= align_of::<Storage>();

    /// # Safety
    ///
    /// `storage` is valid for writes and nobody else's; what it held is not dropped.
    unsafe fn put(storage: *mut Storage, value: V) {
        // SAFETY: a storage has room for a V that fits, and for a pointer.
        unsafe {
            if Self::FITS {
                storage.cast::<V>().write(value);
            } else {
                storage
                    .cast::<*mut V>()
                    .write(Box::into_raw(Box::new(value)));
            }
        }
    }

    /// Where the value is, which stays the same until it is taken or dropped.
    ///
    /// # Safety
    ///
    /// `storage` is nobody else's and holds a `V` that was `put`.
    unsafe fn at(storage: *mut Storage) -> *mut V {
        if Self::FITS {
            storage.cast()
        } else {
            // SAFETY: a V that does not fit was put in as a pointer.
            unsafe { storage.cast::<*mut V>().read() }
        }
    }

    /// # Safety
    ///
    /// As for `at`; afterwards the storage is empty.
    unsafe fn take(storage: *mut Storage) -> V {
        // SAFETY: the value is there, and whoever calls treats it as gone from there.
        unsafe {
            let value = Self::at(storage);
            if Self::FITS {
                value.read()
            } else {
                *Box::from_raw(value)
            }
        }
    }

    /// # Safety
    ///
    /// As for `take`. The value is dropped where it is, as a pinned one must be.
    unsafe fn drop(storage: *mut Storage) {
        // SAFETY: the value is there, and whoever calls treats it as gone from there.
        unsafe {
            let value = Self::at(storage);
            if Self::FITS {
                value.drop_in_place();
            } else {
                drop(Box::from_raw(value));
            }
        }
    }
}

/// # Safety
///
/// The storage is the caller's and holds an `F`; after `Ready`, a `Result<F::Output, TaskError>`.
unsafe fn poll<F: Future>(storage: *mut Storage, cx: &mut Context<'_>) -> Poll<()> {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the storage holds an F. It stays where it is until it is dropped there: cells are
        // never moved or freed, nor is a box.
        let work = unsafe { Pin::new_unchecked(&mut *Stored::<F>::at(storage)) };
        work.poll(cx)
    }));
    let mut result = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(value)) => Ok(value),
        Err(panic) => Err(TaskError::panicked(panic)),
    };
    // SAFETY: the storage holds an F, which is not used again.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { Stored::<F>::drop(storage) })) {
        let replaced = std::mem::replace(&mut result, Err(TaskError::panicked(panic)));
        contained(|| drop(replaced));
    }
    // SAFETY: the storage is empty now.
    unsafe { Stored::<Result<F::Output, TaskError>>::put(storage, result) };
    Poll::Ready(())
}

/// # Safety
///
/// The storage is the caller's and holds an `F`; afterwards, a `Result<F::Output, TaskError>`.
unsafe fn stop<F: Future>(storage: *mut Storage) {
    // SAFETY: the storage holds an F, which is not used again.
    contained(|| unsafe { Stored::<F>::drop(storage) });
    // SAFETY: the storage is empty now.
    unsafe { Stored::<Result<F::Output, TaskError>>::put(storage, Err(TaskError::Stopped)) };
}

/// # Safety
///
/// The storage is the caller's and holds a `Result<F::Output, TaskError>`; afterwards it is empty.
unsafe fn drop_result<F: Future>(storage: *mut Storage) {
    // SAFETY: as the caller says.
    unsafe { Stored::<Result<F::Output, TaskError>>::drop(storage) };
}

/// The vtable of a cell that was never filled.
static EMPTY_VTABLE: VTable = VTable {
    poll: |_, _| Poll::Ready(()),
    stop: |_| {},
    drop_result: |_| {},
};
