//! Fresh connections on their way from one shard to another.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::limits;

/// Where other shards leave connections for this one.
#[derive(Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Default)]
struct State {
    sockets: VecDeque<OwnedFd>,
    waker: Option<Waker>,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Leaves a connection; gives it back when too many wait or the shard stops.
    pub fn put(&self, socket: OwnedFd) -> Option<OwnedFd> {
        let mut state = self.lock();
        if state.closed || state.sockets.len() >= limits::HAND_OVERS_WAITING_MAX {
            return Some(socket);
        }
        state.sockets.push_back(socket);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        None
    }

    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<OwnedFd> {
        let mut state = self.lock();
        match state.sockets.pop_front() {
            Some(socket) => Poll::Ready(socket),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Refuses connections from now on and closes those that nobody took.
    pub fn close(&self) {
        let untaken = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.sockets)
        };
        drop(untaken);
    }
}
