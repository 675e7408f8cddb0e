//! Accepted connections on their way from one shard to another.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};

use crate::limits;
use crate::sys::sync::atomic::{AtomicU32, Ordering};
use crate::sys::sync::{Mutex, MutexGuard, lock};

/// A connection that was just accepted and is not served yet.
pub(super) struct AcceptedConnection {
    pub socket: OwnedFd,
    /// The HTTP idle time-out of its listener.
    pub idle_timeout_ms: u64,
}

/// Connections that other shards have accepted for this one, at most
/// [`limits::HAND_OVERS_WAITING_MAX`].
#[derive(Default)]
pub(super) struct HandoffQueue {
    state: Mutex<State>,
    count: AtomicU32,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<AcceptedConnection>,
    waker: Option<Waker>,
    closed: bool,
}

impl HandoffQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Connections that wait here; no shard counts them as its own yet.
    pub(crate) fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a connection; gives it back when too many wait or the queue is closed.
    pub(crate) fn put(&self, accepted: AcceptedConnection) -> Option<AcceptedConnection> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= limits::HAND_OVERS_WAITING_MAX {
            return Some(accepted);
        }
        state.waiting.push_back(accepted);
        self.count.fetch_add(1, Ordering::Relaxed);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        None
    }

    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<AcceptedConnection> {
        let mut state = self.lock();
        match state.waiting.pop_front() {
            Some(accepted) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                Poll::Ready(accepted)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes no connections from now on; gives those that wait.
    pub(crate) fn close(&self) -> VecDeque<AcceptedConnection> {
        let mut state = self.lock();
        state.closed = true;
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut state.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_until_it_is_taken() {
        let queue = HandoffQueue::default();
        let socket = || AcceptedConnection {
            socket: std::fs::File::open("/dev/null").unwrap().into(),
            idle_timeout_ms: 1,
        };
        assert!(queue.put(socket()).is_none());
        assert!(queue.put(socket()).is_none());
        assert_eq!(queue.len(), 2);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(queue.poll_take(&mut cx).is_ready());
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.close().len(), 1);
        assert!(queue.put(socket()).is_some());
        assert_eq!(queue.len(), 0);
    }
}

#[cfg(all(test, headwater_loom))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sys::sync::model::{every_order, wait};

    #[test]
    fn a_connection_that_is_handed_over_is_taken_given_back_or_left_at_the_close() {
        every_order(|| {
            let queue = Arc::new(HandoffQueue::default());
            let giver = || {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let accepted = AcceptedConnection {
                        socket: std::fs::File::open("/dev/null").unwrap().into(),
                        idle_timeout_ms: 1,
                    };
                    queue.put(accepted).is_some()
                })
            };
            let givers = [giver(), giver()];
            drop(wait(|cx| queue.poll_take(cx)));
            let left = queue.close().len();
            let back = givers.map(|giver| usize::from(giver.join().unwrap()));
            assert_eq!(1 + left + back.iter().sum::<usize>(), 2);
            assert_eq!(queue.len(), 0);
        });
    }
}
