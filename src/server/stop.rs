//! Stopping a server from any thread.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sys::sync::atomic::{AtomicU8, Ordering};
use crate::sys::sync::{Mutex, lock};

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const NOW: u8 = 2;

/// Stops a server; clones stop the same one.
#[derive(Clone, Default)]
pub struct Stopper(Arc<Inner>);

#[derive(Default)]
struct Inner {
    level: AtomicU8,
    waiting: Mutex<Vec<Waker>>,
}

impl Stopper {
    /// Stops accepting, closes idle connections, finishes requests under way, and ends at the
    /// latest after the drain time-out.
    pub fn drain(&self) {
        self.raise(DRAIN);
    }

    /// Ends the server now and cuts what runs.
    pub fn now(&self) {
        self.raise(NOW);
    }

    fn raise(&self, level: u8) {
        self.0.level.fetch_max(level, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *lock(&self.0.waiting));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether a stop was asked for.
    pub fn is_draining(&self) -> bool {
        self.0.level.load(Ordering::SeqCst) > RUN
    }

    fn poll_level(&self, level: u8, cx: &mut Context<'_>) -> Poll<()> {
        // Registered first: a stop between the look and the registration would be missed.
        let mut waiting = lock(&self.0.waiting);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        drop(waiting);
        match self.0.level.load(Ordering::SeqCst) >= level {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_level(DRAIN, cx)
    }

    pub(super) fn poll_now(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_level(NOW, cx)
    }
}

#[cfg(all(test, headwater_loom))]
mod models {
    use loom::thread;

    use super::*;
    use crate::sys::sync::model::{every_order, wait};

    #[test]
    fn a_stop_reaches_every_shard_at_every_level() {
        every_order(|| {
            let stopper = Stopper::default();
            let shard = || {
                let stopper = stopper.clone();
                thread::spawn(move || {
                    wait(|cx| stopper.poll_drain(cx));
                    wait(|cx| stopper.poll_now(cx));
                })
            };
            let shards = [shard(), shard()];
            stopper.drain();
            stopper.now();
            for shard in shards {
                shard.join().unwrap();
            }
        });
    }
}
