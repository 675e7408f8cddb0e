//! A bound on how many tasks of one shard do something at the same time.

use std::cell::Cell;
use std::future::poll_fn;

use super::wait_queue::{WaitQueue, Waiter};

/// A counting semaphore for the tasks of one shard; permits are given in the order of asking.
pub(super) struct Semaphore {
    free: Cell<usize>,
    queue: WaitQueue,
}

/// One permit; dropping it gives it back.
pub(super) struct Permit<'s>(&'s Semaphore);

impl Semaphore {
    pub(crate) fn new(permits: usize) -> Self {
        Self {
            free: Cell::new(permits),
            queue: WaitQueue::default(),
        }
    }

    /// Waits for a permit.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        let mut acquiring = Acquiring(self, self.queue.waiter());
        poll_fn(|cx| acquiring.1.poll_leave(self.free.get() > 0, cx)).await;
        self.free.set(self.free.get() - 1);
        Permit(self)
    }

    fn wake_first(&self) {
        if self.free.get() > 0
            && let Some(waker) = self.queue.first()
        {
            waker.wake();
        }
    }
}

/// A task that leaves the queue, with a permit or without, wakes the next one.
struct Acquiring<'s>(&'s Semaphore, Waiter<'s>);

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        self.1.leave();
        self.0.wake_first();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.wake_first();
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
    fn no_more_hold_a_permit_than_there_are_and_all_get_one() {
        let cpus = crate::sys::cpu::allowed().unwrap()[..1].to_vec();
        let root = |shard: Shard| async move {
            let semaphore = Rc::new(Semaphore::new(3));
            let holders = Rc::new(Cell::new(0));
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20)
                .map(|who| {
                    let (semaphore, holders) = (Rc::clone(&semaphore), Rc::clone(&holders));
                    let order = Rc::clone(&order);
                    shard.spawn(async move {
                        let _permit = semaphore.acquire().await;
                        holders.set(holders.get() + 1);
                        assert!(holders.get() <= 3);
                        order.borrow_mut().push(who);
                        yield_now().await;
                        holders.set(holders.get() - 1);
                    })
                })
                .collect();
            yield_now().await;
            // One that gives up while it waits must not hold up the others.
            let mut dropped = Box::pin(semaphore.acquire());
            let polled = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_pending())).await;
            assert!(polled);
            drop(dropped);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
            assert_eq!(semaphore.free.get(), 3);
        };
        let runtime = Runtime::new(cpus).unwrap().unpinned();
        runtime.run(root).unwrap();
    }
}
