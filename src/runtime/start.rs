//! Starts the shards, reaches them from other threads, and waits for their end.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::driver_choice::{self, Chosen, DriverChoice, DriverUsed};
use super::foreign::drop_contained;
use super::mailbox::{Mailbox, MailboxError, Message, Reader};
use super::ring::{RingError, RingOptions};
use super::shard::{Pacing, Shard, ShardParts};
use super::stall_detector::{Activity, StallCause, StallDetector, StallMonitor};
use super::stats::{ShardStats, SharedStats};
use crate::limits;
use crate::observe::histogram::Total;
use crate::observe::{CallSite, Recorder};
use crate::sys;

/// Why the shards could not be started, or how one of them ended.
#[derive(Debug)]
pub enum RuntimeError {
    /// No CPU was given, or too many.
    Cores(usize),
    /// A shard's ring can't be set up, or lacks what the driver needs.
    Ring(RingError),
    /// The start of a shard or its loop failed.
    Io {
        /// What failed, as the message names it: `starting a thread`.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// A shard's thread panicked.
    Panicked(usize),
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cores(n) => write!(
                f,
                "{n} cores were asked for; between 1 and {} are possible",
                limits::SHARDS_MAX
            ),
            Self::Ring(e) => write!(f, "{e}; or use the other driver (--driver epoll)"),
            Self::Io { what, error } => write!(f, "{what} failed: {error}"),
            Self::Panicked(index) => write!(f, "shard {index} panicked; see the message above"),
        }
    }
}

impl std::error::Error for RuntimeError {}

/// A handle to one shard, for any thread.
#[derive(Clone)]
pub struct ShardHandle {
    mailbox: Arc<Mailbox>,
    stats: Arc<SharedStats>,
    activity: Arc<Activity>,
    driver: Arc<OnceLock<DriverUsed>>,
    index: usize,
}

impl ShardHandle {
    /// The shard's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Runs a function on the shard.
    ///
    /// # Errors
    /// When the shard has ended or its mailbox is full; the function is dropped.
    pub fn run(&self, f: impl FnOnce() + Send + 'static) -> Result<(), MailboxError> {
        self.mailbox.send(Message::Run(Box::new(f)))
    }

    /// Makes a future on the shard and runs it there.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static) -> Result<(), MailboxError>
    where
        F: Future<Output = ()> + 'static,
    {
        let site = CallSite::of(Location::caller());
        self.run(move || Shard::current().spawn_as(site, make()))
    }

    /// Which driver the shard has got; `None` until it is up.
    pub fn driver(&self) -> Option<&DriverUsed> {
        self.driver.get()
    }

    /// The shard's counters.
    pub fn stats(&self) -> ShardStats {
        self.stats.load()
    }

    /// Turns of its loop that took longer than the limit, by their causes.
    pub fn stalls(&self) -> Vec<StallCause> {
        self.activity.causes()
    }

    /// How many turns took longer than the limit, and the total duration of those that are over.
    pub fn stalled(&self) -> (u64, Duration) {
        self.activity.stalled()
    }

    /// How long the turns of its loop took between two waits, in ns.
    pub fn turns(&self) -> Total {
        Total::of([&self.activity.turns])
    }
}

/// A set of shards about to run.
pub struct Runtime {
    cpus: Vec<usize>,
    pin: bool,
    driver: DriverChoice,
    ring: RingOptions,
    pacing: Pacing,
    recorder: Recorder,
    stall_limit: Option<Duration>,
    handles: Vec<ShardHandle>,
    /// One for each handle, moved to the shard's thread. If the thread doesn't start, the reader is
    /// dropped, which closes the mailbox, so that senders get an error instead of waiting.
    readers: Vec<Reader>,
}

impl Runtime {
    /// One shard on each of these CPUs.
    pub fn new(cpus: Vec<usize>) -> Result<Self, RuntimeError> {
        if cpus.is_empty() || cpus.len() > limits::SHARDS_MAX {
            return Err(RuntimeError::Cores(cpus.len()));
        }
        let handle = |index| -> io::Result<ShardHandle> {
            Ok(ShardHandle {
                mailbox: Arc::new(Mailbox::new()?),
                stats: Arc::default(),
                activity: Arc::default(),
                driver: Arc::default(),
                index,
            })
        };
        let handles = (0..cpus.len())
            .map(handle)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| RuntimeError::Io {
                what: "making an eventfd",
                error,
            })?;
        let reader = |handle: &ShardHandle| Reader::new(Arc::clone(&handle.mailbox));
        let pacing = Pacing {
            batch: 1,
            batch_wait: Duration::ZERO,
        };
        Ok(Self {
            cpus,
            pin: true,
            driver: DriverChoice::default(),
            ring: RingOptions::default(),
            pacing,
            recorder: Recorder::off(),
            stall_limit: Some(Duration::from_millis(limits::STALL_LIMIT_MS)),
            readers: handles.iter().map(reader).collect(),
            handles,
        })
    }

    /// Leaves the shards' threads unpinned, for tests and shared machines.
    pub fn unpinned(mut self) -> Self {
        self.pin = false;
        self
    }

    /// Sets which driver the shards use.
    pub fn driver(mut self, choice: DriverChoice) -> Self {
        self.driver = choice;
        self
    }

    /// Sets the sizes of the rings.
    pub fn ring_options(mut self, options: RingOptions) -> Self {
        self.ring = options;
        self
    }

    /// Sets how the shards gather completions when they are busy.
    pub fn pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Sets the flight recorder of the shards.
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.recorder = recorder.clone();
        self
    }

    /// Sets the duration from which a turn is a stall; `None` turns detection off.
    pub fn stall_limit(mut self, limit: Option<Duration>) -> Self {
        self.stall_limit = limit;
        self
    }

    /// The monitor that detects stalls while they last, to be run by a thread; `None` without a limit.
    pub fn stall_monitor(&self) -> Option<StallMonitor> {
        let watched = |handle: &ShardHandle| (handle.index, Arc::clone(&handle.activity));
        let shards = self.handles.iter().map(watched).collect();
        Some(StallMonitor::new(self.stall_limit?, shards))
    }

    /// Handles of all shards, by index; messages sent before the start are queued.
    pub fn handles(&self) -> &[ShardHandle] {
        &self.handles
    }

    /// Starts the shards, each with the future that `root` makes for it, and
    /// waits until all have ended.
    ///
    /// # Errors
    /// The first shard's that could not start or failed; the others are not started.
    pub fn run<F, Fut>(self, root: F) -> Result<(), RuntimeError>
    where
        F: Fn(Shard) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.start(root)?.join()
    }

    /// As [`run`](Self::run), but returns once every shard is up.
    pub fn start<F, Fut>(self, root: F) -> Result<Running, RuntimeError>
    where
        F: Fn(Shard) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let root = Arc::new(root);
        let mut running = Running {
            threads: Vec::new(),
        };
        let (ready, up) = mpsc::channel();
        let mut go = Vec::new();
        let count = self.cpus.len();
        let mut failed = None;
        for (index, (&cpu, reader)) in self.cpus.iter().zip(self.readers).enumerate() {
            let (start, started) = mpsc::channel::<()>();
            let setup = ShardSetup {
                index,
                count,
                cpu: self.pin.then_some(cpu),
                pacing: self.pacing,
                driver: self.driver,
                ring: self.ring,
                reader,
                used: Arc::clone(&self.handles[index].driver),
                stats: Arc::clone(&self.handles[index].stats),
                activity: Arc::clone(&self.handles[index].activity),
                recorder: self.recorder.clone(),
                stall_limit: self.stall_limit,
            };
            let (root, ready) = (Arc::clone(&root), ready.clone());
            let thread = thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || setup.run(&*root, ready, &started));
            match thread {
                Ok(thread) => {
                    go.push(start);
                    running.threads.push(thread);
                }
                Err(error) => {
                    failed = Some(RuntimeError::Io {
                        what: "starting a thread",
                        error,
                    });
                    break;
                }
            }
        }
        drop(ready);
        let mut ready_count = 0;
        for result in up {
            match result {
                Ok(()) => ready_count += 1,
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        if failed.is_none() && ready_count == count {
            for start in go {
                let _ = start.send(());
            }
            return Ok(running);
        }
        // Either all shards start or none: the others have ended when the caller gets the error.
        drop(go);
        let ended = running.join();
        Err(failed
            .or(ended.err())
            .unwrap_or(RuntimeError::Panicked(ready_count)))
    }
}

/// What a shard's thread needs to build and run its shard.
struct ShardSetup {
    index: usize,
    count: usize,
    cpu: Option<usize>,
    pacing: Pacing,
    driver: DriverChoice,
    ring: RingOptions,
    reader: Reader,
    used: Arc<OnceLock<DriverUsed>>,
    stats: Arc<SharedStats>,
    activity: Arc<Activity>,
    recorder: Recorder,
    stall_limit: Option<Duration>,
}

impl ShardSetup {
    /// Builds the shard, reports the result, and runs it once all shards are up.
    fn run<F, Fut>(
        self,
        root: &F,
        ready: mpsc::Sender<Result<(), RuntimeError>>,
        started: &mpsc::Receiver<()>,
    ) -> io::Result<()>
    where
        F: Fn(Shard) -> Fut,
        Fut: Future<Output = ()> + 'static,
    {
        let (shard, result) = match self.build() {
            Ok(shard) => (Some(shard), Ok(())),
            Err(e) => (None, Err(e)),
        };
        let _ = ready.send(result);
        drop(ready);
        match shard {
            Some(shard) if started.recv().is_ok() => {
                let future = root(shard.clone());
                shard.run(future)
            }
            _ => Ok(()),
        }
    }

    fn build(&self) -> Result<Shard, RuntimeError> {
        if let Some(cpu) = self.cpu {
            sys::cpu::pin_current_thread(&[cpu]).map_err(|error| RuntimeError::Io {
                what: "pinning a shard to its CPU",
                error,
            })?;
        }
        let writer = Rc::new(self.recorder.track(format!("shard-{}", self.index)));
        writer.enter();
        let Chosen { driver, used } = driver_choice::build(self.driver, self.ring, &writer)?;
        let _ = self.used.set(used);
        let activity = Arc::clone(&self.activity);
        Shard::new(ShardParts {
            index: self.index,
            count: self.count,
            cpu: self.cpu,
            driver,
            mailbox: Arc::clone(self.reader.mailbox()),
            stats: Arc::clone(&self.stats),
            pacing: self.pacing,
            stall_detector: StallDetector::new(self.index, self.stall_limit, activity, writer),
        })
        .map_err(|error| RuntimeError::Io {
            what: "setting up a shard",
            error,
        })
    }
}

/// The running shards.
pub struct Running {
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Waits until every shard has ended.
    pub fn join(self) -> Result<(), RuntimeError> {
        let mut first = Ok(());
        for (index, thread) in self.threads.into_iter().enumerate() {
            let ended = match thread.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(RuntimeError::Io {
                    what: "a shard's loop",
                    error,
                }),
                Err(payload) => {
                    // A payload that panics when dropped must not keep the other shards waiting.
                    let _ = drop_contained(payload);
                    Err(RuntimeError::Panicked(index))
                }
            };
            first = first.and(ended);
        }
        first
    }
}
