//! The handle of a spawned task, which gives its result.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::arena;
use super::cell::ResultHandle;
use super::context;

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// It panicked with this text.
    Panicked(String),
    /// The pool was stopped before the task was done, or before it was spawned.
    Stopped,
}

impl TaskError {
    pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a text")
            .to_owned();
        contained(|| drop(panic));
        Self::Panicked(text)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(text) => write!(f, "the task panicked: {text}"),
            Self::Stopped => f.write_str("the pool was stopped before the task was done"),
        }
    }
}

impl std::error::Error for TaskError {}

/// Runs foreign code, such as a destructor, and contains its panic.
pub(super) fn contained(run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        // Dropping the payload may panic as well.
        mem::forget(panic);
    }
}

/// The handle of a spawned task. Await it for the result, in the pool or on any other executor, or
/// [`join`](Self::join) it on a thread.
///
/// Dropping it leaves the task running; its result is dropped when it is done.
#[must_use = "awaited or joined it gives the result; drop it to let the task run by itself"]
pub struct Task<T>(State<T>);

enum State<T> {
    Spawned(ResultHandle<T>),
    /// The pool had been stopped already.
    Refused,
    Taken,
}

impl<T> Task<T> {
    pub(super) fn spawned(handle: ResultHandle<T>) -> Self {
        Self(State::Spawned(handle))
    }

    pub(super) fn refused() -> Self {
        Self(State::Refused)
    }

    /// Takes the result, if the task is done and it was not taken yet.
    pub fn try_take(&mut self) -> Option<Result<T, TaskError>> {
        let result = match &mut self.0 {
            State::Spawned(handle) => {
                let (result, vacant) = handle.take()?;
                arena::put_back(vacant);
                result
            }
            State::Refused => Err(TaskError::Stopped),
            State::Taken => return None,
        };
        self.0 = State::Taken;
        Some(result)
    }

    /// Waits for the result on the calling thread.
    ///
    /// On a worker, where awaiting is better, it counts as [`block_in_place`](super::block_in_place).
    pub fn join(self) -> Result<T, TaskError> {
        let mut task = pin!(self);
        if let Some(result) = task.try_take() {
            return result;
        }
        context::block_in_place(|| {
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let mut cx = Context::from_waker(&waker);
            loop {
                match task.as_mut().poll(&mut cx) {
                    Poll::Ready(result) => return result,
                    Poll::Pending => thread::park(),
                }
            }
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    /// Stays pending once the result has been taken by [`try_take`](Self::try_take).
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.try_take() {
            return Poll::Ready(result);
        }
        match &self.0 {
            State::Spawned(handle) if !handle.wait(cx.waker()) => {
                self.try_take().map_or(Poll::Pending, Poll::Ready)
            }
            _ => Poll::Pending,
        }
    }
}

// Nothing of a `Task` is ever pinned: the result is moved out.
impl<T> Unpin for Task<T> {}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let State::Spawned(handle) = &mut self.0
            && let Some(vacant) = handle.detach()
        {
            arena::put_back(vacant);
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Spawned(handle) => handle.cell().map(|cell| cell.stage().1),
            State::Refused | State::Taken => None,
        };
        f.debug_tuple("Task").field(&state).finish()
    }
}
