//! The functions that a task calls on the pool that runs it: spawn, yield, block.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::task::Poll;

use super::closure_future::ClosureFuture;
use super::worker::Local;
use super::{Saturated, Task};

thread_local! {
    static LOCAL: OnceCell<Local> = const { OnceCell::new() };
}

/// Makes the calling thread a worker and calls `run`.
pub(super) fn enter(local: Local, run: impl FnOnce(&Local)) {
    LOCAL.with(|own| run(own.get_or_init(|| local)));
}

/// Calls `use_it` with the worker of the calling thread, `None` if it is not one.
pub(super) fn with<T>(use_it: impl FnOnce(Option<&Local>) -> T) -> T {
    let mut use_it = Some(use_it);
    // The thread is ending and has dropped its context.
    let used = LOCAL.try_with(|local| use_it.take().map(|use_it| use_it(local.get())));
    match (used, use_it) {
        (Ok(Some(value)), _) => value,
        (_, Some(use_it)) => use_it(None),
        (_, None) => unreachable!("it was used or it is left"),
    }
}

#[track_caller]
fn spawn_here<F>(work: F) -> Result<Task<F::Output>, Saturated>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let site = Location::caller();
    with(|local| {
        let own = local.and_then(|local| Some((local, local.class()?)));
        match own {
            Some((local, class)) => local.submit(class, work, site),
            None => panic!("{site}: only a task of a pool can spawn into its class; use a `Class`"),
        }
    })
}

/// Spawns a future from inside a task, in the same class.
///
/// # Panics
///
/// If the caller is not a task of a pool: from elsewhere, use [`Class::spawn`](super::Class::spawn).
#[track_caller]
pub fn spawn<F>(work: F) -> Result<Task<F::Output>, Saturated>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_here(work)
}

/// Runs a closure as a new task of the same class, from inside a task.
///
/// # Panics
///
/// If the caller is not a task of a pool: from elsewhere, use [`Class::run`](super::Class::run).
#[track_caller]
pub fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Task<T>, Saturated> {
    spawn_here(ClosureFuture::new(work))
}

/// Lets every other task that waits on this worker run first. Works on any executor.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Yields to other tasks if the calling task's time slice is used up, and returns when it is that
/// task's turn again.
///
/// A task of an interactive class yields to any other when it has run for
/// [`TASK_SLICE_NS`](crate::limits::TASK_SLICE_NS), one of a background class to interactive ones
/// after [`TASK_BACKGROUND_SLICE_NS`](crate::limits::TASK_BACKGROUND_SLICE_NS). Otherwise a call
/// costs a few nanoseconds: call it every 10 or 20 us in a long closure. The calling thread sleeps
/// while other tasks run, so hold no lock that they may need. Outside a pool it does nothing.
pub fn checkpoint() {
    with(|local| {
        if let Some(local) = local
            && local.should_yield()
        {
            local.yield_processor();
        }
    });
}

/// Runs `wait`, which may block the calling thread; the tasks that wait behind this one go to
/// another thread at once. Outside a pool it only calls `wait`.
///
/// Afterwards the task continues even if no processor is free: until it ends, one more task may run
/// than the pool has workers.
pub fn block_in_place<T>(wait: impl FnOnce() -> T) -> T {
    with(|local| match local {
        Some(local) => local.block_in_place(wait),
        None => wait(),
    })
}
