use std::sync::Arc;
use std::time::Duration;

use ::headwater::observe::Recorder;
use ::headwater::tasks::{self, Class, ClassOptions, Options, Pool};
use ::tokio::sync::oneshot;

use super::{
    BATCH, Contender, Countdown, LEAF_SPINS, PAIRS, SKEWED_SPINS, Shape, YIELDERS, in_batches, spin,
};

/// A limit that is never reached, since the other contenders have none.
const QUEUE_LIMIT: usize = 1 << 20;
const ROOM: &str = "the queue has room for all of them";

pub(super) struct Headwater {
    /// The pool, which stops when it is dropped.
    _pool: Pool,
    class: Class,
}

impl Headwater {
    pub(super) fn start(workers: usize, recorder: Recorder) -> Headwater {
        let options = Options {
            workers,
            recorder,
            ..Options::default()
        };
        let pool = Pool::start(options).expect("threads can be started");
        let class = pool.handle().class(ClassOptions {
            name: "bench".to_owned(),
            queue_limit: QUEUE_LIMIT,
            ..ClassOptions::default()
        });
        Headwater {
            class: class.expect("a first class"),
            _pool: pool,
        }
    }

    fn inside(&self, tasks: u64, spins: u64) -> Duration {
        in_batches(tasks, BATCH, |count, end| {
            let spawner = self.class.run(move || {
                for _ in 0..count {
                    drop(tasks::run(counted(&end, spins)).expect(ROOM));
                }
            });
            drop(spawner.expect(ROOM));
        })
    }
}

impl Contender for Headwater {
    fn time(&self, shape: Shape, tasks: u64) -> Option<Duration> {
        let class = &self.class;
        Some(match shape {
            Shape::Chained => in_batches(tasks, tasks, |count, end| {
                drop(class.run(move || chain(end, count)).expect(ROOM));
            }),
            Shape::PingPong => in_batches(tasks, PAIRS, |count, end| {
                drop(class.run(move || ping_pong(count, &end)).expect(ROOM));
            }),
            Shape::Yield => in_batches(tasks, tasks, |count, end| {
                for n in 0..YIELDERS {
                    let end = Arc::clone(&end);
                    let yields = count / YIELDERS + u64::from(n < count % YIELDERS);
                    let task = class.spawn(async move {
                        for _ in 0..yields {
                            tasks::yield_now().await;
                        }
                        end.end_many(yields);
                    });
                    drop(task.expect(ROOM));
                }
            }),
            Shape::Outside => in_batches(tasks, BATCH, |count, end| {
                for _ in 0..count {
                    drop(class.run(counted(&end, 0)).expect(ROOM));
                }
            }),
            Shape::Inside => self.inside(tasks, 0),
            Shape::Skewed => self.inside(tasks, SKEWED_SPINS),
            Shape::ForkJoin => in_batches(tasks, tasks, |leaves, end| {
                let root = class.run(move || {
                    tree(leaves);
                    end.end_many(leaves);
                });
                drop(root.expect(ROOM));
            }),
        })
    }
}

fn counted(end: &Arc<Countdown>, spins: u64) -> impl FnOnce() + Send + 'static {
    let end = Arc::clone(end);
    move || {
        spin(spins);
        end.end();
    }
}

fn chain(end: Arc<Countdown>, left: u64) {
    match left {
        0 | 1 => end.end_many(end.left()),
        _ => drop(tasks::run(move || chain(end, left - 1)).expect(ROOM)),
    }
}

fn ping_pong(pairs: u64, end: &Arc<Countdown>) {
    for _ in 0..pairs {
        let end = Arc::clone(end);
        let pair = tasks::spawn(async move {
            let (ping, pinged) = oneshot::channel();
            let (pong, ponged) = oneshot::channel();
            let other = tasks::spawn(async move {
                let _ = pinged.await;
                let _ = pong.send(());
            });
            drop(other.expect(ROOM));
            let _ = ping.send(());
            let _ = ponged.await;
            end.end();
        });
        drop(pair.expect(ROOM));
    }
}

fn tree(leaves: u64) {
    if leaves <= 1 {
        return spin(LEAF_SPINS);
    }
    tasks::join(|| tree(leaves / 2), || tree(leaves - leaves / 2));
}
