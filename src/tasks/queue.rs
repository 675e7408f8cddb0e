//! A worker's run queue: a ring that its owner fills and empties and from which others steal.
//!
//! One thread, the owner, moves `tail`; owner and thieves move `head`, by compare and exchange.
//! A thief copies half of what waits into its own ring, then moves `head` past it: if `head` has
//! moved meanwhile, what it copied is not its own, and it tries again. The copy can't be torn,
//! since entries are atomic, and can't be overwritten unnoticed, since the owner writes an entry
//! again only when `head` has passed it. Positions count on without end and wrap; that one
//! stands still for 2^32 tasks while a thief copies is taken for impossible, and would at worst
//! queue a task twice, which `TaskCell::claim` bears.
//!
//! After Go's `runqput`, `runqget`, `runqgrab` (src/runtime/proc.go) and tokio's
//! `scheduler/multi_thread/queue.rs`. Why not crossbeam-deque: docs/decisions/009-own-task-queue.md.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::cell::TaskCell;
use crate::limits::TASK_QUEUE;
use crate::sys::atomic_ref::AtomicRef;

const MASK: u32 = TASK_QUEUE as u32 - 1;

/// Keeps what others write away from what the owner reads.
#[repr(align(128))]
struct Apart<T>(T);

pub(super) struct Queue {
    head: Apart<AtomicU32>,
    tail: Apart<AtomicU32>,
    ring: Box<[AtomicRef<TaskCell>; TASK_QUEUE]>,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            head: Apart(AtomicU32::new(0)),
            tail: Apart(AtomicU32::new(0)),
            ring: Box::new([const { AtomicRef::empty() }; TASK_QUEUE]),
        }
    }

    /// Tasks that wait here, as far as can be seen.
    pub fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::Acquire);
        let tail = self.tail.0.load(Ordering::Acquire);
        // Below `head` for a moment when the owner takes one back.
        (tail.wrapping_sub(head) as i32).clamp(0, TASK_QUEUE as i32) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, position: u32) -> &AtomicRef<TaskCell> {
        &self.ring[(position & MASK) as usize]
    }

    /// Owner: adds a task. When there is no room, half of the queue and the task go to
    /// `overflow`, oldest first.
    pub fn push(&self, task: &'static TaskCell, overflow: impl FnOnce(&[&'static TaskCell])) {
        let mut overflow = Some(overflow);
        let tail = self.tail.0.load(Ordering::Relaxed);
        loop {
            let head = self.head.0.load(Ordering::Acquire);
            if (tail.wrapping_sub(head) as usize) < TASK_QUEUE {
                self.entry(tail).store(Some(task), Ordering::Relaxed);
                self.tail.0.store(tail.wrapping_add(1), Ordering::Release);
                return;
            }
            // Room again if a thief came in between.
            if let Some(mut half) = self.take_half(head)
                && let Some(overflow) = overflow.take()
            {
                half.push(task);
                return overflow(&half);
            }
        }
    }

    #[cold]
    fn take_half(&self, head: u32) -> Option<Vec<&'static TaskCell>> {
        const HALF: u32 = TASK_QUEUE as u32 / 2;
        let mut half = Vec::with_capacity(HALF as usize + 1);
        half.extend((0..HALF).filter_map(|n| self.at(head.wrapping_add(n))));
        self.advance(head, HALF).then_some(half)
    }

    /// Owner: takes the oldest.
    pub fn pop(&self) -> Option<&'static TaskCell> {
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

    /// Owner: takes the newest back, if it is `task` and nobody has stolen it.
    ///
    /// A thief takes the newest only when it is the only one, so then it is for `head` to say
    /// whose it is, as in `pop`. When there are more, `tail` goes back first; then (both sides
    /// write, fence, read) either the thieves see that, or it is seen here that they have come
    /// close. After Chase and Lev's deque.
    pub fn take_back(&self, task: &'static TaskCell) -> bool {
        let tail = self.tail.0.load(Ordering::Relaxed);
        let newest = tail.wrapping_sub(1);
        let mut head = self.head.0.load(Ordering::Acquire);
        if head == tail || !self.at(newest).is_some_and(|at| ptr::eq(at, task)) {
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

    /// Takes the older half into `into`, the caller's own queue, which must be at most half
    /// full; the oldest is given instead.
    pub fn steal_into(&self, into: &Queue) -> Option<&'static TaskCell> {
        let room = into.tail.0.load(Ordering::Relaxed);
        loop {
            let (head, count) = self.older_half()?;
            let first = self.at(head);
            for n in 1..count {
                let task = self.at(head.wrapping_add(n));
                let to = into.entry(room.wrapping_add(n - 1));
                to.store(task, Ordering::Relaxed);
            }
            if self.advance(head, count) {
                let tail = room.wrapping_add(count - 1);
                into.tail.0.store(tail, Ordering::Release);
                return first;
            }
        }
    }

    /// Takes all there is.
    pub fn take_all(&self) -> Vec<&'static TaskCell> {
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

    /// `head` and half of how many tasks wait from there, rounded up, unless none does. The
    /// newest is among them only if it is the only one: `take_back` relies on that.
    fn older_half(&self) -> Option<(u32, u32)> {
        loop {
            let head = self.head.0.load(Ordering::Acquire);
            fence(Ordering::SeqCst);
            let tail = self.tail.0.load(Ordering::Acquire);
            match tail.wrapping_sub(head) {
                0 => return None,
                // `head` was read long before `tail`, or the owner takes one back.
                waiting if waiting as usize > TASK_QUEUE => {}
                waiting => return Some((head, waiting - waiting / 2)),
            }
        }
    }

    fn at(&self, position: u32) -> Option<&'static TaskCell> {
        self.entry(position).load(Ordering::Relaxed)
    }

    fn advance(&self, head: u32, by: u32) -> bool {
        let next = head.wrapping_add(by);
        self.head
            .0
            .compare_exchange(head, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}
