//! Runs a load of rooms on shards of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::arrivals::Share;
use super::super::error::LoadError;
use super::super::intervals::{Intervals, Merged, Recorded};
use super::super::plan::allow_connections;
use super::super::shards::{Interval, Part, Reporter, Shards, Stop, Tell, ended_before};
use super::super::summary::Times;
use super::engine::{Engine, Phase, Shared};
use super::plan::RoomsPlan;
use super::record::Record;
use super::summary::{RoomsSecond, RoomsSummary};
use super::{publisher, subscriber};
use crate::limits;
use crate::runtime::sleep;
use crate::sys::time::monotonic_ns;

/// How a load of rooms is doing, told every second.
pub struct RoomsProgress<'a> {
    /// The last second.
    pub second: RoomsSecond,
    pub length_s: f64,
    /// From when messages were due to their deliveries, in nanoseconds.
    pub delivery: &'a Histogram<u64>,
    /// From when they were sent.
    pub transit: &'a Histogram<u64>,
    /// What went wrong so far; what is lost is known at the end.
    pub errors: u64,
}

/// What a shard tells at its end.
pub(super) struct ShardEnd {
    pub seconds: f64,
    /// Share of the time that its thread worked.
    pub busy: f64,
    pub expected: u64,
    pub lost: u64,
    pub unsent: u64,
    pub unconnected: u64,
}

/// A load of rooms at work.
pub struct RoomsLoad {
    plan: Arc<RoomsPlan>,
    shards: Shards<Record, ShardEnd>,
}

/// Starts a load of rooms. The processes `server_pids`, with their children, have their CPU time
/// measured.
///
/// # Errors
/// When the host does not allow it. That the server can't be reached shows in [`RoomsLoad::finish`].
pub fn start(plan: RoomsPlan, server_pids: Vec<u32>) -> Result<RoomsLoad, LoadError> {
    allow_connections(plan.subscribers + plan.publishers)?;
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared::new(&plan));
    let for_shards = Arc::clone(&plan);
    let (threads, cpus) = (plan.threads, plan.cpus.as_deref());
    let shards = Shards::start(threads, cpus, server_pids, move |shard, tell, told| {
        let share = Share {
            index: shard.index(),
            of: shard.count(),
        };
        let engine = Engine::new(shard, Arc::clone(&for_shards), Arc::clone(&shared), share);
        async move { drive(engine, &tell, &told).await }
    })?;
    Ok(RoomsLoad { plan, shards })
}

impl RoomsLoad {
    /// Ends it before its time.
    pub fn stopper(&self) -> Stop {
        self.shards.stop.clone()
    }

    /// Waits for the end; tells `each` second how it is doing.
    ///
    /// # Errors
    /// When not one subscriber could connect, or a shard failed.
    pub fn finish(
        self,
        mut each: impl FnMut(&RoomsProgress<'_>),
    ) -> Result<RoomsSummary, LoadError> {
        let mut all = Gathered::new(self.plan.threads);
        let finished = self
            .shards
            .finish(|interval| all.add(interval, &mut each))?;
        while let Some(merged) = all.intervals.rest() {
            all.take(&merged, &mut each);
        }
        Ok(RoomsSummary::of(
            &self.plan,
            &all.total,
            all.timeline,
            &finished,
        ))
    }
}

/// Adds up the intervals of all shards.
struct Gathered {
    intervals: Intervals<Record>,
    total: Record,
    timeline: Vec<RoomsSecond>,
}

impl Gathered {
    fn new(threads: usize) -> Self {
        Self {
            intervals: Intervals::of(threads),
            total: Record::new(),
            timeline: Vec::new(),
        }
    }

    fn add(&mut self, interval: Interval<Record>, each: &mut impl FnMut(&RoomsProgress<'_>)) {
        if let Some(merged) = self.intervals.add(interval) {
            self.take(&merged, each);
        }
    }

    fn take(&mut self, merged: &Merged<Record>, each: &mut impl FnMut(&RoomsProgress<'_>)) {
        let record = &merged.record;
        self.total.add(record);
        let times = Times::of(&record.delivery);
        let second = RoomsSecond {
            at_s: merged.at_s,
            published_per_s: merged.per_s(record.tally.published),
            deliveries_per_s: merged.per_s(record.tally.deliveries),
            errors: record.tally.wrong(),
            delivery_p50_us: times.p50,
            delivery_p99_us: times.p99,
            delivery_max_us: times.max,
        };
        self.timeline.push(second);
        each(&RoomsProgress {
            second,
            length_s: merged.length_s,
            delivery: &record.delivery,
            transit: &record.transit,
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
    connect(&engine, told).await?;
    if !all_shards_ready(&engine, told).await {
        engine.set(Phase::Over);
    }
    let mut reporter = Reporter::new(&*engine, tell);
    let mut grace_ends_ns = u64::MAX;
    loop {
        let now_ns = monotonic_ns();
        let look_ns = now_ns + limits::LOAD_LOOK_MS * 1_000_000;
        let until_ns = look_ns.min(reporter.next_ns).min(grace_ends_ns);
        let all_ended = ended_before(&*engine, until_ns).await;
        let now_ns = monotonic_ns();
        reporter.look(now_ns);
        if all_ended || told.is_told_now() {
            break;
        }
        if told.is_told() {
            engine.set(Phase::Draining);
        }
        if engine.shared.publishing.load(Ordering::Acquire) > 0 {
            continue;
        }
        if grace_ends_ns == u64::MAX {
            grace_ends_ns = now_ns + engine.plan.grace_ms * 1_000_000;
        }
        if now_ns >= grace_ends_ns || engine.delivered.get() >= engine.expected() {
            break;
        }
    }
    let expected = engine.expected();
    let ended_ns = match told.is_told() {
        true => engine.last_ns.get(),
        false => engine.end_ns().max(engine.last_ns.get()),
    };
    engine.set(Phase::Over);
    let patience_ns = limits::LOAD_GRACE_MS * 1_000_000;
    ended_before(&*engine, monotonic_ns() + patience_ns).await;
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
/// an error when nobody has a connection, on any shard.
async fn connect(engine: &Rc<Engine>, told: &Stop) -> Result<(), LoadError> {
    let plan = Arc::clone(&engine.plan);
    let Share { index, of } = engine.share;
    let part = |all: usize| all / of + usize::from(index < all % of);
    let subscribers = part(plan.subscribers);
    // The rest of the publishers goes to other shards than the rest of the subscribers, if there
    // are others.
    let first = of - 1 - index;
    let publishers = plan.publishers / of + usize::from(first < plan.publishers % of);
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
    for (all, gathering) in [
        (subscribers, &shared.subscribing),
        (subscribers + publishers, &shared.connecting),
    ] {
        poll_fn(|cx| engine.poll_all_tried(cx, all, &mut start)).await;
        gathering.tried.fetch_add(1, Ordering::AcqRel);
        while gathering.tried.load(Ordering::Acquire) < engine.share.of && !told.is_told() {
            sleep(Duration::from_millis(1)).await;
        }
        engine.nobody_there(gathering)?;
    }
    Ok(())
}

/// Nobody publishes before the last subscriber is there. `false`: it was stopped before.
async fn all_shards_ready(engine: &Engine, told: &Stop) -> bool {
    let shared = &engine.shared;
    let lead_ns = limits::LOAD_START_LEAD_MS * 1_000_000;
    if shared.ready.fetch_add(1, Ordering::AcqRel) + 1 == engine.share.of {
        shared
            .start_ns
            .store(monotonic_ns() + lead_ns, Ordering::Release);
    }
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
