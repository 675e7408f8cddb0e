//! How much file data all downloads of one shard send in one turn.
//!
//! `sendfile(2)` runs on the shard itself, so the time that all downloads together take of a turn
//! is the time that a small request beside them waits. Downloads send one after another, in the
//! order in which they asked, until the turn's budget is spent; the next one goes on in the next
//! turn.

use std::cell::Cell;
use std::future::poll_fn;

use super::wait_queue::{WaitQueue, Waiter};
use crate::limits;
use crate::runtime::Shard;

/// The budget of a turn, [`limits::SEND_TURN_BYTES`], shared fairly by the shard's downloads.
pub(super) struct SendBudget {
    shard: Shard,
    turn: Cell<u64>,
    left_bytes: Cell<usize>,
    queue: WaitQueue,
}

impl SendBudget {
    pub(crate) fn new(shard: &Shard) -> Self {
        Self {
            shard: shard.clone(),
            turn: Cell::new(0),
            left_bytes: Cell::new(0),
            queue: WaitQueue::default(),
        }
    }

    /// Waits for the right to send one piece. The caller must call [`spend`](Self::spend) before
    /// it waits for anything else.
    pub(crate) async fn acquire(&self) {
        let mut acquiring = Acquiring(self, self.queue.waiter());
        poll_fn(|cx| {
            let poll = acquiring.1.poll_leave(self.has_budget(), cx);
            if poll.is_pending() && acquiring.1.is_first() {
                self.shard.wake_next_turn(cx.waker());
            }
            poll
        })
        .await;
    }

    /// Takes what was sent off the turn's budget and wakes the next download, now or in the
    /// next turn.
    pub(crate) fn spend(&self, bytes: usize) {
        let left = self.left_bytes.get().saturating_sub(bytes);
        self.left_bytes.set(left);
        self.wake_first();
    }

    fn wake_first(&self) {
        if let Some(waker) = self.queue.first() {
            match self.left_bytes.get() {
                0 => self.shard.wake_next_turn(&waker),
                _ => waker.wake(),
            }
        }
    }

    fn has_budget(&self) -> bool {
        let turn = self.shard.turn();
        if self.turn.replace(turn) != turn {
            self.left_bytes.set(limits::SEND_TURN_BYTES);
        }
        self.left_bytes.get() > 0
    }
}

/// A download that gives up while it waits wakes the next one.
struct Acquiring<'b>(&'b SendBudget, Waiter<'b>);

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        if self.1.leave() {
            self.0.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::rc::Rc;
    use std::task::Poll;

    use super::*;
    use crate::runtime::{Runtime, yield_now};

    /// Runs `n` senders of `rounds` rounds each and gives the order in which they sent,
    /// with the turn.
    fn sends(n: usize, rounds: usize, bytes: usize) -> Vec<(u64, usize)> {
        let (report, sends) = std::sync::mpsc::channel();
        let cpus = crate::sys::cpu::allowed().unwrap()[..1].to_vec();
        let runtime = Runtime::new(cpus).unwrap().unpinned();
        let root = move |shard: Shard| {
            let report = report.clone();
            async move {
                let budget = Rc::new(SendBudget::new(&shard));
                let log = Rc::new(RefCell::new(Vec::new()));
                let tasks: Vec<_> = (0..n)
                    .map(|who| {
                        let (budget, log) = (Rc::clone(&budget), Rc::clone(&log));
                        let shard = shard.clone();
                        shard.clone().spawn(async move {
                            for _ in 0..rounds {
                                budget.acquire().await;
                                log.borrow_mut().push((shard.turn(), who));
                                budget.spend(bytes);
                            }
                        })
                    })
                    .collect();
                // One that gives up while it waits must not hold up the others.
                let mut gone = Box::pin(budget.acquire());
                let _ = std::future::poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx))).await;
                drop(gone);
                for task in tasks {
                    task.await.unwrap();
                }
                yield_now().await;
                report.send(log.borrow().clone()).unwrap();
            }
        };
        runtime.run(root).unwrap();
        sends.recv().unwrap()
    }

    #[test]
    fn a_turn_sends_no_more_than_its_budget() {
        let log = sends(8, 5, limits::SEND_TURN_BYTES / 2);
        assert_eq!(log.len(), 40);
        for turn in log.iter().map(|(turn, _)| turn) {
            assert!(log.iter().filter(|(t, _)| t == turn).count() <= 2);
        }
    }

    #[test]
    fn no_download_sends_twice_before_the_others_have_once() {
        let log = sends(8, 5, limits::SEND_TURN_BYTES);
        for round in log.chunks(8) {
            let mut who: Vec<_> = round.iter().map(|(_, who)| *who).collect();
            who.sort();
            assert_eq!(who, (0..8).collect::<Vec<_>>());
        }
    }
}
