//! A task that leaves its processor to others: while it blocks, and to let them go first.

use std::sync::atomic::Ordering;

use super::Priority;
use super::processors::Signal;
use super::shared::WorkerState;
use super::worker::Local;
use crate::limits;
use crate::sys::time;

impl Local {
    /// Runs `wait`, which blocks this thread, while another thread has its processor.
    pub(crate) fn block_in_place<T>(&self, wait: impl FnOnce() -> T) -> T {
        let (shared, me) = (&*self.shared, &*self.me);
        let before = me.state();
        self.return_reserved();
        let processor = shared.processors.release(shared, me.number);
        me.set_state(WorkerState::Blocked);
        self.flush();
        if let Some(processor) = processor {
            shared.processors.hand_over_if_needed(shared, processor);
        }
        let value = wait();
        let back = processor.is_some() && shared.processors.acquire_parked(shared, me.number);
        me.set_state(match (back, processor) {
            (true, _) => WorkerState::Running,
            (false, Some(_)) => WorkerState::Held,
            (false, None) => before,
        });
        value
    }

    /// Whether the current task has run for long enough to let others go first, and others wait.
    pub(crate) fn should_give_way(&self) -> bool {
        if self.me.yield_wanted.load(Ordering::Relaxed) {
            return true;
        }
        let began = self.began_ns.get();
        began != 0
            && self.interactive_waits()
            && time::monotonic_ns().saturating_sub(began) >= limits::TASK_GIVE_WAY_NS
    }

    fn interactive_waits(&self) -> bool {
        self.me.has_work() || self.shared.global_queue.len(Priority::Interactive) > 0
    }

    /// Leaves the processor to another thread and queues for one.
    #[cold]
    pub(crate) fn give_way(&self) {
        let (shared, me) = (&*self.shared, &*self.me);
        me.yield_wanted.store(false, Ordering::Relaxed);
        // Each task that has given way keeps a thread, so their number is bounded.
        if !self.interactive_waits() || !shared.may_give_way() {
            return;
        }
        let current = me.current.load(Ordering::Relaxed);
        let priority = current.map_or(Priority::Interactive, |cell| cell.meta.owner().priority);
        let processors = &shared.processors;
        if let Some(processor) = processors.release(shared, me.number) {
            me.set_state(WorkerState::Waiting);
            self.return_reserved();
            self.flush();
            shared.global_queue.push_resume(priority, me.number);
            if processors.assign(shared, processor, Signal::Run).is_ok() {
                shared.wake_one();
                self.stats.park(|| self.wait());
            } else if shared.global_queue.take_back(priority, me.number) {
                // There are as many threads as there may be.
                processors.acquire(shared, me.number, processor);
            } else {
                // Another worker is about to give this one its processor.
                processors.park(shared, processor);
                self.wait();
            }
            me.set_state(WorkerState::Running);
        }
        shared.has_given_way();
        if self.began_ns.get() != 0 {
            self.began_ns.set(time::monotonic_ns());
        }
    }

    /// Gives the processor to a worker that waits in the middle of a task.
    pub(super) fn resume(&self, number: u32) {
        let (shared, me) = (&*self.shared, &*self.me);
        let Some(other) = shared.worker(number) else {
            return;
        };
        let Some(processor) = shared.processors.release(shared, me.number) else {
            // The monitor has just taken it away.
            shared
                .global_queue
                .push_resume(Priority::Background, number);
            return shared.wake_one();
        };
        self.flush();
        shared.processors.acquire(shared, number, processor);
        other.signal(Signal::Run);
        // The tasks that waited here are in the global queue now.
        shared.wake_one();
    }
}
