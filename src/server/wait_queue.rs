//! A first-in, first-out queue of waiting tasks of one shard.
//!
//! Every operation takes constant time, since ten thousand downloads may wait in one queue and
//! any of them may be dropped at any moment.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// The queue: a doubly linked list whose nodes live in a slab.
#[derive(Default)]
pub(super) struct WaitQueue(RefCell<List>);

#[derive(Default)]
struct List {
    nodes: Slab<Node>,
    first: Option<usize>,
    last: Option<usize>,
    /// Nodes that were looked at, so that a test can hold the queue to constant time.
    #[cfg(test)]
    steps: usize,
}

struct Node {
    waker: Waker,
    previous: Option<usize>,
    next: Option<usize>,
}

impl WaitQueue {
    /// The waker of the task at the head of the queue.
    pub(crate) fn first(&self) -> Option<Waker> {
        let list = self.0.borrow();
        list.first.map(|first| list.nodes[first].waker.clone())
    }

    /// A waiter of this queue. It joins the queue at the first poll that has to wait.
    pub(crate) fn waiter(&self) -> Waiter<'_> {
        Waiter {
            queue: self,
            node: None,
        }
    }
}

/// One task's membership of a queue; dropping it leaves the queue.
pub(super) struct Waiter<'q> {
    queue: &'q WaitQueue,
    node: Option<usize>,
}

impl Waiter<'_> {
    /// Whether no other task is ahead of this one.
    pub(crate) fn is_first(&self) -> bool {
        let first = self.queue.0.borrow().first;
        first.is_none() || first == self.node
    }

    /// Ready, and out of the queue, when this task is first and `open`; otherwise the task
    /// waits in the queue.
    pub(crate) fn poll_leave(&mut self, open: bool, cx: &mut Context<'_>) -> Poll<()> {
        if open && self.is_first() {
            self.leave();
            return Poll::Ready(());
        }
        let mut list = self.queue.0.borrow_mut();
        match self.node {
            Some(node) => list.node(node).waker.clone_from(cx.waker()),
            None => self.node = Some(list.push_last(cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Leaves the queue; returns whether this task was in it.
    pub(crate) fn leave(&mut self) -> bool {
        match self.node.take() {
            Some(node) => {
                self.queue.0.borrow_mut().remove(node);
                true
            }
            None => false,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl List {
    fn node(&mut self, at: usize) -> &mut Node {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        &mut self.nodes[at]
    }

    fn push_last(&mut self, waker: Waker) -> usize {
        let previous = self.last;
        let node = self.nodes.insert(Node {
            waker,
            previous,
            next: None,
        });
        match previous {
            Some(previous) => self.node(previous).next = Some(node),
            None => self.first = Some(node),
        }
        self.last = Some(node);
        node
    }

    fn remove(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes.remove(at);
        match previous {
            Some(previous) => self.node(previous).next = next,
            None => self.first = next,
        }
        match next {
            Some(next) => self.node(next).previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn poll(waiter: &mut Waiter<'_>, open: bool) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        waiter.poll_leave(open, &mut cx).is_ready()
    }

    #[test]
    fn ten_thousand_waiters_join_and_leave_in_a_few_steps_each() {
        const WAITERS: usize = 10_000;
        let queue = WaitQueue::default();
        let mut waiters: Vec<_> = (0..WAITERS).map(|_| queue.waiter()).collect();
        for _ in 0..2 {
            for waiter in &mut waiters {
                assert!(!poll(waiter, false));
            }
        }
        // From the end, and then every other one: the order in which a linear queue is slowest.
        waiters.truncate(WAITERS / 2);
        let mut odd = false;
        waiters.retain(|_| {
            odd = !odd;
            odd
        });
        for waiter in &mut waiters {
            assert!(poll(waiter, true));
        }
        assert!(queue.first().is_none());
        let steps = queue.0.borrow().steps;
        assert!(steps <= 6 * WAITERS, "{steps} steps for {WAITERS} waiters");
    }

    proptest! {
        #[test]
        fn tasks_leave_in_the_order_in_which_they_came(
            actions in proptest::collection::vec((0_usize..8, 0_u8..3), 0..200),
        ) {
            let queue = WaitQueue::default();
            let mut waiters: Vec<_> = (0..8).map(|_| queue.waiter()).collect();
            let mut model: VecDeque<usize> = VecDeque::new();
            for (who, action) in actions {
                match action {
                    0 => {
                        prop_assert!(!poll(&mut waiters[who], false));
                        if !model.contains(&who) {
                            model.push_back(who);
                        }
                    }
                    1 => {
                        let left = poll(&mut waiters[who], true);
                        let first = model.front().is_none_or(|&first| first == who);
                        prop_assert_eq!(left, first);
                        if left {
                            model.retain(|&other| other != who);
                        } else if !model.contains(&who) {
                            model.push_back(who);
                        }
                    }
                    _ => {
                        prop_assert_eq!(waiters[who].leave(), model.contains(&who));
                        model.retain(|&other| other != who);
                    }
                }
                prop_assert_eq!(queue.first().is_some(), !model.is_empty());
            }
        }
    }
}
