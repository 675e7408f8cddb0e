//! The memory of one task: its work, later its result, and the state that decides which thread may
//! access them.
//!
//! Cells are never freed, only reused (`arena.rs`), so a `&'static TaskCell` is always valid: a
//! queue, a waker or a report may name a task that ended long ago, and detects that by the
//! generation in the state. In the scheduler only this file and `join.rs` contain `unsafe`; three
//! types make it sound in whatever order their methods are called:
//!
//! - **[`VacantCell`]** is the right to fill a cell. It can't be copied; one is created with the
//!   cell, and another whenever the last user of the cell releases it.
//! - **[`RunningTask`]** is the right to poll the work. [`TaskCell::claim`] gives it to one of the
//!   threads that see the task scheduled, so a task that was queued twice still runs once.
//! - **[`ResultHandle`]** is the right to the result, once the work is done.
//!
//! The state is a word of flags below a generation that counts the uses of the cell:
//!
//! ```text
//!            fill              claim             done
//!  vacant ----------> SCHEDULED -----> RUNNING ----------> DONE ----> vacant
//!                         ^              |   pending        released by the last user: the
//!                         +---- wake ----+ (idle: no flag)  worker if HANDLE is gone, else
//!                                                           the handle
//! ```
//!
//! A wake-up of a running task sets SCHEDULED beside RUNNING, and the worker queues the task again
//! after the poll. HANDLE stays set until the handle is dropped or has taken the result. The models
//! in `models.rs` run this code.

use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::meta::Meta;
use super::task::{TaskError, contained};
use super::task_id::TaskId;
use crate::limits;
use crate::sys::sync::atomic::{AtomicU64, Ordering};
use crate::sys::sync::{Mutex, UnsafeCell, lock};

const SCHEDULED: u64 = 1;
const RUNNING: u64 = 1 << 1;
const DONE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
/// The handle has stored a waker.
const WAITED: u64 = 1 << 4;
/// The cell has no user.
const VACANT: u64 = 1 << 5;
const GENERATION_SHIFT: u32 = 32;
const GENERATION_ONE: u64 = 1 << GENERATION_SHIFT;
const FLAGS: u64 = GENERATION_ONE - 1;

/// Space for small work and small results; larger ones are boxed.
#[repr(C, align(16))]
struct Storage(MaybeUninit<[u8; limits::TASK_INLINE_BYTES]>);

/// The memory of one task.
#[repr(align(128))]
pub(super) struct TaskCell {
    state: AtomicU64,
    /// Written by `fill`; read by the holder of a right to the storage.
    vtable: UnsafeCell<&'static VTable>,
    /// The work until DONE, the result after it.
    storage: UnsafeCell<Storage>,
    /// The waker for the end of the task.
    waiter: Mutex<Option<Waker>>,
    /// Facts about the task, for reports.
    pub meta: Meta,
}

#[cfg(not(all(test, headwater_loom)))]
const _: () = assert!(size_of::<TaskCell>() == 128, "docs/tasks.md states it");

// SAFETY: `state`, `waiter` and `meta` are Sync. `vtable` and `storage` are touched only by the
// holder of the one right that the state gives out at a time (see above), each right passes from
// thread to thread by a release and an acquire of `state`, and `fill` requires work and result to
// be Send.
unsafe impl Sync for TaskCell {}
// SAFETY: as for Sync.
unsafe impl Send for TaskCell {}

/// What a task is doing, by its state.
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
    /// Polls the work; when it is done, replaces it by the result.
    poll: unsafe fn(*mut Storage, &mut Context<'_>) -> Poll<()>,
    /// Drops the work and puts [`TaskError::Stopped`] in its place.
    stop: unsafe fn(*mut Storage),
    drop_result: unsafe fn(*mut Storage),
}

/// The right to fill a cell.
pub(super) struct VacantCell(&'static TaskCell);

/// The right to poll a task's work.
pub(super) struct RunningTask(&'static TaskCell);

/// The outcome of a poll.
pub(super) enum Polled {
    /// The task is done; with the cell if its handle was dropped too.
    Done(Option<VacantCell>),
    /// The task waits to be woken.
    Waiting,
    /// The task was woken during the poll and must be queued again.
    Again,
}

/// The right to a task's result.
pub(super) struct ResultHandle<T> {
    /// `None` once the right has been used.
    cell: Option<&'static TaskCell>,
    result: PhantomData<fn() -> T>,
}

impl TaskCell {
    /// A vacant cell, with this index in the arena.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            state: AtomicU64::new(VACANT),
            vtable: UnsafeCell::new(&EMPTY_VTABLE),
            storage: UnsafeCell::new(Storage(MaybeUninit::uninit())),
            waiter: Mutex::new(None),
            meta: Meta::new(index),
        }
    }

    /// The id of the task that lives here now.
    pub(crate) fn id(&self) -> TaskId {
        let generation = self.state.load(Ordering::Acquire) >> GENERATION_SHIFT;
        TaskId::new(self.meta.index, generation as u32)
    }

    /// The id and what the task was doing when this was read.
    pub(crate) fn stage(&self) -> (TaskId, Stage) {
        let state = self.state.load(Ordering::Acquire);
        let stage = match state {
            _ if state & VACANT != 0 => Stage::Vacant,
            _ if state & DONE != 0 => Stage::Done,
            _ if state & RUNNING != 0 => Stage::Running,
            _ if state & SCHEDULED != 0 => Stage::Runnable,
            _ => Stage::Waiting,
        };
        let generation = (state >> GENERATION_SHIFT) as u32;
        (TaskId::new(self.meta.index, generation), stage)
    }

    /// The right to run the scheduled task of this generation; `None` if it is not scheduled, runs
    /// already, or is over.
    pub(crate) fn claim(&'static self, generation: u32) -> Option<RunningTask> {
        self.claim_if(generation, SCHEDULED | RUNNING | DONE | VACANT, SCHEDULED)
    }

    /// The right to stop the task of this generation, which waits or is scheduled.
    pub(crate) fn claim_unfinished(&'static self, generation: u32) -> Option<RunningTask> {
        self.claim_if(generation, RUNNING | DONE | VACANT, 0)
    }

    fn claim_if(&'static self, generation: u32, mask: u64, flags: u64) -> Option<RunningTask> {
        let mut state = self.state.load(Ordering::Relaxed);
        while (state >> GENERATION_SHIFT) as u32 == generation && state & mask == flags {
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

    /// Wakes the task of this generation. True if the caller must queue it: it is not queued yet,
    /// nor will the worker that runs it queue it.
    pub(crate) fn wake(&self, generation: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if (state >> GENERATION_SHIFT) as u32 != generation || state & (DONE | VACANT) != 0 {
                return false;
            }
            // Exchanged even when no flag changes, so that the poll that follows sees what
            // happened before the wake-up.
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

    fn vtable(&self) -> &'static VTable {
        // SAFETY: the callers hold a right to the storage, so `fill` has written the pointer and
        // does not write it again before they give the right up.
        self.vtable.with(|vtable| unsafe { *vtable })
    }

    /// Ends the use of the cell.
    ///
    /// # Safety
    ///
    /// The caller is the only user of the cell, and its storage holds neither work nor result.
    unsafe fn release(&'static self) -> VacantCell {
        let state = self.state.load(Ordering::Relaxed);
        if state & WAITED != 0 {
            // The worker that finished the task may still hold this lock to take the waker.
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
        let drop_result = self.vtable().drop_result;
        let discard = || {
            self.storage.with_mut(|storage| {
                // SAFETY: the storage is the caller's and holds the result that the vtable is for.
                unsafe { drop_result(storage) }
            })
        };
        contained(discard);
        // SAFETY: the caller is the only user, and the result is gone.
        unsafe { self.release() }
    }
}

impl VacantCell {
    /// The right to a cell that was just made.
    ///
    /// # Panics
    ///
    /// If the cell was used before: each has one such right in its life.
    pub(crate) fn first(cell: &'static TaskCell) -> Self {
        let first = cell.state.compare_exchange(
            VACANT,
            VACANT | GENERATION_ONE,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        assert!(first.is_ok(), "each cell has one first right");
        Self(cell)
    }

    pub(crate) fn meta(&self) -> &'static Meta {
        &self.0.meta
    }

    /// Puts work in. The task is scheduled then, and the caller queues it.
    pub(crate) fn fill<F>(self, work: F) -> (TaskId, ResultHandle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cell = self.0;
        let vtable = const {
            &VTable {
                poll: poll::<F>,
                stop: stop::<F>,
                drop_result: drop_result::<F>,
            }
        };
        // SAFETY: `self` is the one right to this cell, and no flag but VACANT is set, so nothing
        // else touches vtable or storage.
        cell.vtable.with_mut(|to| unsafe { *to = vtable });
        // SAFETY: as above; the storage is empty.
        cell.storage
            .with_mut(|storage| unsafe { Stored::<F>::put(storage, work) });
        let generation = cell.state.load(Ordering::Relaxed) & !FLAGS;
        cell.state
            .store(generation | SCHEDULED | HANDLE, Ordering::Release);
        let id = TaskId::new(cell.meta.index, (generation >> GENERATION_SHIFT) as u32);
        let handle = ResultHandle {
            cell: Some(cell),
            result: PhantomData,
        };
        (id, handle)
    }
}

impl RunningTask {
    /// Polls the work once. If that ends the task, calls `before_done` before others can see it.
    pub(crate) fn poll(self, cx: &mut Context<'_>, before_done: impl FnOnce()) -> Polled {
        let cell = self.0;
        let poll = cell.vtable().poll;
        // SAFETY: `self` is the one right to the storage while RUNNING is set, and the storage
        // holds the work that the vtable is for.
        let polled = cell
            .storage
            .with_mut(|storage| unsafe { poll(storage, cx) });
        match polled {
            Poll::Ready(()) => {
                before_done();
                Polled::Done(self.finish())
            }
            // RUNNING was set, and SCHEDULED if the task was woken meanwhile; SCHEDULED alone
            // remains.
            Poll::Pending => match cell.state.fetch_and(!RUNNING, Ordering::AcqRel) & SCHEDULED {
                0 => Polled::Waiting,
                _ => Polled::Again,
            },
        }
    }

    /// Drops the work; the handle gets [`TaskError::Stopped`].
    pub(crate) fn stop(self) -> Option<VacantCell> {
        let stop = self.0.vtable().stop;
        // SAFETY: as in `poll`.
        self.0.storage.with_mut(|storage| unsafe { stop(storage) });
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
                // SAFETY: DONE without a handle: we are the only user, and the result is there.
                Ok(_) => return Some(unsafe { cell.discard() }),
                Err(now) => state = now,
            }
        }
        // The handle may release the cell as soon as it sees DONE, and takes this lock to do so.
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
    /// The cell, until the right to its result was used.
    pub(crate) fn cell(&self) -> Option<&'static TaskCell> {
        self.cell
    }

    /// Takes the result, if the task is done, and the cell, which has no other user then.
    pub(crate) fn take(&mut self) -> Option<(Result<T, TaskError>, VacantCell)> {
        let cell = self.cell?;
        if cell.state.load(Ordering::Acquire) & DONE == 0 {
            return None;
        }
        self.cell = None;
        // SAFETY: DONE with a handle, which we are: the storage is ours and holds the result. The
        // work's output is T, since `fill` made this handle.
        let result = cell
            .storage
            .with_mut(|storage| unsafe { Stored::<Result<T, TaskError>>::take(storage) });
        // SAFETY: we are the only user, and the storage is empty now.
        Some((result, unsafe { cell.release() }))
    }

    /// Stores a waker for the end of the task; false if the task is done already.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
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

    /// Gives the right up; with the cell if the task is done.
    pub(crate) fn detach(&mut self) -> Option<VacantCell> {
        let cell = self.cell.take()?;
        let before = cell.state.fetch_and(!HANDLE, Ordering::AcqRel);
        // SAFETY: DONE, and the handle, which we were, is gone: the cell has no other user, and
        // the result was not taken.
        (before & DONE != 0).then(|| unsafe { cell.discard() })
    }
}

/// A value of type `V` in a cell's storage: in place if it fits, else boxed.
struct Stored<V>(PhantomData<V>);

impl<V> Stored<V> {
    const FITS: bool =
        size_of::<V>() <= size_of::<Storage>() && align_of::<V>() <= align_of::<Storage>();

    /// # Safety
    ///
    /// `storage` is valid for writes and the caller's alone; what it held is not dropped.
    unsafe fn put(storage: *mut Storage, value: V) {
        // SAFETY: there is room for a V that fits, and for a pointer.
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
    /// `storage` is the caller's alone and holds a `V` that was `put`.
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
        // SAFETY: the storage holds the value, and the caller treats it as empty from here on.
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
        // SAFETY: the storage holds the value, and the caller treats it as empty from here on.
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
