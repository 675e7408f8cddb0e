//! Ctrl-C ends the load; the program then reports what was measured.

use std::sync::{Arc, Mutex};
use std::thread;

use crate::load::{LoadError, StopHandle};
use crate::sys::signal::{self, Signal};
use crate::sys::sync::lock;

/// The load that a signal ends.
pub(super) struct Signals(Arc<Mutex<Option<StopHandle>>>);

impl Signals {
    /// Blocks the signals before the first thread starts, so that all threads leave them to the one
    /// that waits.
    pub(crate) fn take() -> Result<Self, LoadError> {
        signal::block().map_err(|error| LoadError::Io {
            what: "taking over the signals",
            error,
        })?;
        let stop = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&stop);
        thread::spawn(move || obey(&shared));
        Ok(Self(stop))
    }

    /// Makes signals end this load from now on.
    pub(crate) fn stop(&self, stop: StopHandle) {
        *lock(&self.0) = Some(stop);
    }
}

/// The first SIGINT or SIGTERM stops sending, the second ends the load at once.
fn obey(stop: &Mutex<Option<StopHandle>>) {
    while let Ok(signal) = signal::wait() {
        match (signal, &*lock(stop)) {
            (Signal::Hangup | Signal::User1 | Signal::User2, _) | (_, None) => {}
            (_, Some(stop)) if stop.is_requested() => stop.immediately(),
            (_, Some(stop)) => stop.gracefully(),
        }
    }
}
