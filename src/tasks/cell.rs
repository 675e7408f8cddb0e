//! The memory of one task: its work, then its result, and the state that says whose they are.
//!
//! Slots are never freed, only used again (`arena.rs`), so a `&'static Slot` is valid for ever:
//! a queue, a waker or a report may name a task that is long over, and finds that out by the
//! state. This is the one file of the scheduler with `unsafe` in it; nothing outside can break
//! it, whatever order its functions are called in:
//!
//! - **[`Vacant`]** is the right to fill a slot. It can't be copied, and is made when a slot is
//!   made and when its last user lets go of it.
//! - **[`Running`]** is the right to poll the work. [`Slot::claim`] gives it to one of those who
//!   see the task scheduled, so a task that was queued twice by mistake would still run once.
//! - **[`Handle`]** is the right to the result, once the work is done.
//!
//! State, a word of flags below a generation that counts how often the slot was used:
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

use super::lock;
use super::meta::Meta;
use super::task::{TaskError, contained};
use crate::limits;

const SCHEDULED: u64 = 1;
const RUNNING: u64 = 1 << 1;
const DONE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
/// The handle has left a waker.
const WAITED: u64 = 1 << 4;
/// Nobody uses the slot.
const VACANT: u64 = 1 << 5;
const GENERATION_SHIFT: u32 = 32;
const GENERATION_ONE: u64 = 1 << GENERATION_SHIFT;
const FLAGS: u64 = GENERATION_ONE - 1;

/// Room for small work and small results; larger ones are boxed.
#[repr(C, align(16))]
struct Body(MaybeUninit<[u8; limits::TASK_INLINE_BYTES]>);

/// The memory of one task.
#[repr(align(128))]
pub(super) struct Slot {
    state: AtomicU64,
    /// Written by `fill`; read by whoever has a right to the body.
    table: UnsafeCell<&'static Table>,
    /// The work until DONE, the result after it.
    body: UnsafeCell<Body>,
    /// Who is to be told of the end.
    waiter: Mutex<Option<Waker>>,
    /// What reports say of the task.
    pub meta: Meta,
    index: u32,
}

// SAFETY: `state`, `waiter`, `meta` and `index` are Sync. `table` and `body` are touched only by
// the holder of the one right that the state gives out at a time (see above), each right passes
// on with a release and an acquire of `state`, and `fill` asks that work and result are Send.
unsafe impl Sync for Slot {}
// SAFETY: as for Sync.
unsafe impl Send for Slot {}

/// What a task is doing, as its state tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Vacant,
    Runnable,
    Running,
    Waiting,
    Done,
}

/// The functions for the type of work that a slot holds.
struct Table {
    /// Polls the work; when that is over, puts the result in its place.
    poll: unsafe fn(*mut Body, &mut Context<'_>) -> Poll<()>,
    /// Drops the work and puts "stopped" in its place.
    stop: unsafe fn(*mut Body),
    drop_result: unsafe fn(*mut Body),
}

/// The right to fill a slot.
pub(super) struct Vacant(&'static Slot);

/// The right to poll a task's work.
pub(super) struct Running(&'static Slot);

/// What became of a poll.
pub(super) enum Polled {
    /// The task is over; with the slot if its handle is gone as well.
    Done(Option<Vacant>),
    /// It waits to be woken.
    Waiting,
    /// It was woken meanwhile and must be queued again.
    Again(&'static Slot),
}

/// The right to a task's result.
pub(super) struct Handle<T> {
    /// `None` once the right was used.
    slot: Option<&'static Slot>,
    result: PhantomData<fn() -> T>,
}

impl Slot {
    /// A new slot and the right to fill it.
    pub fn new(index: u32) -> Self {
        Self {
            state: AtomicU64::new(VACANT),
            table: UnsafeCell::new(&NOTHING),
            body: UnsafeCell::new(Body(MaybeUninit::uninit())),
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
    pub fn claim(&'static self) -> Option<Running> {
        self.take_if(|state| state & (SCHEDULED | RUNNING | DONE | VACANT) == SCHEDULED)
    }

    /// The right to run, or rather stop, a task of this generation that waits or is scheduled.
    pub fn claim_unfinished(&'static self, generation: u32) -> Option<Running> {
        self.take_if(|state| {
            (state >> GENERATION_SHIFT) as u32 == generation
                && state & (RUNNING | DONE | VACANT) == 0
        })
    }

    fn take_if(&'static self, may: impl Fn(u64) -> bool) -> Option<Running> {
        let mut state = self.state.load(Ordering::Relaxed);
        while may(state) {
            let claimed = (state & !SCHEDULED) | RUNNING;
            match self.state.compare_exchange_weak(
                state,
                claimed,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Running(self)),
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

    /// Ends the use of the slot.
    ///
    /// # Safety
    ///
    /// The caller is the only user of the slot, and its body holds neither work nor result.
    unsafe fn release(&'static self) -> Vacant {
        let state = self.state.load(Ordering::Relaxed);
        if state & WAITED != 0 {
            // Whoever finished the task may still hold this lock to take the waker.
            let left = lock(&self.waiter).take();
            contained(|| drop(left));
        }
        let next = (state & !FLAGS).wrapping_add(GENERATION_ONE) | VACANT;
        self.state.store(next, Ordering::Release);
        Vacant(self)
    }

    /// Drops the result and ends the use of the slot.
    ///
    /// # Safety
    ///
    /// The caller is the only user of the slot, and its body holds the result.
    unsafe fn discard(&'static self) -> Vacant {
        // SAFETY: by the caller's word the body is ours and holds the result that `table` is for.
        let drop_result = || unsafe { ((*self.table.get()).drop_result)(self.body.get()) };
        contained(drop_result);
        // SAFETY: the caller is the only user, and the result is gone.
        unsafe { self.release() }
    }
}

impl Vacant {
    /// The right to a slot that was just made.
    ///
    /// Panics if the slot was used before: each has one such right in its life.
    pub fn first(slot: &'static Slot) -> Self {
        let first = slot.state.compare_exchange(
            VACANT,
            VACANT | GENERATION_ONE,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        assert!(first.is_ok(), "a slot is entered once");
        Self(slot)
    }

    pub fn meta(&self) -> &'static Meta {
        &self.0.meta
    }

    /// Puts work in: the task is scheduled, and its slot is to be queued.
    pub fn fill<F>(self, work: F) -> (&'static Slot, Handle<F::Output>)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let slot = self.0;
        // SAFETY: `self` is the one right to this slot, and no flag but VACANT is set, so nobody
        // else touches table or body. The body is empty.
        unsafe {
            *slot.table.get() = const {
                &Table {
                    poll: poll::<F>,
                    stop: stop::<F>,
                    drop_result: drop_result::<F>,
                }
            };
            Held::<F>::put(slot.body.get(), work);
        }
        let generation = slot.state.load(Ordering::Relaxed) & !FLAGS;
        slot.state
            .store(generation | SCHEDULED | HANDLE, Ordering::Release);
        let handle = Handle {
            slot: Some(slot),
            result: PhantomData,
        };
        (slot, handle)
    }
}

impl Running {
    /// Polls the work once; `before_done` is called when that was the last time, before anybody
    /// can see it.
    pub fn poll(self, cx: &mut Context<'_>, before_done: impl FnOnce()) -> Polled {
        let slot = self.0;
        // SAFETY: `self` is the one right to the body while RUNNING stands, and the body holds
        // the work that `table` is for.
        let polled = unsafe { ((*slot.table.get()).poll)(slot.body.get(), cx) };
        match polled {
            Poll::Ready(()) => {
                before_done();
                Polled::Done(self.finish())
            }
            // Before, RUNNING stood and perhaps SCHEDULED; after, the latter alone.
            Poll::Pending => match slot.state.fetch_and(!RUNNING, Ordering::AcqRel) & SCHEDULED {
                0 => Polled::Waiting,
                _ => Polled::Again(slot),
            },
        }
    }

    /// Drops the work; the handle gets [`TaskError::Stopped`].
    pub fn stop(self) -> Option<Vacant> {
        let slot = self.0;
        // SAFETY: as in `poll`.
        unsafe { ((*slot.table.get()).stop)(slot.body.get()) };
        self.finish()
    }

    /// The body holds the result: passes it to the handle.
    fn finish(self) -> Option<Vacant> {
        let slot = self.0;
        let mut state = slot.state.load(Ordering::Relaxed);
        while state & WAITED == 0 {
            let done = (state & !RUNNING) | DONE;
            match slot
                .state
                .compare_exchange_weak(state, done, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if state & HANDLE != 0 => return None,
                // SAFETY: DONE without a handle: nobody but us, and the result is in the body.
                Ok(_) => return Some(unsafe { slot.discard() }),
                Err(now) => state = now,
            }
        }
        // The handle may release the slot as soon as it sees DONE, and then wants this lock.
        let mut waiter = lock(&slot.waiter);
        let waker = waiter.take();
        let before = slot.state.fetch_xor(RUNNING | DONE, Ordering::AcqRel);
        drop(waiter);
        contained(|| waker.into_iter().for_each(Waker::wake));
        // SAFETY: as above.
        (before & HANDLE == 0).then(|| unsafe { slot.discard() })
    }
}

impl<T> Handle<T> {
    /// The slot, while the right to its result is not used up.
    pub fn slot(&self) -> Option<&'static Slot> {
        self.slot
    }

    /// Takes the result, if the task is over, and the slot, which nobody uses any more.
    pub fn take(&mut self) -> Option<(Result<T, TaskError>, Vacant)> {
        let slot = self.slot?;
        if slot.state.load(Ordering::Acquire) & DONE == 0 {
            return None;
        }
        self.slot = None;
        // SAFETY: DONE with a handle, which we are: the body is ours and holds the result. It was
        // filled by work whose output is T, since `fill` made this handle. Then it is empty.
        unsafe {
            let result = Held::<Result<T, TaskError>>::take(slot.body.get());
            Some((result, slot.release()))
        }
    }

    /// Leaves a waker for the end of the task; false if it is over already.
    pub fn wait(&self, waker: &Waker) -> bool {
        let Some(slot) = self.slot else {
            return false;
        };
        let old = {
            let mut waiter = lock(&slot.waiter);
            match &*waiter {
                Some(known) if known.will_wake(waker) => None,
                _ => waiter.replace(waker.clone()),
            }
        };
        drop(old);
        slot.state.fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
    }

    /// Gives the right up; with the slot if the task is over.
    pub fn let_go(&mut self) -> Option<Vacant> {
        let slot = self.slot.take()?;
        let before = slot.state.fetch_and(!HANDLE, Ordering::AcqRel);
        // SAFETY: DONE, and the handle, which we were, is gone: nobody else uses the slot, and
        // nobody has taken the result.
        (before & DONE != 0).then(|| unsafe { slot.discard() })
    }
}

/// A value of type `V` in a body: in place if it fits, else boxed.
struct Held<V>(PhantomData<V>);

impl<V> Held<V> {
    const FITS: bool = size_of::<V>() <= size_of::<Body>() && align_of::<V>() <= align_of::<Body>();

    /// # Safety
    ///
    /// `body` is valid for writes and nobody else's; what it held is not dropped.
    unsafe fn put(body: *mut Body, value: V) {
        // SAFETY: a body has room for a V that fits, and for a pointer.
        unsafe {
            if Self::FITS {
                body.cast::<V>().write(value);
            } else {
                body.cast::<*mut V>().write(Box::into_raw(Box::new(value)));
            }
        }
    }

    /// Where the value is, which stays the same until it is taken or dropped.
    ///
    /// # Safety
    ///
    /// `body` is nobody else's and holds a `V` that was `put`.
    unsafe fn at(body: *mut Body) -> *mut V {
        if Self::FITS {
            body.cast()
        } else {
            // SAFETY: a V that does not fit was put in as a pointer.
            unsafe { body.cast::<*mut V>().read() }
        }
    }

    /// # Safety
    ///
    /// As for `at`; afterwards the body is empty.
    unsafe fn take(body: *mut Body) -> V {
        // SAFETY: the value is there, and whoever calls treats it as gone from there.
        unsafe {
            let value = Self::at(body);
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
    unsafe fn drop(body: *mut Body) {
        // SAFETY: the value is there, and whoever calls treats it as gone from there.
        unsafe {
            let value = Self::at(body);
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
/// The body is the caller's and holds an `F`; after `Ready`, a `Result<F::Output, TaskError>`.
unsafe fn poll<F: Future>(body: *mut Body, cx: &mut Context<'_>) -> Poll<()> {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the body holds an F. It stays where it is until it is dropped there: slots are
        // never moved or freed, nor is a box.
        let work = unsafe { Pin::new_unchecked(&mut *Held::<F>::at(body)) };
        work.poll(cx)
    }));
    let mut result = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(value)) => Ok(value),
        Err(panic) => Err(TaskError::panicked(panic)),
    };
    // SAFETY: the body holds an F, which is not used again.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { Held::<F>::drop(body) })) {
        let replaced = std::mem::replace(&mut result, Err(TaskError::panicked(panic)));
        contained(|| drop(replaced));
    }
    // SAFETY: the body is empty now.
    unsafe { Held::<Result<F::Output, TaskError>>::put(body, result) };
    Poll::Ready(())
}

/// # Safety
///
/// The body is the caller's and holds an `F`; afterwards, a `Result<F::Output, TaskError>`.
unsafe fn stop<F: Future>(body: *mut Body) {
    // SAFETY: the body holds an F, which is not used again.
    contained(|| unsafe { Held::<F>::drop(body) });
    // SAFETY: the body is empty now.
    unsafe { Held::<Result<F::Output, TaskError>>::put(body, Err(TaskError::Stopped)) };
}

/// # Safety
///
/// The body is the caller's and holds a `Result<F::Output, TaskError>`; afterwards it is empty.
unsafe fn drop_result<F: Future>(body: *mut Body) {
    // SAFETY: as the caller says.
    unsafe { Held::<Result<F::Output, TaskError>>::drop(body) };
}

/// The table of a slot that was never filled.
static NOTHING: Table = Table {
    poll: |_, _| Poll::Ready(()),
    stop: |_| {},
    drop_result: |_| {},
};
