//! A shard's mailbox: the one way in from another thread.
//!
//! A sender pushes its message and sets the `notified` flag. The sender that finds the flag clear
//! writes to the shard's eventfd: many messages, one wake-up. The reader clears the flag *before*
//! it empties the queue, so a message that is pushed afterwards finds the flag clear and wakes the
//! reader again. No message is left behind (the models check every order of these steps).

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::foreign;
use super::waker::TaskId;
use crate::limits;
use crate::sys::eventfd::EventFd;
use crate::sys::sync::atomic::{AtomicBool, Ordering};
use crate::sys::sync::{Mutex, MutexGuard, lock};

/// A request to a shard from another thread.
pub(super) enum Message {
    /// Make this task ready.
    Wake(TaskId),
    /// Run this on the shard.
    Run(Box<dyn FnOnce() + Send>),
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxError {
    /// [`limits::MAILBOX_MESSAGES_MAX`] messages are queued already.
    Full,
    /// The shard has ended.
    Closed,
}

impl fmt::Display for MailboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the shard's mailbox is full; try again later",
            Self::Closed => "the shard has ended",
        })
    }
}

impl std::error::Error for MailboxError {}

pub(super) struct Mailbox<N = EventFd> {
    queue: Mutex<Queue>,
    /// Set by the first sender after the reader has taken the messages.
    notified: AtomicBool,
    notifier: N,
    messages_max: usize,
}

/// Wakes the reader of a mailbox.
pub(super) trait Notify {
    /// Makes the reader take the messages, now or when it next waits.
    fn notify(&self);
}

impl Notify for EventFd {
    fn notify(&self) {
        // An eventfd refuses only beyond 2^64 - 2 unread wake-ups.
        let _ = self.write(1);
    }
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// A wake-up found the queue full, so the shard must wake every task.
    wake_all: bool,
    closed: bool,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self::with(EventFd::new()?, limits::MAILBOX_MESSAGES_MAX))
    }
}

impl<N: Notify> Mailbox<N> {
    fn with(notifier: N, messages_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            notified: AtomicBool::new(false),
            notifier,
            messages_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Queues a message and wakes the reader if no sender has since it last took the messages.
    pub(crate) fn send(&self, message: Message) -> Result<(), MailboxError> {
        {
            let mut queue = self.lock();
            if queue.closed {
                return Err(MailboxError::Closed);
            }
            if queue.messages.len() < self.messages_max {
                queue.messages.push_back(message);
            } else if let Message::Wake(_) = message {
                // A wake-up must not be refused, since the task may have no other waker.
                queue.wake_all = true;
            } else {
                return Err(MailboxError::Full);
            }
        }
        if !self.notified.swap(true, Ordering::AcqRel) {
            self.notifier.notify();
        }
        Ok(())
    }

    /// Makes a task of this mailbox's shard ready; nothing happens when the shard has ended.
    pub(crate) fn wake_task(&self, task: TaskId) {
        let _ = self.send(Message::Wake(task));
    }

    /// Takes all messages into `out`; true if all tasks are to be woken as well.
    pub(crate) fn take(&self, out: &mut VecDeque<Message>) -> bool {
        // Exchanged rather than stored, which orders it against every sender's exchange.
        self.notified.swap(false, Ordering::AcqRel);
        let mut queue = self.lock();
        std::mem::swap(&mut queue.messages, out);
        std::mem::take(&mut queue.wake_all)
    }

    /// Refuses messages from now on and drops what waits; returns how many destructors panicked.
    pub(crate) fn close(&self) -> usize {
        let dropped = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.messages)
        };
        foreign::drop_each(dropped)
    }
}

/// The descriptor that becomes readable when there is something to take.
impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }
}

/// The reading end of a mailbox, which closes it when dropped.
pub(super) struct Reader(Arc<Mailbox>);

impl Reader {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self(mailbox)
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.0
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(all(test, headwater_loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_are_never_refused_and_never_pile_up() {
        let mailbox = Mailbox::new().unwrap();
        let wake = || Message::Wake(TaskId::new(0, 0, 0));
        for _ in 0..limits::MAILBOX_MESSAGES_MAX {
            assert_eq!(mailbox.send(wake()), Ok(()));
        }
        let run = || Message::Run(Box::new(|| ()));
        assert_eq!(mailbox.send(run()), Err(MailboxError::Full));
        let mut out = VecDeque::new();
        for _ in 0..1000 {
            assert_eq!(mailbox.send(wake()), Ok(()));
        }
        assert!(mailbox.take(&mut out), "some found no room: wake them all");
        assert_eq!(out.len(), limits::MAILBOX_MESSAGES_MAX);
        out.clear();
        assert_eq!(mailbox.send(run()), Ok(()));
        assert!(!mailbox.take(&mut out));
        mailbox.close();
        assert_eq!(mailbox.send(wake()), Err(MailboxError::Closed));
    }
}
