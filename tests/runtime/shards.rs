//! Shards: their tasks, timers, and access from other threads.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::one_shard::on_shard;
use headwater::limits;
use headwater::runtime::{
    Elapsed, MailboxError, RingOptions, Runtime, Shard, Stream, sleep, timeout, yield_now,
};

#[test]
fn sleeps_are_never_short_and_timeouts_end_what_they_bound() {
    on_shard(RingOptions::default(), |shard| async move {
        let spin = |ms| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(ms) {}
        };
        let stop = Rc::new(Cell::new(false));
        for beside_others in [true, false] {
            // With others at work the shard does not wait for its timers, it looks at them.
            stop.set(!beside_others);
            let stopped = Rc::clone(&stop);
            shard.spawn_detached(async move {
                while !stopped.get() {
                    yield_now().await;
                }
            });
            for ms in [0, 1, 15] {
                // The turn has taken long already, which the shard's own clock does not show.
                spin(30);
                let start = Instant::now();
                sleep(Duration::from_millis(ms)).await;
                let slept = start.elapsed();
                assert!(slept >= Duration::from_millis(ms), "{ms} ms: {slept:?}");
            }
        }
        spin(200);
        let start = Instant::now();
        sleep(Duration::from_millis(1)).await;
        let slept = start.elapsed();
        assert!(
            slept < Duration::from_millis(150),
            "the long turn came on top: {slept:?}"
        );
        assert_eq!(timeout(Duration::from_secs(9), async { 5 }).await, Ok(5));
        let never = std::future::pending::<()>();
        assert_eq!(timeout(Duration::from_millis(2), never).await, Err(Elapsed));
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|ms| {
                let order = Rc::clone(&order);
                shard.spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [10, 20, 30]);
    });
}

#[test]
fn a_task_that_yields_lets_others_and_the_ring_have_their_turn() {
    on_shard(RingOptions::default(), |shard| async move {
        let stop = Rc::new(Cell::new(false));
        let (stopped, rounds) = (Rc::clone(&stop), Rc::new(Cell::new(0_u32)));
        let counted = Rc::clone(&rounds);
        let spinning = shard.spawn(async move {
            while !stopped.get() {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        let mut receiver = stream.receiver();
        far.write_all(b"x").unwrap();
        let before = rounds.get();
        receiver.next().await.unwrap().unwrap();
        assert!(
            rounds.get() - before <= 3,
            "{} rounds for one receive",
            rounds.get() - before
        );
        stop.set(true);
        spinning.await.unwrap();
    });
}

#[test]
fn a_handle_of_a_task_gives_its_result_once() {
    on_shard(RingOptions::default(), |shard| async move {
        let handle = shard.spawn(async { "done" });
        assert!(handle.try_take().is_none());
        yield_now().await;
        assert_eq!(handle.try_take().unwrap().unwrap(), "done");
        assert!(handle.try_take().is_none());
        let detached = Rc::new(Cell::new(false));
        let flag = Rc::clone(&detached);
        drop(shard.spawn(async move { flag.set(true) }));
        yield_now().await;
        assert!(
            detached.get(),
            "dropping the handle leaves the task running"
        );
    });
}

/// A value that another thread gives once: the plainest future that is woken from outside.
#[derive(Clone, Default)]
struct Given(Arc<Mutex<(Option<u64>, Option<Waker>)>>);

impl Given {
    fn give(&self, value: u64) {
        let waker = {
            let mut slot = self.0.lock().unwrap();
            slot.0 = Some(value);
            slot.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn taken(&self) -> u64 {
        std::future::poll_fn(|cx| {
            let mut slot = self.0.lock().unwrap();
            slot.1 = Some(cx.waker().clone());
            slot.0.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[test]
fn wakers_work_from_any_thread_and_after_their_task() {
    on_shard(RingOptions::default(), |shard| async move {
        let (there, back) = (Given::default(), Given::default());
        let (theirs, ours) = (there.clone(), back.clone());
        let other = Runtime::new(vec![0]).unwrap().unpinned();
        let running = other
            .start(move |_| {
                let (there, back) = (theirs.clone(), ours.clone());
                async move {
                    for _ in 0..1000 {
                        back.give(there.taken().await + 1);
                    }
                }
            })
            .unwrap();
        for n in 0..1000 {
            there.give(n * 10);
            assert_eq!(back.taken().await, n * 10 + 1);
        }
        running.join().unwrap();
        // A waker of a task of that shard, which has ended, does nothing.
        there.give(1);
        let stale = Given::default();
        let waits = stale.clone();
        let task = shard.spawn(async move { waits.taken().await });
        yield_now().await;
        let waker = stale.0.lock().unwrap().1.clone().unwrap();
        stale.give(9);
        assert_eq!(task.await.unwrap(), 9);
        thread::spawn(move || waker.wake()).join().unwrap();
        sleep(Duration::from_millis(2)).await;
    });
}

#[test]
fn handles_reach_their_shard_from_any_thread_until_it_ends() {
    let runtime = Runtime::new(vec![0, 0]).unwrap().unpinned();
    let handles = runtime.handles().to_vec();
    let stop = Given::default();
    let stops = stop.clone();
    let running = runtime
        .start(move |shard| {
            let stop = stops.clone();
            async move {
                // Shard 1 stays until it is stopped, shard 0 ends at once.
                if shard.index() == 1 {
                    stop.taken().await;
                }
            }
        })
        .unwrap();
    let (report, reports) = mpsc::channel();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (handle, report) = (handles[1].clone(), report.clone());
            thread::spawn(move || {
                for n in 0..500_u64 {
                    let report = report.clone();
                    handle
                        .spawn(move || async move {
                            yield_now().await;
                            report.send((Shard::current().index(), n)).unwrap();
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    let all: Vec<_> = (0..2000)
        .map(|_| reports.recv_timeout(Duration::from_secs(5)).unwrap())
        .collect();
    assert!(all.iter().all(|(index, _)| *index == 1));
    assert_eq!(
        all.iter().map(|(_, n)| n).sum::<u64>(),
        4 * (0..500).sum::<u64>()
    );
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    assert!(handles[1].stats().polls >= 4000);
    stop.give(0);
    running.join().unwrap();
    for handle in handles {
        assert_eq!(handle.run(|| ()), Err(MailboxError::Closed));
    }
}

#[test]
fn a_full_mailbox_refuses_and_what_waited_is_run_in_order() {
    let runtime = Runtime::new(vec![0]).unwrap().unpinned();
    let handle = runtime.handles()[0].clone();
    let (report, reports) = mpsc::channel();
    let ran = Arc::new(AtomicUsize::new(0));
    for n in 0..limits::MAILBOX_MESSAGES_MAX {
        let (report, ran) = (report.clone(), Arc::clone(&ran));
        let run = move || {
            report.send(n).unwrap();
            ran.fetch_add(1, Ordering::Relaxed);
        };
        handle.run(run).unwrap();
    }
    assert_eq!(handle.run(|| ()), Err(MailboxError::Full));
    let all = move |_: Shard| {
        let ran = Arc::clone(&ran);
        async move {
            let all = async {
                while ran.load(Ordering::Relaxed) < limits::MAILBOX_MESSAGES_MAX {
                    yield_now().await;
                }
            };
            let limit = Duration::from_secs(10);
            timeout(limit, all).await.expect("messages are missing");
        }
    };
    runtime.run(all).unwrap();
    assert!(reports.try_iter().eq(0..limits::MAILBOX_MESSAGES_MAX));
    assert_eq!(handle.run(|| ()), Err(MailboxError::Closed));
}

#[test]
fn a_shard_that_cannot_start_keeps_the_others_from_starting() {
    let ring = RingOptions {
        receive_buffers: 3,
        ..RingOptions::default()
    };
    let ran = Arc::new(Mutex::new(false));
    let noted = Arc::clone(&ran);
    let runtime = Runtime::new(vec![0, 0])
        .unwrap()
        .unpinned()
        .ring_options(ring);
    let error = runtime
        .run(move |_| {
            *noted.lock().unwrap() = true;
            async {}
        })
        .unwrap_err();
    assert!(error.to_string().contains("receive buffers"), "{error}");
    assert!(!*ran.lock().unwrap());
    assert!(
        Runtime::new(Vec::new())
            .err()
            .unwrap()
            .to_string()
            .contains("0 cores")
    );
}
