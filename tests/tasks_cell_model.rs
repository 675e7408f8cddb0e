//! The life of a task in its slot, checked over every order in which its steps can fall (loom):
//! no wake-up is missed, and a slot has one user at a time.
//!
//! `src/tasks/cell.rs` is restated here on loom's types, to be changed together with it.

use std::collections::VecDeque;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use orders::every_order;
use permit::Permit;

#[path = "support/orders.rs"]
mod orders;
#[path = "support/permit.rs"]
mod permit;

const SCHEDULED: u64 = 1;
const RUNNING: u64 = 1 << 1;
const DONE: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
const WAITED: u64 = 1 << 4;

/// `Slot`; loom reports two users of the body at a time.
struct Slot {
    state: AtomicU64,
    body: UnsafeCell<u32>,
    waiter: Mutex<Option<Arc<Permit>>>,
    released: AtomicUsize,
}

impl Slot {
    fn scheduled() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU64::new(SCHEDULED | HANDLE),
            body: UnsafeCell::new(0),
            waiter: Mutex::new(None),
            released: AtomicUsize::new(0),
        })
    }

    fn claim(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (SCHEDULED | RUNNING | DONE) == SCHEDULED {
            let claimed = (state & !SCHEDULED) | RUNNING;
            match self
                .state
                .compare_exchange(state, claimed, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn wake(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & DONE == 0 {
            match self.state.compare_exchange(
                state,
                state | SCHEDULED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return state & (RUNNING | SCHEDULED) == 0,
                Err(now) => state = now,
            }
        }
        false
    }

    fn use_body(&self) {
        self.body.with_mut(|body| unsafe { *body += 1 });
    }

    fn release(&self) {
        if self.state.load(Ordering::Relaxed) & WAITED != 0 {
            self.waiter.lock().unwrap().take();
        }
        self.use_body();
        self.released.fetch_add(1, Ordering::Relaxed);
    }

    fn finish(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITED == 0 {
            let done = (state & !RUNNING) | DONE;
            match self
                .state
                .compare_exchange(state, done, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if state & HANDLE != 0 => return,
                Ok(_) => return self.release(),
                Err(now) => state = now,
            }
        }
        let mut waiter = self.waiter.lock().unwrap();
        let waker = waiter.take();
        let before = self.state.fetch_xor(RUNNING | DONE, Ordering::AcqRel);
        drop(waiter);
        if let Some(waker) = waker {
            waker.give();
        }
        if before & HANDLE == 0 {
            self.release();
        }
    }

    /// Runs the task, which is done when `ready` says so. True if it must be queued again.
    fn run(&self, ready: impl Fn() -> bool) -> bool {
        if !self.claim() {
            return false;
        }
        self.use_body();
        if ready() {
            self.finish();
            return false;
        }
        self.state.fetch_and(!RUNNING, Ordering::AcqRel) & SCHEDULED != 0
    }

    /// As `Handle::wait`.
    fn wait(&self, waker: &Arc<Permit>) -> bool {
        *self.waiter.lock().unwrap() = Some(Arc::clone(waker));
        self.state.fetch_or(WAITED, Ordering::AcqRel) & DONE == 0
    }

    fn take(&self) -> bool {
        let done = self.state.load(Ordering::Acquire) & DONE != 0;
        if done {
            self.release();
        }
        done
    }

    fn let_go(&self) {
        if self.state.fetch_and(!HANDLE, Ordering::AcqRel) & DONE != 0 {
            self.release();
        }
    }
}

#[test]
fn a_task_misses_no_wake_up_and_runs_on_one_thread_at_a_time() {
    every_order(|| {
        let slot = Slot::scheduled();
        let ready = Arc::new(AtomicBool::new(false));
        let queue = Arc::new((Mutex::new(VecDeque::from([()])), Condvar::new()));
        let waker = {
            let (slot, ready) = (Arc::clone(&slot), Arc::clone(&ready));
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                ready.store(true, Ordering::Relaxed);
                if slot.wake() {
                    queue.0.lock().unwrap().push_back(());
                    queue.1.notify_one();
                }
            })
        };
        // Runs until it is done: a lost wake-up is a deadlock.
        while slot.state.load(Ordering::Acquire) & DONE == 0 {
            let mut tasks = queue.0.lock().unwrap();
            while tasks.is_empty() {
                tasks = queue.1.wait(tasks).unwrap();
            }
            tasks.pop_front();
            drop(tasks);
            if slot.run(|| ready.load(Ordering::Relaxed)) {
                queue.0.lock().unwrap().push_back(());
            }
        }
        waker.join().unwrap();
    });
}

#[test]
fn a_task_that_is_queued_twice_runs_once() {
    every_order(|| {
        let slot = Slot::scheduled();
        let other = Arc::clone(&slot);
        let other = thread::spawn(move || other.run(|| true));
        slot.run(|| true);
        other.join().unwrap();
        assert!(slot.take());
        slot.body.with(|body| assert_eq!(unsafe { *body }, 2));
    });
}

#[test]
fn a_slot_is_released_once_whoever_is_last() {
    every_order(|| {
        let slot = Slot::scheduled();
        let worker = Arc::clone(&slot);
        let worker = thread::spawn(move || worker.run(|| true));
        slot.let_go();
        worker.join().unwrap();
        assert_eq!(slot.released.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn who_waits_for_a_result_is_woken_and_gets_it() {
    every_order(|| {
        let slot = Slot::scheduled();
        let worker = Arc::clone(&slot);
        let worker = thread::spawn(move || worker.run(|| true));
        let waker = Arc::new(Permit::new());
        while !slot.take() {
            if slot.wait(&waker) {
                waker.wait();
            }
        }
        worker.join().unwrap();
        assert_eq!(slot.released.load(Ordering::Relaxed), 1);
        assert!(
            slot.waiter.lock().unwrap().is_none(),
            "nothing is left behind"
        );
    });
}

#[test]
fn who_waits_and_then_gives_up_leaves_the_slot_to_the_worker() {
    every_order(|| {
        let slot = Slot::scheduled();
        let worker = Arc::clone(&slot);
        let worker = thread::spawn(move || worker.run(|| true));
        if slot.wait(&Arc::new(Permit::new())) {
            slot.let_go();
        } else {
            assert!(slot.take());
        }
        worker.join().unwrap();
        assert_eq!(slot.released.load(Ordering::Relaxed), 1);
    });
}
