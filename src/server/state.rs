//! The state that all connections of a shard share, and the part of it that all shards share.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::activity_names::ActivityNames;
use super::clock::Clock;
use super::counters::Counters;
use super::cut::CutConnections;
use super::handoff_queue::HandoffQueue;
use super::idle::Idle;
use super::options::ServerOptions;
use super::request_log::RequestLog;
use super::transfer::Transfers;
use crate::keepalive::adapt::Utilisation;
use crate::limits;
use crate::net::balance;
use crate::net::per_address::{Admission, PerAddress};
use crate::observe::CallSite;
use crate::observe::access_log::ShardLog;
use crate::runtime::{Shard, Stream};
use crate::sys;

/// What all shards of a server share. Touched when a connection comes or goes,
/// never by a request.
pub(super) struct Shared {
    pub options: ServerOptions,
    /// The name of a connection's task in reports.
    pub kind: CallSite,
    connections: AtomicUsize,
    counters: Vec<Arc<Counters>>,
    /// Open connections by shard. Each shard writes its own count and reads the others' to
    /// decide on a hand-over.
    shard_connections: Vec<AtomicU32>,
    /// The longest idle time-out of all listeners; what is short cuts that of all alike.
    pub idle_timeout_longest_ms: u64,
    /// How long a connection may be idle at the moment: that, cut by a shortage.
    idle_timeout_now_ms: AtomicU64,
    /// Idle connections that each shard has closed early.
    sheds: Vec<AtomicU64>,
    /// As the first shard saw it last.
    memory_permille: AtomicU64,
    /// When the kernel last refused a descriptor, or a connection was refused at the limit, in
    /// milliseconds of the shards' clock; 0: never. A shard without idle connections leaves the
    /// shortage to the others this way.
    refused_ms: AtomicU64,
    per_address: Option<Arc<PerAddress>>,
}

impl Shared {
    pub(crate) fn new(
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
            shard_connections: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            idle_timeout_longest_ms,
            idle_timeout_now_ms: AtomicU64::new(idle_timeout_longest_ms),
            sheds: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            memory_permille: AtomicU64::new(0),
            refused_ms: AtomicU64::new(0),
            per_address,
        })
    }

    /// Open connections of all shards.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How much of what connections need is used, at `now_ms` of the shards' clock.
    pub(crate) fn utilisation(&self, now_ms: u64) -> Utilisation {
        let refused_ms = self.refused_ms.load(Ordering::Relaxed);
        Utilisation {
            open: self.connections() as u64,
            open_max: self.options.connections_max as u64,
            memory_permille: self.memory_permille.load(Ordering::Relaxed),
            refused: refused_ms > 0 && now_ms < refused_ms + limits::DESCRIPTOR_REFUSED_MS,
        }
    }

    pub(crate) fn note_memory(&self, used_permille: u64) {
        self.memory_permille.store(used_permille, Ordering::Relaxed);
    }

    pub(crate) fn note_refusal(&self, now_ms: u64) {
        self.refused_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn note_idle_timeout(&self, ms: u64) {
        self.idle_timeout_now_ms.store(ms, Ordering::Relaxed);
    }

    /// How long a connection may be idle at the moment.
    pub(crate) fn idle_timeout_now_ms(&self) -> u64 {
        self.idle_timeout_now_ms.load(Ordering::Relaxed)
    }

    /// Idle connections closed early since the start.
    pub(crate) fn sheds(&self) -> u64 {
        let sheds = self.sheds.iter().map(|count| count.load(Ordering::Relaxed));
        sheds.sum()
    }

    /// Connections that were cut in the middle, since the start.
    pub(crate) fn cut(&self) -> CutConnections {
        let all = self.counters.iter().map(|counters| counters.cut());
        all.fold(CutConnections::default(), CutConnections::plus)
    }

    /// What each shard has served, and its open connections.
    pub(crate) fn by_shard(&self) -> impl Iterator<Item = (&Counters, u32)> {
        let counts = self
            .shard_connections
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        self.counters.iter().map(|counters| &**counters).zip(counts)
    }
}

/// One shard's share of a server.
pub(super) struct ShardState {
    pub shard: Shard,
    pub shared: Arc<Shared>,
    pub clock: Clock,
    pub counters: Arc<Counters>,
    pub doing: Rc<ActivityNames>,
    pub transfers: Transfers,
    pub idle: Idle,
    pub access_log: Option<Rc<RequestLog>>,
    /// How reports name the task that closes a refused connection.
    pub refused: CallSite,
    refused_lingering: Cell<usize>,
    connections: Cell<u32>,
    draining: Cell<bool>,
    /// Tasks that wait for a connection's end: accept loops that are short of descriptors, and
    /// the shard's main function.
    waiting: RefCell<Vec<Waker>>,
}

/// Why a connection was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdmitError {
    Total,
    PerAddress,
}

impl ShardState {
    pub(crate) fn new(
        shard: &Shard,
        shared: Arc<Shared>,
        access_log: Option<ShardLog>,
    ) -> Rc<Self> {
        let counters = shared
            .counters
            .get(shard.index())
            .cloned()
            .unwrap_or_default();
        let doing = Rc::new(ActivityNames::new());
        Rc::new(Self {
            shard: shard.clone(),
            shared,
            clock: Clock::new(),
            transfers: Transfers::new(shard, Rc::clone(&doing), Arc::clone(&counters)),
            counters,
            doing,
            idle: Idle::new(),
            access_log: access_log.map(|log| Rc::new(RequestLog::new(log))),
            refused: CallSite::named("refused connection"),
            refused_lingering: Cell::new(0),
            connections: Cell::new(0),
            draining: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.shared.options
    }

    /// Counts a connection in for as long as the guard lives.
    pub(crate) fn admit(self: &Rc<Self>, stream: &Stream) -> Result<ConnectionGuard, AdmitError> {
        let total = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.set_connections(self.connections.get() + 1);
        let mut guard = ConnectionGuard {
            state: Rc::clone(self),
            _address: None,
        };
        if total >= self.options().connections_max && !self.exchange(total) {
            return Err(AdmitError::Total);
        }
        if let Some(table) = &self.shared.per_address
            && let Some(address) = peer(stream)
        {
            guard._address = Some(table.admit(address).ok_or(AdmitError::PerAddress)?);
        }
        self.counters.connections.add(1);
        Ok(guard)
    }

    /// Closes the longest idle connection for a new one, when there are `total` already; returns
    /// whether there was one.
    fn exchange(&self, total: usize) -> bool {
        let max = self.options().connections_max;
        let beyond_max = (max / 8).clamp(1, limits::CONNECTIONS_EXCHANGED_MAX);
        total < max + beyond_max && self.shed(1, 0) == 1
    }

    /// Closes up to `count` connections of this shard that have been idle for `age_ms`, and returns
    /// how many; none where that is switched off.
    pub(crate) fn shed(&self, count: u64, age_ms: u64) -> u64 {
        if !self.options().adaptive_idle {
            return 0;
        }
        let closed = self.idle.shed(&self.shard, count, age_ms);
        if closed < count && age_ms == 0 {
            self.shared.note_refusal(self.shard.now_ms());
        }
        if let Some(sheds) = self.shared.sheds.get(self.shard.index()) {
            sheds.store(sheds.load(Ordering::Relaxed) + closed, Ordering::Relaxed);
        }
        closed
    }

    fn set_connections(&self, count: u32) {
        self.connections.set(count);
        if let Some(shown) = self.shared.shard_connections.get(self.shard.index()) {
            shown.store(count, Ordering::Relaxed);
        }
    }

    /// The shard that should serve an accepted connection instead of this one. Connections in a
    /// shard's hand-off queue count: a burst is over before that shard has looked.
    pub(crate) fn better_shard(&self, handoff_queues: &[HandoffQueue]) -> Option<usize> {
        if handoff_queues.len() < 2 {
            return None;
        }
        let counts: Vec<u32> = handoff_queues
            .iter()
            .zip(&self.shared.shard_connections)
            .map(|(queue, count)| count.load(Ordering::Relaxed).saturating_add(queue.len()))
            .collect();
        balance::hand_over_to(self.shard.index(), &counts)
    }

    /// Admits one more refused connection to a lingering close; `None` when there are
    /// [`limits::REFUSED_LINGERING_MAX`].
    pub(crate) fn linger_refused(self: &Rc<Self>) -> Option<LingeringRefused> {
        let count = self.refused_lingering.get();
        (count < limits::REFUSED_LINGERING_MAX).then(|| {
            self.refused_lingering.set(count + 1);
            LingeringRefused(Rc::clone(self))
        })
    }

    /// Open connections of this shard.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.get()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins the drain and wakes every task, since each looks at the flag when it is polled.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.shard.wake_all();
    }

    /// Waits until fewer than `since` connections are open.
    pub(crate) fn poll_departure(&self, since: u32, cx: &mut Context<'_>) -> Poll<()> {
        if self.connections.get() < since {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Counts one connection for as long as it lives.
pub(super) struct ConnectionGuard {
    state: Rc<ShardState>,
    _address: Option<Admission>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let state = &self.state;
        state.set_connections(state.connections.get() - 1);
        state.shared.connections.fetch_sub(1, Ordering::Relaxed);
        for waker in state.waiting.take() {
            waker.wake();
        }
    }
}

/// One refused connection that is being closed; it is counted for as long as this lives.
pub(super) struct LingeringRefused(Rc<ShardState>);

impl Drop for LingeringRefused {
    fn drop(&mut self) {
        let count = &self.0.refused_lingering;
        count.set(count.get() - 1);
    }
}

fn peer(stream: &Stream) -> Option<IpAddr> {
    sys::socket::peer_address(stream.as_fd())
        .ok()
        .flatten()
        .map(|address| address.ip())
}
