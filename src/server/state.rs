//! What all connections of one shard share.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::clock::Clock;
use super::inbox::Inbox;
use super::options::ServerOptions;
use super::transfer::Transfers;
use crate::net::balance;
use crate::net::per_address::{Admission, PerAddress};
use crate::runtime::{Shard, Stream};
use crate::sys;

/// What all shards of a server share. Touched when a connection comes or goes,
/// never by a request.
pub(super) struct Shared {
    pub options: ServerOptions,
    connections: AtomicUsize,
    /// Each shard writes its own count, and reads the others' to hand over.
    loads: Vec<AtomicU32>,
    per_address: Option<Arc<PerAddress>>,
}

impl Shared {
    pub fn new(options: ServerOptions, shards: usize) -> Arc<Self> {
        let per_address = match options.connections_per_address_max {
            0 => None,
            max => Some(PerAddress::new(max)),
        };
        Arc::new(Self {
            options,
            connections: AtomicUsize::new(0),
            loads: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            per_address,
        })
    }

    /// Open connections of all shards.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Counters of one shard's server, written by it alone.
#[derive(Default)]
pub(super) struct Counters {
    pub requests: Cell<u64>,
    pub refused: Cell<u64>,
}

/// One shard's share of a server.
pub(super) struct ShardState {
    pub shard: Shard,
    pub shared: Arc<Shared>,
    pub clock: Clock,
    pub counters: Counters,
    pub transfers: Transfers,
    connections: Cell<u32>,
    draining: Cell<bool>,
    /// Those who wait for a connection's end: the accept loop short of
    /// descriptors, and the shard's own end.
    waiting: RefCell<Vec<Waker>>,
}

/// Why a connection was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Total,
    PerAddress,
}

impl ShardState {
    pub fn new(shard: &Shard, shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            shard: shard.clone(),
            shared,
            clock: Clock::new(),
            counters: Counters::default(),
            transfers: Transfers::new(shard),
            connections: Cell::new(0),
            draining: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    pub fn options(&self) -> &ServerOptions {
        &self.shared.options
    }

    /// Counts a connection in for as long as the seat lives.
    pub fn admit(self: &Rc<Self>, stream: &Stream) -> Result<Seat, Refusal> {
        let total = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.set_connections(self.connections.get() + 1);
        let mut seat = Seat {
            state: Rc::clone(self),
            _address: None,
        };
        if total >= self.options().connections_max {
            return Err(Refusal::Total);
        }
        if let Some(table) = &self.shared.per_address
            && let Some(address) = peer(stream)
        {
            seat._address = Some(table.admit(address).ok_or(Refusal::PerAddress)?);
        }
        Ok(seat)
    }

    fn set_connections(&self, count: u32) {
        self.connections.set(count);
        if let Some(load) = self.shared.loads.get(self.shard.index()) {
            load.store(count, Ordering::Relaxed);
        }
    }

    /// The shard that a fresh connection should rather go to. What waits in a shard's
    /// inbox counts: a burst is over before the other shard has looked.
    pub fn better_shard(&self, inboxes: &[Inbox]) -> Option<usize> {
        if inboxes.len() < 2 {
            return None;
        }
        let loads: Vec<u32> = inboxes
            .iter()
            .zip(&self.shared.loads)
            .map(|(inbox, load)| load.load(Ordering::Relaxed).saturating_add(inbox.waiting()))
            .collect();
        balance::hand_over_to(self.shard.index(), &loads)
    }

    /// Open connections of this shard.
    pub fn connections(&self) -> u32 {
        self.connections.get()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Every task looks at the drain when it is polled next, which is now.
    pub fn drain(&self) {
        self.draining.set(true);
        self.shard.wake_all();
    }

    /// Waits until fewer than `since` connections are open.
    pub fn poll_departure(&self, since: u32, cx: &mut Context<'_>) -> Poll<()> {
        if self.connections.get() < since {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

/// A connection's place among those that are counted.
pub(super) struct Seat {
    state: Rc<ShardState>,
    _address: Option<Admission>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let state = &self.state;
        state.set_connections(state.connections.get() - 1);
        state.shared.connections.fetch_sub(1, Ordering::Relaxed);
        for waker in state.waiting.take() {
            waker.wake();
        }
    }
}

fn peer(stream: &Stream) -> Option<IpAddr> {
    sys::socket::peer_address(stream.as_fd())
        .ok()
        .flatten()
        .map(|address| address.ip())
}
