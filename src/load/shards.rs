//! The shards of a load of any kind. Each runs an engine and reports once a second to the thread
//! that started them; all begin at one moment and are stopped together.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use super::arrivals::Share;
use super::error::LoadError;
use crate::load::limits;
use crate::runtime::{RingOptions, Running, Runtime, Shard, sleep, sleep_until};
use crate::sys;
use crate::sys::time::{monotonic_ns, process_cpu_ns, thread_cpu_ns};

const GO_ON: u8 = 0;
const STOP: u8 = 1;
const STOP_NOW: u8 = 2;

/// Ends a load early, from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<AtomicU8>);

impl StopHandle {
    /// Stops sending; waits briefly for requests in flight.
    pub fn gracefully(&self) {
        let _ = self
            .0
            .compare_exchange(GO_ON, STOP, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends at once, without waiting.
    pub fn immediately(&self) {
        self.0.store(STOP_NOW, Ordering::Relaxed);
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }

    /// Whether an immediate stop was requested.
    pub(super) fn is_immediate(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOP_NOW
    }
}

/// CPU time of whole processes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuUse {
    pub client_ns: u64,
    pub server_ns: Option<u64>,
}

/// A shard's record of an interval.
pub(super) struct Interval<R> {
    pub record: R,
    /// The interval's number on its shard, from 0.
    pub number: usize,
    pub length: Duration,
}

/// A message from a shard to the thread that started it.
enum Event<R, E> {
    /// The warm-up is over.
    Measuring,
    Interval(Box<Interval<R>>),
    Ended(E),
    /// There is nothing to measure.
    Failed(LoadError),
}

/// Sends events from a shard to the thread that started it.
pub(super) struct EventSender<R, E>(mpsc::Sender<Event<R, E>>);

impl<R, E> EventSender<R, E> {
    fn send(&self, event: Event<R, E>) {
        // A send fails only if the receiver was dropped, and then no report is needed.
        let _ = self.0.send(event);
    }
}

/// Running shards. `R` is their record of a second, `E` the figures that they report at their end.
pub(super) struct Shards<R, E> {
    threads: usize,
    running: Running,
    events: mpsc::Receiver<Event<R, E>>,
    pub stop: StopHandle,
    server_pids: Vec<u32>,
    started_unix_s: u64,
}

/// The results of all shards, when they have ended.
pub(super) struct Finished<E> {
    pub ends: Vec<E>,
    /// The length of the measured time.
    pub cpu: CpuUse,
    /// The load was stopped early.
    pub stopped: bool,
    pub started_unix_s: u64,
}

impl<R: Send + 'static, E: Send + 'static> Shards<R, E> {
    /// Starts `threads` shards, on `cpus` if given, each of which runs `part`. The processes
    /// `server_pids`, with their children, have their CPU time measured.
    pub(crate) fn start<F: Future<Output = Result<E, LoadError>> + 'static>(
        threads: usize,
        cpus: Option<&[usize]>,
        server_pids: Vec<u32>,
        part: impl Fn(Shard, Share, Arc<EventSender<R, E>>, StopHandle) -> F + Send + Sync + 'static,
    ) -> Result<Self, LoadError> {
        let (sender, events) = mpsc::channel();
        let stop = StopHandle(Arc::new(AtomicU8::new(GO_ON)));
        let runtime = match cpus {
            Some(cpus) => Runtime::new((0..threads).map(|i| cpus[i % cpus.len()]).collect())?,
            None => Runtime::new(vec![0; threads])?.unpinned(),
        };
        let ring = RingOptions {
            receive_buffer_bytes: limits::RECV_BUFFER_BYTES,
            ..RingOptions::default()
        };
        let shared = stop.clone();
        let running = runtime.ring_options(ring).start(move |shard| {
            let events = Arc::new(EventSender(sender.clone()));
            let share = Share {
                index: shard.index(),
                of: shard.count(),
            };
            let part = part(shard, share, Arc::clone(&events), shared.clone());
            async move {
                // If this fails, precise waits end later, which the reported lag shows.
                let _ = sys::time::set_timer_slack_ns(1);
                events.send(match part.await {
                    Ok(end) => Event::Ended(end),
                    Err(error) => Event::Failed(error),
                });
            }
        })?;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Self {
            threads,
            running,
            events,
            stop,
            server_pids,
            started_unix_s: since_epoch.map_or(0, |time| time.as_secs()),
        })
    }

    /// Waits for the end; `each` gets every interval of every shard.
    ///
    /// # Errors
    /// When there was nothing to measure, or a shard failed.
    pub(crate) fn finish(
        self,
        mut each: impl FnMut(Interval<R>),
    ) -> Result<Finished<E>, LoadError> {
        let mut ends = Vec::new();
        let mut failed = None;
        let mut cpu_before = None;
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Measuring => {
                    cpu_before.get_or_insert_with(|| self.cpu());
                }
                Event::Interval(interval) => each(*interval),
                Event::Ended(end) => ends.push(end),
                Event::Failed(error) => {
                    failed = failed.or(Some(error));
                    // The other shards would continue although one can't reach the server.
                    self.stop.immediately();
                }
            }
            if ends.len() == self.threads {
                break;
            }
        }
        let after = self.cpu();
        self.running.join()?;
        if let Some(error) = failed {
            return Err(error);
        }
        let before = cpu_before.unwrap_or(after);
        let cpu = CpuUse {
            client_ns: after.client_ns - before.client_ns,
            server_ns: after
                .server_ns
                .zip(before.server_ns)
                .map(|(after, before)| after.saturating_sub(before)),
        };
        Ok(Finished {
            ends,
            cpu,
            stopped: self.stop.is_requested(),
            started_unix_s: self.started_unix_s,
        })
    }

    /// The number of shards.
    pub(crate) fn threads(&self) -> usize {
        self.threads
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

/// The part of a shard's engine that the reports need.
pub(super) trait ShardEngine {
    type Record: Send + 'static;

    fn shard(&self) -> &Shard;
    /// When the measured time begins.
    fn measure_ns(&self) -> u64;
    /// Ends the warm-up: discards what was recorded in it.
    fn forget(&self);
    /// Takes what was recorded since the last call.
    fn take(&self) -> Self::Record;
    /// Ready when all tasks of the shard have ended.
    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Reports once a second until all tasks have ended, the load must stop at once, or `step` returns
/// `None` because the load is over. `step` runs every [`limits::STOP_POLL_MS`] or sooner, and
/// returns the next moment at which it must run.
///
/// # Errors
/// That of `step`.
pub(super) async fn watch<P: ShardEngine, E>(
    engine: &P,
    reporter: &mut Reporter<'_, P, E>,
    stop: &StopHandle,
    mut step: impl FnMut(u64) -> Result<Option<u64>, LoadError>,
) -> Result<(), LoadError> {
    let mut wanted_ns = u64::MAX;
    loop {
        let now_ns = monotonic_ns();
        let poll_ns = now_ns + limits::STOP_POLL_MS * 1_000_000;
        let until_ns = poll_ns.min(reporter.next_ns).min(wanted_ns.max(now_ns));
        let all_ended = ended_before(engine, until_ns).await;
        let now_ns = monotonic_ns();
        reporter.report_if_due(now_ns);
        if all_ended || stop.is_immediate() {
            return Ok(());
        }
        match step(now_ns)? {
            Some(next_ns) => wanted_ns = next_ns,
            None => return Ok(()),
        }
    }
}

/// Waits for tasks whose end was requested, at most for [`limits::GRACE_MS`].
pub(super) async fn ended(engine: &impl ShardEngine) {
    let patience_ns = limits::GRACE_MS * 1_000_000;
    ended_before(engine, monotonic_ns() + patience_ns).await;
}

/// A barrier at which all shards and other threads of a load agree on one moment to begin.
#[derive(Default)]
pub(super) struct StartBarrier {
    arrived: AtomicUsize,
    /// The moment; 0 until it is known.
    start_ns: AtomicU64,
}

impl StartBarrier {
    /// Notes that one of `parties` is ready; the last one sets the moment.
    pub(crate) fn arrive(&self, parties: usize) {
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == parties {
            let start_ns = monotonic_ns() + limits::START_LEAD_MS * 1_000_000;
            self.start_ns.store(start_ns, Ordering::Release);
        }
    }

    /// The moment, once it is known.
    pub(crate) fn start_ns(&self) -> Option<u64> {
        Some(self.start_ns.load(Ordering::Acquire)).filter(|&ns| ns > 0)
    }

    /// Waits for the moment; `None` if the load is stopped before it.
    pub(crate) async fn wait(&self, stop: &StopHandle) -> Option<u64> {
        loop {
            if let Some(start_ns) = self.start_ns() {
                return Some(start_ns);
            }
            if stop.is_requested() {
                return None;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Waits for a moment; returns whether all tasks ended before it.
async fn ended_before(part: &impl ShardEngine, until_ns: u64) -> bool {
    let mut until = pin!(sleep_until(until_ns));
    poll_fn(|cx| {
        if part.poll_all_ended(cx).is_ready() {
            return Poll::Ready(true);
        }
        until.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// Reports a shard's records once a second.
pub(super) struct Reporter<'a, P: ShardEngine, E> {
    part: &'a P,
    events: &'a EventSender<P::Record, E>,
    pub next_ns: u64,
    /// `None` in the warm-up.
    since_ns: Option<u64>,
    number: usize,
    /// CPU time of this thread before the measured time, without time spent spinning.
    idle_ns: u64,
}

impl<'a, P: ShardEngine, E> Reporter<'a, P, E> {
    pub(crate) fn new(part: &'a P, events: &'a EventSender<P::Record, E>) -> Self {
        Self {
            part,
            events,
            next_ns: part.measure_ns(),
            since_ns: None,
            number: 0,
            idle_ns: 0,
        }
    }

    fn worked_ns(&self) -> u64 {
        thread_cpu_ns().saturating_sub(self.part.shard().spun_ns())
    }

    /// Reports, if a report is due.
    pub(crate) fn report_if_due(&mut self, now_ns: u64) {
        if now_ns < self.next_ns {
            return;
        }
        match self.since_ns {
            Some(since_ns) => self.report(since_ns, now_ns),
            None => {
                self.part.forget();
                self.idle_ns = self.worked_ns();
                self.events.send(Event::Measuring);
            }
        }
        self.since_ns = Some(now_ns);
        // On a fixed schedule, so that delays do not accumulate.
        while self.next_ns <= now_ns {
            self.next_ns += limits::REPORT_MS * 1_000_000;
        }
    }

    fn report(&mut self, since_ns: u64, now_ns: u64) {
        let interval = Interval {
            record: self.part.take(),
            number: self.number,
            length: Duration::from_nanos(now_ns - since_ns),
        };
        self.number += 1;
        self.events.send(Event::Interval(Box::new(interval)));
    }

    /// Reports the rest, and returns the share of the measured time for which this thread was busy.
    pub(crate) fn finish(mut self) -> f64 {
        let now_ns = monotonic_ns();
        let measured_ns = now_ns.saturating_sub(self.part.measure_ns()).max(1);
        let worked_ns = self.worked_ns().saturating_sub(self.idle_ns);
        if let Some(since_ns) = self.since_ns {
            self.report(since_ns, now_ns);
        }
        worked_ns as f64 / measured_ns as f64
    }
}
