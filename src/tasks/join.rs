//! Fork-join: two closures, of which the second one may run on another worker.
//!
//! A worker offers a half to thieves only while its own queue is empty. As long as its queue has
//! something to steal, it runs both halves itself, at the cost of that check; once that was stolen,
//! the next join offers its half. So a tree of joins always offers one half, the largest that is
//! left, and does not pay for halves that no thief takes.
//!
//! An offered half is a task like any other, with a pointer to the caller's stack in it. When its
//! own half is done, the caller claims the offered one back, or waits until the thief is done with
//! it. After rayon's `join` (rayon-core/src/join/mod.rs), which offers every half.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::process;

use super::task_id::TaskId;
use super::worker::Local;
use super::{Task, TaskError, context};
use crate::limits;

/// Runs both closures and returns both results; `b` on another worker, if one is free to take it.
///
/// For halves of some work that take a microsecond or even less. While it waits for a half that
/// another worker has taken, the calling thread runs other tasks of the pool, so hold no lock that
/// they may need. Outside a pool, `b` runs after `a`.
///
/// # Panics
///
/// If a closure panics, with its panic, once both are over; with that of `a` if both do. If `a`
/// panics, `b` may not have run.
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
    if let Some((id, task)) = task {
        settle(local, id, task);
    }
    std::mem::forget(guard);
    let ours = ours.unwrap_or_else(|panic| resume_unwind(panic));
    let theirs = match (half.work.into_inner(), half.result.into_inner()) {
        // The half was not stolen.
        (Some(b), _) => b(),
        (None, Some(result)) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        (None, None) => unreachable!("a run of the work leaves a result"),
    };
    (ours, theirs)
}

/// Returns when the task is over or taken back. Then no other thread has the pointer to the half.
fn settle(local: &Local, id: TaskId, mut task: Task<()>) {
    if local.take_back(id) {
        // The task's work, which is only the pointer, was dropped unrun.
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
    // The half has the result or the panic.
    let _ = task.join();
}

/// A half on the stack of its `join`.
struct Half<B, RB> {
    /// `None` once it runs.
    work: UnsafeCell<Option<B>>,
    result: UnsafeCell<Option<Result<RB, Box<dyn Any + Send>>>>,
}

/// A pointer to a half, for the one task that may run it.
struct Offered {
    half: *const (),
    run: unsafe fn(*const ()),
}

// SAFETY: it points to a `Half<B, RB>` with `B: Send` and `RB: Send`, as `join` asks, and the thread
// that runs it is the only one that touches it until the task is over: `offer` looks into the half
// again only when `settle` has returned.
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
/// `half` points to a live `Half<B, RB>`, which no other thread touches meanwhile.
unsafe fn run<B: FnOnce() -> RB, RB>(half: *const ()) {
    // SAFETY: the caller guarantees that `half` points to a live half.
    let half = unsafe { &*half.cast::<Half<B, RB>>() };
    // SAFETY: the caller guarantees that no other thread accesses it meanwhile.
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
