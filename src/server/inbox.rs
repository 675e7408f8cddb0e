//! Fresh connections on their way from one shard to another.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::limits;

/// A connection that was just accepted.
pub(super) struct Fresh {
    pub socket: OwnedFd,
    /// As its listener has it.
    pub idle_timeout_ms: u64,
}

/// Where other shards leave connections for this one.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    waiting: AtomicU32,
}

#[derive(Default)]
struct State {
    fresh: VecDeque<Fresh>,
    waker: Option<Waker>,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Connections that wait here, and that this shard doesn't count as its own yet.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Leaves a connection; gives it back when too many wait or the shard stops.
    pub fn put(&self, fresh: Fresh) -> Option<Fresh> {
        let mut state = self.lock();
        if state.closed || state.fresh.len() >= limits::HAND_OVERS_WAITING_MAX {
            return Some(fresh);
        }
        state.fresh.push_back(fresh);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        None
    }

    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Fresh> {
        let mut state = self.lock();
        match state.fresh.pop_front() {
            Some(fresh) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Poll::Ready(fresh)
            }
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
            self.waiting.store(0, Ordering::Relaxed);
            std::mem::take(&mut state.fresh)
        };
        drop(untaken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_until_it_is_taken() {
        let inbox = Inbox::default();
        let socket = || Fresh {
            socket: std::fs::File::open("/dev/null").unwrap().into(),
            idle_timeout_ms: 1,
        };
        assert!(inbox.put(socket()).is_none());
        assert!(inbox.put(socket()).is_none());
        assert_eq!(inbox.waiting(), 2);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(inbox.poll_take(&mut cx).is_ready());
        assert_eq!(inbox.waiting(), 1);
        inbox.close();
        assert!(inbox.put(socket()).is_some());
        assert_eq!(inbox.waiting(), 0);
    }
}
