//! Making the connections of one shard.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use super::engine::Engine;
use crate::limits;
use crate::runtime::{Stream, timeout};
use crate::sys::time::monotonic_ns;

/// What is known of making connections.
#[derive(Default)]
pub(super) struct Connecting {
    /// Index of the address that was last connected to.
    address: Cell<usize>,
    started: Cell<usize>,
    /// Connections that were tried at least once.
    tried: Cell<usize>,
    /// Connections made since the start, warm-up included.
    pub made: Cell<u64>,
    pub failed: Cell<u64>,
    pub first_error: RefCell<Option<(SocketAddr, io::Error)>>,
}

impl Engine {
    /// Notes that a connection was tried for the first time.
    pub fn tried(&self) {
        self.connecting.tried.set(self.connecting.tried.get() + 1);
        self.wake_root();
    }

    /// Starts all connections, not too many at a time; ready when every one was tried.
    pub fn poll_all_tried(
        &self,
        cx: &mut Context<'_>,
        connections: usize,
        mut start: impl FnMut(),
    ) -> Poll<()> {
        let tried = self.connecting.tried.get();
        let wanted = connections.min(tried + limits::LOAD_CONNECTING_MAX);
        while self.connecting.started.get() < wanted {
            self.connecting
                .started
                .set(self.connecting.started.get() + 1);
            self.connection_begins();
            start();
        }
        if tried >= connections {
            return Poll::Ready(());
        }
        self.set_root(cx);
        Poll::Pending
    }

    /// Connects to the server.
    pub async fn connect(&self) -> io::Result<Stream> {
        let connecting = &self.connecting;
        let addresses = &self.plan.addresses;
        let wait = Duration::from_millis(self.plan.timeout_ms);
        // Once one has answered it is stayed with.
        let attempts = if connecting.made.get() > 0 {
            1
        } else {
            addresses.len()
        };
        let mut at = connecting.address.get();
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for _ in 0..attempts {
            let address = addresses[at];
            let began_ns = monotonic_ns();
            result = match timeout(wait, Stream::connect(address)).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            if result.is_ok() {
                connecting.address.set(at);
                connecting.made.set(connecting.made.get() + 1);
                let took_ns = monotonic_ns() - began_ns;
                let mut record = self.record.borrow_mut();
                record.connect.saturating_record(took_ns);
                record.tally.connects += 1;
                return result;
            }
            if let Err(error) = &result {
                let mut first = connecting.first_error.borrow_mut();
                if first.is_none() {
                    let copy = match error.raw_os_error() {
                        Some(number) => io::Error::from_raw_os_error(number),
                        None => error.kind().into(),
                    };
                    *first = Some((address, copy));
                }
            }
            at = (at + 1) % addresses.len();
        }
        connecting.failed.set(connecting.failed.get() + 1);
        result
    }
}
