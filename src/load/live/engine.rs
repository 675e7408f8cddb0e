//! One shard's part of a load of live readers.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::arrivals::Share;
use super::super::error::{ErrorClass, LoadError};
use super::super::request::Prepared;
use super::super::shards::Part;
use super::plan::LivePlan;
use super::record::Record;
use super::viewer::Object;
use crate::limits;
use crate::runtime::{Shard, Stream, timeout};
use crate::sys::time::monotonic_ns;

/// What the writer and all shards know of each other.
pub(super) struct Shared {
    /// Tells this run's pieces from others'.
    pub run: u32,
    /// Shards that have reached the server, and the writer when it has what to write to.
    ready: AtomicUsize,
    /// When the first piece is due; 0 until that is known.
    pub start_ns: AtomicU64,
    /// Pieces that are written or being written.
    pub issued: AtomicU64,
    /// There will be no other piece.
    pub ending: AtomicBool,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            run: fastrand::u32(..),
            ready: AtomicUsize::new(0),
            start_ns: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        }
    }

    /// One more is ready. The last one says when it begins: nobody reads what was there before.
    pub fn is_ready(&self, plan: &LivePlan) {
        if self.ready.fetch_add(1, Ordering::AcqRel) == plan.threads {
            let start_ns = monotonic_ns() + limits::LOAD_START_LEAD_MS * 1_000_000;
            self.start_ns.store(start_ns, Ordering::Release);
        }
    }

    /// The object as it is now.
    pub fn object(&self, plan: &LivePlan) -> Object {
        Object {
            run: self.run,
            start_ns: self.start_ns.load(Ordering::Acquire),
            interval_ns: plan.interval_ns,
            piece_bytes: plan.piece_bytes,
            stall_ns: plan.stall_ns,
            issued: self.issued.load(Ordering::Acquire),
        }
    }

    /// Whether there will be no other piece; if so, what was issued is final.
    pub fn is_ending(&self) -> bool {
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
    /// Readers that have asked and not got one whole piece.
    pub without_piece: Cell<u64>,
    pub last_ns: Cell<u64>,
    over: Cell<bool>,
    start_ns: Cell<u64>,
    live: Cell<usize>,
    root: RefCell<Option<Waker>>,
}

impl Engine {
    pub fn new(
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
            live: Cell::new(0),
            root: RefCell::default(),
        })
    }

    pub fn begin(&self, start_ns: u64) {
        self.start_ns.set(start_ns);
    }

    pub fn start_ns(&self) -> u64 {
        self.start_ns.get()
    }

    /// Ends it, and tells every task.
    pub fn end(&self) {
        self.over.set(true);
        self.shard.wake_all();
    }

    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    pub fn object(&self) -> Object {
        self.shared.object(&self.plan)
    }

    /// Gives up on a future when the load is over.
    pub async fn until_over<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// A reader's task begins.
    pub fn begins(&self) {
        self.live.set(self.live.get() + 1);
    }

    /// A reader's task is over.
    pub fn ends(&self) {
        self.live.set(self.live.get() - 1);
        if let Some(waker) = self.root.take() {
            waker.wake();
        }
    }

    /// Connects to one of the server's addresses.
    pub async fn connect(&self) -> Result<Stream, LoadError> {
        let wait = Duration::from_millis(self.plan.timeout_ms);
        let mut failed = None;
        for &address in &self.plan.read.addresses {
            let began_ns = monotonic_ns();
            let error = match timeout(wait, Stream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let mut record = self.record.borrow_mut();
                    record.tally.connects += 1;
                    let took_ns = monotonic_ns() - began_ns;
                    record.connect.saturating_record(took_ns);
                    return Ok(stream);
                }
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            failed.get_or_insert(LoadError::Connect { address, error });
        }
        Err(failed.unwrap_or(LoadError::Io {
            what: "connecting",
            error: io::ErrorKind::AddrNotAvailable.into(),
        }))
    }

    pub fn error(&self, class: ErrorClass) {
        self.record.borrow_mut().tally.error(class);
    }

    /// When a reader, of all, is to come: after the first piece, as far as that can be said.
    pub fn join_ns(&self, number: usize) -> u64 {
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

impl Part for Engine {
    type Record = Record;

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn measure_ns(&self) -> u64 {
        self.start_ns()
    }

    /// There is no warm-up, and a reader may have come by now.
    fn forget(&self) {}

    fn take(&self) -> Record {
        self.record.replace(Record::new())
    }

    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.live.get() == 0 {
            return Poll::Ready(());
        }
        *self.root.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}
