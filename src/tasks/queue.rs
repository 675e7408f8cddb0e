//! A worker's run queue, a ring that its owner fills and empties and from which others steal, and
//! the LIFO slot beside it.
//!
//! One thread, the owner, moves `tail`; owner and thieves move `head`, by compare and exchange.
//! A thief copies half of what waits into its own ring, then moves `head` past it: if `head` has
//! moved meanwhile, the copy is void and the thief tries again. The copy can't be torn, since
//! entries are atomic words, and can't be overwritten unnoticed, since the owner writes an entry
//! again only when `head` has passed it. Positions count up and wrap. A thief that sleeps through
//! exactly 2^32 tasks between its copy and its exchange would queue a task twice, which
//! `TaskCell::claim` tolerates: a task runs once however often it is queued.
//!
//! After Go's `runqput`, `runqget`, `runqgrab` (src/runtime/proc.go) and tokio's
//! `scheduler/multi_thread/queue.rs`. Why not crossbeam-deque: docs/decisions/009-own-task-queue.md. The models in
//! `models.rs` run this code with room for four tasks.

use super::task_id::TaskId;
use crate::limits::TASK_QUEUE;
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Tasks in a queue. A model needs few, to reach the wrap and the overflow.
pub(super) const CAPACITY: usize = if cfg!(all(test, headwater_loom)) {
    4
} else {
    TASK_QUEUE
};
const MASK: u32 = CAPACITY as u32 - 1;

/// Keeps `head`, which thieves write, out of the cache line that the owner reads.
#[repr(align(128))]
struct Aligned<T>(T);

/// The run queue of one worker: [`CAPACITY`] tasks.
pub(super) struct Queue {
    head: Aligned<AtomicU32>,
    tail: Aligned<AtomicU32>,
    ring: Box<[AtomicU64]>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            head: Aligned(AtomicU32::new(0)),
            tail: Aligned(AtomicU32::new(0)),
            ring: (0..CAPACITY)
                .map(|_| AtomicU64::new(TaskId::NONE))
                .collect(),
        }
    }

    /// Tasks in the queue. Exact for the owner; other threads may see a slightly older value.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::Acquire);
        let tail = self.tail.0.load(Ordering::Acquire);
        // `take_back` moves `tail` below `head` for a moment.
        (tail.wrapping_sub(head) as i32).clamp(0, CAPACITY as i32) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, position: u32) -> &AtomicU64 {
        &self.ring[(position & MASK) as usize]
    }

    /// Owner: adds a task. When there is no room, half of the queue and the task go to
    /// `overflow`, oldest first.
    pub(crate) fn push(&self, task: TaskId, overflow: impl FnOnce(&[TaskId])) {
        let mut overflow = Some(overflow);
        let tail = self.tail.0.load(Ordering::Relaxed);
        loop {
            let head = self.head.0.load(Ordering::Acquire);
            if (tail.wrapping_sub(head) as usize) < CAPACITY {
                self.entry(tail).store(task.word(), Ordering::Relaxed);
                self.tail.0.store(tail.wrapping_add(1), Ordering::Release);
                return;
            }
            // If this fails, a thief has just made room.
            if let Some(mut half) = self.take_half(head)
                && let Some(overflow) = overflow.take()
            {
                half.push(task);
                return overflow(&half);
            }
        }
    }

    #[cold]
    fn take_half(&self, head: u32) -> Option<Vec<TaskId>> {
        const HALF: u32 = CAPACITY as u32 / 2;
        let mut half = Vec::with_capacity(HALF as usize + 1);
        half.extend((0..HALF).filter_map(|n| self.at(head.wrapping_add(n))));
        self.advance(head, HALF).then_some(half)
    }

    /// Owner: takes the oldest.
    pub(crate) fn pop(&self) -> Option<TaskId> {
        let tail = self.tail.0.load(Ordering::Relaxed);
        loop {
            let head = self.head.0.load(Ordering::Acquire);
            if head == tail {
                return None;
            }
            let task = self.at(head);
            if self.advance(head, 1) {
                return task;
            }
        }
    }

    /// Owner: takes the newest back, if it is `task` and was not stolen.
    ///
    /// A thief takes the newest only when it is the only one, and then `head` decides between the
    /// two, as in `pop`. When there are more, `tail` goes back first. Both sides write, fence and
    /// read, so either the thieves see the new `tail`, or the owner sees here that they have come
    /// close. After Chase and Lev's deque.
    pub(crate) fn take_back(&self, task: TaskId) -> bool {
        let tail = self.tail.0.load(Ordering::Relaxed);
        let newest = tail.wrapping_sub(1);
        let mut head = self.head.0.load(Ordering::Acquire);
        if head == tail || self.at(newest) != Some(task) {
            return false;
        }
        if head != newest {
            self.tail.0.store(newest, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            head = self.head.0.load(Ordering::Acquire);
            // Positions wrap: "before the newest".
            if (newest.wrapping_sub(head) as i32) > 0 {
                return true;
            }
            self.tail.0.store(tail, Ordering::Release);
        }
        head == newest && self.advance(newest, 1)
    }

    /// Moves the older half into `into`, the caller's own queue, which must be at most half full,
    /// but for the oldest, which it returns.
    pub(crate) fn steal_into(&self, into: &Queue) -> Option<TaskId> {
        let free = into.tail.0.load(Ordering::Relaxed);
        loop {
            let (head, count) = self.older_half()?;
            let first = self.at(head);
            for n in 1..count {
                let task = self.entry(head.wrapping_add(n)).load(Ordering::Relaxed);
                let to = into.entry(free.wrapping_add(n - 1));
                to.store(task, Ordering::Relaxed);
            }
            if self.advance(head, count) {
                let tail = free.wrapping_add(count - 1);
                into.tail.0.store(tail, Ordering::Release);
                return first;
            }
        }
    }

    /// Takes the oldest, on any thread.
    pub(crate) fn steal_one(&self) -> Option<TaskId> {
        loop {
            let (head, _) = self.older_half()?;
            let first = self.at(head);
            if self.advance(head, 1) {
                return first;
            }
        }
    }

    /// Takes everything, oldest first, on any thread.
    pub(crate) fn take_all(&self) -> Vec<TaskId> {
        let mut all = Vec::new();
        while let Some((head, count)) = self.older_half() {
            let taken = all.len();
            all.extend((0..count).filter_map(|n| self.at(head.wrapping_add(n))));
            if !self.advance(head, count) {
                all.truncate(taken);
            }
        }
        all
    }

    /// `head`, and half of the tasks that wait from there, rounded up; `None` if none waits. The
    /// newest is among them only if it is the only one: `take_back` relies on that.
    fn older_half(&self) -> Option<(u32, u32)> {
        loop {
            let head = self.head.0.load(Ordering::Acquire);
            fence(Ordering::SeqCst);
            let tail = self.tail.0.load(Ordering::Acquire);
            match tail.wrapping_sub(head) {
                0 => return None,
                // `head` was read long before `tail`, or the owner takes one back.
                waiting if waiting as usize > CAPACITY => crate::sys::sync::hint::spin_loop(),
                waiting => return Some((head, waiting - waiting / 2)),
            }
        }
    }

    fn at(&self, position: u32) -> Option<TaskId> {
        TaskId::from_word(self.entry(position).load(Ordering::Relaxed))
    }

    fn advance(&self, head: u32, by: u32) -> bool {
        let next = head.wrapping_add(by);
        self.head
            .0
            .compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// The LIFO slot: the task that its worker runs next, the last that was spawned or woken there.
/// Only the owner fills it; any thread may empty it.
pub(super) struct LifoSlot(AtomicU64);

impl LifoSlot {
    pub(crate) fn empty() -> Self {
        Self(AtomicU64::new(TaskId::NONE))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == TaskId::NONE
    }

    /// Owner: puts a task in and returns the one that it displaces.
    pub(crate) fn put(&self, task: TaskId) -> Option<TaskId> {
        // Others only empty it, so an empty slot needs no exchange.
        if self.0.load(Ordering::Relaxed) == TaskId::NONE {
            self.0.store(task.word(), Ordering::Release);
            return None;
        }
        TaskId::from_word(self.0.swap(task.word(), Ordering::AcqRel))
    }

    /// Takes the task, on any thread.
    pub(crate) fn take(&self) -> Option<TaskId> {
        if self.0.load(Ordering::Relaxed) == TaskId::NONE {
            return None;
        }
        TaskId::from_word(self.0.swap(TaskId::NONE, Ordering::AcqRel))
    }
}
