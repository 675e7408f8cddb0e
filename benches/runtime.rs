//! The cost of the runtime's parts: wake-ups, timers, mailboxes, and turns of the ring. Each figure
//! is taken inside a running shard.

use std::future::Future;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use headwater::runtime::driver::{Handle, Interest};
use headwater::runtime::{
    MailboxError, Runtime, Shard, ShardHandle, Stream, Timer, poll_ready, yield_now,
};
use headwater::sys;
use headwater::sys::eventfd::EventFd;

/// Messages sent before the sender checks whether they have arrived.
const BATCH: u64 = 1024;

/// Measures `rounds` on a fresh shard of the first CPU.
fn on_shard<F, Fut>(rounds: u64, body: F) -> Duration
where
    F: Fn(Shard, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (report, reports) = mpsc::channel();
    Runtime::new(cpus(1))
        .expect("one CPU was named")
        .run(move |shard| {
            let (body, report) = (body(shard, rounds), report.clone());
            async move {
                let start = Instant::now();
                body.await;
                report
                    .send(start.elapsed())
                    .expect("the bench waits for it");
            }
        })
        .expect("the shard runs");
    reports.recv().expect("the shard has reported")
}

/// The first `count` CPUs; repeats the first one if there are fewer.
fn cpus(count: usize) -> Vec<usize> {
    let allowed = sys::cpu::allowed().expect("the kernel says where this may run");
    (0..count)
        .map(|n| allowed.get(n).copied().unwrap_or(allowed[0]))
        .collect()
}

/// Two tasks of one shard that wake each other.
async fn wake_each_other(shard: Shard, rounds: u64) {
    #[derive(Default)]
    struct Turn {
        count: u64,
        waiting: Option<Waker>,
    }
    let turn = Rc::new(std::cell::RefCell::new(Turn::default()));
    let player = |own: u64| {
        let turn = Rc::clone(&turn);
        std::future::poll_fn(move |cx| {
            let mut turn = turn.borrow_mut();
            if turn.count >= rounds {
                turn.waiting.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(());
            }
            if turn.count % 2 == own {
                turn.count += 1;
                turn.waiting.take().into_iter().for_each(Waker::wake);
            }
            turn.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
    };
    let other = shard.spawn(player(1));
    player(0).await;
    drop(other);
}

fn executor(c: &mut Criterion) {
    c.bench_function("wake another task and be woken", |b| {
        b.iter_custom(|rounds| on_shard(2 * rounds, wake_each_other));
    });
    c.bench_function("spawn and end a task", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                for _ in 0..rounds {
                    let _ = shard.spawn(async {}).await;
                }
            })
        });
    });
}

fn timers(c: &mut Criterion) {
    c.bench_function("arm and drop a timer", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                for n in 0..rounds {
                    drop(Timer::after(&shard, 1000 + (n & 0xffff)));
                }
            })
        });
    });
    c.bench_function("push a timer back, one of 10,000", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                let timers: Vec<_> = (0..10_000)
                    .map(|n| Timer::after(&shard, 60_000 + n))
                    .collect();
                for n in 0..rounds {
                    timers[(n % 10_000) as usize].reset(75_000);
                }
            })
        });
    });
    c.bench_function("bring a timer forward, one of 10,000", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                let timers: Vec<_> = (0..10_000)
                    .map(|n| Timer::after(&shard, 60_000 + n))
                    .collect();
                for n in 0..rounds {
                    let lap = (n / 10_000) % 50_000;
                    timers[(n % 10_000) as usize].reset(60_000 - lap);
                }
            })
        });
    });
    c.bench_function("turn with 10,000 timers in the wheel", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                let _timers: Vec<_> = (0..10_000)
                    .map(|n| Timer::after(&shard, 60_000 + n))
                    .collect();
                for _ in 0..rounds {
                    yield_now().await;
                }
            })
        });
    });
}

fn ring(c: &mut Criterion) {
    c.bench_function("turn with nothing to do", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |_, rounds| async move {
                for _ in 0..rounds {
                    yield_now().await;
                }
            })
        });
    });
    c.bench_function("turn with one operation (poll of a ready eventfd)", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                let event = EventFd::new().expect("an eventfd");
                event.write(1).expect("room in an eventfd");
                let fd = event.as_fd().try_clone_to_owned().expect("a descriptor");
                let fd: Handle = Rc::new(fd);
                for _ in 0..rounds {
                    let ready = poll_ready(&shard, Rc::clone(&fd), Interest::Readable);
                    ready.await.expect("an eventfd can be polled");
                }
            })
        });
    });
    c.bench_function("ping-pong of two tasks over a socketpair", |b| {
        b.iter_custom(|rounds| {
            on_shard(rounds, |shard, rounds| async move {
                let (near, far) = UnixStream::pair().expect("a socketpair");
                let (near, far) = (Stream::new(near), Stream::new(far));
                shard.spawn_detached(async move {
                    let mut receiver = far.receiver();
                    while let Ok(Some(bytes)) = receiver.next().await {
                        drop(far.send_now(bytes));
                    }
                });
                let mut receiver = near.receiver();
                for _ in 0..rounds {
                    drop(near.send_now("ping"));
                    receiver.next().await.expect("it is echoed");
                }
            })
        });
    });
}

/// Runs two shards on two CPUs. The first measures `body`, which gets a handle of the second.
fn on_two_shards<F, Fut>(rounds: u64, body: F) -> Duration
where
    F: Fn(Shard, ShardHandle, ShardHandle, u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let runtime = Runtime::new(cpus(2)).expect("two CPUs were named");
    let handles = runtime.handles().to_vec();
    let (report, reports) = mpsc::channel();
    let end = Arc::new(Mutex::new((false, None::<Waker>)));
    runtime
        .run(move |shard| {
            let (report, end) = (report.clone(), Arc::clone(&end));
            let first = (shard.index() == 0)
                .then(|| body(shard, handles[0].clone(), handles[1].clone(), rounds));
            async move {
                let Some(body) = first else {
                    let ended = |cx: &mut std::task::Context<'_>| {
                        let mut end = end.lock().expect("no thread panics with the lock");
                        end.1 = Some(cx.waker().clone());
                        if end.0 {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    };
                    return std::future::poll_fn(ended).await;
                };
                let start = Instant::now();
                body.await;
                report
                    .send(start.elapsed())
                    .expect("the bench waits for it");
                let mut end = end.lock().expect("no thread panics with the lock");
                end.0 = true;
                end.1.take().into_iter().for_each(Waker::wake);
            }
        })
        .expect("the shards run");
    reports.recv().expect("the first shard has reported")
}

/// Waits until a counter that another shard's messages increment reaches `value`.
async fn reached(counter: &AtomicU64, value: u64) {
    while counter.load(Ordering::Acquire) < value {
        yield_now().await;
    }
}

fn mailboxes(c: &mut Criterion) {
    c.bench_function("message to another shard, batched", |b| {
        b.iter_custom(|rounds| {
            on_two_shards(rounds, |_, _, there, rounds| async move {
                let arrived = Arc::new(AtomicU64::new(0));
                let mut sent = 0;
                while sent < rounds {
                    let batch = BATCH.min(rounds - sent);
                    for _ in 0..batch {
                        let arrived = Arc::clone(&arrived);
                        // The counter has one writer, so it needs no read-modify-write.
                        let count = move || {
                            let next = arrived.load(Ordering::Relaxed) + 1;
                            arrived.store(next, Ordering::Release);
                        };
                        assert_ne!(there.run(count), Err(MailboxError::Full));
                    }
                    sent += batch;
                    reached(&arrived, sent).await;
                }
            })
        });
    });
    c.bench_function("message to another shard and back", |b| {
        b.iter_custom(|rounds| {
            on_two_shards(rounds, |_, here, there, rounds| async move {
                let back = Arc::new(Mutex::new((0, None::<Waker>)));
                for n in 1..=rounds {
                    let (back, home, from) = (Arc::clone(&back), here.clone(), Arc::clone(&back));
                    let answer = move || {
                        let note = move || {
                            let mut back = back.lock().expect("no thread panics with the lock");
                            back.0 += 1;
                            back.1.take().into_iter().for_each(Waker::wake);
                        };
                        home.run(note).expect("one message at a time");
                    };
                    there.run(answer).expect("one message at a time");
                    std::future::poll_fn(|cx| {
                        let mut back = from.lock().expect("no thread panics with the lock");
                        if back.0 == n {
                            return Poll::Ready(());
                        }
                        back.1 = Some(cx.waker().clone());
                        Poll::Pending
                    })
                    .await;
                }
            })
        });
    });
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = quick();
    targets = executor, timers, ring, mailboxes
}
criterion_main!(benches);
