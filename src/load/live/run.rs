//! Starts the shards and the writer of a load of live readers, and collects their results.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hdrhistogram::Histogram;

use super::super::arrivals::Share;
use super::super::error::LoadError;
use super::super::intervals::{Merged, Recorded};
use super::super::kind::{self, Collected, Kind, Load};
use super::super::plan::allow_connections;
use super::super::request::{Prepared, RequestSpec};
use super::super::shards::{EventSender, Finished, Reporter, Shards, StopHandle, ended, watch};
use super::super::table::{grouped, per_second, timed};
use super::super::times::Times;
use super::engine::{Engine, Shared};
use super::plan::LivePlan;
use super::reader;
use super::record::{Record, ShardEnd};
use super::summary::{LiveSecond, LiveSummary};
use super::writer::{Writer, Written};

/// Starts a load of live readers. The processes `server_pids`, with their children, have their CPU
/// time measured.
///
/// # Errors
/// When the host does not allow it, or the file or upload can't be opened. [`Load::finish`] reports
/// a server that can't be reached.
pub fn start(plan: LivePlan, server_pids: Vec<u32>) -> Result<Load<LiveSummary>, LoadError> {
    allow_connections(plan.readers, &plan.read.addresses)?;
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
    let shards = Shards::start(
        threads,
        cpus,
        server_pids,
        move |shard, share, events, stop| {
            let (plan, shared) = (Arc::clone(&for_shards), Arc::clone(&known));
            let engine = Engine::new(shard, plan, shared, share, request.clone());
            async move { drive(engine, &events, &stop).await }
        },
    )?;
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
        Ok(writer) => {
            let stop = shards.stop.clone();
            let kind = LiveReaders { plan, writer, stop };
            Ok(kind::load(kind, shards))
        }
        Err(error) => {
            shards.stop.immediately();
            // The writer's error explains more than the shards' ends, so it comes first.
            let _ = shards.finish(|_| {});
            Err(error)
        }
    }
}

/// Loads of live readers, as a kind.
struct LiveReaders {
    plan: Arc<LivePlan>,
    writer: JoinHandle<Result<Written, LoadError>>,
    stop: StopHandle,
}

impl Kind for LiveReaders {
    type Record = Record;
    type End = ShardEnd;
    type Second = LiveSecond;
    type Summary = LiveSummary;

    fn second(&self, merged: &Merged<Record>) -> LiveSecond {
        let record = &merged.record;
        let times = Times::of(&record.due);
        LiveSecond {
            at_s: merged.at_s,
            pieces_per_s: merged.per_s(record.tally.pieces),
            bytes_per_s: merged.per_s(record.tally.bytes),
            stalls: record.tally.stalls,
            errors: record.tally.wrong(),
            behind_p50_us: times.p50,
            behind_p99_us: times.p99,
            behind_max_us: times.max,
        }
    }

    fn figures(second: &LiveSecond, total: &Record) -> String {
        format!(
            "{:>10} pieces  {:>8.1} Mbit/s  behind P99 {:>8}  stalls {}  errors {}",
            per_second(second.pieces_per_s),
            second.bytes_per_s * 8.0 / 1e6,
            timed(second.behind_p99_us),
            grouped(second.stalls),
            grouped(total.tally.wrong())
        )
    }

    fn histograms(record: &Record) -> [(&'static str, &Histogram<u64>); 2] {
        [("due", &record.due), ("written", &record.written)]
    }

    fn summary(
        self,
        collected: Collected<Self>,
        finished: Result<Finished<ShardEnd>, LoadError>,
    ) -> Result<LiveSummary, LoadError> {
        if finished.is_err() {
            self.stop.immediately();
        }
        // The panic hook has printed the panic's message.
        let written = self.writer.join().unwrap_or_else(|_| {
            Err(LoadError::Io {
                what: "writing",
                error: io::Error::other("the writer's thread panicked"),
            })
        })?;
        let Collected { total, timeline } = collected;
        let recorded = (&total, &written);
        Ok(LiveSummary::of(&self.plan, recorded, timeline, &finished?))
    }
}

/// Runs a shard's part, from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    events: &EventSender<Record, ShardEnd>,
    stop: &StopHandle,
) -> Result<ShardEnd, LoadError> {
    // Checks that the server can be reached before anything is written.
    drop(engine.connect().await);
    engine.connector.require_one(1)?;
    // That connection is not a reader's, so it is not counted.
    engine.record.replace(Record::new());
    // Writing begins only when every shard has reached the server, reading only when the writer has
    // opened its file or upload.
    engine.shared.is_ready(&engine.plan);
    if let Some(start_ns) = engine.shared.start.wait(stop).await {
        engine.begin(start_ns);
        let Share { index, of } = engine.share;
        for number in (index..engine.plan.readers).step_by(of) {
            engine.clients.begins();
            let task = reader::run(Rc::clone(&engine), number);
            engine.shard.spawn_detached(task);
        }
    }
    let mut reporter = Reporter::new(&*engine, events);
    let mut grace_ends_ns = None;
    watch(&*engine, &mut reporter, stop, |now_ns| {
        if engine.shared.is_ending() && grace_ends_ns.is_none() {
            grace_ends_ns = Some(now_ns + engine.plan.grace_ms * 1_000_000);
            // A reader that has every piece ends now.
            engine.shard.wake_all();
        }
        let ends_ns = grace_ends_ns.unwrap_or(u64::MAX);
        Ok((now_ns < ends_ns).then_some(ends_ns))
    })
    .await?;
    engine.end();
    ended(&*engine).await;
    Ok(ShardEnd {
        start_ns: engine.start_ns(),
        last_ns: engine.last_ns.get(),
        busy: reporter.finish(),
        unread: engine.unread.get(),
        without_piece: engine.without_piece.get(),
    })
}
