//! Single flight: concurrent requests for the same work share one job, across all shards.

use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError, Weak};
use std::task::{Poll, Waker};

use crate::limits;
use crate::sys::sync::lock;

/// Jobs by key: those under way, and finished ones for as long as something holds them.
pub(crate) struct SingleFlight<K, V>(Mutex<HashMap<K, Weak<Job<V>>>>);

/// A piece of work and, later, its result.
#[derive(Debug)]
pub(crate) struct Job<V> {
    result: OnceLock<Option<V>>,
    waiting: Mutex<Vec<Waker>>,
    /// When it was first asked for, on the shards' clock, in milliseconds.
    pub asked_ms: u64,
}

/// The obligation to give a job its result. Dropped without one, it ends the job without a result.
pub(crate) struct Promise<V>(Arc<Job<V>>);

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        SingleFlight(Mutex::default())
    }
}

impl<K: Eq + Hash, V> SingleFlight<K, V> {
    /// The job for `key`: one under way or finished with a result, else a new one that `start`
    /// starts.
    ///
    /// # Errors
    /// Those of `start`.
    pub(crate) fn join<E>(
        &self,
        key: K,
        now_ms: u64,
        start: impl FnOnce(Promise<V>) -> Result<(), E>,
    ) -> Result<Arc<Job<V>>, E> {
        let mut jobs = lock(&self.0);
        let known = jobs.get(&key).and_then(Weak::upgrade);
        if let Some(job) = known.filter(|job| !job.has_failed()) {
            return Ok(job);
        }
        // Workers never lock this table: one that is descheduled must not hold its lock.
        if jobs.len() >= limits::JOBS_BEFORE_SWEEP && jobs.len() == jobs.capacity() {
            jobs.retain(|_, job| job.strong_count() > 0);
        }
        let (job, promise) = promised(now_ms);
        start(promise)?;
        jobs.insert(key, Arc::downgrade(&job));
        Ok(job)
    }
}

/// A piece of work that was requested at `asked_ms`, and what produces its result.
pub(crate) fn promised<V>(asked_ms: u64) -> (Arc<Job<V>>, Promise<V>) {
    let job = Arc::new(Job {
        result: OnceLock::new(),
        waiting: Mutex::default(),
        asked_ms,
    });
    (Arc::clone(&job), Promise(job))
}

impl<V> Job<V> {
    /// Whether it is over.
    pub(crate) fn is_done(&self) -> bool {
        self.result.get().is_some()
    }

    /// The result, if it is there.
    pub(crate) fn result(&self) -> Option<&V> {
        self.result.get()?.as_ref()
    }

    fn has_failed(&self) -> bool {
        matches!(self.result.get(), Some(None))
    }

    /// Waits for the end; `None` if there is no result.
    pub(crate) async fn done(&self) -> Option<&V> {
        poll_fn(|cx| {
            if self.is_done() {
                return Poll::Ready(());
            }
            // The worker that ends the job may be kept from running while it has the lock. A shard
            // has other things to do than wait for that.
            let Some(mut waiting) = try_lock(&self.waiting) else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            // The end, and its wake-ups, may have come while this waited for the lock.
            if self.is_done() {
                return Poll::Ready(());
            }
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        self.result()
    }

    fn end(&self, result: Option<V>) {
        // A second end changes nothing.
        let _ = self.result.set(result);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for waker in waiting {
            waker.wake();
        }
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl<V> Promise<V> {
    /// Gives the job its result and wakes all that wait for it.
    pub(crate) fn keep(self, result: V) {
        self.0.end(Some(result));
    }
}

impl<V> Drop for Promise<V> {
    fn drop(&mut self) {
        if !self.0.is_done() {
            self.0.end(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Wake};
    use std::thread;
    use std::time::Duration;

    use super::*;

    type Jobs = SingleFlight<u32, u32>;

    /// Joins the work for a key; the promise if it had to be started.
    fn join(jobs: &Jobs, key: u32) -> (Arc<Job<u32>>, Option<Promise<u32>>) {
        let mut started = None;
        let start = |promise| {
            started = Some(promise);
            Ok::<_, Infallible>(())
        };
        let Ok(job) = jobs.join(key, 0, start);
        (job, started)
    }

    #[test]
    fn many_ask_and_one_works() {
        let jobs = Jobs::default();
        let (first, promise) = join(&jobs, 1);
        let (second, none) = join(&jobs, 1);
        assert!(promise.is_some() && none.is_none() && Arc::ptr_eq(&first, &second));
        assert!(join(&jobs, 2).1.is_some());
        let mut done = Box::pin(second.done());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(done.as_mut().poll(&mut cx).is_pending());
        promise.unwrap().keep(7);
        assert_eq!(done.as_mut().poll(&mut cx), Poll::Ready(Some(&7)));
        // The result is found while something holds the job; after that the work starts anew.
        assert_eq!(join(&jobs, 1).0.result(), Some(&7));
        drop(done);
        drop((first, second));
        assert!(join(&jobs, 1).1.is_some());
    }

    #[test]
    fn who_waits_never_waits_for_the_lock() {
        let (job, promise) = promised::<u32>(0);
        let woken = Arc::new(Woken::default());
        let poll = || {
            let waker = Waker::from(Arc::clone(&woken));
            let done = pin!(job.done());
            let polled = done.poll(&mut Context::from_waker(&waker));
            polled.map(Option::<&u32>::copied)
        };
        let held = lock(&job.waiting);
        thread::scope(|scope| {
            let (polled, result) = mpsc::channel();
            let poll = &poll;
            scope.spawn(move || polled.send(poll()));
            let result = result.recv_timeout(Duration::from_secs(20));
            drop(held);
            assert_eq!(result, Ok(Poll::Pending));
        });
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "to try again");
        assert_eq!(poll(), Poll::Pending);
        promise.keep(7);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(poll(), Poll::Ready(Some(7)));
    }

    /// Counts its wake-ups.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_job_without_a_result_is_started_again() {
        let jobs = Jobs::default();
        let (job, promise) = join(&jobs, 1);
        drop(promise);
        assert!(job.is_done() && job.result().is_none());
        assert!(join(&jobs, 1).1.is_some());
        assert_eq!(jobs.join(3, 0, |_| Err("full")).err(), Some("full"));
        assert!(join(&jobs, 3).1.is_some());
    }

    #[test]
    fn the_table_does_not_grow_with_the_past() {
        let jobs = Jobs::default();
        for key in 0..100_000 {
            join(&jobs, key);
        }
        assert!(lock(&jobs.0).capacity() <= 4 * limits::JOBS_BEFORE_SWEEP);
    }
}
