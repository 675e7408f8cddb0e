//! The two ways in which one thread tells another something, checked over every order in
//! which their steps can fall (loom): nobody sleeps while there is something for them.
//!
//! The protocols are restated here on loom's types. Each names the file that it mirrors, to be
//! changed together with it.

use std::collections::VecDeque;
use std::sync::Arc as Plain;

use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use orders::every_order;

#[path = "support/orders.rs"]
mod orders;

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
