//! What all connections of one shard share.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::clock::Clock;
use super::counters::Counters;
use super::idle::Idle;
use super::inbox::Inbox;
use super::options::ServerOptions;
use super::transfer::Transfers;
use crate::keepalive::adapt::Load;
use crate::limits;
use crate::net::balance;
use crate::net::per_address::{Admission, PerAddress};
use crate::observe::CallSite;
use crate::runtime::{Shard, Stream};
use crate::sys;

/// What all shards of a server share. Touched when a connection comes or goes,
/// never by a request.
pub(super) struct Shared {
    pub options: ServerOptions,
    /// How reports call a connection.
    pub kind: CallSite,
    connections: AtomicUsize,
    counters: Vec<Arc<Counters>>,
    /// Each shard writes its own count, and reads the others' to hand over.
    loads: Vec<AtomicU32>,
    /// The longest idle time-out of all listeners; what is short cuts that of all alike.
    pub idle_timeout_longest_ms: u64,
    /// That, as far as what is short leaves it at the moment.
    idle_timeout_now_ms: AtomicU64,
    /// Idle connections that each shard has closed early.
    sheds: Vec<AtomicU64>,
    /// As the first shard saw it last.
    memory_permille: AtomicU64,
    /// When the kernel last refused a descriptor, or a connection was turned away: a shortage
    /// that a shard without idle connections leaves to the others. Milliseconds; 0: never.
    refused_ms: AtomicU64,
    per_address: Option<Arc<PerAddress>>,
}

impl Shared {
    pub fn new(
        options: ServerOptions,
        kind: CallSite,
        shards: usize,
        idle_timeout_longest_ms: u64,
    ) -> Arc<Self> {
        let per_address = match options.connections_per_address_max {
            0 => None,
            max => Some(PerAddress::new(max)),
        };
        Arc::new(Self {
            options,
            kind,
            connections: AtomicUsize::new(0),
            counters: (0..shards).map(|_| Arc::default()).collect(),
            loads: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            idle_timeout_longest_ms,
            idle_timeout_now_ms: AtomicU64::new(idle_timeout_longest_ms),
            sheds: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            memory_permille: AtomicU64::new(0),
            refused_ms: AtomicU64::new(0),
            per_address,
        })
    }

    /// Open connections of all shards.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How much of what connections need is used, at `now_ms` of the shards' clock.
    pub fn load(&self, now_ms: u64) -> Load {
        let refused_ms = self.refused_ms.load(Ordering::Relaxed);
        Load {
            open: self.connections() as u64,
            open_max: self.options.connections_max as u64,
            memory_permille: self.memory_permille.load(Ordering::Relaxed),
            refused: refused_ms > 0 && now_ms < refused_ms + limits::DESCRIPTOR_REFUSED_MS,
        }
    }

    pub fn note_memory(&self, used_permille: u64) {
        self.memory_permille.store(used_permille, Ordering::Relaxed);
    }

    pub fn note_refusal(&self, now_ms: u64) {
        self.refused_ms.store(now_ms, Ordering::Relaxed);
    }

    pub fn note_idle_timeout(&self, ms: u64) {
        self.idle_timeout_now_ms.store(ms, Ordering::Relaxed);
    }

    /// How long a connection may be idle at the moment.
    pub fn idle_timeout_now_ms(&self) -> u64 {
        self.idle_timeout_now_ms.load(Ordering::Relaxed)
    }

    /// Idle connections closed early since the start.
    pub fn sheds(&self) -> u64 {
        let sheds = self.sheds.iter().map(|count| count.load(Ordering::Relaxed));
        sheds.sum()
    }

    /// What each shard has served, and its open connections.
    pub fn by_shard(&self) -> impl Iterator<Item = (&Counters, u32)> {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        self.counters.iter().map(|counters| &**counters).zip(loads)
    }
}

/// What a connection may be doing, as reports of stalls call it.
pub(super) struct Doing {
    /// From the request's head to the response.
    pub answer: CallSite,
    pub send_file: CallSite,
    pub look_in_page_cache: CallSite,
}

impl Doing {
    fn new() -> Self {
        Self {
            answer: CallSite::named("answer"),
            send_file: CallSite::named("sendfile"),
            look_in_page_cache: CallSite::named("look in the page cache"),
        }
    }
}

/// One shard's share of a server.
pub(super) struct ShardState {
    pub shard: Shard,
    pub shared: Arc<Shared>,
    pub clock: Clock,
    pub counters: Arc<Counters>,
    pub doing: Rc<Doing>,
    pub transfers: Transfers,
    pub idle: Idle,
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
        let counters = shared
            .counters
            .get(shard.index())
            .cloned()
            .unwrap_or_default();
        let doing = Rc::new(Doing::new());
        Rc::new(Self {
            shard: shard.clone(),
            shared,
            clock: Clock::new(),
            transfers: Transfers::new(shard, Rc::clone(&doing), Arc::clone(&counters)),
            counters,
            doing,
            idle: Idle::new(),
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
        if total >= self.options().connections_max && !self.exchange(total) {
            return Err(Refusal::Total);
        }
        if let Some(table) = &self.shared.per_address
            && let Some(address) = peer(stream)
        {
            seat._address = Some(table.admit(address).ok_or(Refusal::PerAddress)?);
        }
        self.counters.connections.add(1);
        Ok(seat)
    }

    /// Tells the longest idle connection to close for one that comes in its place, when there
    /// are `total` already.
    fn exchange(&self, total: usize) -> bool {
        let max = self.options().connections_max;
        let beyond_max = (max / 8).clamp(1, limits::CONNECTIONS_EXCHANGED_MAX);
        total < max + beyond_max && self.shed(1, 0) == 1
    }

    /// Tells up to `count` connections of this shard that have been idle for `age_ms` to close;
    /// none where that was switched off.
    pub fn shed(&self, count: u64, age_ms: u64) -> u64 {
        if !self.options().adaptive_idle {
            return 0;
        }
        let told = self.idle.shed(&self.shard, count, age_ms);
        if told < count && age_ms == 0 {
            self.shared.note_refusal(self.shard.now_ms());
        }
        if let Some(sheds) = self.shared.sheds.get(self.shard.index()) {
            sheds.store(sheds.load(Ordering::Relaxed) + told, Ordering::Relaxed);
        }
        told
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
