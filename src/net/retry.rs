//! Retries a bind while the kernel is still releasing its address ([`holder`](super::holder)).

use std::thread;
use std::time::{Duration, Instant};

use super::error::ListenError;
use crate::limits;

/// Calls `bind` again while it finds its address in use, for at most [`limits::BIND_RETRY_MS`];
/// stops when a live process holds the address, which the error then names.
pub(super) fn retry_in_use<T>(
    mut bind: impl FnMut() -> Result<T, ListenError>,
) -> Result<T, ListenError> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(limits::BIND_PAUSE_MS);
    let mut seen = None;
    loop {
        let error = match bind() {
            Err(error) if error.is_in_use() => error,
            result => return result,
        };
        // The process must be found twice: one that is being killed holds its sockets a little
        // longer.
        let held = error.holder().is_some() && error.holder() == seen.as_ref();
        if held || start.elapsed() >= Duration::from_millis(limits::BIND_RETRY_MS) {
            return Err(error);
        }
        seen = error.holder().cloned();
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(limits::BIND_PAUSE_MS_MAX));
    }
}
