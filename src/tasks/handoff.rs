//! Who has which processor, where it changes.

use std::sync::atomic::Ordering;

use super::Priority;
use super::shared::{NONE, Shared, Signal, Worker, WorkerState};
use super::stats;

impl Shared {
    /// Takes the processor from a worker; `None` if it has none.
    pub(super) fn release_processor(&self, worker: &Worker) -> Option<u32> {
        self.idle.locked(|| self.vacate(worker))
    }

    /// With the lock of `idle` held.
    fn vacate(&self, worker: &Worker) -> Option<u32> {
        let processor = worker.processor.swap(NONE, Ordering::AcqRel);
        if processor == NONE {
            return None;
        }
        self.processors[processor as usize].store(NONE, Ordering::Release);
        Some(processor)
    }

    /// Gives a processor that has no thread to this worker.
    pub(super) fn acquire_processor(&self, worker: &Worker, processor: u32) {
        self.idle.locked(|| {
            worker.processor.store(processor, Ordering::Release);
            self.processors[processor as usize].store(worker.number, Ordering::Release);
        });
    }

    /// Gives a processor that stands free because nothing was to be done to this worker, which is
    /// awake. False if none does.
    pub(super) fn acquire_parked_processor(&self, worker: &Worker) -> bool {
        let free =
            |processor: u32| self.processors[processor as usize].load(Ordering::Acquire) == NONE;
        let taken = self.idle.unpark(false, free);
        if let Some(processor) = taken {
            self.acquire_processor(worker, processor);
        }
        taken.is_some()
    }

    /// Has another thread work at a processor whose thread has left it, if there is work.
    pub(super) fn hand_off_or_park(&self, processor: u32) {
        let filled = self.work_waits() && self.assign_processor(processor, Signal::Run).is_ok();
        // Whoever takes the processor takes one task; there may be more.
        if filled || self.idle.park(processor, false, || true) == Some(true) && self.work_waits() {
            self.wake_one();
        }
    }

    /// Another thread takes the processor of a worker that is still in the task that it was in at
    /// `tick`, with all that waits behind that task.
    pub(super) fn replace(&self, worker: &Worker, tick: u32) {
        let processor = self.idle.locked(|| {
            let held = worker.tick.load(Ordering::Relaxed) == tick
                && worker.state() == WorkerState::Running;
            held.then(|| {
                worker.set_state(WorkerState::Held);
                self.vacate(worker)
            })?
        });
        let Some(processor) = processor else {
            return;
        };
        let mut waiting = worker.queue.take_all();
        waiting.extend(worker.lifo_slot.swap(None, Ordering::AcqRel));
        if !waiting.is_empty() {
            self.global_queue
                .push_front(Priority::Interactive, &waiting);
        }
        if self.assign_processor(processor, Signal::Run).is_ok() {
            self.hand_offs.fetch_add(1, Ordering::Relaxed);
            self.wake_one();
            stats::handed_off(worker.number, waiting.len());
        } else {
            // There are as many threads as there may be. The processor waits for one of them.
            self.idle.park(processor, false, || true);
        }
    }
}
