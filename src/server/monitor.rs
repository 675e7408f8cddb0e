//! The thread that looks for shards that stall while they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::error::ServeError;
use super::observation::{Observation, StallReporter};
use crate::runtime::StallMonitor;
use crate::sys;

/// Looks until it is dropped.
pub(super) struct Monitor {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    pub fn start(mut stalls: StallMonitor, observation: Observation) -> Result<Self, ServeError> {
        let ended = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&ended);
        let look = move || {
            let mut reporter = StallReporter::new(observation);
            while !watched.load(Ordering::Acquire) {
                let now_ns = sys::time::monotonic_ns();
                thread::park_timeout(stalls.look(now_ns, |stall| reporter.tell(stall, now_ns)));
            }
        };
        let thread = thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(look);
        let thread = thread.map_err(|e| {
            ServeError::Service(format!(
                "starting the thread that watches the shards failed: {e}"
            ))
        })?;
        Ok(Self {
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
