//! A load of rooms on one shard.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::arrivals::Share;
use super::super::clients::{Clients, until};
use super::super::connector::Connector;
use super::super::error::{ErrorClass, LoadError};
use super::super::intervals::Recorded;
use super::super::request::{Prepared, RequestSpec};
use super::super::shards::{ShardEngine, StartBarrier};
use super::plan::{RoomsPlan, Route};
use super::record::Record;
use super::socket::{NotOpen, Socket};
use crate::http::websocket::ClientKey;
use crate::runtime::{Shard, Stream, timeout};
use crate::sys::time::monotonic_ns;

/// The state that all shards share; each part is written by one shard and read by the others,
/// rarely except for `issued`.
pub(super) struct Shared {
    /// Number of this run in its message tags, by which messages of other runs are recognised.
    pub run: u32,
    pub publishers: Box<[Published]>,
    /// Publishers that have not ended.
    pub publishing: AtomicUsize,
    pub subscribing: ConnectPhase,
    pub connecting: ConnectPhase,
    /// When publishing begins.
    pub start: StartBarrier,
}

/// Connections of one kind, made by all shards before the load begins.
#[derive(Default)]
pub(super) struct ConnectPhase {
    /// Shards whose tasks have all tried to connect.
    pub tried: AtomicUsize,
    /// Tasks that have a connection.
    pub connected: AtomicUsize,
}

/// A publisher's counters for the measured time.
#[derive(Default)]
pub(super) struct Published {
    /// Sequence numbers given out.
    pub issued: AtomicU64,
    /// Messages that the server accepted.
    pub accepted: AtomicU64,
}

impl Shared {
    pub(crate) fn new(plan: &RoomsPlan) -> Self {
        Self {
            run: fastrand::u32(..),
            publishers: (0..plan.publishers).map(|_| Published::default()).collect(),
            publishing: AtomicUsize::new(plan.publishers),
            subscribing: ConnectPhase::default(),
            connecting: ConnectPhase::default(),
            start: StartBarrier::default(),
        }
    }

    /// Messages of a room's publishers that the server accepted.
    pub(crate) fn accepted_of(&self, plan: &RoomsPlan, room: usize) -> u64 {
        let of_room = self.publishers.iter().skip(room).step_by(plan.rooms);
        of_room.map(|p| p.accepted.load(Ordering::Acquire)).sum()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum Phase {
    /// Connections are being made.
    Preparing,
    Publishing,
    /// No new messages are published.
    Draining,
    Over,
}

pub(super) struct Engine {
    pub shard: Shard,
    pub plan: Arc<RoomsPlan>,
    pub shared: Arc<Shared>,
    pub share: Share,
    pub record: RefCell<Record>,
    phase: Cell<Phase>,
    start_ns: Cell<u64>,
    pub last_ns: Cell<u64>,
    /// This shard's subscribers of each room, once their handshakes are done.
    subscribed: RefCell<Vec<u32>>,
    /// Subscribers that never connected.
    pub unconnected: Cell<u64>,
    /// Deliveries of the measured time.
    pub delivered: Cell<u64>,
    pub lost: Cell<u64>,
    /// Messages that were due and never sent.
    pub unsent: Cell<u64>,
    pub clients: Clients,
    subscribe_connector: Connector,
    publish_connector: Connector,
    /// The first handshake that failed.
    first_error: RefCell<Option<LoadError>>,
}

impl Engine {
    pub(crate) fn new(
        shard: Shard,
        plan: Arc<RoomsPlan>,
        shared: Arc<Shared>,
        share: Share,
    ) -> Rc<Self> {
        Rc::new(Self {
            shard,
            shared,
            share,
            record: RefCell::new(Record::new()),
            phase: Cell::new(Phase::Preparing),
            start_ns: Cell::new(0),
            last_ns: Cell::new(0),
            subscribed: RefCell::new(vec![0; plan.rooms]),
            plan,
            unconnected: Cell::new(0),
            delivered: Cell::new(0),
            lost: Cell::new(0),
            unsent: Cell::new(0),
            clients: Clients::default(),
            subscribe_connector: Connector::default(),
            publish_connector: Connector::default(),
            first_error: RefCell::default(),
        })
    }

    // ---- the run ----------------------------------------------------------------

    pub(crate) fn begin(&self, start_ns: u64) {
        self.start_ns.set(start_ns);
        self.set(Phase::Publishing);
    }

    /// Enters a later phase and wakes every task.
    pub(crate) fn set(&self, phase: Phase) {
        if self.phase.get() < phase {
            self.phase.set(phase);
            self.shard.wake_all();
        }
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        self.phase.get() >= phase
    }

    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.get()
    }

    pub(crate) fn end_ns(&self) -> u64 {
        ShardEngine::measure_ns(self) + self.plan.duration_ns
    }

    /// Runs a future until it is ready or that phase begins.
    pub(crate) async fn until<F: Future>(&self, phase: Phase, future: F) -> Option<F::Output> {
        until(|| self.is(phase), future).await
    }

    /// Deliveries expected by this shard's subscribers, as far as known.
    pub(crate) fn expected(&self) -> u64 {
        let subscribed = self.subscribed.borrow();
        let rooms = subscribed.iter().enumerate().filter(|(_, n)| **n > 0);
        rooms
            .map(|(room, &n)| u64::from(n) * self.shared.accepted_of(&self.plan, room))
            .sum()
    }

    // ---- connections ------------------------------------------------------------

    /// Connects to one of a route's addresses.
    pub(crate) async fn connect(&self, route: &Route) -> Result<Stream, ErrorClass> {
        let connector = match route.target == self.plan.subscribe.target {
            true => &self.subscribe_connector,
            false => &self.publish_connector,
        };
        let connected = connector.connect(&route.addresses, self.plan.timeout_ms);
        match connected.await {
            Ok((stream, _)) => {
                self.record.borrow_mut().tally.connects += 1;
                Ok(stream)
            }
            Err(error) => {
                if let Err(why) = connector.require_one(1) {
                    self.first_error.borrow_mut().get_or_insert(why);
                }
                Err(ErrorClass::of_connect(&error))
            }
        }
    }

    /// Makes a WebSocket connection for a room.
    pub(crate) async fn open(&self, route: &Route, room: usize) -> Result<Socket, ErrorClass> {
        let began_ns = monotonic_ns();
        let stream = self.connect(route).await?;
        let key = ClientKey::new(fastrand::u128(..).to_ne_bytes());
        let request = upgrade_request(route, room, &self.plan.headers, &key)?;
        let wait = Duration::from_millis(self.plan.timeout_ms);
        let opened = match timeout(wait, Socket::open(stream, request, &key)).await {
            Ok(opened) => opened,
            Err(_) => Err(ErrorClass::Timeout.into()),
        };
        match opened {
            Ok(socket) => {
                let took_ns = monotonic_ns() - began_ns;
                let mut record = self.record.borrow_mut();
                record.connect.saturating_record(took_ns);
                Ok(socket)
            }
            Err(NotOpen { class, why }) => {
                let mut first = self.first_error.borrow_mut();
                first.get_or_insert_with(|| LoadError::Upgrade {
                    url: route.of_room(room).to_string(),
                    class,
                    why,
                });
                Err(class)
            }
        }
    }

    /// The error if not one task of any shard has a connection, so that there is nothing to
    /// measure. A shard that has seen no error itself leaves the report to one that has.
    pub(crate) fn require_one(&self, phase_of: &ConnectPhase) -> Result<(), LoadError> {
        match (
            phase_of.connected.load(Ordering::Acquire),
            self.first_error.take(),
        ) {
            (0, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes that a subscriber has joined its room.
    pub(crate) fn subscribes(&self, room: usize) {
        self.subscribed.borrow_mut()[room] += 1;
        self.shared
            .subscribing
            .connected
            .fetch_add(1, Ordering::Release);
    }

    pub(crate) fn error(&self, class: ErrorClass) {
        self.record.borrow_mut().tally.error(class);
    }
}

/// The request for a handshake.
fn upgrade_request(
    route: &Route,
    room: usize,
    headers: &[String],
    key: &ClientKey,
) -> Result<Vec<u8>, ErrorClass> {
    let spec = RequestSpec {
        headers: headers.to_vec(),
        ..RequestSpec::default()
    };
    // This can't fail: it succeeded when the plan was made.
    let request = Prepared::new(&route.of_room(room), &spec, 1);
    let request = request.map_err(|_| ErrorClass::ConnectFailed)?;
    let mut bytes = request.one().to_vec();
    // Inserted before the empty line.
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(key.lines().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

impl ShardEngine for Engine {
    type Record = Record;

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn measure_ns(&self) -> u64 {
        self.start_ns.get() + self.plan.warmup_ns
    }

    fn forget(&self) {
        // Messages belong to the warm-up or not by when they were due, and one of the measured time
        // may have arrived before this runs, so their records are kept. Connections are made before
        // that time and count. The other counters can't be attributed, so they are reset.
        let tally = &mut self.record.borrow_mut().tally;
        tally.websocket_messages = tally.websocket_messages.saturating_sub(tally.untagged);
        (tally.untagged, tally.foreign, tally.damaged, tally.bytes) = (0, 0, 0, 0);
    }

    fn take(&self) -> Record {
        self.record.replace(Record::new())
    }

    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.clients.poll_all_ended(cx)
    }
}
