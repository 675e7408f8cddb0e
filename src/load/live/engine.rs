//! A load of live readers on one shard.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use super::super::arrivals::Share;
use super::super::clients::{Clients, until};
use super::super::connector::Connector;
use super::super::error::ErrorClass;
use super::super::intervals::Recorded;
use super::super::request::Prepared;
use super::super::shards::{ShardEngine, StartBarrier};
use super::plan::LivePlan;
use super::record::Record;
use super::viewer::Object;
use crate::runtime::{Shard, Stream};

/// The state that the writer and all shards share.
pub(super) struct Shared {
    /// Number of this run in its message tags, by which pieces of other runs are recognised.
    pub run: u32,
    /// When the first piece is due.
    pub start: StartBarrier,
    /// Pieces that are written or being written.
    pub issued: AtomicU64,
    /// Whether the last piece has been written.
    pub ending: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            run: fastrand::u32(..),
            start: StartBarrier::default(),
            issued: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        }
    }

    /// Notes that a shard has reached the server, or that the writer has opened its file or upload.
    /// The load starts when all have done so, so that no reader reads older content.
    pub(crate) fn is_ready(&self, plan: &LivePlan) {
        self.start.arrive(plan.threads + 1);
    }

    /// The object as it is now.
    pub(crate) fn object(&self, plan: &LivePlan) -> Object {
        Object {
            run: self.run,
            start_ns: self.start.start_ns().unwrap_or(0),
            interval_ns: plan.interval_ns,
            piece_bytes: plan.piece_bytes,
            stall_ns: plan.stall_ns,
            issued: self.issued.load(Ordering::Acquire),
        }
    }

    /// Whether the last piece has been written; if so, the number of issued pieces is final.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

pub(super) struct Engine {
    pub shard: Shard,
    pub plan: Arc<LivePlan>,
    pub shared: Arc<Shared>,
    pub share: Share,
    /// The request, to which a range is added.
    pub request: Prepared,
    pub record: RefCell<Record>,
    /// Pieces that were not read in time.
    pub unread: Cell<u64>,
    /// Readers that have sent a request and not got a whole piece.
    pub without_piece: Cell<u64>,
    pub last_ns: Cell<u64>,
    over: Cell<bool>,
    start_ns: Cell<u64>,
    pub clients: Clients,
    pub connector: Connector,
}

impl Engine {
    pub(crate) fn new(
        shard: Shard,
        plan: Arc<LivePlan>,
        shared: Arc<Shared>,
        share: Share,
        request: Prepared,
    ) -> Rc<Self> {
        Rc::new(Self {
            shard,
            plan,
            shared,
            share,
            request,
            record: RefCell::new(Record::new()),
            unread: Cell::new(0),
            without_piece: Cell::new(0),
            last_ns: Cell::new(0),
            over: Cell::new(false),
            start_ns: Cell::new(0),
            clients: Clients::default(),
            connector: Connector::default(),
        })
    }

    pub(crate) fn begin(&self, start_ns: u64) {
        self.start_ns.set(start_ns);
    }

    pub(crate) fn start_ns(&self) -> u64 {
        self.start_ns.get()
    }

    /// Ends the load and wakes every task.
    pub(crate) fn end(&self) {
        self.over.set(true);
        self.shard.wake_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn object(&self) -> Object {
        self.shared.object(&self.plan)
    }

    /// Runs a future until it is ready or the load is over.
    pub(crate) async fn until_over<F: Future>(&self, future: F) -> Option<F::Output> {
        until(|| self.is_over(), future).await
    }

    /// Connects to one of the server's addresses.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let addresses = &self.plan.read.addresses;
        let (stream, took_ns) = self
            .connector
            .connect(addresses, self.plan.timeout_ms)
            .await?;
        let mut record = self.record.borrow_mut();
        record.tally.connects += 1;
        record.connect.saturating_record(took_ns);
        Ok(stream)
    }

    pub(crate) fn error(&self, class: ErrorClass) {
        self.record.borrow_mut().tally.error(class);
    }

    /// When reader `number`, of all, joins: not before the first piece.
    pub(crate) fn join_ns(&self, number: usize) -> u64 {
        let plan = &self.plan;
        let within_ns = match plan.join_at_random {
            true => {
                let seed = plan.seed ^ (number as u64) << 32;
                (fastrand::Rng::with_seed(seed).f64() * plan.join_ns as f64) as u64
            }
            false => (plan.join_ns as u128 * number as u128 / plan.readers as u128) as u64,
        };
        self.start_ns() + plan.interval_ns + within_ns
    }
}

impl ShardEngine for Engine {
    type Record = Record;

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn measure_ns(&self) -> u64 {
        self.start_ns()
    }

    /// Keeps what is recorded: there is no warm-up, and readers may have joined by now.
    fn forget(&self) {}

    fn take(&self) -> Record {
        self.record.replace(Record::new())
    }

    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.clients.poll_all_ended(cx)
    }
}
