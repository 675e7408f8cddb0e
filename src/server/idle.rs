//! The connections of one shard that wait for a request, the longest idle first.
//!
//! Each is identified by its timer, so that its entry in the order takes 12 bytes beside what a
//! connection has anyway, and closing one early means to let its time-out elapse now.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use crate::runtime::{Shard, TimerId};

const NONE: u32 = u32::MAX;
/// In place of a neighbour: not in the order at all.
const OUTSIDE: u32 = u32::MAX - 1;

#[derive(Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    /// The shard's clock, cut to 32 bits: ages of up to 49 days come out right.
    since_ms: u32,
}

/// The idle connections of one shard in order.
pub(super) struct Idle {
    order: RefCell<Order>,
    /// The task that closes idle connections under pressure, while none is idle.
    watcher: RefCell<Option<Waker>>,
}

struct Order {
    /// By timer; as many as the shard ever had at a time.
    nodes: Vec<Node>,
    first: u32,
    last: u32,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self {
            order: RefCell::new(Order {
                nodes: Vec::new(),
                first: NONE,
                last: NONE,
            }),
            watcher: RefCell::default(),
        }
    }

    /// Puts a connection at the end of the order, from wherever it was: idle from now on.
    pub(crate) fn enter(&self, timer: TimerId, now_ms: u64) {
        let mut order = self.order.borrow_mut();
        let was_empty = order.first == NONE;
        order.put_last(timer.index(), now_ms as u32);
        if was_empty && let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    /// Takes a connection out of the order: it has work, or is gone.
    pub(crate) fn leave(&self, timer: TimerId) {
        self.order.borrow_mut().unlink(timer.index());
    }

    /// Closes up to `count` connections that have been idle for `age_ms` or longer, the longest
    /// idle first, and returns how many. A request that has just come is still answered.
    pub(crate) fn shed(&self, shard: &Shard, count: u64, age_ms: u64) -> u64 {
        let mut closed = 0;
        while closed < count {
            let Some(index) = self
                .order
                .borrow_mut()
                .take_first(shard.now_ms() as u32, age_ms)
            else {
                break;
            };
            shard.expire(TimerId::from_index(index));
            closed += 1;
        }
        closed
    }

    /// Ready once a connection is idle.
    pub(crate) fn poll_any(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.order.borrow().first != NONE {
            return Poll::Ready(());
        }
        *self.watcher.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Order {
    fn put_last(&mut self, index: u32, since_ms: u32) {
        if self.last == index {
            self.nodes[index as usize].since_ms = since_ms;
            return;
        }
        self.unlink(index);
        let at = index as usize;
        if at >= self.nodes.len() {
            let outside = Node {
                previous: OUTSIDE,
                next: OUTSIDE,
                since_ms: 0,
            };
            self.nodes.resize(at + 1, outside);
        }
        self.nodes[at] = Node {
            previous: self.last,
            next: NONE,
            since_ms,
        };
        match self.last {
            NONE => self.first = index,
            last => self.nodes[last as usize].next = index,
        }
        self.last = index;
    }

    fn unlink(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize) else {
            return;
        };
        let Node { previous, next, .. } = *node;
        if previous == OUTSIDE {
            return;
        }
        node.previous = OUTSIDE;
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
    }

    /// The first, out of the order, if it has been idle for so long.
    fn take_first(&mut self, now_ms: u32, age_ms: u64) -> Option<u32> {
        let first = self.first;
        let node = self.nodes.get(first as usize)?;
        if u64::from(now_ms.wrapping_sub(node.since_ms)) < age_ms {
            return None;
        }
        self.unlink(first);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn order() -> Order {
        Order {
            nodes: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }

    #[test]
    fn the_longest_idle_comes_first_and_only_when_old_enough() {
        let mut order = order();
        for (index, since) in [(3, 10), (0, 20), (7, 30)] {
            order.put_last(index, since);
        }
        order.put_last(3, 40);
        assert_eq!(order.take_first(45, 26), None);
        assert_eq!(order.take_first(45, 25), Some(0));
        order.unlink(7);
        order.unlink(7);
        assert_eq!(order.take_first(45, 0), Some(3));
        assert_eq!(order.take_first(45, 0), None);
    }

    #[test]
    fn ages_survive_the_clocks_turn() {
        let mut order = order();
        order.put_last(0, u32::MAX - 5);
        assert_eq!(order.take_first(4, 11), None);
        assert_eq!(order.take_first(4, 10), Some(0));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_queue(
            steps in proptest::collection::vec((0_u8..3, 0_u32..12), 0..200),
        ) {
            let (mut order, mut model) = (order(), VecDeque::new());
            for (step, index) in steps {
                match step {
                    0 => {
                        model.retain(|&other| other != index);
                        model.push_back(index);
                        order.put_last(index, 0);
                    }
                    1 => {
                        model.retain(|&other| other != index);
                        order.unlink(index);
                    }
                    _ => prop_assert_eq!(order.take_first(0, 0), model.pop_front()),
                }
            }
            while let Some(expected) = model.pop_front() {
                prop_assert_eq!(order.take_first(0, 0), Some(expected));
            }
            prop_assert_eq!(order.take_first(0, 0), None);
        }
    }
}
