//! The operations of a driver, from their start until their end was taken.

use std::io;
use std::os::fd::OwnedFd;
use std::task::Waker;

use crate::runtime::driver::{Key, Op, Retired};

/// Where an operation is.
#[derive(Debug)]
pub(super) enum State {
    /// It begins with the next turn.
    Started,
    /// It waits for its descriptor.
    Waiting,
    /// A worker has it.
    Working,
    /// It is over, with this result.
    Done(io::Result<u32>),
    /// It is over, and has opened this.
    Opened(OwnedFd),
    /// It was cancelled.
    Stopped,
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, State::Done(_) | State::Opened(_) | State::Stopped)
    }
}

/// An operation.
pub(super) struct Tracked {
    generation: u32,
    pub op: Option<Op>,
    pub state: State,
    waker: Option<Waker>,
    /// Its future was dropped.
    pub is_orphan: bool,
    /// A receive was cancelled, and gives what has arrived.
    pub is_stopping: bool,
    /// The turn in which it was last polled, and how often it was in that turn.
    turn: u64,
    polls: u32,
}

impl Tracked {
    /// Counts a poll in this turn; false beyond `most`.
    pub(crate) fn may_give(&mut self, turn: u64, most: u32) -> bool {
        if self.turn != turn {
            self.turn = turn;
            self.polls = 0;
        }
        self.polls += 1;
        self.polls <= most
    }
}

#[derive(Default)]
pub(super) struct Table {
    tracked: Vec<Tracked>,
    free: Vec<u32>,
    /// Operations that are not over.
    unfinished: usize,
    /// What the owner of the driver is to drop.
    pub retired: Retired,
}

impl Table {
    pub(crate) fn insert(&mut self, op: Op) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.tracked.push(Tracked {
                generation: 0,
                op: None,
                state: State::Stopped,
                waker: None,
                is_orphan: false,
                is_stopping: false,
                turn: 0,
                polls: 0,
            });
            self.tracked.len() as u32 - 1
        });
        self.unfinished += 1;
        let tracked = &mut self.tracked[index as usize];
        tracked.op = Some(op);
        tracked.state = State::Started;
        Key {
            index,
            generation: tracked.generation,
        }
    }

    /// The operation, unless the key is stale.
    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Tracked> {
        self.tracked
            .get_mut(key.index as usize)
            .filter(|tracked| tracked.generation == key.generation && tracked.op.is_some())
    }

    /// Registers who is woken by the operation's next result.
    pub(crate) fn wait(&mut self, key: Key, waker: &Waker) {
        if let Some(tracked) = self.get(key)
            && !matches!(&tracked.waker, Some(old) if old.will_wake(waker))
        {
            let old = tracked.waker.replace(waker.clone());
            self.retired.wakers.extend(old);
        }
    }

    pub(crate) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.get(key)?.waker.take()
    }

    /// Moves an operation on. One that is over returns its waker.
    pub(crate) fn set(&mut self, key: Key, state: State) -> Option<Waker> {
        let tracked = self.get(key)?;
        let was_over = tracked.state.is_over();
        tracked.state = state;
        if !tracked.state.is_over() {
            return None;
        }
        let waker = tracked.waker.take();
        self.unfinished -= usize::from(!was_over);
        waker
    }

    /// Removes an operation and gives it and where it was.
    pub(crate) fn take(&mut self, key: Key) -> Option<(Op, State)> {
        let tracked = self.get(key)?;
        let op = tracked.op.take()?;
        let state = std::mem::replace(&mut tracked.state, State::Stopped);
        let waker = tracked.waker.take();
        tracked.generation = tracked.generation.wrapping_add(1) & 0x7fff_ffff;
        tracked.is_orphan = false;
        tracked.is_stopping = false;
        tracked.polls = 0;
        self.unfinished -= usize::from(!state.is_over());
        self.free.push(key.index);
        self.retired.wakers.extend(waker);
        Some((op, state))
    }

    /// Removes an operation. Its owner drops it.
    pub(crate) fn free(&mut self, key: Key) {
        if let Some((op, _)) = self.take(key) {
            self.retired.ops.push(op);
        }
    }

    /// Operations that are not over.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// The keys of all operations.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let used = |(index, tracked): (usize, &Tracked)| {
            tracked.op.is_some().then_some(Key {
                index: index as u32,
                generation: tracked.generation,
            })
        };
        self.tracked.iter().enumerate().filter_map(used).collect()
    }
}
