//! Runs a plan on shards of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hdrhistogram::Histogram;

use super::arrivals::Share;
use super::collect::{Collector, ShardEnd};
use super::connection;
use super::engine::Engine;
use super::error::LoadError;
use super::plan::{Plan, allow_connections};
use super::record::Record;
use super::shards::{Part, Reporter, Shards, Stop, Tell, ended_before};
use super::summary::{Second, Summary};
use crate::limits;
use crate::runtime::Shard;
use crate::sys::time::monotonic_ns;

/// How a load is doing, told every second.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The last second.
    pub second: Second,
    /// That was what is left at the end, and too short for a rate.
    pub short: bool,
    pub length_s: f64,
    /// Times of this second, in nanoseconds.
    pub response: &'a Histogram<u64>,
    pub service: &'a Histogram<u64>,
    /// Requests answered so far.
    pub requests: u64,
    /// Errors so far.
    pub errors: u64,
}

/// A load at work.
pub struct Load {
    plan: Arc<Plan>,
    shards: Shards<Record, ShardEnd>,
}

/// Starts a load. The processes `server_pids`, with their children, have their CPU time measured.
///
/// # Errors
/// When the host does not allow it. That the server can't be reached shows in [`Load::finish`].
pub fn start(mut plan: Plan, server_pids: Vec<u32>) -> Result<Load, LoadError> {
    plan.threads = plan.threads.clamp(1, plan.connections.max(1));
    if plan.players().is_some() {
        (plan.rate, plan.replay, plan.pipeline) = (None, None, 1);
        plan.connection_per_request = false;
    }
    allow_connections(plan.connections)?;
    let plan = Arc::new(plan);
    let shared = Arc::clone(&plan);
    let (threads, cpus) = (plan.threads, plan.cpus.as_deref());
    let shards = Shards::start(threads, cpus, server_pids, move |shard, tell, told| {
        let share = Share {
            index: shard.index(),
            of: shard.count(),
        };
        let engine = Engine::new(shard, Arc::clone(&shared), share);
        async move { drive(engine, &tell, &told).await }
    })?;
    Ok(Load { plan, shards })
}

impl Load {
    /// Ends it before its time.
    pub fn stopper(&self) -> Stop {
        self.shards.stop.clone()
    }

    /// Waits for the end; tells `each` second how it is doing.
    ///
    /// # Errors
    /// When not one connection could be made, or a shard failed.
    pub fn finish(self, mut each: impl FnMut(&Progress<'_>)) -> Result<Summary, LoadError> {
        let mut collector = Collector::new(self.plan);
        let finished = self.shards.finish(|interval| {
            if let Some(progress) = collector.add(interval) {
                each(&progress);
            }
        })?;
        let mut summary = collector.finish(&finished.ends, finished.cpu, finished.stopped);
        summary.started_unix_s = finished.started_unix_s;
        Ok(summary)
    }
}

impl Part for Engine {
    type Record = Record;

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn measure_ns(&self) -> u64 {
        Engine::measure_ns(self)
    }

    fn forget(&self) {
        // The connections that are there were made before, and are told of.
        let mut record = self.record.borrow_mut();
        let connect = record.connect.clone();
        let connects = record.tally.connects;
        *record = Record::new();
        record.connect = connect;
        record.tally.connects = connects;
    }

    fn take(&self) -> Record {
        self.record.replace(Record::new())
    }

    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_connections_ended(cx)
    }
}

/// A shard's part from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    tell: &Tell<Record, ShardEnd>,
    told: &Stop,
) -> Result<ShardEnd, LoadError> {
    let shard: Shard = engine.shard.clone();
    let connections = engine.part_of(engine.plan.connections as u64) as usize;
    poll_fn(|cx| {
        engine.poll_all_tried(cx, connections, || {
            shard.spawn_detached(connection::run(Rc::clone(&engine)));
        })
    })
    .await;
    if !engine.plan.connection_per_request {
        unconnected(&engine, connections as u64)?;
    }

    engine.begin(monotonic_ns());
    if engine.plan.is_open() {
        shard.spawn_detached(Rc::clone(&engine).dispatch());
    }
    let mut reporter = Reporter::new(&*engine, tell);
    let mut grace_ends_ns = None;
    loop {
        let now_ns = monotonic_ns();
        let look_ns = now_ns + limits::LOAD_LOOK_MS * 1_000_000;
        let until_ns = look_ns
            .min(reporter.next_ns)
            .min(grace_ends_ns.unwrap_or(engine.end_ns()).max(now_ns));
        let all_ended = ended_before(&*engine, until_ns).await;
        let now_ns = monotonic_ns();
        reporter.look(now_ns);
        engine.pace();
        if all_ended || told.is_told_now() {
            break;
        }
        unconnected(&engine, connections as u64)?;
        if told.is_told() && grace_ends_ns.is_none() {
            engine.stop();
        }
        if now_ns >= engine.end_ns() {
            let grace_ms = limits::LOAD_GRACE_MS.min(engine.plan.timeout_ms);
            let ends_ns = *grace_ends_ns.get_or_insert(now_ns + grace_ms * 1_000_000);
            if now_ns >= ends_ns {
                break;
            }
        }
    }
    let sending_ended_ns = monotonic_ns().min(engine.end_ns());
    engine.end();
    let patience_ns = limits::LOAD_GRACE_MS * 1_000_000;
    ended_before(&*engine, monotonic_ns() + patience_ns).await;
    engine.count_unsent();
    if engine.connecting.made.get() == 0 {
        unconnected(&engine, 1)?;
    }
    let counted_to_ns = match engine.plan.duration_ns {
        Some(_) => sending_ended_ns.max(engine.last_answer_ns()),
        None => engine.last_answer_ns(),
    };
    let seconds = counted_to_ns.saturating_sub(engine.measure_ns()) as f64 / 1e9;
    Ok(ShardEnd {
        seconds,
        busy: reporter.finish(),
        by_url: engine.take_by_url(),
        players: engine.take_players(),
    })
}

/// An error when no connection was ever made in at least so many attempts.
fn unconnected(engine: &Engine, attempts: u64) -> Result<(), LoadError> {
    let connecting = &engine.connecting;
    if connecting.made.get() == 0
        && connecting.failed.get() >= attempts
        && let Some((address, error)) = connecting.first_error.take()
    {
        return Err(LoadError::Connect { address, error });
    }
    Ok(())
}
