//! Trying a bind again while its address is being given back ([`holder`](super::holder)).

use std::thread;
use std::time::{Duration, Instant};

use super::error::ListenError;
use crate::limits;

/// Until when binds are tried again that find their address in use: one for all addresses of a
/// start, so that many that are taken don't hold it up one after another.
#[derive(Clone, Copy, Debug)]
pub struct BindDeadline(Instant);

impl BindDeadline {
    /// [`limits::BIND_RETRY_MS`] from now.
    pub fn start() -> Self {
        Self(Instant::now() + Duration::from_millis(limits::BIND_RETRY_MS))
    }

    /// Calls `bind` again while it finds its address in use; not when a living process holds the
    /// address, which the error names then.
    pub(super) fn retry<T>(
        self,
        mut bind: impl FnMut() -> Result<T, ListenError>,
    ) -> Result<T, ListenError> {
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
            if held || Instant::now() >= self.0 {
                return Err(error);
            }
            seen = error.holder().cloned();
            thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(limits::BIND_PAUSE_MS_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// How often a bind is tried of an address that nobody gives back.
    fn attempts(deadline: BindDeadline) -> usize {
        let address = "127.0.0.1:1".parse().unwrap();
        let mut attempts = 0;
        let bound = deadline.retry(|| -> Result<(), ListenError> {
            attempts += 1;
            let source = io::ErrorKind::AddrInUse.into();
            Err(ListenError::new(&address, "bind", source))
        });
        assert!(bound.unwrap_err().is_in_use());
        attempts
    }

    #[test]
    fn all_addresses_of_a_start_have_one_deadline() {
        let deadline = BindDeadline::start();
        assert!(attempts(deadline) > 2);
        for _ in 0..100 {
            assert_eq!(attempts(deadline), 1);
        }
    }
}
