//! The slots that own operations while the kernel may touch what they hold.

use std::task::Waker;

use super::OrphanOp;
use super::entries::Scratch;
use super::queue::Queue;
use crate::limits;
use crate::runtime::driver::{Key, Op};

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
pub(super) struct Slot {
    generation: u32,
    pub op: Option<Op>,
    /// Structures that the entry points to.
    pub scratch: Option<Scratch>,
    waker: Option<Waker>,
    completed: Queue,
    in_flight: bool,
    orphan: bool,
    stopping: bool,
    /// Among those whose receive buffers are looked after at the end of the turn.
    listed: bool,
}

/// A late completion of an operation that nobody waits for.
pub(super) struct Orphan {
    pub op: OrphanOp,
    pub completed: Completed,
}

#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    in_flight: usize,
    /// Kept apart, so that a slot that once needed one does not keep it for an idle receive.
    spare_scratch: Vec<Scratch>,
    /// What freed slots owned, until it can be dropped.
    pub retired: Vec<Op>,
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

impl Slots {
    pub fn insert(&mut self, op: Op) -> (Key, &mut Slot) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                op: None,
                scratch: None,
                waker: None,
                completed: Queue::default(),
                in_flight: false,
                orphan: false,
                stopping: false,
                listed: false,
            });
            self.slots.len() as u32 - 1
        });
        self.in_flight += 1;
        let slot = &mut self.slots[index as usize];
        if matches!(op, Op::SendVectored { .. } | Op::Open { .. }) {
            slot.scratch = self.spare_scratch.pop();
        }
        slot.op = Some(op);
        slot.in_flight = true;
        (
            Key {
                index,
                generation: slot.generation,
            },
            slot,
        )
    }

    fn get(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|s| s.generation == key.generation && s.op.is_some())
    }

    pub fn state(&self, key: Key) -> Option<State> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation != key.generation || slot.op.is_none() {
            return None;
        }
        Some(if slot.in_flight {
            State::InFlight
        } else {
            State::Done
        })
    }

    /// The operation of a slot that is in use.
    pub fn op(&self, key: Key) -> Option<&Op> {
        let slot = self.slots.get(key.index as usize)?;
        let op = slot.op.as_ref();
        op.filter(|_| slot.generation == key.generation)
    }

    pub fn wait(&mut self, key: Key, waker: &Waker) {
        if let Some(slot) = self.get(key) {
            match &mut slot.waker {
                Some(old) if old.will_wake(waker) => {}
                old => *old = Some(waker.clone()),
            }
        }
    }

    pub fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.get(key)?.waker.take()
    }

    /// Files a completion; gives the waker to wake, and whether a multishot
    /// operation has now more unread than it may hold.
    pub fn complete(&mut self, key: Key, done: Completed, more: bool) -> (Option<Waker>, bool) {
        let Some(slot) = self.get(key) else {
            return (None, false);
        };
        slot.completed.push_back(done);
        let mut overfull = false;
        if more {
            let unread_max = match slot.op {
                Some(Op::Receive { .. }) => limits::RECV_QUEUE_PER_STREAM,
                _ => limits::ACCEPTED_UNTAKEN_MAX,
            };
            if slot.completed.len() >= unread_max && !slot.stopping && !slot.orphan {
                slot.stopping = true;
                overfull = true;
            }
        } else {
            slot.in_flight = false;
        }
        let waker = slot.waker.take();
        if !more {
            self.in_flight -= 1;
        }
        (waker, overfull)
    }

    /// Whether this is the first receive buffer that came for this stream in this turn.
    pub fn list(&mut self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|slot| !std::mem::replace(&mut slot.listed, true))
    }

    /// What a stream has not yet read, to be changed in place; ends its listing.
    pub fn unread(&mut self, key: Key) -> impl Iterator<Item = &mut Completed> {
        let mut slot = self.get(key);
        if let Some(slot) = &mut slot {
            slot.listed = false;
        }
        slot.into_iter().flat_map(|slot| slot.completed.iter_mut())
    }

    /// The completion just filed, if nobody waits for it.
    pub fn take_orphan(&mut self, key: Key) -> Option<Orphan> {
        let slot = self.get(key).filter(|s| s.orphan)?;
        let op = OrphanOp::of(slot.op.as_ref()?);
        let completed = slot.completed.pop_front()?;
        Some(Orphan { op, completed })
    }

    /// The next completion of a multishot operation.
    pub fn next_event(&mut self, key: Key) -> Option<(OrphanOp, Completed)> {
        let slot = self.get(key)?;
        let op = OrphanOp::of(slot.op.as_ref()?);
        Some((op, slot.completed.pop_front()?))
    }

    /// Takes a single operation's end and frees its slot.
    pub fn finish(&mut self, key: Key) -> Option<(Op, Completed)> {
        let slot = self.get(key)?;
        let completed = slot.completed.pop_front()?;
        let op = slot.op.take()?;
        self.release(key.index);
        Some((op, completed))
    }

    /// Marks an operation as abandoned and gives what has completed unread.
    pub fn orphan(&mut self, key: Key) -> Vec<(OrphanOp, Completed)> {
        let Some(slot) = self.get(key) else {
            return Vec::new();
        };
        slot.orphan = true;
        slot.waker = None;
        let Some(op) = slot.op.as_ref().map(OrphanOp::of) else {
            return Vec::new();
        };
        std::iter::from_fn(|| slot.completed.pop_front())
            .map(|completed| (op, completed))
            .collect()
    }

    pub fn free(&mut self, key: Key) {
        if let Some(slot) = self.get(key) {
            let was_in_flight = std::mem::take(&mut slot.in_flight);
            let op = slot.op.take();
            if was_in_flight {
                self.in_flight -= 1;
            }
            self.release(key.index);
            self.retired.extend(op);
        }
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1) & 0x7fff_ffff;
        slot.waker = None;
        slot.completed.clear();
        if let Some(scratch) = slot.scratch.take()
            && self.spare_scratch.len() < limits::SPARE_SCRATCH
        {
            self.spare_scratch.push(scratch);
        }
        slot.orphan = false;
        slot.stopping = false;
        slot.listed = false;
        self.free.push(index);
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn keys_in_flight(&self) -> Vec<Key> {
        let used = |(index, slot): (usize, &Slot)| {
            slot.op.is_some().then_some(Key {
                index: index as u32,
                generation: slot.generation,
            })
        };
        self.slots.iter().enumerate().filter_map(used).collect()
    }
}
