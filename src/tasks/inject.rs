//! The pool's common queue: what comes from outside, what a worker has too much of, and all
//! background work. Interactive tasks and background tasks wait in a line each.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::Slot;
use super::{Priority, lock};

/// What waits for a worker.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    /// A task to run.
    Run(&'static Slot),
    /// A thread in the middle of a long task that has let others go first: the worker that gets
    /// here gives it its place.
    Resume(u32),
}

#[derive(Default)]
struct Line {
    tasks: Mutex<VecDeque<Entry>>,
    /// Written with the line locked; read without, to see that there is nothing to lock for.
    len: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Inject {
    interactive: Line,
    background: Line,
}

impl Inject {
    fn line(&self, priority: Priority) -> &Line {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Background => &self.background,
        }
    }

    pub fn len(&self, priority: Priority) -> usize {
        self.line(priority).len.load(Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.len(Priority::Interactive) + self.len(Priority::Background) == 0
    }

    pub fn push(&self, priority: Priority, task: &'static Slot) {
        let line = self.line(priority);
        let mut tasks = lock(&line.tasks);
        tasks.push_back(Entry::Run(task));
        line.len.store(tasks.len(), Ordering::Release);
    }

    /// A thread that has given way waits for its turn: behind all interactive tasks that are
    /// there, or before all background ones, which gave way to interactive ones only.
    pub fn push_resume(&self, priority: Priority, thread: u32) {
        let line = self.line(priority);
        let mut tasks = lock(&line.tasks);
        match priority {
            Priority::Interactive => tasks.push_back(Entry::Resume(thread)),
            Priority::Background => tasks.push_front(Entry::Resume(thread)),
        }
        line.len.store(tasks.len(), Ordering::Release);
    }

    /// Takes a thread out of the line again; false if its turn has come.
    pub fn take_back(&self, priority: Priority, thread: u32) -> bool {
        let line = self.line(priority);
        let mut tasks = lock(&line.tasks);
        let own = |entry: &Entry| matches!(entry, Entry::Resume(other) if *other == thread);
        let at = tasks.iter().position(own);
        let taken = at.and_then(|at| tasks.remove(at)).is_some();
        line.len.store(tasks.len(), Ordering::Release);
        taken
    }

    /// What a worker has too much of.
    pub fn push_all(&self, priority: Priority, all: &[&'static Slot]) {
        let line = self.line(priority);
        let mut tasks = lock(&line.tasks);
        tasks.extend(all.iter().copied().map(Entry::Run));
        line.len.store(tasks.len(), Ordering::Release);
    }

    /// What waited behind a held worker, and so for longest: it goes first.
    pub fn push_front(&self, priority: Priority, all: &[&'static Slot]) {
        let line = self.line(priority);
        let mut tasks = lock(&line.tasks);
        for task in all.iter().rev() {
            tasks.push_front(Entry::Run(task));
        }
        line.len.store(tasks.len(), Ordering::Release);
    }

    /// Takes the oldest. Up to `more(waiting)` tasks right behind it go to `keep`.
    pub fn pop(
        &self,
        priority: Priority,
        more: impl FnOnce(usize) -> usize,
        mut keep: impl FnMut(&'static Slot),
    ) -> Option<Entry> {
        let line = self.line(priority);
        if line.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut tasks = lock(&line.tasks);
        let first = tasks.pop_front()?;
        for _ in 0..more(tasks.len()) {
            match tasks.front() {
                Some(&Entry::Run(task)) => keep(task),
                _ => break,
            }
            tasks.pop_front();
        }
        line.len.store(tasks.len(), Ordering::Release);
        Some(first)
    }
}
