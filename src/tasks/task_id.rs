//! Wakers of tasks: one word, which names a cell and the use of it.
//!
//! A waker that outlives its task wakes nobody, since the cell's generation has moved on; after
//! 2^32 uses of the cell it might wake another task once too often, which every future bears.

use std::task::Waker;

use super::cell::TaskCell;
use super::{arena, context, registry};
use crate::sys::word_waker::{WakeWord, word_waker};

/// A task's name: its cell, and which use of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId {
    index: u32,
    generation: u32,
}

const _: () = assert!(size_of::<usize>() == 8, "headwater needs a 64-bit machine");

impl TaskId {
    pub fn of(cell: &TaskCell) -> Self {
        Self {
            index: cell.index(),
            generation: cell.generation(),
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

impl WakeWord for TaskId {
    fn wake(word: usize) {
        let (index, generation) = (word as u32, (word >> 32) as u32);
        let Some(cell) = arena::cell(index) else {
            return;
        };
        let pool = cell.meta.owner().pool;
        if !cell.wake(generation) {
            return;
        }
        context::with(|local| match local {
            Some(local) if local.shared.id() == pool => {
                cell.meta.set_runnable(local.stats.stamp());
                local.queue(cell, true);
            }
            _ => {
                if let Some(pool) = registry::find(pool) {
                    pool.schedule(cell, generation);
                }
            }
        });
    }
}
