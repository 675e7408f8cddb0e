//! The two ways in which one thread tells another something, checked over every order in
//! which their steps can fall (loom): nobody sleeps while there is something for them.
//!
//! The protocols are restated here on loom's types. Each names the file that it mirrors, to be
//! changed together with it.

use std::collections::VecDeque;
use std::sync::Arc as Plain;

use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use orders::every_order;

#[path = "support/orders.rs"]
mod orders;

/// An eventfd: a read of it waits until something was written, and takes it all.
struct EventFd {
    count: Mutex<u64>,
    written: Condvar,
}

impl EventFd {
    fn new() -> Self {
        Self {
            count: Mutex::new(0),
            written: Condvar::new(),
        }
    }

    fn write(&self) {
        *self.count.lock().unwrap() += 1;
        self.written.notify_one();
    }

    fn read(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.written.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// `Mailbox` of src/runtime/mailbox.rs.
struct Mailbox {
    queue: Mutex<Queue>,
    notified: AtomicBool,
    wake: EventFd,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<u32>,
    wake_all: bool,
    closed: bool,
}

impl Mailbox {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::default()),
            notified: AtomicBool::new(false),
            wake: EventFd::new(),
        })
    }

    /// As `Mailbox::send`, with wake-ups beyond `room` gathered into one.
    fn send(&self, message: u32, room: usize) -> bool {
        {
            let mut queue = self.queue.lock().unwrap();
            if queue.closed {
                return false;
            }
            if queue.messages.len() < room {
                queue.messages.push_back(message);
            } else {
                queue.wake_all = true;
            }
        }
        if !self.notified.swap(true, Ordering::AcqRel) {
            self.wake.write();
        }
        true
    }

    fn take(&self, out: &mut VecDeque<u32>) -> bool {
        self.notified.swap(false, Ordering::AcqRel);
        let mut queue = self.queue.lock().unwrap();
        std::mem::swap(&mut queue.messages, out);
        std::mem::take(&mut queue.wake_all)
    }

    fn close(&self) {
        let mut queue = self.queue.lock().unwrap();
        queue.closed = true;
        queue.messages.clear();
    }
}

fn senders(mailbox: &Arc<Mailbox>, count: u32, room: usize) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|n| {
            let mailbox = Arc::clone(mailbox);
            thread::spawn(move || {
                mailbox.send(2 * n, room);
                mailbox.send(2 * n + 1, room);
            })
        })
        .collect()
}

/// `read_mailbox` of src/runtime/shard.rs: take, then wait. It sleeps for ever, which loom
/// reports as a deadlock, if a message is left behind.
#[test]
fn every_message_reaches_its_shard() {
    every_order(|| {
        let mailbox = Mailbox::new();
        let senders = senders(&mailbox, 2, usize::MAX);
        let (mut seen, mut out) = (Vec::new(), VecDeque::new());
        loop {
            assert!(!mailbox.take(&mut out));
            seen.extend(out.drain(..));
            if seen.len() == 4 {
                break;
            }
            mailbox.wake.read();
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        let of = |sender: u32| {
            seen.iter()
                .filter(|n| **n / 2 == sender)
                .copied()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (of(0), of(1)),
            (vec![0, 1], vec![2, 3]),
            "each sender's in order"
        );
    });
}

#[test]
fn a_wake_up_that_finds_no_room_wakes_all_the_same() {
    every_order(|| {
        let mailbox = Mailbox::new();
        let (done, sender) = (Arc::new(AtomicBool::new(false)), Arc::clone(&mailbox));
        let set = Arc::clone(&done);
        let sender = thread::spawn(move || {
            sender.send(0, 1);
            set.store(true, Ordering::Relaxed);
            sender.send(1, 1);
        });
        let mut out = VecDeque::new();
        loop {
            let wake_all = mailbox.take(&mut out);
            let woken = wake_all || out.drain(..).any(|message| message == 1);
            if woken && done.load(Ordering::Relaxed) {
                break;
            }
            mailbox.wake.read();
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_closed_mailbox_keeps_nothing() {
    every_order(|| {
        let mailbox = Mailbox::new();
        let other = Arc::clone(&mailbox);
        let sender = thread::spawn(move || other.send(7, 1));
        mailbox.close();
        let taken = sender.join().unwrap();
        assert!(mailbox.queue.lock().unwrap().messages.is_empty());
        assert!(!mailbox.send(8, 1) || !taken);
    });
}

/// A task as a waker sees it: a wake-up makes it ready once more.
struct Task {
    ready: Mutex<bool>,
    woken: Condvar,
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ready: Mutex::new(false),
            woken: Condvar::new(),
        })
    }

    fn wake(&self) {
        *self.ready.lock().unwrap() = true;
        self.woken.notify_one();
    }

    /// Runs `poll` until it is ready, once for each wake-up.
    fn run<T>(&self, mut poll: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = poll() {
                return value;
            }
            let mut ready = self.ready.lock().unwrap();
            while !*ready {
                ready = self.woken.wait(ready).unwrap();
            }
            *ready = false;
        }
    }
}

/// `Stopper` of src/server/stop.rs.
struct Stopper {
    level: AtomicU8,
    waiting: Mutex<Vec<Arc<Task>>>,
}

impl Stopper {
    fn raise(&self, level: u8) {
        self.level.fetch_max(level, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.iter().for_each(|task| task.wake());
    }

    fn poll_level(&self, level: u8, task: &Arc<Task>) -> Option<()> {
        let mut waiting = self.waiting.lock().unwrap();
        if !waiting.iter().any(|waker| Arc::ptr_eq(waker, task)) {
            waiting.push(Arc::clone(task));
        }
        drop(waiting);
        (self.level.load(Ordering::SeqCst) >= level).then_some(())
    }
}

#[test]
fn a_stop_reaches_everyone_at_every_level() {
    every_order(|| {
        let stopper = Arc::new(Stopper {
            level: AtomicU8::new(0),
            waiting: Mutex::new(Vec::new()),
        });
        let shards: Vec<_> = (0..2)
            .map(|_| {
                let stopper = Arc::clone(&stopper);
                thread::spawn(move || {
                    let task = Task::new();
                    task.run(|| stopper.poll_level(1, &task));
                    task.run(|| stopper.poll_level(2, &task));
                })
            })
            .collect();
        stopper.raise(1);
        stopper.raise(2);
        shards.into_iter().for_each(|shard| shard.join().unwrap());
    });
}

/// `Inbox` of src/server/inbox.rs.
struct Inbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    sockets: VecDeque<Plain<()>>,
    waker: Option<Arc<Task>>,
    closed: bool,
}

impl Inbox {
    fn put(&self, socket: Plain<()>) -> Option<Plain<()>> {
        let mut state = self.0.lock().unwrap();
        if state.closed {
            return Some(socket);
        }
        state.sockets.push_back(socket);
        let waker = state.waker.take();
        drop(state);
        waker.iter().for_each(|task| task.wake());
        None
    }

    fn poll_take(&self, task: &Arc<Task>) -> Option<Plain<()>> {
        let mut state = self.0.lock().unwrap();
        let socket = state.sockets.pop_front();
        if socket.is_none() {
            state.waker = Some(Arc::clone(task));
        }
        socket
    }

    fn close(&self) {
        let untaken = {
            let mut state = self.0.lock().unwrap();
            state.closed = true;
            std::mem::take(&mut state.sockets)
        };
        drop(untaken);
    }
}

#[test]
fn a_connection_that_is_handed_over_is_taken_given_back_or_closed() {
    every_order(|| {
        let inbox = Arc::new(Inbox(Mutex::new(Waiting::default())));
        let back = Arc::new(AtomicUsize::new(0));
        let socket = Plain::new(());
        let givers: Vec<_> = (0..2)
            .map(|_| {
                let (inbox, back, socket) =
                    (Arc::clone(&inbox), Arc::clone(&back), Plain::clone(&socket));
                thread::spawn(move || {
                    if inbox.put(socket).is_some() {
                        back.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let task = Task::new();
        drop(task.run(|| inbox.poll_take(&task)));
        inbox.close();
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert!(back.load(Ordering::Relaxed) <= 1);
        assert_eq!(Plain::strong_count(&socket), 1, "none is left in the inbox");
    });
}
