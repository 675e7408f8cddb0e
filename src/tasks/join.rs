//! Fork-join: two closures, of which the second one may run on another worker.
//!
//! A half is only offered to thieves while the own queue is empty. As long as something can be
//! stolen here, both halves run one after the other, for the price of that look; once it was
//! stolen, the next join offers its half. So a tree of joins always offers one half, the
//! largest that there still is, and no worker pays for halves that nobody takes.
//!
//! An offered half is a task like any other, with a pointer to the caller's stack in it. The
//! caller claims it back when its own half is done, or waits until who took it is done. After
//! rayon's `join` (rayon-core/src/join/mod.rs), which offers every half.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::process;

use super::cell::TaskCell;
use super::worker::Local;
use super::{Task, TaskError, context};
use crate::limits;

/// Runs both closures and gives both results; `b` on another worker, if there is one to take it.
///
/// Meant for halves of some work, down to a microsecond or less. While it waits for a half that
/// another worker has taken, the calling thread runs other tasks of the pool, so hold no lock
/// that those want. Outside a pool, one runs after the other.
///
/// # Panics
///
/// When one of the closures panics, with its panic, once both are over; with that of `a` if both
/// do. If `a` panics, `b` may not have run.
#[track_caller]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    let site = Location::caller();
    context::with(|local| match local {
        Some(local) if local.offers() => offer(local, a, b, site),
        _ => (a(), b()),
    })
}

#[cold]
fn offer<A, B, RA, RB>(local: &Local, a: A, b: B, site: &'static Location<'static>) -> (RA, RB)
where
    A: FnOnce() -> RA,
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    let half = Half {
        work: UnsafeCell::new(Some(b)),
        result: UnsafeCell::new(None),
    };
    let offered = Offered {
        half: (&raw const half).cast(),
        run: run::<B, RB>,
    };
    // Nothing below may unwind before the task is over, since it points into this frame.
    let guard = AbortOnUnwind;
    let task = local.offer(move || offered.run(), site);
    let ours = catch_unwind(AssertUnwindSafe(a));
    if let Some((cell, task)) = task {
        settle(local, cell, task);
    }
    std::mem::forget(guard);
    let ours = ours.unwrap_or_else(|panic| resume_unwind(panic));
    let theirs = match (half.work.into_inner(), half.result.into_inner()) {
        // Nobody has taken it.
        (Some(b), _) => b(),
        (None, Some(result)) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        (None, None) => unreachable!("who takes the work leaves a result"),
    };
    (ours, theirs)
}

/// Returns when the task is over or taken back; then nobody has the pointer to the half.
fn settle(local: &Local, cell: &'static TaskCell, mut task: Task<()>) {
    if local.take_back(cell) {
        // Its work, which is the pointer alone, was dropped.
        let stopped = task.try_take();
        debug_assert_eq!(stopped, Some(Err(TaskError::Stopped)));
        return;
    }
    for _ in 0..limits::TASK_JOIN_ROUNDS {
        if task.try_take().is_some() {
            return;
        }
        if !local.help() {
            (0..limits::TASK_SEARCH_PAUSES).for_each(|_| std::hint::spin_loop());
        }
    }
    // However it ended: what it left in the half says more.
    let _ = task.join();
}

/// A half on the stack of its `join`.
struct Half<B, RB> {
    /// `None` once somebody runs it.
    work: UnsafeCell<Option<B>>,
    result: UnsafeCell<Option<Result<RB, Box<dyn Any + Send>>>>,
}

/// A pointer to a half, for the one task that may run it.
struct Offered {
    half: *const (),
    run: unsafe fn(*const ()),
}

// SAFETY: what it points to is a `Half<B, RB>` with `B: Send` and `RB: Send`, as `join` asks, and
// whoever runs it is the only one who touches it until the task is over: `offer` looks into the
// half again only when `settle` has returned.
unsafe impl Send for Offered {}

impl Offered {
    fn run(self) {
        // SAFETY: `run` is the function for the type of the half. The half is alive: `offer`
        // neither returns nor unwinds before `settle` has seen this task over, and a task is over
        // only after its work has returned or was dropped without being run. It is run once, by
        // the holder of the one right to its cell.
        unsafe { (self.run)(self.half) }
    }
}

/// # Safety
///
/// `half` points to a live `Half<B, RB>`, which nobody else touches meanwhile.
unsafe fn run<B: FnOnce() -> RB, RB>(half: *const ()) {
    // SAFETY: by the caller's word.
    let half = unsafe { &*half.cast::<Half<B, RB>>() };
    // SAFETY: nobody else touches it.
    let work = unsafe { (*half.work.get()).take() };
    let result = work.map(|work| catch_unwind(AssertUnwindSafe(work)));
    // SAFETY: as above; there was no result before.
    unsafe { *half.result.get() = result };
}

/// Ends the process rather than leave a frame that another thread points into.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}
