//! Runs a plan on shards of its own.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::arrivals::Share;
use super::collect::{Collector, CpuUse, ShardEnd};
use super::connection;
use super::engine::Engine;
use super::error::LoadError;
use super::plan::Plan;
use super::record::{Interval, Record};
use super::summary::{Second, Summary};
use crate::limits;
use crate::runtime::{RingOptions, Running, Runtime, Shard, sleep_until};
use crate::sys;
use crate::sys::time::{monotonic_ns, process_cpu_ns, thread_cpu_ns};

const GO_ON: u8 = 0;
const STOP: u8 = 1;
const STOP_NOW: u8 = 2;

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

/// Ends a load before its time, from any thread.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Sends nothing more; waits a little for what is under way.
    pub fn soon(&self) {
        let _ = self
            .0
            .compare_exchange(GO_ON, STOP, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Waits for nothing.
    pub fn now(&self) {
        self.0.store(STOP_NOW, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }
}

/// What a shard tells the one who started it.
enum Event {
    /// The warm-up is over.
    Measuring,
    Interval(Box<Interval>),
    Ended(ShardEnd),
    /// No connection could be made.
    Unconnected(SocketAddr, io::Error),
}

/// A load at work.
pub struct Load {
    plan: Arc<Plan>,
    running: Running,
    events: mpsc::Receiver<Event>,
    stop: Stop,
    server_pids: Vec<u32>,
    started_unix_s: u64,
}

/// Starts a load. The processes `server_pids`, with their children, have their CPU time measured.
///
/// # Errors
/// When the host does not allow it. That the server can't be reached shows in [`Load::finish`].
pub fn start(mut plan: Plan, server_pids: Vec<u32>) -> Result<Load, LoadError> {
    plan.threads = plan.threads.clamp(1, plan.connections.max(1));
    plan.check_limits()?;
    let plan = Arc::new(plan);
    let (tell, events) = mpsc::channel();
    let stop = Stop(Arc::new(AtomicU8::new(GO_ON)));
    let runtime = match &plan.cpus {
        Some(cpus) => Runtime::new((0..plan.threads).map(|i| cpus[i % cpus.len()]).collect())?,
        None => Runtime::new(vec![0; plan.threads])?.unpinned(),
    };
    let ring = RingOptions {
        receive_buffer_bytes: limits::LOAD_RECV_BUFFER_BYTES,
        ..RingOptions::default()
    };
    let (shared, told) = (Arc::clone(&plan), stop.clone());
    let running = runtime.ring_options(ring).start(move |shard| {
        let share = Share {
            index: shard.index(),
            of: shard.count(),
        };
        let engine = Engine::new(shard, Arc::clone(&shared), share);
        let (tell, told) = (tell.clone(), told.clone());
        async move {
            // Whoever listened has gone when nobody hears.
            let _ = tell.send(match drive(engine, &tell, &told).await {
                Ok(end) => Event::Ended(end),
                Err((address, error)) => Event::Unconnected(address, error),
            });
        }
    })?;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Load {
        plan,
        running,
        events,
        stop,
        server_pids,
        started_unix_s: since_epoch.map_or(0, |time| time.as_secs()),
    })
}

impl Load {
    /// Ends it before its time.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits for the end; tells `each` second how it is doing.
    ///
    /// # Errors
    /// When not one connection could be made, or a shard failed.
    pub fn finish(self, mut each: impl FnMut(&Progress<'_>)) -> Result<Summary, LoadError> {
        let mut collector = Collector::new(Arc::clone(&self.plan));
        let mut ends = Vec::new();
        let mut unconnected = None;
        let mut cpu_before = None;
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Measuring => {
                    cpu_before.get_or_insert_with(|| self.cpu());
                }
                Event::Interval(interval) => {
                    if let Some(progress) = collector.add(*interval) {
                        each(&progress);
                    }
                }
                Event::Ended(end) => ends.push(end),
                Event::Unconnected(address, error) => {
                    unconnected = unconnected.or(Some((address, error)));
                    // The others would go on against the server that one can't reach.
                    self.stop.now();
                }
            }
            if ends.len() == self.plan.threads {
                break;
            }
        }
        let after = self.cpu();
        self.running.join()?;
        if let Some((address, error)) = unconnected {
            return Err(LoadError::Connect { address, error });
        }
        let before = cpu_before.unwrap_or(after);
        let cpu = CpuUse {
            client_ns: after.client_ns - before.client_ns,
            server_ns: after
                .server_ns
                .zip(before.server_ns)
                .map(|(after, before)| after.saturating_sub(before)),
        };
        let mut summary = collector.finish(&ends, cpu, self.stop.is_told());
        summary.started_unix_s = self.started_unix_s;
        Ok(summary)
    }

    fn cpu(&self) -> CpuUse {
        let servers = self.server_pids.iter();
        let server_ns = servers.map(|&pid| sys::process::cpu_ns_with_children(pid));
        CpuUse {
            client_ns: process_cpu_ns(),
            server_ns: (!self.server_pids.is_empty()).then(|| server_ns.sum()),
        }
    }
}

/// A shard's part from its first connection to its last.
async fn drive(
    engine: Rc<Engine>,
    tell: &mpsc::Sender<Event>,
    told: &Stop,
) -> Result<ShardEnd, (SocketAddr, io::Error)> {
    // Where this is refused the precise waits end later, which the lag shows.
    let _ = sys::time::set_timer_slack_ns(1);
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
    let mut reporter = Reporter {
        engine: &engine,
        tell,
        next_ns: engine.measure_ns(),
        since_ns: None,
        number: 0,
        idle_ns: 0,
    };
    let mut grace_ends_ns = None;
    loop {
        let now_ns = monotonic_ns();
        let look_ns = now_ns + limits::LOAD_LOOK_MS * 1_000_000;
        let until_ns = look_ns
            .min(reporter.next_ns)
            .min(grace_ends_ns.unwrap_or(engine.end_ns()).max(now_ns));
        let all_ended = ended_before(&engine, until_ns).await;
        let now_ns = monotonic_ns();
        reporter.look(now_ns);
        engine.pace();
        if all_ended || told.0.load(Ordering::Relaxed) == STOP_NOW {
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
    ended_before(&engine, monotonic_ns() + patience_ns).await;
    engine.count_unsent();
    if engine.connecting.made.get() == 0 {
        unconnected(&engine, 1)?;
    }
    let counted_to_ns = match engine.plan.duration_ns {
        Some(_) => sending_ended_ns.max(engine.last_answer_ns()),
        None => engine.last_answer_ns(),
    };
    let seconds = counted_to_ns.saturating_sub(engine.measure_ns()) as f64 / 1e9;
    Ok(reporter.finish(seconds))
}

/// An error when no connection was ever made in at least so many attempts.
fn unconnected(engine: &Engine, attempts: u64) -> Result<(), (SocketAddr, io::Error)> {
    let connecting = &engine.connecting;
    if connecting.made.get() == 0
        && connecting.failed.get() >= attempts
        && let Some(first) = connecting.first_error.take()
    {
        return Err(first);
    }
    Ok(())
}

/// Waits for a moment; whether all connections have ended before.
async fn ended_before(engine: &Engine, until_ns: u64) -> bool {
    let mut until = pin!(sleep_until(until_ns));
    poll_fn(|cx| {
        if engine.poll_all_ended(cx).is_ready() {
            return Poll::Ready(true);
        }
        until.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// Tells once a second what a shard has seen.
struct Reporter<'a> {
    engine: &'a Engine,
    tell: &'a mpsc::Sender<Event>,
    next_ns: u64,
    /// `None` in the warm-up.
    since_ns: Option<u64>,
    number: usize,
    /// CPU time of this thread before the measured time, less what it spun.
    idle_ns: u64,
}

impl Reporter<'_> {
    fn worked_ns(&self) -> u64 {
        thread_cpu_ns().saturating_sub(self.engine.shard.spun_ns())
    }

    fn look(&mut self, now_ns: u64) {
        if now_ns < self.next_ns {
            return;
        }
        match self.since_ns {
            Some(since_ns) => self.report(since_ns, now_ns),
            None => {
                // The connections that are there were made before, and are told of.
                let mut record = self.engine.record.borrow_mut();
                let connect = record.connect.clone();
                let connects = record.tally.connects;
                *record = Record::new();
                record.connect = connect;
                record.tally.connects = connects;
                drop(record);
                self.idle_ns = self.worked_ns();
                let _ = self.tell.send(Event::Measuring);
            }
        }
        self.since_ns = Some(now_ns);
        // By its own clock, so that lateness does not add up.
        while self.next_ns <= now_ns {
            self.next_ns += limits::LOAD_REPORT_MS * 1_000_000;
        }
    }

    fn report(&mut self, since_ns: u64, now_ns: u64) {
        let record = self.engine.record.replace(Record::new());
        let interval = Interval {
            record,
            number: self.number,
            length: Duration::from_nanos(now_ns - since_ns),
        };
        self.number += 1;
        let _ = self.tell.send(Event::Interval(Box::new(interval)));
    }

    fn finish(mut self, seconds: f64) -> ShardEnd {
        let now_ns = monotonic_ns();
        let measured_ns = now_ns.saturating_sub(self.engine.measure_ns()).max(1);
        let worked_ns = self.worked_ns().saturating_sub(self.idle_ns);
        if let Some(since_ns) = self.since_ns {
            self.report(since_ns, now_ns);
        }
        ShardEnd {
            seconds,
            busy: worked_ns as f64 / measured_ns as f64,
            by_url: self.engine.take_by_url(),
        }
    }
}
