//! A bound on how many may do something at once; the others wait in line.

use std::cell::Cell;
use std::future::poll_fn;

use super::line::{Line, Place};

/// Lets a number of tasks of one shard through at a time.
pub(super) struct Gate {
    free: Cell<usize>,
    line: Line,
}

/// A place within; given back on drop.
pub(super) struct Within<'g>(&'g Gate);

impl Gate {
    pub fn new(places: usize) -> Self {
        Self {
            free: Cell::new(places),
            line: Line::default(),
        }
    }

    /// Waits for a place.
    pub async fn enter(&self) -> Within<'_> {
        let mut waiting = Waiting(self, self.line.place());
        poll_fn(|cx| waiting.1.poll_leave(self.free.get() > 0, cx)).await;
        self.free.set(self.free.get() - 1);
        Within(self)
    }

    fn call_next(&self) {
        if self.free.get() > 0
            && let Some(waker) = self.line.first()
        {
            waker.wake();
        }
    }
}

/// Whoever leaves the line, let in or not, makes way for the next.
struct Waiting<'g>(&'g Gate, Place<'g>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.1.leave();
        self.0.call_next();
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.call_next();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::rc::Rc;
    use std::task::Poll;

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
