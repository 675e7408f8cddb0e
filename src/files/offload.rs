//! Work that would hold up a shard, on a short-lived thread.
//!
//! The one place that decides where such work runs.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use crate::limits;
use crate::sys;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Why a piece of work has no result.
#[derive(Debug)]
pub enum OffloadError {
    /// [`limits::OFFLOADS_MAX`] others are running.
    Busy,
    /// No thread could be started.
    Thread(io::Error),
    /// The work panicked.
    Panicked,
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffloadError::Busy => write!(
                f,
                "{} pieces of work are running already; try again when one has ended",
                limits::OFFLOADS_MAX
            ),
            OffloadError::Thread(source) => write!(
                f,
                "cannot start a thread: {source}; raise the limit of tasks"
            ),
            OffloadError::Panicked => write!(f, "the work panicked; see the message above"),
        }
    }
}

impl std::error::Error for OffloadError {}

/// One of the [`limits::OFFLOADS_MAX`] places, given back on drop.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        RUNNING
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < limits::OFFLOADS_MAX).then_some(running + 1)
            })
            .ok()
            .map(|_| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the thread and the waiting future share.
struct Shared<T> {
    result: Option<Result<T, OffloadError>>,
    waiting: Option<Waker>,
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread of its own, off the shards' CPUs where others are
/// allowed, and waits for its result. Work that was begun is finished even if
/// nobody waits any more.
///
/// # Errors
///
/// See [`OffloadError`]; a full house is told at once.
pub async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OffloadError> {
    let place = Place::take().ok_or(OffloadError::Busy)?;
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waiting: None,
    }));
    let ours = Arc::clone(&shared);
    let body = move || {
        leave_shard_cpu();
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| OffloadError::Panicked);
        drop(place);
        let mut shared = lock(&shared);
        shared.result = Some(result);
        let waiting = shared.waiting.take();
        drop(shared);
        if let Some(waker) = waiting {
            waker.wake();
        }
    };
    thread::Builder::new()
        .name("offload".to_owned())
        .spawn(body)
        .map_err(OffloadError::Thread)?;
    poll_fn(|cx| {
        let mut shared = lock(&ours);
        match shared.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                shared.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// A thread inherits the one CPU that its shard is pinned to. Where the process
/// may not ask for more, it stays there, which only costs time.
fn leave_shard_cpu() {
    if let Ok(cpus) = sys::cpu::allowed_of_process() {
        let _ = sys::cpu::pin_current_thread(&cpus);
    }
}

#[cfg(test)]
mod tests;
