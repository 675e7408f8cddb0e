//! The client tasks of one shard: starts them a few at a time, counts them, and waits for their
//! end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::limits;

/// Counts of a shard's client tasks: started, those that have tried to connect, and running.
#[derive(Default)]
pub(super) struct Clients {
    started: Cell<usize>,
    /// Tasks that have tried to connect at least once.
    tried: Cell<usize>,
    running: Cell<usize>,
    /// The shard's main task, woken by every change.
    waiter: RefCell<Option<Waker>>,
}

impl Clients {
    /// Starts `all` tasks by their numbers, [`limits::CONNECTING_MAX`] at a time: listeners have
    /// short backlogs. Ready when each has tried to connect.
    pub(crate) fn poll_all_tried(
        &self,
        cx: &mut Context<'_>,
        all: usize,
        mut start: impl FnMut(usize),
    ) -> Poll<()> {
        let wanted = all.min(self.tried.get() + limits::CONNECTING_MAX);
        while self.started.get() < wanted {
            let number = self.started.get();
            self.started.set(number + 1);
            self.begins();
            start(number);
        }
        match self.tried.get() >= all {
            true => Poll::Ready(()),
            false => self.wait(cx),
        }
    }

    /// Notes that a task has tried to connect for the first time.
    pub(crate) fn tried(&self) {
        self.tried.set(self.tried.get() + 1);
        self.wake();
    }

    /// Counts a task that was not started by [`poll_all_tried`](Self::poll_all_tried).
    pub(crate) fn begins(&self) {
        self.running.set(self.running.get() + 1);
    }

    /// Notes that a task has ended.
    pub(crate) fn ends(&self) {
        self.running.set(self.running.get() - 1);
        self.wake();
    }

    /// The number of running tasks.
    pub(crate) fn running(&self) -> usize {
        self.running.get()
    }

    /// Ready when no task runs.
    pub(crate) fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.running.get() {
            0 => Poll::Ready(()),
            _ => self.wait(cx),
        }
    }

    fn wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        *self.waiter.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(waker) = self.waiter.take() {
            waker.wake();
        }
    }
}

/// Runs a future until it is ready, or until a wake-up of its task finds that `over` is true.
pub(super) async fn until<F: Future>(over: impl Fn() -> bool, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if over() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
