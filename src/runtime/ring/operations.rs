//! The table that owns operations while the kernel may access their memory.
//!
//! Hand-written: for each operation a `slab` writes and moves a whole entry, where this changes a
//! few fields, and the slab measured slower for entries of this size
//! (docs/measurements/2026-11-28-slab.md).

use std::task::Waker;

use super::ResultKind;
use super::completions::UnreadCompletions;
use super::entries::Scratch;
use crate::limits;
use crate::runtime::driver::{Key, Op, Retired};

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

/// An operation with all memory that the kernel reads or writes for it.
pub(super) struct TrackedOperation {
    generation: u32,
    pub op: Option<Op>,
    /// Structures that the entry points to.
    pub scratch: Option<Scratch>,
    waker: Option<Waker>,
    completed: UnreadCompletions,
    in_flight: bool,
    orphan: bool,
    stopping: bool,
    /// On the list of streams whose unread receive buffers are copied out at the end of the turn.
    listed: bool,
}

/// A late completion of an operation whose future was dropped.
pub(super) struct Orphan {
    pub op: ResultKind,
    pub completed: Completed,
}

#[derive(Default)]
pub(super) struct OperationTable {
    tracked: Vec<TrackedOperation>,
    free: Vec<u32>,
    in_flight: usize,
    /// Pooled, so that an entry does not keep one for an idle receive after a send has needed it.
    spare_scratch: Vec<Scratch>,
    /// Values for the driver's owner to drop.
    pub retired: Retired,
}

impl OperationTable {
    pub(crate) fn insert(&mut self, op: Op) -> (Key, &mut TrackedOperation) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.tracked.push(TrackedOperation {
                generation: 0,
                op: None,
                scratch: None,
                waker: None,
                completed: UnreadCompletions::default(),
                in_flight: false,
                orphan: false,
                stopping: false,
                listed: false,
            });
            self.tracked.len() as u32 - 1
        });
        self.in_flight += 1;
        let tracked = &mut self.tracked[index as usize];
        if matches!(op, Op::SendVectored { .. } | Op::Open { .. }) {
            tracked.scratch = self.spare_scratch.pop();
        }
        tracked.op = Some(op);
        tracked.in_flight = true;
        (
            Key {
                index,
                generation: tracked.generation,
            },
            tracked,
        )
    }

    fn get(&mut self, key: Key) -> Option<&mut TrackedOperation> {
        self.tracked
            .get_mut(key.index as usize)
            .filter(|s| s.generation == key.generation && s.op.is_some())
    }

    pub(crate) fn state(&self, key: Key) -> Option<State> {
        let tracked = self.tracked.get(key.index as usize)?;
        if tracked.generation != key.generation || tracked.op.is_none() {
            return None;
        }
        Some(if tracked.in_flight {
            State::InFlight
        } else {
            State::Done
        })
    }

    /// The operation, if the key is current.
    pub(crate) fn op(&self, key: Key) -> Option<&Op> {
        let tracked = self.tracked.get(key.index as usize)?;
        let op = tracked.op.as_ref();
        op.filter(|_| tracked.generation == key.generation)
    }

    pub(crate) fn wait(&mut self, key: Key, waker: &Waker) {
        if let Some(tracked) = self.get(key)
            && !matches!(&tracked.waker, Some(old) if old.will_wake(waker))
        {
            let old = tracked.waker.replace(waker.clone());
            self.retired.wakers.extend(old);
        }
    }

    /// Notes that a cancellation is on its way to an operation in flight; false if one is already,
    /// or the operation is over.
    pub(crate) fn stop(&mut self, key: Key) -> bool {
        self.get(key)
            .filter(|tracked| tracked.in_flight)
            .is_some_and(|tracked| !std::mem::replace(&mut tracked.stopping, true))
    }

    pub(crate) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.get(key)?.waker.take()
    }

    /// Stores a completion; returns the waker to wake, and whether a multishot operation now has
    /// more unread completions than its limit.
    pub(crate) fn complete(
        &mut self,
        key: Key,
        done: Completed,
        more: bool,
    ) -> (Option<Waker>, bool) {
        let Some(tracked) = self.get(key) else {
            return (None, false);
        };
        tracked.completed.push_back(done);
        let mut overfull = false;
        if more {
            let unread_max = match tracked.op {
                Some(Op::Receive { .. }) => limits::RECV_QUEUE_PER_STREAM,
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

    /// Puts a stream on the list; false if it is there already, from an earlier receive of this
    /// turn.
    pub(crate) fn list(&mut self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|tracked| !std::mem::replace(&mut tracked.listed, true))
    }

    /// A stream's unread completions, to be changed in place; takes the stream off the list.
    pub(crate) fn unread(&mut self, key: Key) -> impl Iterator<Item = &mut Completed> {
        let mut tracked = self.get(key);
        if let Some(tracked) = &mut tracked {
            tracked.listed = false;
        }
        tracked
            .into_iter()
            .flat_map(|tracked| tracked.completed.iter_mut())
    }

    /// The completion just stored, if the operation's future was dropped.
    pub(crate) fn take_orphan(&mut self, key: Key) -> Option<Orphan> {
        let tracked = self.get(key).filter(|s| s.orphan)?;
        let op = ResultKind::of(tracked.op.as_ref()?);
        let completed = tracked.completed.pop_front()?;
        Some(Orphan { op, completed })
    }

    /// The next completion of a multishot operation.
    pub(crate) fn next_event(&mut self, key: Key) -> Option<(ResultKind, Completed)> {
        let tracked = self.get(key)?;
        let op = ResultKind::of(tracked.op.as_ref()?);
        Some((op, tracked.completed.pop_front()?))
    }

    /// Takes the last completion of a single operation and removes the operation.
    pub(crate) fn finish(&mut self, key: Key) -> Option<(Op, Completed)> {
        let tracked = self.get(key)?;
        let completed = tracked.completed.pop_front()?;
        let op = tracked.op.take()?;
        self.release(key.index);
        Some((op, completed))
    }

    /// Marks an operation as abandoned and returns its unread completions.
    pub(crate) fn orphan(&mut self, key: Key) -> Vec<(ResultKind, Completed)> {
        let waker = self.take_waker(key);
        self.retired.wakers.extend(waker);
        let Some(tracked) = self.get(key) else {
            return Vec::new();
        };
        tracked.orphan = true;
        let Some(op) = tracked.op.as_ref().map(ResultKind::of) else {
            return Vec::new();
        };
        std::iter::from_fn(|| tracked.completed.pop_front())
            .map(|completed| (op, completed))
            .collect()
    }

    pub(crate) fn free(&mut self, key: Key) {
        if let Some(tracked) = self.get(key) {
            let was_in_flight = std::mem::take(&mut tracked.in_flight);
            let op = tracked.op.take();
            if was_in_flight {
                self.in_flight -= 1;
            }
            self.release(key.index);
            self.retired.ops.extend(op);
        }
    }

    fn release(&mut self, index: u32) {
        let tracked = &mut self.tracked[index as usize];
        tracked.generation = tracked.generation.wrapping_add(1) & 0x7fff_ffff;
        let waker = tracked.waker.take();
        tracked.completed.clear();
        if let Some(scratch) = tracked.scratch.take()
            && self.spare_scratch.len() < limits::SPARE_SCRATCH
        {
            self.spare_scratch.push(scratch);
        }
        tracked.orphan = false;
        tracked.stopping = false;
        tracked.listed = false;
        self.free.push(index);
        self.retired.wakers.extend(waker);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn keys_in_flight(&self) -> Vec<Key> {
        let used = |(index, tracked): (usize, &TrackedOperation)| {
            tracked.op.is_some().then_some(Key {
                index: index as u32,
                generation: tracked.generation,
            })
        };
        self.tracked.iter().enumerate().filter_map(used).collect()
    }
}
