//! Helpers for the loom models.
#![cfg(test)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};

/// Most preemptions of threads in one run. No fault of these algorithms has needed more, and
/// exploring more takes hours.
const PREEMPTIONS_MAX: usize = 2;

/// Runs a model in every order that its threads can interleave, within [`PREEMPTIONS_MAX`].
///
/// # Panics
/// In the first order in which the model panics, deadlocks or races.
pub fn every_order(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

/// The equivalent of [`std::thread::park`] and `unpark` for a model: a token for one thread to
/// continue.
#[derive(Default)]
pub struct Parker {
    token: Mutex<bool>,
    given: Condvar,
}

impl Parker {
    /// Lets the thread continue, now or when it next parks.
    pub fn unpark(&self) {
        *super::lock(&self.token) = true;
        self.given.notify_one();
    }

    /// Waits for the token and takes it.
    pub fn park(&self) {
        let mut token = super::lock(&self.token);
        while !*token {
            token = self.given.wait(token).unwrap();
        }
        *token = false;
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }
}

/// Polls until it is ready, once for each wake-up, as an executor does.
pub fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(Arc::clone(&parker));
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => parker.park(),
        }
    }
}
