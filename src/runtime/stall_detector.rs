//! Detects turns that take too long.
//!
//! A shard publishes the current task, its operation and the start of the turn for the stall
//! detector, as numbers in atomics that it alone writes. A turn that exceeds the limit is a
//! *stall*: all other connections of the shard have waited for it. Each is counted once: by the
//! monitor thread while it lasts or, if the turn ends before the monitor looks, by the shard.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::limits;
use crate::observe::{CallSite, Event, Histogram, Writer};
use crate::sys::sync::lock;

/// A turn that took, or takes, longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The shard's number.
    pub shard: usize,
    /// The kind of task: of those polled in this turn, the one that took longest.
    pub task: CallSite,
    /// The operation that the task had announced ([`Shard::doing`](super::Shard::doing)).
    pub doing: CallSite,
    /// When the turn began, by `CLOCK_MONOTONIC`, in ns.
    pub since_ns: u64,
    /// How long the turn has taken so far.
    pub lasted: Duration,
    /// The turn is over.
    pub over: bool,
}

/// All stalls of one kind on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallCause {
    /// The kind of task.
    pub task: CallSite,
    /// The operation that the task had announced.
    pub doing: CallSite,
    /// How many stalls there were, each counted once.
    pub count: u64,
    /// Duration of the longest; a stall that still lasts counts up to its detection.
    pub longest: Duration,
}

/// What a shard publishes of its turns.
#[derive(Default)]
pub(super) struct Activity {
    /// The turn's number; one writer.
    turn: AtomicU64,
    /// When the turn began; 0 while the shard waits.
    since_ns: AtomicU64,
    /// Call sites: of the task that is polled, and of its operation.
    task: AtomicU32,
    doing: AtomicU32,
    /// How long turns took.
    pub turns: Histogram,
    /// The turn after the last one that was counted as a stall.
    counted: AtomicU64,
    stalls: Mutex<Stalls>,
}

#[derive(Default)]
struct Stalls {
    causes: HashMap<(CallSite, CallSite), StallCause>,
    count: u64,
    /// The time of all stalls that are over.
    total: Duration,
    last: Option<Stall>,
}

impl Activity {
    fn stalls(&self) -> MutexGuard<'_, Stalls> {
        lock(&self.stalls)
    }

    /// Counts a stall unless the other side, shard or monitor, has counted this turn already.
    fn count(&self, turn: u64, stall: Stall) {
        let first = self.counted.fetch_max(turn + 1, Ordering::AcqRel) <= turn;
        let mut stalls = self.stalls();
        if stall.over {
            stalls.total += stall.lasted;
        }
        if !first {
            return;
        }
        stalls.count += 1;
        stalls.last = Some(stall);
        let Stall { task, doing, .. } = stall;
        // Kinds are call sites, so there are few; those beyond the bound are counted as unknown.
        let key = match stalls.causes.len() < limits::STALL_CAUSES_MAX {
            true => (task, doing),
            false if stalls.causes.contains_key(&(task, doing)) => (task, doing),
            false => (CallSite::UNKNOWN, CallSite::UNKNOWN),
        };
        let cause = stalls.causes.entry(key).or_insert(StallCause {
            task: key.0,
            doing: key.1,
            count: 0,
            longest: Duration::ZERO,
        });
        cause.count += 1;
        cause.longest = cause.longest.max(stall.lasted);
    }

    /// Stalls by their causes, the most frequent first.
    pub(crate) fn causes(&self) -> Vec<StallCause> {
        let mut causes: Vec<StallCause> = self.stalls().causes.values().copied().collect();
        causes.sort_by_key(|cause| (std::cmp::Reverse(cause.count), cause.task, cause.doing));
        causes
    }

    /// The number of stalls, and the total duration of those that are over.
    pub(crate) fn stalled(&self) -> (u64, Duration) {
        let stalls = self.stalls();
        (stalls.count, stalls.total)
    }
}

/// The shard's side: publishes its activity and counts its own stalls.
pub(super) struct StallDetector {
    shard: usize,
    limit_ns: u64,
    activity: Arc<Activity>,
    writer: Rc<Writer>,
    turn: Cell<u64>,
    turn_began_ns: Cell<u64>,
    parked_ns: Cell<u64>,
    longest: Cell<(u64, CallSite, u32)>,
}

impl StallDetector {
    /// Without a limit no turn is a stall.
    pub(crate) fn new(
        shard: usize,
        limit: Option<Duration>,
        activity: Arc<Activity>,
        writer: Rc<Writer>,
    ) -> Self {
        let limit_ns = limit.map_or(u64::MAX, |limit| limit.as_nanos() as u64);
        Self {
            shard,
            limit_ns,
            activity,
            writer,
            turn: Cell::new(0),
            turn_began_ns: Cell::new(0),
            parked_ns: Cell::new(0),
            longest: Cell::default(),
        }
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) -> u64 {
        self.writer.tick()
    }

    /// The time of the last clock reading, at the end of the last poll or wait.
    pub(crate) fn now_ns(&self) -> u64 {
        self.writer.now_ns()
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// Notes that the shard's wait has ended, with this many completions.
    pub(crate) fn turn_begins(&self, now_ns: u64, completions: u64) {
        let parked_ns = self.parked_ns.get();
        if parked_ns > 0 {
            let waited_ns = now_ns.saturating_sub(parked_ns);
            self.writer.record(
                parked_ns,
                Event::Park,
                CallSite::UNKNOWN,
                completions,
                waited_ns,
            );
        }
        self.turn_began_ns.set(now_ns);
        self.longest.set((0, CallSite::UNKNOWN, 0));
        let activity = &self.activity;
        activity.turn.store(self.turn.get(), Ordering::Relaxed);
        activity.task.store(0, Ordering::Relaxed);
        activity.doing.store(0, Ordering::Relaxed);
        activity.since_ns.store(now_ns, Ordering::Release);
    }

    pub(crate) fn poll_begins(&self, task: CallSite) {
        self.activity.task.store(task.number(), Ordering::Relaxed);
        self.activity.doing.store(0, Ordering::Relaxed);
    }

    pub(crate) fn doing(&self, what: CallSite) {
        self.activity.doing.store(what.number(), Ordering::Relaxed);
    }

    pub(crate) fn poll_ends(&self, id: u64, task: CallSite) {
        // The time between two polls is short and counts as part of the later one.
        let began_ns = self.writer.now_ns();
        let took_ns = self.writer.tick() - began_ns;
        self.writer.record(began_ns, Event::Run, task, id, took_ns);
        if took_ns > self.longest.get().0 {
            let doing = self.activity.doing.load(Ordering::Relaxed);
            self.longest.set((took_ns, task, doing));
        }
    }

    /// Notes that the shard is about to wait.
    pub(crate) fn turn_ends(&self) {
        self.activity.since_ns.store(0, Ordering::Release);
        let (now_ns, since_ns) = (self.writer.now_ns(), self.turn_began_ns.get());
        self.parked_ns.set(now_ns);
        let took_ns = now_ns.saturating_sub(since_ns);
        self.activity.turns.record(took_ns);
        if took_ns > self.limit_ns {
            let (_, task, doing) = self.longest.get();
            self.writer
                .record(since_ns, Event::Stall, task, u64::from(doing), took_ns);
            let stall = Stall {
                shard: self.shard,
                task,
                doing: CallSite::from_number(doing),
                since_ns,
                lasted: Duration::from_nanos(took_ns),
                over: true,
            };
            self.activity.count(self.turn.get(), stall);
        }
        self.turn.set(self.turn.get() + 1);
    }
}

/// Detects stalls while they last, on a thread that the caller provides. Made by
/// [`Runtime::stall_monitor`](super::Runtime::stall_monitor).
pub struct StallMonitor {
    limit: Duration,
    shards: Vec<WatchedShard>,
    pause: Duration,
}

struct WatchedShard {
    shard: usize,
    activity: Arc<Activity>,
    turn: u64,
    /// Stalls that were reported already.
    reported: u64,
}

impl StallMonitor {
    pub(super) fn new(limit: Duration, shards: Vec<(usize, Arc<Activity>)>) -> Self {
        let watched = |(shard, activity): (usize, Arc<Activity>)| WatchedShard {
            shard,
            activity,
            turn: 0,
            reported: 0,
        };
        Self {
            limit,
            shards: shards.into_iter().map(watched).collect(),
            pause: limit,
        }
    }

    /// Checks all shards once, at `now_ns` by `CLOCK_MONOTONIC`: counts stalls that last, reports
    /// each shard's latest stall that was not reported yet, and returns the pause until the next
    /// check. The pause grows while no shard runs: a shard that waits can't stall, and it counts
    /// stalls between two checks itself.
    pub fn look(&mut self, now_ns: u64, mut report: impl FnMut(&Stall)) -> Duration {
        let mut moved = false;
        for watched in &mut self.shards {
            let activity = &watched.activity;
            let turn = activity.turn.load(Ordering::Relaxed);
            let since_ns = activity.since_ns.load(Ordering::Acquire);
            moved |= since_ns != 0 || turn != watched.turn;
            watched.turn = turn;
            let stall = Stall {
                shard: watched.shard,
                task: CallSite::from_number(activity.task.load(Ordering::Relaxed)),
                doing: CallSite::from_number(activity.doing.load(Ordering::Relaxed)),
                since_ns,
                lasted: Duration::from_nanos(now_ns.saturating_sub(since_ns)),
                over: false,
            };
            let same = since_ns != 0
                && activity.since_ns.load(Ordering::Acquire) == since_ns
                && activity.turn.load(Ordering::Relaxed) == turn;
            if same && stall.lasted > self.limit {
                activity.count(turn, stall);
            }
            let (count, last) = {
                let stalls = activity.stalls();
                (stalls.count, stalls.last)
            };
            if count > watched.reported {
                watched.reported = count;
                last.iter().for_each(&mut report);
            }
        }
        self.pause = match moved {
            true => self.limit / 2,
            false => (self.pause * 2).min(Duration::from_millis(limits::STALL_IDLE_LOOK_MS)),
        };
        self.pause
    }
}
