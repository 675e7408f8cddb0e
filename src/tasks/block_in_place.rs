//! How a running task gives its processor up: while it blocks, and when it yields at a checkpoint.

use std::sync::atomic::Ordering;

use super::Priority;
use super::processors::Signal;
use super::shared::WorkerState;
use super::worker::Local;
use crate::limits;
use crate::sys::time;

impl Local {
    /// Runs `wait`, which blocks this thread, while another thread uses its processor.
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

    /// Whether the current task has used up its time slice and other tasks wait.
    pub(crate) fn should_yield(&self) -> bool {
        if self.me.yield_wanted.load(Ordering::Relaxed) {
            return true;
        }
        let began = self.began_ns.get();
        began != 0
            && self.interactive_waits()
            && time::monotonic_ns().saturating_sub(began) >= limits::TASK_BACKGROUND_SLICE_NS
    }

    fn interactive_waits(&self) -> bool {
        self.me.has_work() || self.shared.global_queue.len(Priority::Interactive) > 0
    }

    /// Gives the processor to another thread and queues for a processor.
    #[cold]
    pub(crate) fn yield_processor(&self) {
        let (shared, me) = (&*self.shared, &*self.me);
        me.yield_wanted.store(false, Ordering::Relaxed);
        // Each task that has yielded keeps a thread, so their number is bounded.
        if !self.interactive_waits() || !shared.begin_yield() {
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
                // The pool has reached its limit of threads.
                processors.acquire(shared, me.number, processor);
            } else {
                // Another worker is about to give this one its processor.
                processors.park(shared, processor);
                self.wait();
            }
            me.set_state(WorkerState::Running);
        }
        shared.end_yield();
        if self.began_ns.get() != 0 {
            self.began_ns.set(time::monotonic_ns());
        }
    }

    /// Gives the processor to a worker whose task has yielded.
    pub(super) fn resume(&self, number: u32) {
        let (shared, me) = (&*self.shared, &*self.me);
        let Some(other) = shared.worker(number) else {
            return;
        };
        let Some(processor) = shared.processors.release(shared, me.number) else {
            // The monitor has just taken the processor away.
            shared
                .global_queue
                .push_resume(Priority::Background, number);
            return shared.wake_one();
        };
        self.flush();
        shared.processors.acquire(shared, number, processor);
        other.signal(Signal::Run);
        // The tasks of this worker's queue are in the global queue now.
        shared.wake_one();
    }
}
