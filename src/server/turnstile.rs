//! How much file data a shard passes to sockets in one turn.
//!
//! `sendfile(2)` works on the shard itself, so what all downloads together take
//! of a turn is what a small request beside them waits. They pass one by one, in the
//! order in which they came, until the turn's share is used up; the next in line goes
//! on in the next turn.

use std::cell::Cell;
use std::future::poll_fn;

use super::line::{Line, Place};
use crate::limits;
use crate::runtime::Shard;

pub(super) struct Turnstile {
    shard: Shard,
    turn: Cell<u64>,
    left_bytes: Cell<usize>,
    line: Line,
}

impl Turnstile {
    pub fn new(shard: &Shard) -> Self {
        Self {
            shard: shard.clone(),
            turn: Cell::new(0),
            left_bytes: Cell::new(0),
            line: Line::default(),
        }
    }

    /// Waits for a place in a turn. Whoever passes must call [`spent`](Self::spent)
    /// before it waits for anything else.
    pub async fn pass(&self) {
        let mut waiting = Waiting(self, self.line.place());
        poll_fn(|cx| {
            let poll = waiting.1.poll_leave(self.has_room(), cx);
            if poll.is_pending() && waiting.1.is_first() {
                self.shard.wake_next_turn(cx.waker());
            }
            poll
        })
        .await;
    }

    /// So much was sent; the next may pass, now or in the next turn.
    pub fn spent(&self, bytes: usize) {
        let left = self.left_bytes.get().saturating_sub(bytes);
        self.left_bytes.set(left);
        self.call_next();
    }

    fn call_next(&self) {
        if let Some(waker) = self.line.first() {
            match self.left_bytes.get() {
                0 => self.shard.wake_next_turn(&waker),
                _ => waker.wake(),
            }
        }
    }

    fn has_room(&self) -> bool {
        let turn = self.shard.turn();
        if self.turn.replace(turn) != turn {
            self.left_bytes.set(limits::SEND_TURN_BYTES);
        }
        self.left_bytes.get() > 0
    }
}

/// Whoever gives up its place makes way for the next.
struct Waiting<'t>(&'t Turnstile, Place<'t>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.1.leave() {
            self.0.call_next();
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

    /// Runs `n` senders of `rounds` rounds each and gives the order in which they passed,
    /// with the turn.
    fn passes(n: usize, rounds: usize, bytes: usize) -> Vec<(u64, usize)> {
        let (report, passes) = std::sync::mpsc::channel();
        let cpus = crate::sys::cpu::allowed().unwrap()[..1].to_vec();
        let runtime = Runtime::new(cpus).unwrap().unpinned();
        let root = move |shard: Shard| {
            let report = report.clone();
            async move {
                let turnstile = Rc::new(Turnstile::new(&shard));
                let log = Rc::new(RefCell::new(Vec::new()));
                let tasks: Vec<_> = (0..n)
                    .map(|who| {
                        let (turnstile, log) = (Rc::clone(&turnstile), Rc::clone(&log));
                        let shard = shard.clone();
                        shard.clone().spawn(async move {
                            for _ in 0..rounds {
                                turnstile.pass().await;
                                log.borrow_mut().push((shard.turn(), who));
                                turnstile.spent(bytes);
                            }
                        })
                    })
                    .collect();
                // One that gives up while it waits must not hold up the others.
                let mut gone = Box::pin(turnstile.pass());
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
        passes.recv().unwrap()
    }

    #[test]
    fn a_turn_lets_no_more_pass_than_its_share() {
        let log = passes(8, 5, limits::SEND_TURN_BYTES / 2);
        assert_eq!(log.len(), 40);
        for turn in log.iter().map(|(turn, _)| turn) {
            assert!(log.iter().filter(|(t, _)| t == turn).count() <= 2);
        }
    }

    #[test]
    fn nobody_passes_twice_before_the_others_have_once() {
        let log = passes(8, 5, limits::SEND_TURN_BYTES);
        for round in log.chunks(8) {
            let mut who: Vec<_> = round.iter().map(|(_, who)| *who).collect();
            who.sort();
            assert_eq!(who, (0..8).collect::<Vec<_>>());
        }
    }
}
