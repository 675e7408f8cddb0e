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

/// Why a piece of work has no result.
#[derive(Debug)]
pub enum OffloadError {
    /// As much of its kind as there may be is under way.
    Busy(Kind),
    /// No thread could be started.
    Thread(io::Error),
    /// The work panicked.
    Panicked,
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffloadError::Busy(kind) => write!(
                f,
                "there is too much work already ({}); try again later",
                kind.name()
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

/// A kind of work. Each has a bound of its own, so that none takes another's place.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Compressing what clients wait for.
    Compress,
    /// Rendering listings.
    Listing,
    /// Digests, which clients can do without.
    Digest,
    /// Pages about the server itself.
    Admin,
}

impl Kind {
    const COUNT: usize = 4;

    fn name(self) -> &'static str {
        match self {
            Kind::Compress => "compress",
            Kind::Listing => "listing",
            Kind::Digest => "digest",
            Kind::Admin => "admin",
        }
    }

    fn most(self) -> usize {
        match self {
            Kind::Compress => limits::COMPRESSIONS_MAX,
            Kind::Listing => limits::LISTINGS_MAX,
            Kind::Digest => limits::DIGESTS_WAITING_MAX,
            Kind::Admin => limits::ADMIN_PAGES_MAX,
        }
    }
}

/// Where work goes. Clones share the bounds.
#[derive(Clone, Default)]
pub struct Offload(Arc<[AtomicUsize; Kind::COUNT]>);

/// A place among the work of its kind, given back on drop.
struct Place(Arc<[AtomicUsize; Kind::COUNT]>, Kind);

impl Drop for Place {
    fn drop(&mut self) {
        self.0[self.1 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Offload {
    fn place(&self, kind: Kind) -> Option<Place> {
        let add = |running: usize| (running < kind.most()).then_some(running + 1);
        self.0[kind as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()
            .map(|_| Place(Arc::clone(&self.0), kind))
    }

    /// Starts `work`, which tells of its result itself.
    ///
    /// # Errors
    /// A full house is told at once.
    pub fn start(
        &self,
        kind: Kind,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), OffloadError> {
        let place = self.place(kind).ok_or(OffloadError::Busy(kind))?;
        let body = move || {
            leave_shard_cpu();
            // What it owed is told by what it drops.
            let _ = catch_unwind(AssertUnwindSafe(work));
            drop(place);
        };
        thread::Builder::new()
            .name("offload".to_owned())
            .spawn(body)
            .map(drop)
            .map_err(OffloadError::Thread)
    }

    /// Runs `work` and waits for its result. Work that was begun is finished even if nobody
    /// waits any more.
    ///
    /// # Errors
    /// See [`OffloadError`]; a full house is told at once.
    pub async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        let shared = Arc::new(Mutex::new(Shared {
            result: None,
            waiting: None,
        }));
        let ours = Arc::clone(&shared);
        self.start(kind, move || {
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| OffloadError::Panicked);
            let mut shared = lock(&shared);
            shared.result = Some(result);
            let waiting = shared.waiting.take();
            drop(shared);
            if let Some(waker) = waiting {
                waker.wake();
            }
        })?;
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
}

/// What the thread and the waiting future share.
struct Shared<T> {
    result: Option<Result<T, OffloadError>>,
    waiting: Option<Waker>,
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
