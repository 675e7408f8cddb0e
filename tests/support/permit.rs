//! `thread::park` and `unpark` for a model.

use loom::sync::{Condvar, Mutex};

/// A thread's permit to go on.
pub struct Permit {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Permit {
    pub fn new() -> Self {
        Self {
            given: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    pub fn give(&self) {
        *self.given.lock().unwrap() = true;
        self.changed.notify_one();
    }

    pub fn wait(&self) {
        let mut given = self.given.lock().unwrap();
        while !*given {
            given = self.changed.wait(given).unwrap();
        }
        *given = false;
    }
}
