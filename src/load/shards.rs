//! What all kinds of load have in common: shards that run its parts and tell of them, the one who
//! listens, and how it is ended.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use super::error::LoadError;
use crate::limits;
use crate::runtime::{RingOptions, Running, Runtime, Shard, sleep_until};
use crate::sys;
use crate::sys::time::{monotonic_ns, process_cpu_ns, thread_cpu_ns};

const GO_ON: u8 = 0;
const STOP: u8 = 1;
const STOP_NOW: u8 = 2;

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

    /// Whether it was told to wait for nothing.
    pub(super) fn is_told_now(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOP_NOW
    }
}

/// CPU time of whole processes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuUse {
    pub client_ns: u64,
    pub server_ns: Option<u64>,
}

/// What a shard tells of a while.
pub(super) struct Interval<R> {
    pub record: R,
    /// Which of the shard's intervals it is, from 0.
    pub number: usize,
    pub length: Duration,
}

/// What a shard tells the one who started it.
enum Event<R, E> {
    /// The warm-up is over.
    Measuring,
    Interval(Box<Interval<R>>),
    Ended(E),
    /// There is nothing to measure.
    Failed(LoadError),
}

/// The way from a shard to the one who started it.
pub(super) struct Tell<R, E>(mpsc::Sender<Event<R, E>>);

impl<R, E> Tell<R, E> {
    fn send(&self, event: Event<R, E>) {
        // Whoever listened has gone when nobody hears.
        let _ = self.0.send(event);
    }
}

/// Shards at work. `R` is what they tell every second, `E` what they tell at their end.
pub(super) struct Shards<R, E> {
    threads: usize,
    running: Running,
    events: mpsc::Receiver<Event<R, E>>,
    pub stop: Stop,
    server_pids: Vec<u32>,
    started_unix_s: u64,
}

/// What is known when all shards have ended.
pub(super) struct Finished<E> {
    pub ends: Vec<E>,
    /// Of the measured time.
    pub cpu: CpuUse,
    /// It was stopped before its time.
    pub stopped: bool,
    pub started_unix_s: u64,
}

impl<R: Send + 'static, E: Send + 'static> Shards<R, E> {
    /// Starts `threads` shards, on these CPUs if they are named, each of which runs `part`. The
    /// processes `server_pids`, with their children, have their CPU time measured.
    pub fn start<F: Future<Output = Result<E, LoadError>> + 'static>(
        threads: usize,
        cpus: Option<&[usize]>,
        server_pids: Vec<u32>,
        part: impl Fn(Shard, Arc<Tell<R, E>>, Stop) -> F + Send + Sync + 'static,
    ) -> Result<Self, LoadError> {
        let (sender, events) = mpsc::channel();
        let stop = Stop(Arc::new(AtomicU8::new(GO_ON)));
        let runtime = match cpus {
            Some(cpus) => Runtime::new((0..threads).map(|i| cpus[i % cpus.len()]).collect())?,
            None => Runtime::new(vec![0; threads])?.unpinned(),
        };
        let ring = RingOptions {
            receive_buffer_bytes: limits::LOAD_RECV_BUFFER_BYTES,
            ..RingOptions::default()
        };
        let told = stop.clone();
        let running = runtime.ring_options(ring).start(move |shard| {
            let tell = Arc::new(Tell(sender.clone()));
            let part = part(shard, Arc::clone(&tell), told.clone());
            async move {
                // Where this is refused the precise waits end later, which the lag shows.
                let _ = sys::time::set_timer_slack_ns(1);
                tell.send(match part.await {
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

    /// Waits for the end; gives what the shards tell to `each`.
    ///
    /// # Errors
    /// When there was nothing to measure, or a shard failed.
    pub fn finish(self, mut each: impl FnMut(Interval<R>)) -> Result<Finished<E>, LoadError> {
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
                    // The others would go on against the server that one can't reach.
                    self.stop.now();
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
            stopped: self.stop.is_told(),
            started_unix_s: self.started_unix_s,
        })
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

/// A shard's part of a load, as far as telling of it goes.
pub(super) trait Part {
    type Record: Send + 'static;

    fn shard(&self) -> &Shard;
    /// When the measured time begins.
    fn measure_ns(&self) -> u64;
    /// The warm-up is over: what was recorded in it is forgotten.
    fn forget(&self);
    /// Takes what was recorded since the last time.
    fn take(&self) -> Self::Record;
    /// Ready when all its tasks have ended.
    fn poll_all_ended(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Waits for a moment; whether all tasks have ended before.
pub(super) async fn ended_before(part: &impl Part, until_ns: u64) -> bool {
    let mut until = pin!(sleep_until(until_ns));
    poll_fn(|cx| {
        if part.poll_all_ended(cx).is_ready() {
            return Poll::Ready(true);
        }
        until.as_mut().poll(cx).map(|()| false)
    })
    .await
}

/// Tells once a second what a shard has seen.
pub(super) struct Reporter<'a, P: Part, E> {
    part: &'a P,
    tell: &'a Tell<P::Record, E>,
    pub next_ns: u64,
    /// `None` in the warm-up.
    since_ns: Option<u64>,
    number: usize,
    /// CPU time of this thread before the measured time, less what it spun.
    idle_ns: u64,
}

impl<'a, P: Part, E> Reporter<'a, P, E> {
    pub fn new(part: &'a P, tell: &'a Tell<P::Record, E>) -> Self {
        Self {
            part,
            tell,
            next_ns: part.measure_ns(),
            since_ns: None,
            number: 0,
            idle_ns: 0,
        }
    }

    fn worked_ns(&self) -> u64 {
        thread_cpu_ns().saturating_sub(self.part.shard().spun_ns())
    }

    /// Tells, if it is time to.
    pub fn look(&mut self, now_ns: u64) {
        if now_ns < self.next_ns {
            return;
        }
        match self.since_ns {
            Some(since_ns) => self.report(since_ns, now_ns),
            None => {
                self.part.forget();
                self.idle_ns = self.worked_ns();
                self.tell.send(Event::Measuring);
            }
        }
        self.since_ns = Some(now_ns);
        // By its own clock, so that lateness does not add up.
        while self.next_ns <= now_ns {
            self.next_ns += limits::LOAD_REPORT_MS * 1_000_000;
        }
    }

    fn report(&mut self, since_ns: u64, now_ns: u64) {
        let interval = Interval {
            record: self.part.take(),
            number: self.number,
            length: Duration::from_nanos(now_ns - since_ns),
        };
        self.number += 1;
        self.tell.send(Event::Interval(Box::new(interval)));
    }

    /// Tells what is left, and gives the share of the measured time that this thread worked.
    pub fn finish(mut self) -> f64 {
        let now_ns = monotonic_ns();
        let measured_ns = now_ns.saturating_sub(self.part.measure_ns()).max(1);
        let worked_ns = self.worked_ns().saturating_sub(self.idle_ns);
        if let Some(since_ns) = self.since_ns {
            self.report(since_ns, now_ns);
        }
        worked_ns as f64 / measured_ns as f64
    }
}
