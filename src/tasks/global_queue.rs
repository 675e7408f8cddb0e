//! The pool's global queue: tasks spawned or woken outside the pool, the overflow of workers'
//! queues, and all background work. Interactive and background tasks have a lane each.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Priority;
use super::task_id::TaskId;
use crate::sys::sync::lock;

/// What waits for a worker.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A task to run.
    Task(TaskId),
    /// The worker of this number, whose task has yielded: the worker that takes this entry gives it
    /// its processor.
    Resume(u32),
}

#[derive(Default)]
struct Lane {
    tasks: Mutex<VecDeque<Work>>,
    /// Written under the lane's lock; read without it, so that an empty lane is not locked.
    len: AtomicUsize,
}

#[derive(Default)]
pub(super) struct GlobalQueue {
    interactive: Lane,
    background: Lane,
}

impl GlobalQueue {
    fn lane(&self, priority: Priority) -> &Lane {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Background => &self.background,
        }
    }

    pub(crate) fn len(&self, priority: Priority) -> usize {
        self.lane(priority).len.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len(Priority::Interactive) + self.len(Priority::Background) == 0
    }

    pub(crate) fn push(&self, priority: Priority, task: TaskId) {
        let lane = self.lane(priority);
        let mut tasks = lock(&lane.tasks);
        tasks.push_back(Work::Task(task));
        lane.len.store(tasks.len(), Ordering::Release);
    }

    /// Queues a worker whose task has yielded: behind all waiting interactive tasks, or before all
    /// background ones, since a background task yields to interactive ones only.
    pub(crate) fn push_resume(&self, priority: Priority, thread: u32) {
        let lane = self.lane(priority);
        let mut tasks = lock(&lane.tasks);
        match priority {
            Priority::Interactive => tasks.push_back(Work::Resume(thread)),
            Priority::Background => tasks.push_front(Work::Resume(thread)),
        }
        lane.len.store(tasks.len(), Ordering::Release);
    }

    /// Removes a worker from the lane; false if another worker has taken its entry already.
    pub(crate) fn take_back(&self, priority: Priority, thread: u32) -> bool {
        let lane = self.lane(priority);
        let mut tasks = lock(&lane.tasks);
        let own = |entry: &Work| matches!(entry, Work::Resume(other) if *other == thread);
        let at = tasks.iter().position(own);
        let taken = at.and_then(|at| tasks.remove(at)).is_some();
        lane.len.store(tasks.len(), Ordering::Release);
        taken
    }

    /// Adds the tasks that overflowed a worker's queue.
    pub(crate) fn push_all(&self, priority: Priority, all: &[TaskId]) {
        let lane = self.lane(priority);
        let mut tasks = lock(&lane.tasks);
        tasks.extend(all.iter().copied().map(Work::Task));
        lane.len.store(tasks.len(), Ordering::Release);
    }

    /// Adds the tasks that waited behind a held one at the front: they have waited longest.
    pub(crate) fn push_front(&self, priority: Priority, all: &[TaskId]) {
        let lane = self.lane(priority);
        let mut tasks = lock(&lane.tasks);
        for task in all.iter().rev() {
            tasks.push_front(Work::Task(*task));
        }
        lane.len.store(tasks.len(), Ordering::Release);
    }

    /// Takes the oldest entry. Passes up to `more(waiting)` tasks right behind it to `keep`.
    pub(crate) fn pop(
        &self,
        priority: Priority,
        more: impl FnOnce(usize) -> usize,
        mut keep: impl FnMut(TaskId),
    ) -> Option<Work> {
        let lane = self.lane(priority);
        if lane.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut tasks = lock(&lane.tasks);
        let first = tasks.pop_front()?;
        for _ in 0..more(tasks.len()) {
            match tasks.front() {
                Some(&Work::Task(task)) => keep(task),
                _ => break,
            }
            tasks.pop_front();
        }
        lane.len.store(tasks.len(), Ordering::Release);
        Some(first)
    }
}
