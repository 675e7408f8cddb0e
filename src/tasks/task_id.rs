//! The id of a task: the cell that it lives in and which use of that cell it is.
//!
//! An id is one word, so queues hold ids in plain atomics and a waker needs no allocation.
//! Cells are reused, and each use has another generation, so an id that outlives its task matches
//! nothing: neither a stale queue entry nor a late wake-up reaches the next task in that cell,
//! whichever pool that belongs to. A generation recurs after 2^32 uses of one cell.

use std::task::Waker;

use super::cell::{RunningTask, TaskCell};
use super::{arena, context, registry};
use crate::limits;
use crate::sys::word_waker::{WakeWord, word_waker};

/// The id of a task: the generation above the index of the cell, 32 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId(u64);

const _: () = assert!(size_of::<usize>() == 8, "headwater needs a 64-bit machine");
const _: () = assert!(limits::TASKS_LIVE_MAX <= u32::MAX as usize, "NONE");

impl TaskId {
    /// A word that is no task's: its index is beyond all cells.
    pub(crate) const NONE: u64 = u64::MAX;

    pub(crate) fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    /// The id in a word; `None` if that is [`NONE`](Self::NONE).
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != Self::NONE).then_some(Self(word))
    }

    /// A number that no other task of the process has at the same time.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The cell that the task lives or lived in.
    pub(crate) fn cell(self) -> Option<&'static TaskCell> {
        arena::cell(self.0 as u32)
    }

    /// The right to run the task, if it is scheduled and not over.
    pub(crate) fn claim(self) -> Option<(&'static TaskCell, RunningTask)> {
        let cell = self.cell()?;
        Some((cell, cell.claim(self.generation())?))
    }

    pub(crate) fn waker(self) -> Waker {
        word_waker::<Self>(self.0 as usize)
    }
}

impl WakeWord for TaskId {
    fn wake(word: usize) {
        let id = TaskId(word as u64);
        let Some(cell) = id.cell() else {
            return;
        };
        // Right if the task is woken: it was written before the waker was made, and its cell is not
        // filled again while the generation is unchanged.
        let owner = cell.meta.owner();
        if !cell.wake(id.generation()) {
            return;
        }
        context::with(|local| match local {
            Some(local) if local.shared.id() == owner.pool => {
                cell.meta.set_runnable(local.stats.stamp());
                local.queue(id, owner.priority, true);
            }
            _ => {
                if let Some(pool) = registry::find(owner.pool) {
                    pool.schedule(id, owner.priority);
                }
            }
        });
    }
}
