//! The tasks of one shard and the queue of those that are ready.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::foreign::{contain, drop_contained};
use super::waker::{GENERATION_MASK, INDEX_MAX, TaskId};
use crate::observe::CallSite;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

struct TaskEntry {
    /// `None` while the task is being polled, or when the entry is free.
    task: Option<Task>,
    /// Where it was spawned, or the name of its kind.
    site: CallSite,
    generation: u32,
    ready: bool,
    used: bool,
}

/// Owns the tasks. It never polls: the shard takes a task out, polls it, and
/// puts it back, so that a task may spawn and wake others while it runs.
pub(super) struct Executor {
    shard: usize,
    entries: Vec<TaskEntry>,
    free: Vec<u32>,
    ready: VecDeque<TaskId>,
    live: usize,
}

impl Executor {
    pub fn new(shard: usize) -> Self {
        Self {
            shard,
            entries: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            live: 0,
        }
    }

    /// Adds a task and makes it ready.
    ///
    /// # Errors
    /// The task itself, with more than 16 million tasks on one shard.
    pub fn spawn(&mut self, site: CallSite, task: Task) -> Result<TaskId, Task> {
        if self.live > INDEX_MAX as usize {
            return Err(task);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(TaskEntry {
                task: None,
                site,
                generation: 0,
                ready: false,
                used: false,
            });
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        entry.task = Some(task);
        entry.site = site;
        entry.used = true;
        entry.ready = false;
        self.live += 1;
        let id = TaskId::new(self.shard, index, entry.generation);
        self.make_ready(id);
        Ok(id)
    }

    /// Puts a task on the ready queue, once.
    pub fn make_ready(&mut self, id: TaskId) {
        let Some(entry) = self.entries.get_mut(id.index() as usize) else {
            return;
        };
        if entry.used && entry.generation == id.generation() && !entry.ready {
            entry.ready = true;
            self.ready.push_back(id);
        }
    }

    pub fn make_all_ready(&mut self) {
        for index in 0..self.entries.len() {
            let id = TaskId::new(self.shard, index as u32, self.entries[index].generation);
            self.make_ready(id);
        }
    }

    /// Takes the next ready task out.
    pub fn next(&mut self) -> Option<(TaskId, CallSite, Task)> {
        while let Some(id) = self.ready.pop_front() {
            let entry = &mut self.entries[id.index() as usize];
            if entry.generation != id.generation() {
                continue;
            }
            entry.ready = false;
            if let Some(task) = entry.task.take() {
                return Some((id, entry.site, task));
            }
        }
        None
    }

    /// Puts a pending task back.
    pub fn put_back(&mut self, id: TaskId, task: Task) {
        self.entries[id.index() as usize].task = Some(task);
    }

    /// A task has ended; its id becomes stale.
    pub fn finished(&mut self, id: TaskId) {
        let entry = &mut self.entries[id.index() as usize];
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        entry.used = false;
        entry.ready = false;
        self.free.push(id.index());
        self.live -= 1;
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Tasks that have not ended.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Takes every task out, to be dropped by the caller.
    pub fn clear(&mut self) -> Vec<Task> {
        self.ready.clear();
        let mut tasks = Vec::new();
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            if entry.used {
                let id = TaskId::new(self.shard, index as u32, entry.generation);
                tasks.extend(entry.task.take());
                self.finished(id);
            }
        }
        tasks
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
