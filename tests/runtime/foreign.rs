//! Foreign code that panics, or uses the shard, while the shard drops or wakes it: the shard
//! survives and completes the rest of its work.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use headwater::runtime::driver::Interest;
use headwater::runtime::{
    JoinError, Runtime, Shard, ShardHandle, Stream, Timer, poll_ready, sleep, sleep_until, timeout,
    yield_now,
};
use headwater::sys::time::monotonic_ns;

/// Panics when it is dropped, with a payload that does the same.
struct Grudge(u32);

impl Drop for Grudge {
    fn drop(&mut self) {
        if self.0 > 0 {
            resume_unwind(Box::new(Grudge(self.0 - 1)));
        }
    }
}

fn grudge() -> Grudge {
    Grudge(3)
}

impl AsRef<[u8]> for Grudge {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

/// Runs `test` on a shard beside a connection of another task, whose peer must see its end, and
/// beside a task that must have run to its end before.
fn survives<F, Fut>(what: &str, test: F)
where
    F: Fn(Shard, ShardHandle) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let runtime = Runtime::new(vec![0]).unwrap().unpinned();
    let handle = runtime.handles()[0].clone();
    let (far, mut near) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let far = std::sync::Mutex::new(Some(far));
    let result = runtime.run(move |shard| {
        let far = far.lock().unwrap().take().unwrap();
        let test = test(shard.clone(), handle.clone());
        async move {
            let stream = Stream::new(far);
            shard.spawn_detached(async move {
                let _ = stream.receiver().next().await;
            });
            yield_now().await;
            timeout(Duration::from_secs(10), test)
                .await
                .expect("the test hangs");
        }
    });
    assert!(result.is_ok(), "{what}: {result:?}");
    assert_eq!(near.read(&mut [0]).unwrap(), 0, "{what}: a connection left");
}

#[test]
fn a_panic_whose_payload_panics_ends_its_task_only() {
    survives("a task", |shard, _| async move {
        let failing = shard.spawn(async { resume_unwind(Box::new(grudge())) });
        let other = shard.spawn(async { 42 });
        assert!(matches!(failing.await, Err(JoinError::Ended)));
        assert_eq!(other.await.unwrap(), 42);
        assert_eq!(shard.stats().panics, 1);
    });
}

/// A future that is dropped with what it has, as only hand-written ones are.
struct Once {
    _grudge: Grudge,
}

impl Future for Once {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn destructors_of_futures_that_panic_take_nothing_along() {
    survives("futures", |shard, _| async move {
        let _ = shard.spawn(Once { _grudge: grudge() }).await;
        // These are still waiting when the shard ends.
        for _ in 0..3 {
            shard.spawn_detached(async {
                let _grudge = grudge();
                std::future::pending::<()>().await;
            });
        }
        yield_now().await;
        assert_eq!(shard.stats().panics, 1);
    });
}

#[test]
fn results_that_panic_when_dropped_take_nothing_along() {
    survives("results", |shard, _| async move {
        // The handle goes first: the task drops the result.
        drop(shard.spawn(async { grudge() }));
        yield_now().await;
        yield_now().await;
        assert_eq!(shard.stats().panics, 1);
        // The handle goes with its own task, after the result is there.
        let handle = shard.spawn(async { grudge() });
        yield_now().await;
        yield_now().await;
        let holder = shard.spawn(async move {
            let _handle = handle;
        });
        assert!(holder.await.is_err());
        assert_eq!(shard.stats().panics, 2);
        // And one whose handle is never looked at until the shard ends.
        let handle = shard.spawn(async { grudge() });
        shard.spawn_detached(async move {
            let _handle = handle;
            std::future::pending::<()>().await;
        });
        yield_now().await;
    });
}

#[test]
fn messages_that_panic_when_dropped_unread_take_nothing_along() {
    for unread in [1, 3, 1000] {
        survives("messages", move |_, handle| async move {
            for _ in 0..unread {
                let grudge = grudge();
                handle.run(move || drop(grudge)).unwrap();
            }
            // Some are taken by the mailbox's task and not yet run when the shard ends.
            if unread > 3 {
                yield_now().await;
            }
        });
    }
}

#[test]
fn messages_that_panic_with_a_payload_that_panics_leave_the_mailbox_open() {
    survives("messages", |shard, handle| async move {
        for _ in 0..3 {
            handle.run(|| resume_unwind(Box::new(grudge()))).unwrap();
        }
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ran);
        handle
            .run(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
        while ran.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        assert_eq!(shard.stats().panics, 3);
    });
}

#[test]
fn buffers_that_panic_when_dropped_take_nothing_along() {
    survives("buffers", |shard, _| async move {
        let bytes = || bytes::Bytes::from_owner(grudge());
        let pair = || {
            let (near, far) = UnixStream::pair().unwrap();
            (Stream::new(near), far)
        };
        // Three operations that are over in one turn.
        let streams: Vec<_> = (0..3).map(|_| pair()).collect();
        for (stream, _) in &streams {
            drop(stream.send_now(bytes()));
        }
        yield_now().await;
        yield_now().await;
        assert_eq!(shard.stats().panics, 3);
        // One operation with several buffers, which is given up.
        {
            let bufs = (0..3).map(|_| bytes().into()).collect();
            let mut sending = pin!(streams[0].0.send_vectored(bufs, false));
            begin(sending.as_mut()).await;
        }
        yield_now().await;
        yield_now().await;
        assert_eq!(shard.stats().panics, 6);
        // One that is given up by a task that panics itself.
        let failing = shard.spawn(async move {
            let (stream, _far) = pair();
            while stream.try_send(&[0; 4096], false).unwrap().is_some() {}
            // Refused by a full socket, so that the buffer comes back.
            let _sending = stream.send_now(bytes());
            yield_now().await;
            resume_unwind(Box::new(()));
        });
        assert!(failing.await.is_err());
        assert_eq!(shard.stats().panics, 8);
    });
}

async fn begin<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it was to wait");
        Poll::Ready(())
    })
    .await;
}

/// A waker that panics when it is woken.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        resume_unwind(Box::new(grudge()));
    }
}

/// Polls `future` once with a foreign waker.
fn poll_with<F: Future + ?Sized>(waker: &Waker, future: Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

/// Long enough that nothing has elapsed when it is first polled, also on a busy machine.
const WAIT_MS: u64 = 100;

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// The ways in which a future waits on a shard.
fn waits(shard: &Shard) -> Vec<(&'static str, Wait)> {
    let (near, far) = UnixStream::pair().unwrap();
    let (stream, fd) = (Stream::new(near), Rc::new(far));
    let own = shard.clone();
    let timer = Timer::after(shard, WAIT_MS);
    let task = shard.spawn(async {
        for _ in 0..3 {
            yield_now().await;
        }
    });
    vec![
        ("yield", Box::pin(yield_now())),
        ("sleep", Box::pin(sleep(Duration::from_millis(WAIT_MS)))),
        ("timer", Box::pin(poll_fn(move |cx| timer.poll_elapsed(cx)))),
        (
            "precise timer",
            Box::pin(sleep_until(monotonic_ns() + WAIT_MS * 1_000_000)),
        ),
        (
            "operation",
            Box::pin(async move {
                let _ = poll_ready(&own, fd, Interest::Writable).await;
            }),
        ),
        (
            "receive",
            Box::pin(async move {
                stream.shutdown(std::net::Shutdown::Both).unwrap();
                let _ = stream.receiver().next().await;
            }),
        ),
        (
            "join",
            Box::pin(async move {
                let _ = task.await;
            }),
        ),
    ]
}

#[test]
fn wakers_that_panic_neither_end_the_shard_nor_keep_others_asleep() {
    survives("wakers", |shard, _| async move {
        let waker = Waker::from(Arc::new(Panics));
        let mut waiting = waits(&shard);
        for (_, future) in &mut waiting {
            poll_with(&waker, future.as_mut());
        }
        // Behind them in every queue, with wakers that work.
        for (what, future) in waits(&shard) {
            timeout(Duration::from_secs(5), future)
                .await
                .unwrap_or_else(|_| panic!("{what} was never woken"));
        }
        let panics = waiting.len() as u64;
        while shard.stats().panics < panics {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(shard.stats().panics, panics);
        // A task that ends by a panic wakes such a waker while it unwinds.
        let mut failing = shard.spawn(async {
            yield_now().await;
            resume_unwind(Box::new(()));
        });
        poll_with(&waker, Pin::new(&mut failing));
        yield_now().await;
        yield_now().await;
        assert_eq!(shard.stats().panics, panics + 2);
    });
}

/// A waker whose destructor does what those of futures do, which needs every part of the shard.
struct UsesShard(Arc<AtomicUsize>);

impl Wake for UsesShard {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UsesShard {
    fn drop(&mut self) {
        let shard = Shard::current();
        let (near, _far) = UnixStream::pair().unwrap();
        let mut receiver = Stream::new(near).receiver();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(receiver.poll_next(cx).is_pending());
        let timer = Timer::after(&shard, 1000);
        assert!(timer.poll_elapsed(cx).is_pending());
        shard.spawn_detached(async {});
        shard.wake_next_turn(Waker::noop());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn wakers_may_use_the_shard_when_they_are_dropped() {
    survives("wakers", |shard, _| async move {
        let drops = Arc::new(AtomicUsize::new(0));
        let fresh = || Waker::from(Arc::new(UsesShard(Arc::clone(&drops))));
        let mut made = 0;
        for end in ["replaced", "dropped", "woken"] {
            let mut waiting = waits(&shard);
            for (what, future) in &mut waiting {
                poll_with(&fresh(), future.as_mut());
                made += 1;
                if end == "replaced" && *what != "yield" {
                    poll_with(&fresh(), future.as_mut());
                    made += 1;
                }
            }
            while end == "woken" && drops.load(Ordering::Relaxed) < made {
                yield_now().await;
            }
        }
        // Cancelled operations let go of theirs when the kernel has.
        while drops.load(Ordering::Relaxed) < made {
            yield_now().await;
        }
        assert_eq!(drops.load(Ordering::Relaxed), made);
        assert_eq!(shard.stats().panics, 0);
        // These stay behind in the shard's queues when it ends.
        shard.wake_next_turn(&fresh());
        let (near, far) = UnixStream::pair().unwrap();
        let mut receiver = Stream::new(near).receiver();
        let polled = receiver.poll_next(&mut Context::from_waker(&fresh()));
        assert!(polled.is_pending());
        shard.spawn_detached(async move {
            let _held = (receiver, far);
            std::future::pending::<()>().await;
        });
    });
}
