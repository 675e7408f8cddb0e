//! Wakers without a reference count: a task id packs shard, index and generation into one word.
//!
//! Waking from the task's own shard pushes it on the ready queue; waking from any other thread
//! sends the id to the shard's mailbox. A waker that outlives its task, or its shard, wakes nothing:
//! the generation no longer matches.

use std::sync::{Arc, RwLock};
use std::task::Waker;

use super::mailbox::Mailbox;
use super::shard;
use crate::sys::sync;
use crate::sys::word_waker::{WakeWord, word_waker};

/// A task's id, as wide as a pointer: 12 bits of shard number, 28 of generation, 24 of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId(usize);

const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 28;
pub(super) const INDEX_MAX: u32 = (1 << INDEX_BITS) - 1;
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const REGISTERED_SHARDS_MAX: usize = 1 << 12;

const _: () = assert!(size_of::<usize>() == 8, "headwater needs a 64-bit machine");
const _: () = assert!(crate::limits::SHARDS_MAX <= REGISTERED_SHARDS_MAX);

impl TaskId {
    pub(crate) fn new(shard: usize, index: u32, generation: u32) -> Self {
        debug_assert!(
            shard < REGISTERED_SHARDS_MAX && index <= INDEX_MAX && generation <= GENERATION_MASK
        );
        Self(
            shard << (INDEX_BITS + GENERATION_BITS)
                | (generation as usize) << INDEX_BITS
                | index as usize,
        )
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32 & INDEX_MAX
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32 & GENERATION_MASK
    }

    pub(crate) fn shard(self) -> usize {
        self.0 >> (INDEX_BITS + GENERATION_BITS)
    }

    /// A number that no other task of this shard has had.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64 & ((1 << (INDEX_BITS + GENERATION_BITS)) - 1)
    }

    /// A waker for this task.
    pub(crate) fn waker(self) -> Waker {
        word_waker::<Self>(self.0)
    }
}

impl WakeWord for TaskId {
    fn wake(word: usize) {
        wake(Self(word));
    }
}

fn wake(task: TaskId) {
    if shard::make_ready_here(task) {
        return;
    }
    let mailbox = mailboxes().get(task.shard()).cloned().flatten();
    if let Some(mailbox) = mailbox {
        mailbox.wake_task(task);
    }
}

/// The mailboxes of all shards of this process by registration number; only touched when a
/// shard starts or ends, and by a wake-up that comes from another thread.
static MAILBOXES: RwLock<Vec<Option<Arc<Mailbox>>>> = RwLock::new(Vec::new());

fn mailboxes() -> std::sync::RwLockReadGuard<'static, Vec<Option<Arc<Mailbox>>>> {
    sync::read(&MAILBOXES)
}

/// A shard's number among all shards of the process, released on drop.
pub(super) struct ShardRegistration(usize);

impl ShardRegistration {
    /// Registers a shard's mailbox; `None` when the process has too many shards.
    pub(crate) fn enter(mailbox: Arc<Mailbox>) -> Option<Self> {
        let mut all = sync::write(&MAILBOXES);
        let shard = all.iter().position(Option::is_none).unwrap_or(all.len());
        if shard >= REGISTERED_SHARDS_MAX {
            return None;
        }
        if shard == all.len() {
            all.push(None);
        }
        all[shard] = Some(mailbox);
        Some(Self(shard))
    }

    pub(crate) fn number(&self) -> usize {
        self.0
    }
}

impl Drop for ShardRegistration {
    fn drop(&mut self) {
        let mut all = sync::write(&MAILBOXES);
        let mailbox = all[self.0].take();
        // What is dropped with a mailbox may wake tasks, which takes this lock.
        drop(all);
        drop(mailbox);
    }
}
