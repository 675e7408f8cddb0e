//! How shards end: by failing to start, by a panic, and while other threads still hold handles. No
//! descriptor may be left open, and no task may be left waiting.

use std::cell::{Cell, RefCell};
use std::future::{Future, Ready};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use super::count::{alone, descriptors};
use headwater::runtime::driver::{Handle, Interest};
use headwater::runtime::{
    JoinError, MailboxError, Receiver, RingOptions, Runtime, RuntimeError, Shard, Stream,
    poll_ready, timeout, yield_now,
};

/// Runs a test on a shard of its own; afterwards no descriptor may be left.
fn on_shard<F, Fut>(root: F) -> Result<(), RuntimeError>
where
    F: Fn(Shard) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = alone();
    let before = descriptors();
    let ring = RingOptions {
        receive_buffers: 4,
        receive_buffer_bytes: 64,
        ..RingOptions::default()
    };
    let runtime = Runtime::new(vec![0]).unwrap().unpinned().ring_options(ring);
    let result = runtime.run(move |shard| {
        let test = root(shard);
        async move {
            timeout(Duration::from_secs(10), test)
                .await
                .expect("the test hangs")
        }
    });
    assert_eq!(descriptors(), before, "descriptors were left open");
    result
}

#[test]
fn where_one_shard_cannot_start_all_are_gone_and_their_mailboxes_closed() {
    let _alone = alone();
    let before = descriptors();
    // The second is to be pinned to a CPU that no machine has.
    let runtime = Runtime::new(vec![0, 8191]).unwrap();
    let handles = runtime.handles().to_vec();
    let held = UnixStream::pair().unwrap();
    let (dropped, drops) = mpsc::channel::<()>();
    handles[0].run(move || drop(dropped)).unwrap();
    let error = runtime
        .run(move |_| {
            let _held = &held;
            async {}
        })
        .unwrap_err();
    assert!(error.to_string().contains("pinning"), "{error}");
    for handle in &handles {
        assert_eq!(handle.run(|| ()), Err(MailboxError::Closed));
    }
    assert!(
        matches!(drops.try_recv(), Err(mpsc::TryRecvError::Disconnected)),
        "what was sent before is dropped"
    );
    drop(handles);
    assert_eq!(
        descriptors(),
        before,
        "a thread still has what it was given"
    );
}

#[test]
fn a_runtime_that_is_never_started_closes_its_mailboxes() {
    // Its mailboxes have descriptors, which others would count.
    let _alone = alone();
    let runtime = Runtime::new(vec![0]).unwrap();
    let handle = runtime.handles()[0].clone();
    assert_eq!(handle.run(|| ()), Ok(()));
    drop(runtime);
    assert_eq!(handle.run(|| ()), Err(MailboxError::Closed));
}

#[test]
fn a_root_that_panics_closes_its_mailbox() {
    let _alone = alone();
    let runtime = Runtime::new(vec![0]).unwrap().unpinned();
    let handle = runtime.handles()[0].clone();
    let error = runtime
        .run(|_| -> Ready<()> { resume_unwind(Box::new("on purpose")) })
        .unwrap_err();
    assert!(matches!(error, RuntimeError::Panicked(0)), "{error}");
    assert_eq!(handle.run(|| ()), Err(MailboxError::Closed));
}

/// Panics when it is dropped.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        resume_unwind(Box::new("on purpose"));
    }
}

impl AsRef<[u8]> for Grudge {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

/// A future that is dropped with what it has, as only hand-written ones are.
struct Once(Grudge);

impl Future for Once {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn a_destructor_that_panics_takes_nothing_along() {
    on_shard(|shard| async move {
        assert!(matches!(
            shard.spawn(Once(Grudge)).await,
            Ok(()) | Err(JoinError::Ended)
        ));
        let (near, _far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        drop(stream.send_now(bytes::Bytes::from_owner(Grudge)));
        yield_now().await;
        // This one is still waiting when the shard ends.
        shard.spawn_detached(async {
            let _grudge = Grudge;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        assert_eq!(shard.stats().panics, 2);
    })
    .unwrap();
}

/// A handle that has a stream of its own, and a receive under way on it.
struct Connection {
    stream: Stream,
    receiver: RefCell<Receiver>,
}

impl Connection {
    async fn new() -> (Rc<Self>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        let mut receiver = stream.receiver();
        {
            let mut next = pin!(receiver.next());
            std::future::poll_fn(|cx| {
                assert!(next.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        let receiver = RefCell::new(receiver);
        (Rc::new(Self { stream, receiver }), far)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An ordinary thing for a destructor to do; it needs the driver and the executor.
        Shard::try_current().inspect(|shard| shard.spawn_detached(async {}));
        self.receiver.get_mut();
    }
}

#[test]
fn what_an_operation_owns_may_use_the_shard_when_it_is_dropped() {
    on_shard(|shard| async move {
        for turns_before_drop in 0..4 {
            let (connection, _far) = Connection::new().await;
            let handle: Handle = connection;
            let mut writable = Box::pin(poll_ready(&shard, handle, Interest::Writable));
            std::future::poll_fn(|cx| {
                let _ = writable.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            for _ in 0..turns_before_drop {
                yield_now().await;
            }
            drop(writable);
            yield_now().await;
        }
    })
    .unwrap();
}

#[test]
fn an_operation_that_holds_its_own_shard_ends_with_it() {
    on_shard(|shard| async move {
        let (connection, far) = Connection::new().await;
        let handle: Handle = connection;
        let own = shard.clone();
        shard.spawn_detached(async move {
            let _ = poll_ready(&own, handle, Interest::Readable).await;
        });
        yield_now().await;
        drop(far.try_clone().unwrap());
        shard.spawn_detached(async move {
            let _far = far;
            std::future::pending::<()>().await;
        });
        yield_now().await;
    })
    .unwrap();
}

#[test]
fn a_starved_receiver_waits_once_however_often_it_is_polled() {
    on_shard(|shard| async move {
        use std::io::Write;
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        let mut receiver = stream.receiver();
        far.write_all(&[1; 4 * 64]).unwrap();
        let mut held = Vec::new();
        while held.len() < 4 {
            held.push(receiver.next().await.unwrap().unwrap());
        }
        let (other, mut other_far) = UnixStream::pair().unwrap();
        let other = Stream::new(other);
        let mut starved = other.receiver();
        other_far.write_all(b"late").unwrap();
        let polls = Cell::new(0);
        let before = Cell::new(0);
        {
            let mut next = pin!(starved.next());
            for _ in 0..100 {
                std::future::poll_fn(|cx| {
                    assert!(next.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                yield_now().await;
                polls.set(polls.get() + 1);
                if polls.get() == 10 {
                    before.set(shard.stats().submissions);
                }
            }
            assert_eq!(shard.stats().submissions, before.get());
            held.pop();
            assert_eq!(&*next.await.unwrap().unwrap(), b"late");
        }
    })
    .unwrap();
}
