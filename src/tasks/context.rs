//! What a task can ask of the pool that it runs in.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::worker::Local;
use super::{Class, Saturated, Task};

thread_local! {
    static LOCAL: OnceCell<Local> = const { OnceCell::new() };
}

/// Makes the calling thread a worker while `run` runs.
pub(super) fn enter(local: Local, run: impl FnOnce(&Local)) {
    LOCAL.with(|place| run(place.get_or_init(|| local)));
}

/// The worker that the calling thread is, if it is one.
pub(super) fn with<T>(use_it: impl FnOnce(Option<&Local>) -> T) -> T {
    let mut use_it = Some(use_it);
    // A thread that ends has no context any more.
    let used = LOCAL.try_with(|place| use_it.take().map(|use_it| use_it(place.get())));
    match (used, use_it) {
        (Ok(Some(value)), _) => value,
        (_, Some(use_it)) => use_it(None),
        (_, None) => unreachable!("it was used or it is left"),
    }
}

/// The class of the task that calls.
///
/// # Panics
///
/// If the caller is not a task of a pool.
#[track_caller]
fn own_class() -> Class {
    let class = with(|local| {
        let local = local?;
        Some(Class {
            shared: Arc::clone(&local.shared),
            state: Arc::clone(local.class()?),
        })
    });
    match class {
        Some(class) => class,
        None => panic!("only a task of a pool can spawn into its own class; use a `Class`"),
    }
}

/// Spawns a future from inside a task, in the same class.
///
/// # Panics
///
/// If the caller is not a task of a pool: from elsewhere, use [`Class::spawn`].
#[track_caller]
pub fn spawn<F>(work: F) -> Result<Task<F::Output>, Saturated>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    own_class().spawn(work)
}

/// Runs a closure as a task of its own, spawned from inside a task, in the same class.
///
/// # Panics
///
/// If the caller is not a task of a pool: from elsewhere, use [`Class::run`].
#[track_caller]
pub fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Task<T>, Saturated> {
    own_class().run(work)
}

/// Lets every other task that waits here go first. Works on any executor.
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

/// Lets others go first, if the calling task has run for longer than
/// [`TASK_SLICE_NS`](crate::limits::TASK_SLICE_NS) and others wait; returns when it is its turn
/// again.
///
/// For long closures: a call costs a nanosecond or two unless it is time to let others go. The
/// calling thread sleeps meanwhile, so hold no lock that other tasks want. Outside a pool it does
/// nothing.
pub fn checkpoint() {
    with(|local| {
        if let Some(local) = local
            && local.me.yield_wanted.load(Ordering::Relaxed)
        {
            local.checkpoint();
        }
    });
}

/// Runs `wait`, which may block the calling thread; what waits behind this task goes to another
/// thread at once. Outside a pool it just runs it.
///
/// Afterwards the task goes on beside the others: for its rest there may be one more task
/// running than the pool has workers.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    with(|local| match local {
        Some(local) => local.block(wait),
        None => wait(),
    })
}
