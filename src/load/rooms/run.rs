//! Starts the shards of a load of rooms and collects their results.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::arrivals::Share;
use super::super::error::LoadError;
use super::super::intervals::Merged;
use super::super::kind::{self, Collected, Kind, Load};
use super::super::plan::allow_connections;
use super::super::shards::{
    EventSender, Finished, Reporter, ShardEngine, Shards, StopHandle, ended, watch,
};
use super::super::table::{grouped, per_second, timed};
use super::super::times::Times;
use super::engine::{Engine, Phase, Shared};
use super::plan::RoomsPlan;
use super::record::{Record, ShardEnd};
use super::summary::{RoomsSecond, RoomsSummary};
use super::{publisher, subscriber};
use crate::runtime::sleep;

/// Starts a load of rooms. The processes `server_pids`, with their children, have their CPU time
/// measured.
///
/// # Errors
/// When the host does not allow it. [`Load::finish`] reports a server that can't be reached.
pub fn start(plan: RoomsPlan, server_pids: Vec<u32>) -> Result<Load<RoomsSummary>, LoadError> {
    let connections = plan.subscribers + plan.publishers;
    allow_connections(connections, &plan.subscribe.addresses)?;
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared::new(&plan));
    let kind = Rooms(Arc::clone(&plan));
    let for_shards = Arc::clone(&plan);
    let (threads, cpus) = (plan.threads, plan.cpus.as_deref());
    let shards = Shards::start(
        threads,
        cpus,
        server_pids,
        move |shard, share, events, stop| {
            let engine = Engine::new(shard, Arc::clone(&for_shards), Arc::clone(&shared), share);
            async move { drive(engine, &events, &stop).await }
        },
    )?;
    Ok(kind::load(kind, shards))
}

/// Loads of rooms, as a kind.
struct Rooms(Arc<RoomsPlan>);

impl Kind for Rooms {
    type Record = Record;
    type End = ShardEnd;
    type Second = RoomsSecond;
    type Summary = RoomsSummary;

    fn second(&self, merged: &Merged<Record>) -> RoomsSecond {
        let record = &merged.record;
        let times = Times::of(&record.delivery);
        RoomsSecond {
            at_s: merged.at_s,
            published_per_s: merged.per_s(record.tally.published),
            deliveries_per_s: merged.per_s(record.tally.deliveries),
            errors: record.tally.wrong(),
            delivery_p50_us: times.p50,
            delivery_p99_us: times.p99,
            delivery_max_us: times.max,
        }
    }

    fn figures(second: &RoomsSecond, total: &Record) -> String {
        format!(
            "{:>10} published  {:>10} delivered  P99 {:>8}  errors {}",
            per_second(second.published_per_s),
            per_second(second.deliveries_per_s),
            timed(second.delivery_p99_us),
            grouped(total.tally.wrong())
        )
    }

    fn histograms(record: &Record) -> [(&'static str, &Histogram<u64>); 2] {
        [("delivery", &record.delivery), ("transit", &record.transit)]
    }

    fn summary(
        self,
        collected: Collected<Self>,
        finished: Result<Finished<ShardEnd>, LoadError>,
    ) -> Result<RoomsSummary, LoadError> {
        let Collected { total, timeline } = collected;
        Ok(RoomsSummary::of(&self.0, &total, timeline, &finished?))
    }
}

/// Runs a shard's part, from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    events: &EventSender<Record, ShardEnd>,
    stop: &StopHandle,
) -> Result<ShardEnd, LoadError> {
    connect(&engine, stop).await?;
    // No publisher begins before the last subscriber has connected.
    engine.shared.start.arrive(engine.share.of);
    match engine.shared.start.wait(stop).await {
        Some(start_ns) => engine.begin(start_ns),
        None => engine.set(Phase::Over),
    }
    let mut reporter = Reporter::new(&*engine, events);
    let mut grace_ends_ns = None;
    watch(&*engine, &mut reporter, stop, |now_ns| {
        if stop.is_requested() {
            engine.set(Phase::Draining);
        }
        if engine.shared.publishing.load(Ordering::Acquire) > 0 {
            return Ok(Some(u64::MAX));
        }
        let grace_ns = engine.plan.grace_ms * 1_000_000;
        let ends_ns = *grace_ends_ns.get_or_insert(now_ns + grace_ns);
        let is_over = now_ns >= ends_ns || engine.delivered.get() >= engine.expected();
        Ok((!is_over).then_some(ends_ns))
    })
    .await?;
    let expected = engine.expected();
    let ended_ns = match stop.is_requested() {
        true => engine.last_ns.get(),
        false => engine.end_ns().max(engine.last_ns.get()),
    };
    engine.set(Phase::Over);
    ended(&*engine).await;
    Ok(ShardEnd {
        seconds: ended_ns.saturating_sub(engine.measure_ns()) as f64 / 1e9,
        busy: reporter.finish(),
        expected,
        lost: engine.lost.get(),
        unsent: engine.unsent.get(),
        unconnected: engine.unconnected.get(),
    })
}

/// Starts this shard's subscribers, then its publishers; ready when each has tried to connect, and
/// an error when no task of any shard has a connection.
async fn connect(engine: &Rc<Engine>, stop: &StopHandle) -> Result<(), LoadError> {
    let plan = Arc::clone(&engine.plan);
    let Share { index, of } = engine.share;
    let subscribers = engine.share.part_of(plan.subscribers as u64) as usize;
    // When the counts don't divide evenly, the additional publishers go to other shards than the
    // additional subscribers, if possible.
    let first = of - 1 - index;
    let publishers = Share { index: first, of }.part_of(plan.publishers as u64) as usize;
    let mut start = |at: usize| {
        let task = Rc::clone(engine);
        match at.checked_sub(subscribers) {
            None => engine
                .shard
                .spawn_detached(subscriber::run(task, index + at * of)),
            Some(at) => engine
                .shard
                .spawn_detached(publisher::run(task, first + at * of)),
        }
    };
    let shared = &engine.shared;
    for (all, phase_of) in [
        (subscribers, &shared.subscribing),
        (subscribers + publishers, &shared.connecting),
    ] {
        poll_fn(|cx| engine.clients.poll_all_tried(cx, all, &mut start)).await;
        phase_of.tried.fetch_add(1, Ordering::AcqRel);
        while phase_of.tried.load(Ordering::Acquire) < engine.share.of && !stop.is_requested() {
            sleep(Duration::from_millis(1)).await;
        }
        engine.require_one(phase_of)?;
    }
    Ok(())
}
