//! Loom models of the mailbox: every order in which senders and the reader can interleave.

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool as ModelFlag;
use loom::thread;

use super::*;
use crate::sys::sync::model::{Parker, every_order};

impl Notify for Parker {
    fn notify(&self) {
        self.unpark();
    }
}

type ModelMailbox = Mailbox<Parker>;

fn mailbox(messages_max: usize) -> Arc<ModelMailbox> {
    Arc::new(Mailbox::with(Parker::default(), messages_max))
}

fn wake(task: u32) -> Message {
    Message::Wake(TaskId::new(0, task, 0))
}

fn tasks(messages: &mut VecDeque<Message>) -> impl Iterator<Item = u32> {
    messages.drain(..).map(|message| match message {
        Message::Wake(task) => task.index(),
        Message::Run(_) => unreachable!("none was sent"),
    })
}

/// Does as the shard's task: takes, then waits. If a message is left behind it never wakes, which
/// loom reports as a deadlock.
#[test]
fn every_message_reaches_its_shard() {
    every_order(|| {
        let mailbox = mailbox(usize::MAX);
        let sender = |n: u32| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                mailbox.send(wake(2 * n)).unwrap();
                mailbox.send(wake(2 * n + 1)).unwrap();
            })
        };
        let senders = [sender(0), sender(1)];
        let (mut seen, mut out) = (Vec::new(), VecDeque::new());
        loop {
            assert!(!mailbox.take(&mut out));
            seen.extend(tasks(&mut out));
            if seen.len() == 4 {
                break;
            }
            mailbox.notifier.park();
        }
        for sender in senders {
            sender.join().unwrap();
        }
        for sender in [0, 1] {
            let of = seen.iter().filter(|n| **n / 2 == sender);
            assert!(
                of.eq(&[2 * sender, 2 * sender + 1]),
                "each sender's in order"
            );
        }
    });
}

#[test]
fn a_wake_up_that_finds_no_room_wakes_all_the_same() {
    every_order(|| {
        let mailbox = mailbox(1);
        let done = Arc::new(ModelFlag::new(false));
        let (sender, set) = (Arc::clone(&mailbox), Arc::clone(&done));
        let sender = thread::spawn(move || {
            sender.send(wake(0)).unwrap();
            set.store(true, Ordering::Relaxed);
            sender.send(wake(1)).unwrap();
        });
        let mut out = VecDeque::new();
        loop {
            let wake_all = mailbox.take(&mut out);
            let woken = tasks(&mut out).any(|task| task == 1) || wake_all;
            if woken && done.load(Ordering::Relaxed) {
                break;
            }
            mailbox.notifier.park();
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_closed_mailbox_keeps_nothing() {
    every_order(|| {
        let mailbox = mailbox(1);
        let sender = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send(wake(7)).is_ok())
        };
        mailbox.close();
        let _ = sender.join().unwrap();
        assert!(mailbox.lock().messages.is_empty());
        assert_eq!(mailbox.send(wake(8)), Err(MailboxError::Closed));
    });
}
