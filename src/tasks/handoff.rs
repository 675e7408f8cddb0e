//! Hand-off: takes the processor, with the tasks queued on it, away from a worker that a task
//! holds.

use std::sync::atomic::Ordering;

use super::Priority;
use super::processors::NONE;
use super::shared::{Shared, Worker, WorkerState};
use super::stats;

impl Shared {
    /// If a worker is still in the task that it ran at `tick`, gives its processor and the tasks in
    /// its queue to another thread. Called by the monitor.
    pub(super) fn replace(&self, worker: &Worker, tick: u32) {
        let is_held = || {
            let held = worker.tick.load(Ordering::Relaxed) == tick
                && worker.state() == WorkerState::Running;
            if held {
                worker.set_state(WorkerState::Held);
            }
            held
        };
        let processors = &self.processors;
        let Some(processor) = processors.release_if(self, worker.number, is_held) else {
            return;
        };
        let waiting = self.flush(worker);
        // If the pool has reached its limit of threads, the processor waits for one of them.
        if processors.hand_over(self, processor) {
            self.hand_offs.fetch_add(1, Ordering::Relaxed);
            stats::handed_off(worker.number, waiting);
        }
    }

    /// Moves the tasks in a worker's queue and LIFO slot to the front of the global queue, and
    /// returns how many there were. On any thread.
    pub(super) fn flush(&self, worker: &Worker) -> usize {
        let mut waiting = worker.queue.take_all();
        waiting.extend(worker.lifo_slot.take());
        if !waiting.is_empty() {
            self.global_queue
                .push_front(Priority::Interactive, &waiting);
        }
        waiting.len()
    }

    /// Moves tasks from workers without a processor to the global queue, where others find them.
    /// Called by the monitor, again and again while there is such a worker (`any_held`).
    ///
    /// A worker without a processor puts nothing into its own queue. But it may have checked just
    /// before `replace` took the processor away, and push a task after `replace` has emptied the
    /// queue (`Local::queue`, and `steal_into` in a join). Without this function, that task would
    /// wait until the task that holds the worker ends.
    pub(super) fn rescue(&self) {
        for worker in self.all_workers() {
            if worker.processor() == NONE && worker.has_work() {
                self.flush(worker);
                self.wake_one();
            }
        }
    }

    /// Whether a worker without a processor runs a task that may queue others.
    pub(super) fn any_held(&self) -> bool {
        self.all_workers().any(|worker| {
            let queues = matches!(worker.state(), WorkerState::Running | WorkerState::Held);
            queues && worker.processor() == NONE
        })
    }
}

#[cfg(all(test, not(headwater_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::task::Poll;
    use std::time::Duration;

    use super::super::task_id::TaskId;
    use super::super::{ClassOptions, Options, Pool, context};
    use super::*;

    /// The race between `Local::queue` and `replace`, with its outcome forced: a task in the queue
    /// of a worker that has lost its processor.
    #[test]
    fn a_task_that_is_stranded_on_a_held_worker_is_rescued() {
        const PATIENCE: Duration = Duration::from_secs(60);
        let pool = Pool::start(Options {
            workers: 1,
            ..Options::default()
        });
        let pool = pool.expect("a pool");
        let class = pool.handle().class(ClassOptions::default());
        let class = class.expect("a class");
        let (tell_id, ids) = mpsc::channel();
        let mut polled = false;
        let stranded = class.spawn(std::future::poll_fn(move |cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(7);
            }
            tell_id
                .send(cx.waker().data() as usize as u64)
                .expect("it is read");
            Poll::Pending
        }));
        let stranded = stranded.expect("room");
        let id = TaskId::from_word(ids.recv().expect("it runs")).expect("a task");
        let (tell_end, end) = mpsc::channel::<()>();
        let (has_begun, begun) = mpsc::channel();
        let held = class.run(move || {
            has_begun.send(()).expect("it is read");
            let lost = |local: Option<&super::super::worker::Local>| {
                local.is_some_and(|local| local.me.processor() == NONE)
            };
            while !context::with(lost) {
                std::hint::spin_loop();
            }
            let wake = |local: Option<&super::super::worker::Local>| {
                let (local, cell) = (local.expect("a worker"), id.cell().expect("a cell"));
                while !cell.wake(id.generation()) {
                    std::hint::spin_loop();
                }
                local.me.queue.push(id, |_| ());
            };
            context::with(wake);
            // Holds the worker: it blocks without `block_in_place`.
            end.recv_timeout(PATIENCE).is_ok()
        });
        begun.recv().expect("it runs");
        // For this one the monitor takes the processor away.
        let other = class.run(|| 1).expect("room");
        assert_eq!(other.join(), Ok(1));
        assert_eq!(stranded.join(), Ok(7));
        tell_end.send(()).expect("it waits");
        assert_eq!(held.expect("room").join(), Ok(true));
    }
}
