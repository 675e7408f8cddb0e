//! A shard's mailbox: the one way in from another thread.
//!
//! A sender pushes and then, if nobody has since the reader last looked, writes
//! to the shard's eventfd: many messages, one wake-up. The reader clears the
//! flag *before* it empties the queue. So a message pushed after the emptying
//! finds the flag clear and wakes the reader again, and none is left behind.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::waker::TaskName;
use crate::limits;
use crate::sys::eventfd::EventFd;

/// What a shard can be told.
pub(super) enum Message {
    /// Make this task ready.
    Wake(TaskName),
    /// Run this on the shard.
    Run(Box<dyn FnOnce() + Send>),
}

/// A message that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxError {
    /// [`limits::MAILBOX_MESSAGES_MAX`] messages wait already.
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

pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    /// Set by the first sender since the reader last looked.
    notified: AtomicBool,
    wake: EventFd,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    closed: bool,
}

impl Mailbox {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            queue: Mutex::default(),
            notified: AtomicBool::new(false),
            wake: EventFd::new()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Leaves a message.
    pub fn send(&self, message: Message) -> Result<(), MailboxError> {
        {
            let mut queue = self.lock();
            if queue.closed {
                return Err(MailboxError::Closed);
            }
            // Wake-ups are never refused: there are no more of them than tasks.
            let is_wake = matches!(message, Message::Wake(_));
            if queue.messages.len() >= limits::MAILBOX_MESSAGES_MAX && !is_wake {
                return Err(MailboxError::Full);
            }
            queue.messages.push_back(message);
        }
        if !self.notified.swap(true, Ordering::AcqRel) {
            // An eventfd refuses only beyond 2^64 - 2 unread wake-ups.
            let _ = self.wake.write(1);
        }
        Ok(())
    }

    /// Makes a task of this mailbox's shard ready; nothing happens when the shard has ended.
    pub fn wake_task(&self, task: TaskName) {
        let _ = self.send(Message::Wake(task));
    }

    /// Takes all messages into `out`.
    pub fn take(&self, out: &mut VecDeque<Message>) {
        self.notified.store(false, Ordering::Release);
        // The store must not sink below the emptying; a swap's acquire keeps it above.
        std::sync::atomic::fence(Ordering::SeqCst);
        std::mem::swap(&mut self.lock().messages, out);
    }

    /// Refuses messages from now on and drops what waits.
    pub fn close(&self) {
        let dropped = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.messages)
        };
        drop(dropped);
    }

    /// Becomes readable when there is something to take.
    pub fn eventfd(&self) -> &EventFd {
        &self.wake
    }
}
