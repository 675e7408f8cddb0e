//! What shards, the writer and the server share of an access log.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::format::Format;
use crate::limits;
use crate::sys::sync::lock;
use crate::sys::time::monotonic_ms;

/// Called with each message for the operator, one line at a time.
pub type Report = Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>;

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        let sum = self.get().wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one shard counts, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct ShardCounts {
    pub handed_over: Counter,
    pub shed: Counter,
}

/// What shards, the writer and the server share.
pub(super) struct Shared {
    pub format: Format,
    /// As the operator named it.
    name: String,
    report: Report,
    pub shards: Box<[ShardCounts]>,
    pub written_lines: Counter,
    pub written_bytes: Counter,
    pub write_errors: Counter,
    pub reopen: AtomicBool,
    pub ending: AtomicBool,
    /// What the writer has trouble with, since the last message.
    last_error: Mutex<Option<String>>,
    /// Dropped lines that messages have reported.
    reported_shed_lines: AtomicU64,
    /// When the last message was, by the monotonic clock; 0: never.
    told_ms: AtomicU64,
    /// The last message was that lines are not written.
    told_stopped: AtomicBool,
}

impl Shared {
    pub(crate) fn new(format: Format, name: String, report: Report, shards: usize) -> Arc<Self> {
        Arc::new(Self {
            format,
            name,
            report,
            shards: (0..shards).map(|_| ShardCounts::default()).collect(),
            written_lines: Counter::default(),
            written_bytes: Counter::default(),
            write_errors: Counter::default(),
            reopen: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            last_error: Mutex::default(),
            reported_shed_lines: AtomicU64::new(0),
            told_ms: AtomicU64::new(0),
            told_stopped: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) fn shed(&self, shard: usize, count: u64) {
        if let Some(counts) = self.shards.get(shard) {
            counts.shed.add(count);
        }
    }

    pub(crate) fn note_handed_over(&self, shard: usize, count: u64) {
        if let Some(counts) = self.shards.get(shard) {
            counts.handed_over.add(count);
        }
    }

    pub(crate) fn shed_lines(&self) -> u64 {
        self.shards.iter().map(|counts| counts.shed.get()).sum()
    }

    pub(crate) fn handed_over_lines(&self) -> u64 {
        let counts = self.shards.iter();
        counts.map(|counts| counts.handed_over.get()).sum()
    }

    /// The writer had trouble that keeps no line from being written, and reports it unless a
    /// message has in the last while.
    pub(crate) fn trouble(&self, error: &io::Error) {
        self.note(error);
        if self.may_tell() {
            self.tell();
        }
    }

    /// As [`trouble`](Self::trouble), where lines are not written.
    pub(crate) fn stopped(&self, error: &io::Error) {
        self.note(error);
        if self.may_tell() {
            self.told_stopped.store(true, Ordering::Relaxed);
            self.tell();
        }
    }

    fn note(&self, error: &io::Error) {
        self.write_errors.add(1);
        *self.last_error() = Some(error.to_string());
    }

    /// Called by the writer when it has written its lines. Reports that no more wait, if the last
    /// message was that lines are not written.
    pub(crate) fn tell_if_caught_up(&self) {
        if self.told_stopped.load(Ordering::Relaxed)
            && self.written_lines.get() >= self.handed_over_lines()
        {
            self.told_stopped.store(false, Ordering::Relaxed);
            *self.last_error() = None;
            (self.report)(format_args!(
                "headwater: the access log {}: lines are written again; {} were dropped since the \
                 start",
                self.name,
                self.shed_lines()
            ));
        }
    }

    /// A shard says that records were dropped, on a thread that lasts for that: standard error
    /// may be as stuck as the log.
    pub(crate) fn report_shedding(self: &Arc<Self>) {
        if self.shed_lines() == self.reported_shed_lines.load(Ordering::Relaxed) || !self.may_tell()
        {
            return;
        }
        let shared = Arc::clone(self);
        // Without a thread there is no message; the lines are counted all the same.
        let _ = thread::Builder::new()
            .name("access-log-message".to_owned())
            .spawn(move || {
                shared.tell();
                // After the message, so that the writer's that it goes on comes behind it.
                shared.told_stopped.store(true, Ordering::Relaxed);
            });
    }

    /// Whether the last message is long enough ago; if so, this is the time of the next one.
    fn may_tell(&self) -> bool {
        let (now_ms, told_ms) = (monotonic_ms(), self.told_ms.load(Ordering::Relaxed));
        let due = told_ms == 0 || now_ms >= told_ms + limits::ACCESS_LOG_TELL_MS;
        due && self
            .told_ms
            .compare_exchange(told_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn tell(&self) {
        let shed = self.shed_lines();
        self.reported_shed_lines.store(shed, Ordering::Relaxed);
        let error = self.last_error().take();
        let error = error.as_deref().unwrap_or("it is not written fast enough");
        (self.report)(format_args!(
            "headwater: the access log {}: {error}; {shed} lines were dropped since the start, as a \
             shard keeps at most {} batches of them. Look at the disk, or at who reads it",
            self.name,
            limits::ACCESS_LOG_BATCHES
        ));
    }

    /// At the end.
    pub(crate) fn tell_of_loss(&self, lost: u64) {
        let error = self.last_error().take();
        let error = error.as_deref().unwrap_or("it was not written fast enough");
        (self.report)(format_args!(
            "headwater: {lost} lines of the access log were lost: {}: {error}",
            self.name
        ));
    }

    fn last_error(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.last_error)
    }
}
