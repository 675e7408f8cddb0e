//! A closure as a future that is ready at its first poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) struct ClosureFuture<F>(Option<F>);

impl<F> ClosureFuture<F> {
    pub(crate) fn new(run: F) -> Self {
        Self(Some(run))
    }
}

// The closure is moved out to be called, and never pinned.
impl<F> Unpin for ClosureFuture<F> {}

impl<F: FnOnce() -> T, T> Future for ClosureFuture<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match self.0.take() {
            Some(run) => Poll::Ready(run()),
            None => Poll::Pending,
        }
    }
}
