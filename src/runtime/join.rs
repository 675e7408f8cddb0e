//! Waiting for the end of a spawned task.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::foreign::contain;
use super::shard::Shard;

/// Why a task has no result.
#[derive(Debug)]
pub enum JoinError {
    /// It panicked, or its shard ended before it did.
    Ended,
    /// The shard's loop failed.
    Loop(io::Error),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the task panicked or its shard ended before it was done"),
            Self::Loop(e) => write!(f, "the shard's loop failed: {e}"),
        }
    }
}

impl std::error::Error for JoinError {}

enum State<T> {
    Running(Option<Waker>),
    Done(T),
    /// The task was dropped without a result.
    Gone,
    Taken,
}

/// Gives a spawned task's result when awaited; dropping it leaves the task running.
pub struct JoinHandle<T>(Rc<RefCell<State<T>>>);

impl<T> JoinHandle<T> {
    /// The result, if the task has ended and it was not taken yet.
    pub fn try_take(&self) -> Option<Result<T, JoinError>> {
        let mut state = self.0.borrow_mut();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(value) => Some(Ok(value)),
            State::Gone => Some(Err(JoinError::Ended)),
            running => {
                *state = running;
                None
            }
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.try_take() {
            return Poll::Ready(result);
        }
        let waker = cx.waker().clone();
        let replaced = match &mut *self.0.borrow_mut() {
            State::Running(old) => old.replace(waker),
            _ => return Poll::Ready(Err(JoinError::Ended)),
        };
        drop(replaced);
        Poll::Pending
    }
}

/// Notes the end of the task, whether by its result, by a panic or by being dropped.
struct Finish<T>(Rc<RefCell<State<T>>>);

impl<T> Finish<T> {
    fn set(&self, state: State<T>) {
        let old = std::mem::replace(&mut *self.0.borrow_mut(), state);
        if let State::Running(Some(waker)) = old {
            // May run while the task's panic unwinds, where a second one would abort the process.
            if contain(|| waker.wake()).is_err()
                && let Some(shard) = Shard::try_current()
            {
                shard.0.stats.count_panics(1);
            }
        }
    }
}

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        let running = matches!(&*self.0.borrow(), State::Running(_));
        if running {
            self.set(State::Gone);
        }
    }
}

/// Pairs a future with the handle that gives its result.
pub(super) fn joined<F: Future + 'static>(
    future: F,
) -> (JoinHandle<F::Output>, impl Future<Output = ()> + 'static) {
    let state = Rc::new(RefCell::new(State::Running(None)));
    let finish = Finish(Rc::clone(&state));
    let task = async move {
        let output = future.await;
        finish.set(State::Done(output));
    };
    (JoinHandle(state), task)
}
