//! The flight recorder: the last events of each thread, in a fixed buffer per thread.
//!
//! A track is a ring of records that one thread writes, by its [`Writer`], and any thread may read
//! meanwhile, without a lock and without waiting:
//!
//! - The writer keeps `head`, the number of records that it has finished. Record `n` lies in slot
//!   `n % capacity`. It writes the record's words and then `head = n + 1` (release), so a reader
//!   that loads `head` (acquire) sees every record before it whole, unless the writer has wrapped
//!   around since and overwritten it.
//! - A second load of `head` after the copy shows which records the writer may have overwritten
//!   meanwhile. The writer issues a release fence before it writes the words of a record, the
//!   reader an acquire fence between the copy and the second load: if a copy holds a word of record
//!   `m`, the second load sees `head >= m`. Record `m` overwrites record `m - capacity`; so every
//!   record up to `head - capacity` of the second load, that one included since its slot is the
//!   next to be written, may be torn and is dropped. The others are whole.
//!
//! The model checks every order. On x86 both fences constrain only the compiler.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use super::call_site::CallSite;
use crate::limits;
use crate::sys;
use crate::sys::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sys::sync::lock;

/// The kinds of events. A record has two words, `id` and `value`; their meaning for each kind is
/// stated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// A task was spawned at `site`; `id` is the task.
    Spawn = 1,
    /// A task spawned at `site` ran for `value` ns from the record's time; `id` is the task.
    Run,
    /// `id` short tasks, the last of them spawned at `site`, ran one after the other from the
    /// record's time, for `value` ns together.
    RunBatch,
    /// The thread took `value` tasks from the worker `id`.
    Steal,
    /// The thread waited for `value` ns from the record's time. A shard waits in its ring, and `id`
    /// is how many completions it found.
    Park,
    /// The run queue of the worker `id`, `value` tasks long, went to another thread.
    HandOff,
    /// The operation `id` went to the kernel; `site` names its kind.
    Submit,
    /// The operation `id` has a result, `value` as an `i64`, and more will follow.
    Progress,
    /// The operation `id` is over with the result `value` as an `i64`.
    Complete,
    /// A task spawned at `site` has blocked its thread since the record's time, for `value` ns so
    /// far; `id` is the number of the call site that names its operation.
    Stall,
}

impl Event {
    const ALL: [Event; 10] = [
        Event::Spawn,
        Event::Run,
        Event::RunBatch,
        Event::Steal,
        Event::Park,
        Event::HandOff,
        Event::Submit,
        Event::Progress,
        Event::Complete,
        Event::Stall,
    ];

    fn from_number(number: u64) -> Option<Event> {
        Self::ALL.into_iter().find(|event| *event as u64 == number)
    }
}

/// One event as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// By `CLOCK_MONOTONIC`, in ns.
    pub at_ns: u64,
    /// What happened; it defines what the next three fields hold.
    pub event: Event,
    /// Where a task was spawned, or an operation's kind; otherwise [`CallSite::UNKNOWN`].
    pub site: CallSite,
    /// A task, operation, worker, call site or count, as [`Event`] says.
    pub id: u64,
    /// A duration in ns, a count or a result, as [`Event`] says.
    pub value: u64,
}

const WORDS: usize = 4;
/// Bytes that one record takes of a buffer.
pub const RECORD_BYTES: usize = WORDS * size_of::<u64>();

impl Record {
    fn to_words(self) -> [u64; WORDS] {
        let what = (self.event as u64) << 32 | u64::from(self.site.number());
        [self.at_ns, what, self.id, self.value]
    }

    fn from_words([at_ns, what, id, value]: [u64; WORDS]) -> Option<Self> {
        Some(Self {
            at_ns,
            event: Event::from_number(what >> 32)?,
            site: CallSite::from_number(what as u32),
            id,
            value,
        })
    }
}

type AtomicRecord = [AtomicU64; WORDS];

/// The buffer of one thread.
struct Track {
    name: String,
    /// A power of two, or none at all.
    records: Box<[AtomicRecord]>,
    /// Records finished so far.
    head: AtomicU64,
    /// The writer was dropped.
    retired: AtomicBool,
}

impl Track {
    fn new(name: String, capacity: usize) -> Self {
        let slot = || -> AtomicRecord { std::array::from_fn(|_| AtomicU64::new(0)) };
        Self {
            name,
            records: (0..capacity).map(|_| slot()).collect(),
            head: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// The records in the buffer, oldest first, and how many earlier ones are lost.
    fn read(&self) -> (u64, Vec<Record>) {
        let capacity = self.records.len() as u64;
        let end = self.head.load(Ordering::Acquire);
        let start = end.saturating_sub(capacity);
        let copy = |n: u64| {
            let slot = &self.records[(n % capacity) as usize];
            std::array::from_fn(|word| slot[word].load(Ordering::Relaxed))
        };
        let copied: Vec<[u64; WORDS]> = (start..end).map(copy).collect();
        fence(Ordering::Acquire);
        let later = self.head.load(Ordering::Relaxed);
        // The slot that is written next counts as being written.
        let whole_from = (later + 1).saturating_sub(capacity).clamp(start, end);
        let whole = copied.into_iter().skip((whole_from - start) as usize);
        (whole_from, whole.filter_map(Record::from_words).collect())
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Writer>>> = const { RefCell::new(None) };
}

/// Records an event with the calling thread's writer, if it has entered one.
pub fn note(record: impl FnOnce(&Writer)) {
    // The thread is ending and has dropped its writer.
    let _ = CURRENT.try_with(|current| {
        if let Some(writer) = &*current.borrow() {
            record(writer);
        }
    });
}

/// Records the events of one thread. Without a recorder it does nothing, at the cost of a branch.
pub struct Writer {
    track: Option<Arc<Track>>,
    head: Cell<u64>,
    now_ns: Cell<u64>,
    /// One writer per track: it may go to another thread, but not be shared.
    _one: PhantomData<Cell<()>>,
}

impl Writer {
    /// A writer that records nothing.
    pub fn off() -> Self {
        Self::on(None)
    }

    fn on(track: Option<Arc<Track>>) -> Self {
        Self {
            track,
            head: Cell::new(0),
            now_ns: Cell::new(0),
            _one: PhantomData,
        }
    }

    /// Whether this writer records.
    pub fn is_on(&self) -> bool {
        self.track.is_some()
    }

    /// Makes this the writer of the calling thread, for [`note`].
    pub fn enter(self: &Rc<Self>) {
        CURRENT.set(Some(Rc::clone(self)));
    }

    /// Reads `CLOCK_MONOTONIC`, and keeps the time for [`now_ns`](Self::now_ns).
    pub fn tick(&self) -> u64 {
        let now_ns = sys::time::monotonic_ns();
        self.now_ns.set(now_ns);
        now_ns
    }

    /// The clock as [`tick`](Self::tick) last read it: exact enough for events between two
    /// readings, since a reading costs more than a record.
    pub fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// Records an event. The caller passes the time, since it often has it already.
    #[inline]
    pub fn record(&self, at_ns: u64, event: Event, site: CallSite, id: u64, value: u64) {
        let Some(track) = &self.track else { return };
        let n = self.head.get();
        let record = Record {
            at_ns,
            event,
            site,
            id,
            value,
        };
        let slot = &track.records[n as usize & (track.records.len() - 1)];
        fence(Ordering::Release);
        for (word, value) in slot.iter().zip(record.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        track.head.store(n + 1, Ordering::Release);
        self.head.set(n + 1);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(track) = &self.track {
            track.retired.store(true, Ordering::Relaxed);
        }
    }
}

/// The flight recorder of one server or pool: the tracks of all its threads. Clones share the
/// tracks.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    /// Records of each track; 0 when it is off.
    capacity: usize,
    tracks: Mutex<Vec<Arc<Track>>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.0.capacity;
        f.debug_struct("Recorder")
            .field("capacity", &capacity)
            .finish_non_exhaustive()
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::off()
    }
}

impl Recorder {
    /// A recorder with a buffer of this many bytes for each thread, rounded down to a power of two
    /// of records. Fewer than [`limits::RECORDER_RECORDS_MIN`] records: it is off.
    pub fn new(bytes_per_thread: usize) -> Self {
        let records = bytes_per_thread.min(limits::RECORDER_BYTES_CEILING) / RECORD_BYTES;
        let capacity = match records {
            0..limits::RECORDER_RECORDS_MIN => 0,
            // The largest power of two that is at most `records`.
            records => 1 << records.ilog2(),
        };
        Self(Arc::new(Inner {
            capacity,
            tracks: Mutex::default(),
        }))
    }

    /// A recorder that records nothing.
    pub fn off() -> Self {
        Self::new(0)
    }

    /// Whether the writers of [`track`](Self::track) record.
    pub fn is_on(&self) -> bool {
        self.0.capacity > 0
    }

    fn tracks(&self) -> MutexGuard<'_, Vec<Arc<Track>>> {
        lock(&self.0.tracks)
    }

    /// A writer for the thread of this name. Of threads that have ended, the events of the latest
    /// [`limits::RECORDER_RETIRED_MAX`] are kept.
    pub fn track(&self, name: impl Into<String>) -> Writer {
        if !self.is_on() {
            return Writer::off();
        }
        let track = Arc::new(Track::new(name.into(), self.0.capacity));
        let mut tracks = self.tracks();
        let is_retired = |track: &Arc<Track>| track.retired.load(Ordering::Relaxed);
        let retired = tracks.iter().filter(|track| is_retired(track)).count();
        let mut excess = retired.saturating_sub(limits::RECORDER_RETIRED_MAX);
        tracks.retain(|track| {
            let goes = excess > 0 && is_retired(track);
            excess -= usize::from(goes);
            !goes
        });
        tracks.push(Arc::clone(&track));
        Writer::on(Some(track))
    }

    /// The records of all threads, read without making any thread wait.
    pub fn snapshot(&self) -> Snapshot {
        let tracks = self.tracks().clone();
        let read = |track: &Arc<Track>| {
            let (lost, records) = track.read();
            TrackSnapshot {
                name: track.name.clone(),
                lost,
                records,
            }
        };
        Snapshot {
            tracks: tracks.iter().map(read).collect(),
            taken_ns: sys::time::monotonic_ns(),
        }
    }
}

/// The content of a recorder at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// In the order in which the threads were added.
    pub tracks: Vec<TrackSnapshot>,
    /// When the snapshot was complete, by `CLOCK_MONOTONIC`, in ns.
    pub taken_ns: u64,
}

/// The content of one thread's buffer.
#[derive(Clone, Debug)]
pub struct TrackSnapshot {
    /// The thread's name.
    pub name: String,
    /// How many earlier records were overwritten.
    pub lost: u64,
    /// Oldest first.
    pub records: Vec<Record>,
}

#[cfg(all(test, headwater_loom))]
mod models;
#[cfg(test)]
mod tests;
