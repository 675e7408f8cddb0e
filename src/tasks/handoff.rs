//! Who has which place, where it changes.

use std::sync::atomic::Ordering;

use super::Priority;
use super::notes;
use super::shared::{NONE, Shared, Signal, Worker, WorkerState};

impl Shared {
    /// Takes the place from a worker; `None` if it has none.
    pub(super) fn leave_place(&self, worker: &Worker) -> Option<u32> {
        self.idle.locked(|| self.vacate(worker))
    }

    /// With the lock of `idle` held.
    fn vacate(&self, worker: &Worker) -> Option<u32> {
        let place = worker.place.swap(NONE, Ordering::AcqRel);
        if place == NONE {
            return None;
        }
        self.places[place as usize].store(NONE, Ordering::Release);
        Some(place)
    }

    /// Gives a place that has no thread to this worker.
    pub(super) fn take_place(&self, worker: &Worker, place: u32) {
        self.idle.locked(|| {
            worker.place.store(place, Ordering::Release);
            self.places[place as usize].store(worker.number, Ordering::Release);
        });
    }

    /// Gives a place that stands free because nothing was to be done to this worker, which is
    /// awake. False if none does.
    pub(super) fn take_free_place(&self, worker: &Worker) -> bool {
        let free = |place: u32| self.places[place as usize].load(Ordering::Acquire) == NONE;
        let taken = self.idle.unpark(false, free);
        if let Some(place) = taken {
            self.take_place(worker, place);
        }
        taken.is_some()
    }

    /// Has another thread work at a place whose thread has left it, if there is work.
    pub(super) fn fill_or_park(&self, place: u32) {
        let filled = self.work_waits() && self.give_place(place, Signal::Run).is_ok();
        // Whoever takes the place takes one task; there may be more.
        if filled || self.idle.park(place, false, || true) == Some(true) && self.work_waits() {
            self.wake_one();
        }
    }

    /// Another thread takes the place of a worker that is still in the task that it was in at
    /// `tick`, with all that waits behind that task.
    pub(super) fn replace(&self, worker: &Worker, tick: u32) {
        let place = self.idle.locked(|| {
            let held = worker.tick.load(Ordering::Relaxed) == tick
                && worker.state() == WorkerState::Running;
            held.then(|| {
                worker.set_state(WorkerState::Held);
                self.vacate(worker)
            })?
        });
        let Some(place) = place else {
            return;
        };
        let mut waiting = worker.queue.take_all();
        waiting.extend(worker.next.swap(None, Ordering::AcqRel));
        if !waiting.is_empty() {
            self.inject.push_front(Priority::Interactive, &waiting);
        }
        if self.give_place(place, Signal::Run).is_ok() {
            self.hand_offs.fetch_add(1, Ordering::Relaxed);
            self.wake_one();
            notes::handed_off(worker.number, waiting.len());
        } else {
            // There are as many threads as there may be. The place waits for one of them.
            self.idle.park(place, false, || true);
        }
    }
}
