//! Connections from one shard to one server, which may have several addresses.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use super::address::Address;
use super::error::LoadError;
use crate::runtime::{Stream, timeout};
use crate::sys::time::monotonic_ns;

/// Makes connections and counts attempts.
#[derive(Default)]
pub(super) struct Connector {
    /// Index of the address of the last connection.
    current: Cell<usize>,
    /// Connections made, warm-up included.
    made: Cell<u64>,
    /// Attempts in which no address could be connected to.
    failed: Cell<u64>,
    first_error: RefCell<Option<LoadError>>,
}

impl Connector {
    /// Connects to one of `addresses`, each within `timeout_ms`; returns the connection and the
    /// time that it took in nanoseconds. Once an address has accepted a connection, only that
    /// address is tried.
    pub(crate) async fn connect(
        &self,
        addresses: &[Address],
        timeout_ms: u64,
    ) -> io::Result<(Stream, u64)> {
        let attempts = match self.made.get() {
            0 => addresses.len(),
            _ => 1,
        };
        let mut at = self.current.get();
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for _ in 0..attempts {
            let address = &addresses[at];
            let began_ns = monotonic_ns();
            let wait = Duration::from_millis(timeout_ms);
            let connected = match timeout(wait, address.connect()).await {
                Ok(connected) => connected,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            match connected {
                Ok(stream) => {
                    self.current.set(at);
                    self.made.set(self.made.get() + 1);
                    return Ok((stream, monotonic_ns() - began_ns));
                }
                Err(error) => {
                    self.note(address, &error);
                    result = Err(error);
                }
            }
            at = (at + 1) % addresses.len();
        }
        self.failed.set(self.failed.get() + 1);
        result
    }

    fn note(&self, address: &Address, error: &io::Error) {
        let mut first = self.first_error.borrow_mut();
        first.get_or_insert_with(|| LoadError::Connect {
            address: address.clone(),
            error: match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => error.kind().into(),
            },
        });
    }

    /// The first error, when none of at least `attempts` attempts made a connection.
    pub(crate) fn require_one(&self, attempts: u64) -> Result<(), LoadError> {
        match self.made.get() == 0 && self.failed.get() >= attempts {
            true => self.first_error.take().map_or(Ok(()), Err),
            false => Ok(()),
        }
    }
}
