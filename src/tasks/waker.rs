//! Wakers of tasks: one word, which names a slot and the use of it.
//!
//! A waker that outlives its task wakes nobody, since the slot's generation has moved on; after
//! 2^32 uses of the slot it might wake another task once too often, which every future bears.

use std::task::Waker;

use super::cell::Slot;
use super::{arena, context, registry};
use crate::sys::word_waker::{WakeWord, word_waker};

/// A task's name: its slot, and which use of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskName {
    index: u32,
    generation: u32,
}

const _: () = assert!(size_of::<usize>() == 8, "headwater needs a 64-bit machine");

impl TaskName {
    pub fn of(slot: &Slot) -> Self {
        Self {
            index: slot.index(),
            generation: slot.generation(),
        }
    }

    /// A number that no other task of the process has now.
    pub fn id(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub fn waker(self) -> Waker {
        word_waker::<Self>((self.generation as usize) << 32 | self.index as usize)
    }
}

impl WakeWord for TaskName {
    fn wake(word: usize) {
        let (index, generation) = (word as u32, (word >> 32) as u32);
        let Some(slot) = arena::slot(index) else {
            return;
        };
        let pool = slot.meta.owner().pool;
        if !slot.wake(generation) {
            return;
        }
        context::with(|local| match local {
            Some(local) if local.shared.id() == pool => {
                slot.meta.set_runnable(local.notes.stamp());
                local.queue(slot, true);
            }
            _ => {
                if let Some(pool) = registry::find(pool) {
                    pool.schedule(slot, generation);
                }
            }
        });
    }
}
