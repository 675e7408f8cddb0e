//! Runs a load of live readers on shards of its own, beside its writer.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::arrivals::Share;
use super::super::error::LoadError;
use super::super::intervals::{Intervals, Merged, Recorded};
use super::super::plan::allow_connections;
use super::super::request::{Prepared, RequestSpec};
use super::super::shards::{Interval, Reporter, Shards, Stop, Tell, ended_before};
use super::super::summary::Times;
use super::engine::{Engine, Shared};
use super::plan::LivePlan;
use super::reader;
use super::record::Record;
use super::summary::{LiveSecond, LiveSummary};
use super::writer::{Writer, Written};
use crate::limits;
use crate::runtime::sleep;
use crate::sys::time::monotonic_ns;

/// How a load of live readers is doing, told every second.
pub struct LiveProgress<'a> {
    /// The last second.
    pub second: LiveSecond,
    pub length_s: f64,
    /// From when pieces were due to when readers had them, in nanoseconds.
    pub due: &'a Histogram<u64>,
    /// From when they were written.
    pub written: &'a Histogram<u64>,
    /// What went wrong so far, but for stalls; what is left unread is known at the end.
    pub errors: u64,
}

/// What a shard tells at its end.
pub(super) struct ShardEnd {
    pub start_ns: u64,
    /// When it read the last piece.
    pub last_ns: u64,
    /// Share of the time that its thread worked.
    pub busy: f64,
    pub unread: u64,
    pub without_piece: u64,
}

/// A load of live readers at work.
pub struct LiveLoad {
    plan: Arc<LivePlan>,
    shards: Shards<Record, ShardEnd>,
    writer: JoinHandle<Result<Written, LoadError>>,
}

/// Starts a load of live readers. The processes `server_pids`, with their children, have their CPU
/// time measured.
///
/// # Errors
/// When the host does not allow it, or there is nothing to write to. That the server can't be
/// reached shows in [`LiveLoad::finish`].
pub fn start(plan: LivePlan, server_pids: Vec<u32>) -> Result<LiveLoad, LoadError> {
    allow_connections(plan.readers)?;
    let spec = RequestSpec {
        headers: plan.headers.clone(),
        ..RequestSpec::default()
    };
    let request = Prepared::new(&plan.read.target, &spec, 1).map_err(|error| LoadError::Io {
        what: "making the request",
        error: io::Error::new(io::ErrorKind::InvalidInput, error),
    })?;
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared::new());
    let (for_shards, known) = (Arc::clone(&plan), Arc::clone(&shared));
    let (threads, cpus) = (plan.threads, plan.cpus.as_deref());
    let shards = Shards::start(threads, cpus, server_pids, move |shard, tell, told| {
        let share = Share {
            index: shard.index(),
            of: shard.count(),
        };
        let (plan, shared) = (Arc::clone(&for_shards), Arc::clone(&known));
        let engine = Engine::new(shard, plan, shared, share, request.clone());
        async move { drive(engine, &tell, &told).await }
    })?;
    let writer = Writer::open(Arc::clone(&plan), shared, shards.stop.clone());
    let spawned = writer.and_then(|writer| {
        let thread = thread::Builder::new().name("live writer".to_owned());
        thread
            .spawn(move || writer.run())
            .map_err(|error| LoadError::Io {
                what: "starting the writer's thread",
                error,
            })
    });
    match spawned {
        Ok(writer) => Ok(LiveLoad {
            plan,
            shards,
            writer,
        }),
        Err(error) => {
            shards.stop.now();
            // Why there is no writer says more than how the shards ended.
            let _ = shards.finish(|_| {});
            Err(error)
        }
    }
}

impl LiveLoad {
    /// Ends it before its time.
    pub fn stopper(&self) -> Stop {
        self.shards.stop.clone()
    }

    /// Waits for the end; tells `each` second how it is doing.
    ///
    /// # Errors
    /// When the server could not be reached, the file not be written to, or a shard failed.
    pub fn finish(self, mut each: impl FnMut(&LiveProgress<'_>)) -> Result<LiveSummary, LoadError> {
        let mut all = Gathered::new(self.plan.threads);
        let stop = self.shards.stop.clone();
        let finished = self.shards.finish(|interval| all.add(interval, &mut each));
        if finished.is_err() {
            stop.now();
        }
        // A thread that panicked has said so itself.
        let written = self.writer.join().unwrap_or_else(|_| {
            Err(LoadError::Io {
                what: "writing",
                error: io::Error::other("the writer's thread panicked"),
            })
        })?;
        let finished = finished?;
        while let Some(merged) = all.intervals.rest() {
            all.take(&merged, &mut each);
        }
        Ok(LiveSummary::of(
            &self.plan,
            (&all.total, &written),
            all.timeline,
            &finished,
        ))
    }
}

/// Adds up the intervals of all shards.
struct Gathered {
    intervals: Intervals<Record>,
    total: Record,
    timeline: Vec<LiveSecond>,
}

impl Gathered {
    fn new(threads: usize) -> Self {
        Self {
            intervals: Intervals::of(threads),
            total: Record::new(),
            timeline: Vec::new(),
        }
    }

    fn add(&mut self, interval: Interval<Record>, each: &mut impl FnMut(&LiveProgress<'_>)) {
        if let Some(merged) = self.intervals.add(interval) {
            self.take(&merged, each);
        }
    }

    fn take(&mut self, merged: &Merged<Record>, each: &mut impl FnMut(&LiveProgress<'_>)) {
        let record = &merged.record;
        self.total.add(record);
        let times = Times::of(&record.due);
        let second = LiveSecond {
            at_s: merged.at_s,
            pieces_per_s: merged.per_s(record.tally.pieces),
            bytes_per_s: merged.per_s(record.tally.bytes),
            stalls: record.tally.stalls,
            errors: record.tally.wrong(),
            behind_p50_us: times.p50,
            behind_p99_us: times.p99,
            behind_max_us: times.max,
        };
        self.timeline.push(second);
        each(&LiveProgress {
            second,
            length_s: merged.length_s,
            due: &record.due,
            written: &record.written,
            errors: self.total.tally.wrong(),
        });
    }
}

/// A shard's part from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    tell: &Tell<Record, ShardEnd>,
    told: &Stop,
) -> Result<ShardEnd, LoadError> {
    // Whether there is a server is known before anything is written.
    drop(engine.connect().await?);
    // That connection is none of the readers'.
    engine.record.replace(Record::new());
    if all_shards_ready(&engine, told).await {
        let Share { index, of } = engine.share;
        for number in (index..engine.plan.readers).step_by(of) {
            engine.begins();
            let task = reader::run(Rc::clone(&engine), number);
            engine.shard.spawn_detached(task);
        }
    }
    let mut reporter = Reporter::new(&*engine, tell);
    let mut grace_ends_ns = u64::MAX;
    loop {
        let look_ns = monotonic_ns() + limits::LOAD_LOOK_MS * 1_000_000;
        let until_ns = look_ns.min(reporter.next_ns).min(grace_ends_ns);
        let all_ended = ended_before(&*engine, until_ns).await;
        let now_ns = monotonic_ns();
        reporter.look(now_ns);
        if all_ended || told.is_told_now() || now_ns >= grace_ends_ns {
            break;
        }
        if engine.shared.is_ending() && grace_ends_ns == u64::MAX {
            grace_ends_ns = now_ns + engine.plan.grace_ms * 1_000_000;
            // Who has all need not wait any longer.
            engine.shard.wake_all();
        }
    }
    engine.end();
    let patience_ns = limits::LOAD_GRACE_MS * 1_000_000;
    ended_before(&*engine, monotonic_ns() + patience_ns).await;
    Ok(ShardEnd {
        start_ns: engine.start_ns(),
        last_ns: engine.last_ns.get(),
        busy: reporter.finish(),
        unread: engine.unread.get(),
        without_piece: engine.without_piece.get(),
    })
}

/// Nothing is written before every shard has reached the server, nor read before the writer has what
/// to write to. `false`: it was stopped before.
async fn all_shards_ready(engine: &Engine, told: &Stop) -> bool {
    let shared = &engine.shared;
    shared.is_ready(&engine.plan);
    loop {
        let start_ns = shared.start_ns.load(Ordering::Acquire);
        if start_ns > 0 {
            engine.begin(start_ns);
            return true;
        }
        if told.is_told() {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
}
