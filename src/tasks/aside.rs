//! A task that leaves its place to others: while it blocks, and to let them go first.

use std::sync::atomic::Ordering;

use super::Priority;
use super::shared::{Signal, WorkerState};
use super::worker::Local;
use crate::limits;
use crate::sys::time;

impl Local {
    /// Runs `wait`, which blocks this thread, while another has its place.
    pub fn block<T>(&self, wait: impl FnOnce() -> T) -> T {
        let (shared, me) = (&*self.shared, &*self.me);
        let before = me.state();
        self.return_aside();
        let place = shared.leave_place(me);
        me.set_state(WorkerState::Blocked);
        if let Some(place) = place {
            self.flush();
            shared.fill_or_park(place);
        }
        let value = wait();
        let back = place.is_some() && shared.take_free_place(me);
        me.set_state(match (back, place) {
            (true, _) => WorkerState::Running,
            (false, Some(_)) => WorkerState::Held,
            (false, None) => before,
        });
        value
    }

    /// Whether the current task has run for long enough to let others go first, and others wait.
    pub fn should_give_way(&self) -> bool {
        if self.me.yield_wanted.load(Ordering::Relaxed) {
            return true;
        }
        let began = self.began_ns.get();
        began != 0
            && self.interactive_waits()
            && time::monotonic_ns().saturating_sub(began) >= limits::TASK_GIVE_WAY_NS
    }

    fn interactive_waits(&self) -> bool {
        self.me.has_work() || self.shared.inject.len(Priority::Interactive) > 0
    }

    /// Leaves the place to another thread and waits in line for one.
    #[cold]
    pub fn give_way(&self) {
        let (shared, me) = (&*self.shared, &*self.me);
        me.yield_wanted.store(false, Ordering::Relaxed);
        // Each task that has given way keeps a thread, so there are not many of them.
        if !self.interactive_waits() || !shared.may_give_way() {
            return;
        }
        let current = me.current.load(Ordering::Relaxed);
        let priority = current.map_or(Priority::Interactive, |slot| slot.meta.owner().priority);
        if let Some(place) = shared.leave_place(me) {
            me.set_state(WorkerState::Waiting);
            self.return_aside();
            self.flush();
            shared.inject.push_resume(priority, me.number);
            if shared.give_place(place, Signal::Run).is_ok() {
                shared.wake_one();
                self.notes.park(|| self.wait());
            } else if shared.inject.take_back(priority, me.number) {
                // There are as many threads as there may be.
                shared.take_place(me, place);
            } else {
                // It is about to be given another place.
                shared.idle.park(place, false, || true);
                self.wait();
            }
            me.set_state(WorkerState::Running);
        }
        shared.has_given_way();
        if self.began_ns.get() != 0 {
            self.began_ns.set(time::monotonic_ns());
        }
    }

    /// Gives the place to a thread that waits in the middle of a task.
    pub(super) fn resume(&self, number: u32) {
        let (shared, me) = (&*self.shared, &*self.me);
        let Some(other) = shared.worker(number) else {
            return;
        };
        let Some(place) = shared.leave_place(me) else {
            return shared.inject.push_resume(Priority::Background, number);
        };
        self.flush();
        shared.take_place(other, place);
        other.signal(Signal::Run);
        // What waited here waits in the common queue now.
        shared.wake_one();
    }
}
