use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, Builder};
use std::time::Duration;

use super::{BATCH, Contender, Countdown, SKEWED_SPINS, Shape, YIELDERS, in_batches, spin};

/// Threads that live at one time; the kernel would refuse far more.
const THREADS_MAX: u64 = 2_000;
/// Stack size: less than the default of 2 MiB, as a server with a thread per request would set.
const STACK_BYTES: usize = 256 * 1024;

/// The contender that starts a thread for every task.
pub(super) struct Threads;

impl Contender for Threads {
    fn time(&self, shape: Shape, tasks: u64) -> Option<Duration> {
        let most = BATCH.min(THREADS_MAX);
        Some(match shape {
            Shape::Chained => in_batches(tasks, tasks, |count, end| chain(end, count)),
            Shape::PingPong => in_batches(tasks, most / 4, |count, end| {
                thread(move || {
                    for _ in 0..count {
                        let end = Arc::clone(&end);
                        thread(move || ping_pong(&end));
                    }
                });
            }),
            Shape::Yield => in_batches(tasks, tasks, |count, end| {
                for n in 0..YIELDERS {
                    let end = Arc::clone(&end);
                    let yields = count / YIELDERS + u64::from(n < count % YIELDERS);
                    thread(move || {
                        (0..yields).for_each(|_| thread::yield_now());
                        end.end_many(yields);
                    });
                }
            }),
            Shape::Outside => in_batches(tasks, most, |count, end| spawn_many(count, &end, 0)),
            Shape::Inside => in_batches(tasks, most, |count, end| {
                thread(move || spawn_many(count, &end, 0));
            }),
            Shape::Skewed => in_batches(tasks, most, |count, end| {
                thread(move || spawn_many(count, &end, SKEWED_SPINS));
            }),
            // The kernel does not allow a thread per inner node.
            Shape::ForkJoin => return None,
        })
    }
}

fn thread(body: impl FnOnce() + Send + 'static) {
    let thread = Builder::new().stack_size(STACK_BYTES).spawn(body);
    drop(thread.expect("a thread can be started"));
}

fn spawn_many(count: u64, end: &Arc<Countdown>, spins: u64) {
    for _ in 0..count {
        let end = Arc::clone(end);
        thread(move || {
            spin(spins);
            end.end();
        });
    }
}

fn chain(end: Arc<Countdown>, left: u64) {
    thread(move || match left {
        0 | 1 => end.end_many(end.left()),
        _ => chain(end, left - 1),
    });
}

fn ping_pong(end: &Countdown) {
    let (ping, pinged) = mpsc::sync_channel(1);
    let (pong, ponged) = mpsc::sync_channel(1);
    thread(move || {
        let _ = pinged.recv();
        let _ = pong.send(());
    });
    let _ = ping.send(());
    let _ = ponged.recv();
    end.end();
}
