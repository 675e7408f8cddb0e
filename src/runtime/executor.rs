//! The tasks of one shard and the queue of those that are ready.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use slab::Slab;

use super::foreign::{contain, drop_contained};
use super::waker::{GENERATION_MASK, INDEX_MAX, TaskId};
use crate::observe::CallSite;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

struct TaskEntry {
    /// `None` while the task is being polled.
    task: Option<Task>,
    /// The call site that spawned it, or the name of its kind.
    site: CallSite,
    generation: u32,
    ready: bool,
}

/// Owns the tasks. It never polls: the shard takes a task out, polls it, and
/// puts it back, so that a task may spawn and wake others while it runs.
pub(super) struct Executor {
    shard: usize,
    entries: Slab<TaskEntry>,
    /// The generation of the next task: counts all spawns, so that a reused index has a new
    /// generation.
    generation: u32,
    ready: VecDeque<TaskId>,
}

impl Executor {
    pub(crate) fn new(shard: usize) -> Self {
        Self {
            shard,
            entries: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
        }
    }

    /// Adds a task and makes it ready.
    ///
    /// # Errors
    /// The task itself, with more than 16 million tasks on one shard.
    pub(crate) fn spawn(&mut self, site: CallSite, task: Task) -> Result<TaskId, Task> {
        let entry = self.entries.vacant_entry();
        if entry.key() > INDEX_MAX as usize {
            return Err(task);
        }
        let id = TaskId::new(self.shard, entry.key() as u32, self.generation);
        entry.insert(TaskEntry {
            task: Some(task),
            site,
            generation: self.generation,
            ready: true,
        });
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.ready.push_back(id);
        Ok(id)
    }

    /// The entry of a task that has not ended.
    fn get(&mut self, id: TaskId) -> Option<&mut TaskEntry> {
        let entry = self.entries.get_mut(id.index() as usize);
        entry.filter(|entry| entry.generation == id.generation())
    }

    /// Puts a task on the ready queue, once.
    pub(crate) fn make_ready(&mut self, id: TaskId) {
        if let Some(entry) = self.get(id)
            && !std::mem::replace(&mut entry.ready, true)
        {
            self.ready.push_back(id);
        }
    }

    pub(crate) fn make_all_ready(&mut self) {
        for (index, entry) in &mut self.entries {
            if !std::mem::replace(&mut entry.ready, true) {
                let id = TaskId::new(self.shard, index as u32, entry.generation);
                self.ready.push_back(id);
            }
        }
    }

    /// Takes the next ready task out.
    pub(crate) fn next(&mut self) -> Option<(TaskId, CallSite, Task)> {
        while let Some(id) = self.ready.pop_front() {
            let Some(entry) = self.get(id) else {
                continue;
            };
            entry.ready = false;
            if let Some(task) = entry.task.take() {
                return Some((id, entry.site, task));
            }
        }
        None
    }

    /// Puts a pending task back.
    pub(crate) fn put_back(&mut self, id: TaskId, task: Task) {
        if let Some(entry) = self.get(id) {
            entry.task = Some(task);
        }
    }

    /// Removes a task that has ended; its id becomes stale.
    pub(crate) fn finished(&mut self, id: TaskId) {
        self.entries.try_remove(id.index() as usize);
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.entries.len()
    }

    /// Takes every task out, to be dropped by the caller.
    pub(crate) fn clear(&mut self) -> Vec<Task> {
        self.ready.clear();
        let tasks = self.entries.drain().filter_map(|entry| entry.task);
        tasks.collect()
    }
}

/// How polling a task ended.
pub(super) enum Polled {
    Pending(Task),
    Ended,
    Panicked,
}

/// Polls a task. A panic ends that task and nothing else.
pub(super) fn poll_task(id: TaskId, mut task: Task) -> Polled {
    let waker = id.waker();
    let mut cx = Context::from_waker(&waker);
    let polled = contain(|| task.as_mut().poll(&mut cx));
    if let Ok(Poll::Pending) = polled {
        return Polled::Pending(task);
    }
    match (polled, drop_contained(task)) {
        (Ok(_), Ok(())) => Polled::Ended,
        _ => Polled::Panicked,
    }
}
