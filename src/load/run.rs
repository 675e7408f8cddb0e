//! Starts the shards of a load of requests and collects their results.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hdrhistogram::Histogram;

use super::collect::ShardEnd;
use super::connection;
use super::engine::Engine;
use super::error::LoadError;
use super::intervals::{Merged, Recorded};
use super::kind::{self, Collected, Kind, Load};
use super::plan::{Plan, allow_connections};
use super::record::Record;
use super::shards::{
    EventSender, Finished, Reporter, ShardEngine, Shards, StopHandle, ended, watch,
};
use super::summary::{Second, Summary};
use super::table::{grouped, per_second, timed};
use super::times::Times;
use crate::load::limits;
use crate::runtime::Shard;
use crate::sys::time::monotonic_ns;

/// Starts a load of requests. The processes `server_pids`, with their children, have their CPU time
/// measured.
///
/// # Errors
/// When the host does not allow it. [`Load::finish`] reports a server that can't be reached.
pub fn start(mut plan: Plan, server_pids: Vec<u32>) -> Result<Load<Summary>, LoadError> {
    plan.threads = plan.threads.clamp(1, plan.connections.max(1));
    if plan.players().is_some() {
        (plan.rate, plan.replay, plan.pipeline) = (None, None, 1);
        plan.connection_per_request = false;
    }
    allow_connections(plan.connections, &plan.addresses)?;
    let plan = Arc::new(plan);
    let (threads, cpus) = (plan.threads, plan.cpus.as_deref());
    let kind = Requests(Arc::clone(&plan));
    let for_shards = Arc::clone(&plan);
    let shards = Shards::start(
        threads,
        cpus,
        server_pids,
        move |shard, share, events, stop| {
            let engine = Engine::new(shard, Arc::clone(&for_shards), share);
            async move { drive(engine, &events, &stop).await }
        },
    )?;
    Ok(kind::load(kind, shards))
}

/// Loads of requests, as a kind.
struct Requests(Arc<Plan>);

impl Kind for Requests {
    type Record = Record;
    type End = ShardEnd;
    type Second = Second;
    type Summary = Summary;

    fn second(&self, merged: &Merged<Record>) -> Second {
        let (at_s, record) = (merged.at_s, &merged.record);
        let response = Times::of(&record.response);
        Second {
            at_s,
            rate_per_s: merged.per_s(record.tally.requests),
            asked_rate_per_s: self.0.asked_per_s(at_s - merged.length_s, at_s),
            errors: record.tally.errors_total(),
            response_p50_us: response.p50,
            response_p99_us: response.p99,
            response_max_us: response.max,
            service_p99_us: Times::of(&record.service).p99,
        }
    }

    fn figures(second: &Second, total: &Record) -> String {
        format!(
            "{:>12}  P99 {:>8}  errors {}",
            per_second(second.rate_per_s),
            timed(second.response_p99_us),
            grouped(total.tally.errors_total())
        )
    }

    fn histograms(record: &Record) -> [(&'static str, &Histogram<u64>); 2] {
        [("response", &record.response), ("service", &record.service)]
    }

    fn summary(
        self,
        collected: Collected<Self>,
        finished: Result<Finished<ShardEnd>, LoadError>,
    ) -> Result<Summary, LoadError> {
        let Collected { total, timeline } = collected;
        Ok(Summary::of(&self.0, (&total, timeline), &finished?))
    }
}

impl ShardEngine for Engine {
    type Record = Record;

    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn measure_ns(&self) -> u64 {
        Engine::measure_ns(self)
    }

    fn forget(&self) {
        // Connections are made before the measured time, but count.
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
        self.clients.poll_all_ended(cx)
    }
}

/// Runs a shard's part, from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    events: &EventSender<Record, ShardEnd>,
    stop: &StopHandle,
) -> Result<ShardEnd, LoadError> {
    let shard: Shard = engine.shard.clone();
    let connections = engine.share.part_of(engine.plan.connections as u64) as usize;
    poll_fn(|cx| {
        engine.clients.poll_all_tried(cx, connections, |_| {
            shard.spawn_detached(connection::run(Rc::clone(&engine)));
        })
    })
    .await;
    if !engine.plan.connection_per_request {
        engine.connector.require_one(connections as u64)?;
    }

    engine.begin(monotonic_ns());
    if engine.plan.is_open() {
        shard.spawn_detached(Rc::clone(&engine).dispatch());
    }
    let mut reporter = Reporter::new(&*engine, events);
    let mut grace_ends_ns = None;
    watch(&*engine, &mut reporter, stop, |now_ns| {
        engine.pace();
        engine.connector.require_one(connections as u64)?;
        if stop.is_requested() && grace_ends_ns.is_none() {
            engine.stop();
        }
        if now_ns < engine.end_ns() {
            return Ok(Some(engine.end_ns()));
        }
        if engine.plan.is_open() {
            engine.drain();
        }
        let grace_ms = limits::GRACE_MS.min(engine.plan.timeout_ms);
        let ends_ns = *grace_ends_ns.get_or_insert(now_ns + grace_ms * 1_000_000);
        Ok((now_ns < ends_ns).then_some(ends_ns))
    })
    .await?;
    let sending_ended_ns = monotonic_ns().min(engine.end_ns());
    engine.end();
    ended(&*engine).await;
    engine.count_unsent();
    engine.connector.require_one(1)?;
    let measured_s = |to_ns: u64| to_ns.saturating_sub(engine.measure_ns()) as f64 / 1e9;
    let answered_s = measured_s(engine.last_answer_ns());
    let is_cut = stop.is_requested() || sending_ended_ns >= engine.end_ns();
    let seconds = match (engine.plan.is_open(), engine.plan.duration_ns) {
        // Requests are due for the requested duration, however long the last answer takes
        // (docs/decisions/075-time-base-of-a-load.md).
        (true, _) if is_cut => measured_s(sending_ended_ns),
        (true, _) => answered_s.max(engine.plan.asked_s().unwrap_or(0.0)),
        (false, Some(_)) => measured_s(sending_ended_ns).max(answered_s),
        (false, None) => answered_s,
    };
    Ok(ShardEnd {
        seconds,
        busy: reporter.finish(),
        by_url: engine.take_by_url(),
        players: engine.take_players(),
    })
}
