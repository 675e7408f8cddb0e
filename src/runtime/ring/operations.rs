//! The table that owns operations while the kernel may access their memory.

use std::task::Waker;

use slab::Slab;

use super::ResultKind;
use super::completions::UnreadCompletions;
use super::entries::Scratch;
use crate::limits;
use crate::runtime::driver::{Key, Op, Retired};

/// Bits of a generation; the one left tells every `user_data` from a cancellation's.
const GENERATION_MASK: u32 = 0x7fff_ffff;

/// A completion as the kernel posted it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completed {
    pub result: i32,
    pub flags: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More completions will come.
    InFlight,
    /// The last completion is here.
    Done,
}

/// An operation with all that the kernel reads or writes for it.
pub(super) struct TrackedOperation {
    generation: u32,
    pub op: Op,
    /// Structures that the entry points to.
    pub scratch: Option<Scratch>,
    waker: Option<Waker>,
    completed: UnreadCompletions,
    in_flight: bool,
    orphan: bool,
    stopping: bool,
    /// Among those whose receive buffers are looked after at the end of the turn.
    listed: bool,
}

/// A late completion of an operation that nobody waits for.
pub(super) struct Orphan {
    pub op: ResultKind,
    pub completed: Completed,
}

#[derive(Default)]
pub(super) struct OperationTable {
    tracked: Slab<TrackedOperation>,
    /// Of the next operation: counts all starts, so that an index that is used again has another.
    generation: u32,
    in_flight: usize,
    /// Kept apart, so that an entry that once needed one does not keep it for an idle receive.
    spare_scratch: Vec<Scratch>,
    /// What the owner of the driver is to drop.
    pub retired: Retired,
}

impl Key {
    pub(super) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn from_user_data(user_data: u64) -> Self {
        Self {
            index: user_data as u32,
            generation: (user_data >> 32) as u32,
        }
    }
}

impl OperationTable {
    pub fn insert(&mut self, op: Op) -> (Key, &mut TrackedOperation) {
        let needs_scratch = matches!(op, Op::SendVectored { .. } | Op::Open { .. });
        let scratch = match needs_scratch {
            true => self.spare_scratch.pop(),
            false => None,
        };
        let entry = self.tracked.vacant_entry();
        let key = Key {
            index: entry.key() as u32,
            generation: self.generation,
        };
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.in_flight += 1;
        let tracked = entry.insert(TrackedOperation {
            generation: key.generation,
            op,
            scratch,
            waker: None,
            completed: UnreadCompletions::default(),
            in_flight: true,
            orphan: false,
            stopping: false,
            listed: false,
        });
        (key, tracked)
    }

    fn get(&mut self, key: Key) -> Option<&mut TrackedOperation> {
        let tracked = self.tracked.get_mut(key.index as usize);
        tracked.filter(|tracked| tracked.generation == key.generation)
    }

    fn get_shared(&self, key: Key) -> Option<&TrackedOperation> {
        let tracked = self.tracked.get(key.index as usize);
        tracked.filter(|tracked| tracked.generation == key.generation)
    }

    pub fn state(&self, key: Key) -> Option<State> {
        Some(match self.get_shared(key)?.in_flight {
            true => State::InFlight,
            false => State::Done,
        })
    }

    /// The operation, if the key is current.
    pub fn op(&self, key: Key) -> Option<&Op> {
        Some(&self.get_shared(key)?.op)
    }

    pub fn wait(&mut self, key: Key, waker: &Waker) {
        if let Some(tracked) = self.get(key)
            && !matches!(&tracked.waker, Some(old) if old.will_wake(waker))
        {
            let old = tracked.waker.replace(waker.clone());
            self.retired.wakers.extend(old);
        }
    }

    /// Notes that a cancellation is on its way to an operation in flight; false if one is already,
    /// or the operation is over.
    pub fn stop(&mut self, key: Key) -> bool {
        self.get(key)
            .filter(|tracked| tracked.in_flight)
            .is_some_and(|tracked| !std::mem::replace(&mut tracked.stopping, true))
    }

    pub fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.get(key)?.waker.take()
    }

    /// Files a completion; gives the waker to wake, and whether a multishot
    /// operation has now more unread than it may hold.
    pub fn complete(&mut self, key: Key, done: Completed, more: bool) -> (Option<Waker>, bool) {
        let Some(tracked) = self.get(key) else {
            return (None, false);
        };
        tracked.completed.push_back(done);
        let mut overfull = false;
        if more {
            let unread_max = match tracked.op {
                Op::Receive { .. } => limits::RECV_QUEUE_PER_STREAM,
                _ => limits::ACCEPTED_UNTAKEN_MAX,
            };
            if tracked.completed.len() >= unread_max && !tracked.stopping && !tracked.orphan {
                tracked.stopping = true;
                overfull = true;
            }
        } else {
            tracked.in_flight = false;
        }
        let waker = tracked.waker.take();
        if !more {
            self.in_flight -= 1;
        }
        (waker, overfull)
    }

    /// Whether this is the first receive buffer that came for this stream in this turn.
    pub fn list(&mut self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|tracked| !std::mem::replace(&mut tracked.listed, true))
    }

    /// What a stream has not yet read, to be changed in place; ends its listing.
    pub fn unread(&mut self, key: Key) -> impl Iterator<Item = &mut Completed> {
        let mut tracked = self.get(key);
        if let Some(tracked) = &mut tracked {
            tracked.listed = false;
        }
        tracked
            .into_iter()
            .flat_map(|tracked| tracked.completed.iter_mut())
    }

    /// The completion just filed, if nobody waits for it.
    pub fn take_orphan(&mut self, key: Key) -> Option<Orphan> {
        let tracked = self.get(key).filter(|s| s.orphan)?;
        let op = ResultKind::of(&tracked.op);
        let completed = tracked.completed.pop_front()?;
        Some(Orphan { op, completed })
    }

    /// The next completion of a multishot operation.
    pub fn next_event(&mut self, key: Key) -> Option<(ResultKind, Completed)> {
        let tracked = self.get(key)?;
        let op = ResultKind::of(&tracked.op);
        Some((op, tracked.completed.pop_front()?))
    }

    /// Takes a single operation's end and removes it.
    pub fn finish(&mut self, key: Key) -> Option<(Op, Completed)> {
        let completed = self.get(key)?.completed.pop_front()?;
        Some((self.remove(key)?, completed))
    }

    /// Marks an operation as abandoned and gives what has completed unread.
    pub fn orphan(&mut self, key: Key) -> Vec<(ResultKind, Completed)> {
        let waker = self.take_waker(key);
        self.retired.wakers.extend(waker);
        let Some(tracked) = self.get(key) else {
            return Vec::new();
        };
        tracked.orphan = true;
        let op = ResultKind::of(&tracked.op);
        std::iter::from_fn(|| tracked.completed.pop_front())
            .map(|completed| (op, completed))
            .collect()
    }

    /// Removes an operation, which the owner of the driver is to drop.
    pub fn free(&mut self, key: Key) {
        let op = self.remove(key);
        self.retired.ops.extend(op);
    }

    fn remove(&mut self, key: Key) -> Option<Op> {
        self.get(key)?;
        let tracked = self.tracked.try_remove(key.index as usize)?;
        self.in_flight -= usize::from(tracked.in_flight);
        if let Some(scratch) = tracked.scratch
            && self.spare_scratch.len() < limits::SPARE_SCRATCH
        {
            self.spare_scratch.push(scratch);
        }
        self.retired.wakers.extend(tracked.waker);
        Some(tracked.op)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn keys(&self) -> Vec<Key> {
        let key = |(index, tracked): (usize, &TrackedOperation)| Key {
            index: index as u32,
            generation: tracked.generation,
        };
        self.tracked.iter().map(key).collect()
    }
}
