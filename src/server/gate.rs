//! A bound on how many may do something at once; the others wait in line.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Lets a number of tasks of one shard through at a time, in the order in which they came.
pub(super) struct Gate {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next_ticket: Cell<u64>,
}

/// A place within; given back on drop.
pub(super) struct Within<'g>(&'g Gate);

/// A place in the line; left on drop.
struct Ticket<'g>(&'g Gate, u64);

impl Gate {
    pub fn new(places: usize) -> Self {
        Self {
            free: Cell::new(places),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
        }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Within<'_> {
        if self.free.get() > 0 && self.waiting.borrow().is_empty() {
            self.free.set(self.free.get() - 1);
            return Within(self);
        }
        let ticket = Ticket(self, self.next_ticket.get());
        self.next_ticket.set(ticket.1 + 1);
        poll_fn(|cx| {
            let mut waiting = self.waiting.borrow_mut();
            let place = waiting.iter().position(|(number, _)| *number == ticket.1);
            if place.unwrap_or(waiting.len()) == 0 && self.free.get() > 0 {
                self.free.set(self.free.get() - 1);
                return Poll::Ready(());
            }
            match place {
                Some(place) => waiting[place].1.clone_from(cx.waker()),
                None => waiting.push_back((ticket.1, cx.waker().clone())),
            }
            Poll::Pending
        })
        .await;
        drop(ticket);
        Within(self)
    }

    fn call_next(&self) {
        if self.free.get() > 0
            && let Some((_, waker)) = self.waiting.borrow().front()
        {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.call_next();
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0
            .waiting
            .borrow_mut()
            .retain(|(number, _)| *number != self.1);
        self.0.call_next();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::rc::Rc;

    use super::*;
    use crate::runtime::{Runtime, Shard, yield_now};

    #[test]
    fn no_more_are_within_than_there_are_places_and_all_get_in() {
        let cpus = crate::sys::cpu::allowed().unwrap()[..1].to_vec();
        let root = |shard: Shard| async move {
            let gate = Rc::new(Gate::new(3));
            let within = Rc::new(Cell::new(0));
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20)
                .map(|who| {
                    let (gate, within) = (Rc::clone(&gate), Rc::clone(&within));
                    let order = Rc::clone(&order);
                    shard.spawn(async move {
                        let _place = gate.enter().await;
                        within.set(within.get() + 1);
                        assert!(within.get() <= 3);
                        order.borrow_mut().push(who);
                        yield_now().await;
                        within.set(within.get() - 1);
                    })
                })
                .collect();
            yield_now().await;
            // One that gives up in the line must not hold up the others.
            let mut gone = Box::pin(gate.enter());
            let polled = poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await;
            assert!(polled);
            drop(gone);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
            assert_eq!(gate.free.get(), 3);
        };
        let runtime = Runtime::new(cpus).unwrap().unpinned();
        runtime.run(root).unwrap();
    }
}
