use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::runtime::{Builder, Handle, Runtime};
use ::tokio::sync::oneshot;
use ::tokio::task::yield_now;

use super::{
    BATCH, Contender, Countdown, LEAF_SPINS, PAIRS, SKEWED_SPINS, Shape, YIELDERS, in_batches, spin,
};

pub(super) struct Tokio {
    runtime: Runtime,
}

impl Tokio {
    pub(super) fn start(workers: usize) -> Tokio {
        let runtime = Builder::new_multi_thread().worker_threads(workers).build();
        Tokio {
            runtime: runtime.expect("threads can be started"),
        }
    }

    fn inside(&self, tasks: u64, spins: u64) -> Duration {
        in_batches(tasks, BATCH, |count, end| {
            self.runtime.spawn(async move {
                spawn_many(&Handle::current(), count, &end, spins);
            });
        })
    }
}

impl Contender for Tokio {
    fn time(&self, shape: Shape, tasks: u64) -> Option<Duration> {
        let handle = self.runtime.handle();
        Some(match shape {
            Shape::Chained => in_batches(tasks, tasks, |_, end| chain(handle.clone(), end, tasks)),
            Shape::PingPong => in_batches(tasks, PAIRS, |count, end| {
                handle.spawn(ping_pong(count, end));
            }),
            Shape::Yield => in_batches(tasks, tasks, |count, end| {
                for n in 0..YIELDERS {
                    let end = Arc::clone(&end);
                    let yields = count / YIELDERS + u64::from(n < count % YIELDERS);
                    handle.spawn(async move {
                        for _ in 0..yields {
                            yield_now().await;
                        }
                        end.end_many(yields);
                    });
                }
            }),
            Shape::Outside => in_batches(tasks, BATCH, |count, end| {
                spawn_many(handle, count, &end, 0);
            }),
            Shape::Inside => self.inside(tasks, 0),
            Shape::Skewed => self.inside(tasks, SKEWED_SPINS),
            Shape::ForkJoin => in_batches(tasks, tasks, |leaves, end| {
                handle.spawn(async move {
                    tree(leaves).await;
                    end.end_many(leaves);
                });
            }),
        })
    }
}

fn spawn_many(handle: &Handle, count: u64, end: &Arc<Countdown>, spins: u64) {
    for _ in 0..count {
        let end = Arc::clone(end);
        handle.spawn(async move {
            spin(spins);
            end.end();
        });
    }
}

fn chain(handle: Handle, end: Arc<Countdown>, left: u64) {
    let next = handle.clone();
    handle.spawn(async move {
        match left {
            0 | 1 => end.end_many(end.left()),
            _ => chain(next, end, left - 1),
        }
    });
}

async fn ping_pong(pairs: u64, end: Arc<Countdown>) {
    for _ in 0..pairs {
        let end = Arc::clone(&end);
        ::tokio::spawn(async move {
            let (ping, pinged) = oneshot::channel();
            let (pong, ponged) = oneshot::channel();
            ::tokio::spawn(async move {
                let _ = pinged.await;
                let _ = pong.send(());
            });
            let _ = ping.send(());
            let _ = ponged.await;
            end.end();
        });
    }
}

/// Runs one half as a new task and the other one here, as a join would.
fn tree(leaves: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if leaves <= 1 {
            return spin(LEAF_SPINS);
        }
        let half = ::tokio::spawn(tree(leaves / 2));
        tree(leaves - leaves / 2).await;
        half.await.expect("no leaf panics");
    })
}
