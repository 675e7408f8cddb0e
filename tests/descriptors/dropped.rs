//! Operations whose futures are dropped: buffers and descriptors stay alive until the kernel no
//! longer uses them, and are then all released.

use std::ffi::CString;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::count::{alone, descriptors};
use bytes::Bytes;
use headwater::runtime::driver::{Handle, Interest, OpenFlags};
use headwater::runtime::{
    JoinError, Listener, RingOptions, Runtime, SendBuf, Shard, Stream, open, poll_ready, read_at,
    sleep, timeout, yield_now,
};
use headwater::sys::eventfd::EventFd;
use headwater::sys::transfer::{MSG_DONTWAIT, pipe, send};

const BUFFERS: u16 = 4;
const BUFFER_BYTES: usize = 1024;
/// Turns in which an abandoned operation must be gone.
const TURNS_MAX: usize = 1000;

/// Runs a test on a shard of its own; afterwards no descriptor may be left.
fn on_shard<F, Fut>(root: F)
where
    F: Fn(Shard) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let _alone = alone();
    let before = descriptors();
    let start = Instant::now();
    runtime()
        .run(move |shard| {
            let test = root(shard);
            async move {
                // The shard's own task has its descriptors once it has run.
                yield_now().await;
                timeout(Duration::from_secs(10), test)
                    .await
                    .expect("the test hangs")
            }
        })
        .unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "the shard ended late"
    );
    assert_eq!(descriptors(), before, "descriptors were left open");
}

fn runtime() -> Runtime {
    let ring = RingOptions {
        receive_buffers: BUFFERS,
        receive_buffer_bytes: BUFFER_BYTES,
        ..RingOptions::default()
    };
    Runtime::new(vec![0]).unwrap().unpinned().ring_options(ring)
}

/// Polls a future once, which must not end it.
async fn begin<F: Future>(mut future: Pin<&mut F>) {
    std::future::poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it was to wait");
        Poll::Ready(())
    })
    .await;
}

/// What the kernel may still access of an operation that was dropped, of `count` things: with
/// io_uring all, until the cancellation is confirmed; with epoll none.
#[track_caller]
fn assert_held(alive: &Alive, count: usize) {
    let held = match Shard::current().driver_name() {
        "io_uring" => count,
        _ => 0,
    };
    assert_eq!(alive.count(), held, "held for the kernel");
}

/// Lets the shard turn until `done`.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..TURNS_MAX {
        if done() {
            return;
        }
        yield_now().await;
    }
    panic!("{what} did not happen in {TURNS_MAX} turns");
}

/// Counts how many of the things that it made are alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Token(Arc<AtomicUsize>);

impl Alive {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn token(&self) -> Token {
        self.0.fetch_add(1, Ordering::Relaxed);
        Token(Arc::clone(&self.0))
    }

    fn bytes(&self, len: usize) -> Bytes {
        struct Owner {
            bytes: Vec<u8>,
            _token: Token,
        }
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Owner {
            bytes: vec![7; len],
            _token: self.token(),
        })
    }

    fn handle(&self, fd: OwnedFd) -> Handle {
        struct Counted {
            fd: OwnedFd,
            _token: Token,
        }
        impl AsFd for Counted {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.as_fd()
            }
        }
        Rc::new(Counted {
            fd,
            _token: self.token(),
        })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose socket is full, and its peer.
fn full_stream() -> (Stream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    while send(near.as_fd(), &[7; 4096], MSG_DONTWAIT).is_ok() {}
    (Stream::new(near), far)
}

#[test]
fn a_dropped_accept_closes_connections_that_nobody_took() {
    on_shard(|_| async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(socket);
        let mut accepting = listener.accept();
        begin(pin!(accepting.next())).await;
        yield_now().await;
        let mut early = TcpStream::connect(address).unwrap();
        early
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        yield_now().await;
        // This one may arrive before, with or after the cancellation.
        let mut late = TcpStream::connect(address).unwrap();
        late.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        drop(accepting);
        yield_now().await;
        // With epoll it has stayed in the kernel's backlog.
        if Shard::current().driver_name() == "io_uring" {
            assert_eq!(
                early.read(&mut [0; 1]).unwrap(),
                0,
                "a connection not taken is closed"
            );
        }
        // The kernel still listens for whoever accepts next.
        let mut again = listener.accept();
        late.write_all(b"x").ok();
        let last = TcpStream::connect(address).unwrap();
        again.next().await.unwrap();
        drop((last, again, listener));
        yield_now().await;
        let end = late.read(&mut [0; 1]);
        assert!(
            !matches!(&end, Err(e) if e.kind() == ErrorKind::WouldBlock),
            "it was left open"
        );
    });
}

#[test]
fn a_dropped_receive_gives_its_buffers_back() {
    on_shard(|shard| async move {
        let pool = Rc::clone(shard.receive_pool());
        for turns_before_drop in 0..4 {
            let (near, mut far) = UnixStream::pair().unwrap();
            let stream = Stream::new(near);
            let mut receiver = stream.receiver();
            begin(pin!(receiver.next())).await;
            yield_now().await;
            far.write_all(&[1; 2 * BUFFER_BYTES]).unwrap();
            for _ in 0..turns_before_drop {
                yield_now().await;
            }
            drop(receiver);
            until("every buffer's return", || {
                pool.lent() == usize::from(BUFFERS)
            })
            .await;
            yield_now().await;
            assert_eq!((pool.lent(), pool.held()), (usize::from(BUFFERS), 0));
        }
    });
}

#[test]
fn a_held_buffer_outlives_its_receiver_and_stream() {
    on_shard(|shard| async move {
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        let mut receiver = stream.receiver();
        far.write_all(b"kept").unwrap();
        let kept = receiver.next().await.unwrap().unwrap();
        drop((receiver, stream));
        assert_eq!(shard.receive_pool().held(), 1);
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut receiver = Stream::new(near).receiver();
        for _ in 0..20 {
            far.write_all(&[9; BUFFER_BYTES]).unwrap();
            receiver.next().await.unwrap().unwrap();
        }
        assert_eq!(&*kept, b"kept");
    });
}

#[test]
fn a_dropped_send_keeps_its_buffer_until_the_kernel_is_done() {
    on_shard(|_| async {
        for turns_before_drop in 0..3 {
            let alive = Alive::default();
            let (stream, _far) = full_stream();
            {
                let mut sending = pin!(stream.send(alive.bytes(1 << 20).into(), false));
                begin(sending.as_mut()).await;
                for _ in 0..turns_before_drop {
                    yield_now().await;
                }
                begin(sending.as_mut()).await;
            }
            match turns_before_drop {
                0 => assert_eq!(alive.count(), 1, "it is yet to be submitted"),
                _ => assert_held(&alive, 1),
            }
            until("the buffer's end", || alive.count() == 0).await;
        }
    });
}

#[test]
fn a_dropped_vectored_send_keeps_all_its_buffers() {
    on_shard(|_| async {
        let alive = Alive::default();
        let (stream, _far) = full_stream();
        {
            let bufs: Vec<SendBuf> = (0..5).map(|_| alive.bytes(100_000).into()).collect();
            let mut sending = pin!(stream.send_vectored(bufs, false));
            begin(sending.as_mut()).await;
            yield_now().await;
            begin(sending.as_mut()).await;
        }
        assert_held(&alive, 5);
        until("the buffers' end", || alive.count() == 0).await;
    });
}

#[test]
fn a_dropped_send_now_is_sent_all_the_same() {
    on_shard(|_| async {
        let alive = Alive::default();
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        drop(stream.send_now(alive.bytes(100)));
        assert_eq!(alive.count(), 1, "it has not been submitted yet");
        yield_now().await;
        assert_eq!(
            alive.count(),
            0,
            "it is forgotten with the turn that sent it"
        );
        far.read_exact(&mut [0; 100]).unwrap();

        let (stream, _far) = full_stream();
        drop(stream.send_now(alive.bytes(100)));
        assert_eq!(alive.count(), 1);
        yield_now().await;
        assert_eq!(
            alive.count(),
            0,
            "one that found the socket full is over too"
        );
    });
}

#[test]
fn a_dropped_read_keeps_its_file_until_the_kernel_is_done() {
    on_shard(|shard| async move {
        for blocking in [false, true] {
            let alive = Alive::default();
            let (reader, _writer) = pipe().unwrap();
            let file = alive.handle(reader);
            {
                let mut reading = pin!(read_at(
                    &shard,
                    Rc::clone(&file),
                    Vec::with_capacity(64),
                    0,
                    blocking
                ));
                begin(reading.as_mut()).await;
                yield_now().await;
                begin(reading.as_mut()).await;
            }
            drop(file);
            assert_held(&alive, 1);
            // A worker has to be woken for it, so turns alone may be too short a time.
            while alive.count() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
}

#[test]
fn a_dropped_open_closes_what_it_opened() {
    on_shard(|shard| async move {
        let dir: Handle = Rc::new(std::fs::File::open("/").unwrap());
        let before = descriptors();
        for _ in 0..100 {
            let path = CString::new("proc/self/stat").unwrap();
            begin(pin!(open(
                &shard,
                Rc::clone(&dir),
                path,
                OpenFlags::default()
            )))
            .await;
        }
        until("the end of every open", || descriptors() == before).await;
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(descriptors(), before);
        let path = CString::new("proc/self/stat").unwrap();
        drop(open(&shard, dir, path, OpenFlags::default()).await.unwrap());
        assert_eq!(descriptors(), before - 1);
    });
}

#[test]
fn a_dropped_poll_lets_its_descriptor_go() {
    on_shard(|shard| async move {
        let alive = Alive::default();
        let (reader, _writer) = pipe().unwrap();
        {
            let fd = alive.handle(reader);
            let mut waiting = pin!(poll_ready(&shard, fd, Interest::Readable));
            begin(waiting.as_mut()).await;
            yield_now().await;
            begin(waiting.as_mut()).await;
        }
        assert_held(&alive, 1);
        until("the descriptor's end", || alive.count() == 0).await;
    });
}

#[test]
fn a_dropped_connect_closes_its_socket() {
    on_shard(|_| async {
        // A listener whose backlog is full lets further connections wait.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(
                &"127.0.0.1:0"
                    .parse::<std::net::SocketAddr>()
                    .unwrap()
                    .into(),
            )
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let _fills = TcpStream::connect(address).unwrap();
        let before = descriptors();
        {
            let mut connecting = pin!(Stream::connect(address));
            begin(connecting.as_mut()).await;
            yield_now().await;
            begin(connecting.as_mut()).await;
            assert_eq!(descriptors(), before + 1);
        }
        until("the socket's end", || descriptors() == before).await;
    });
}

#[test]
fn a_dropped_timer_neither_fires_nor_keeps_the_shard_waiting() {
    on_shard(|shard| async move {
        {
            let mut hour = pin!(sleep(Duration::from_secs(3600)));
            begin(hour.as_mut()).await;
        }
        let polls = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&polls);
        shard.spawn_detached(async move {
            {
                let mut short = pin!(sleep(Duration::from_millis(2)));
                begin(short.as_mut()).await;
            }
            std::future::poll_fn(|_| {
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            })
            .await;
        });
        // The next timer takes the dropped one's place in the wheel.
        yield_now().await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(polls.get(), 1, "the dropped timer woke its task");
    });
}

#[test]
fn a_shard_that_ends_with_everything_in_flight_leaves_nothing_behind() {
    let alive = Alive::default();
    let counted = alive.clone();
    on_shard(move |shard| {
        let alive = counted.clone();
        async move {
            let listener = Rc::new(Listener::new(TcpListener::bind("127.0.0.1:0").unwrap()));
            for n in 0..60 {
                let (alive, own, listener) = (alive.clone(), shard.clone(), Rc::clone(&listener));
                shard.spawn_detached(async move {
                    let token = alive.token();
                    match n % 6 {
                        0 => {
                            let (stream, _far) = full_stream();
                            stream.send_all(alive.bytes(1 << 16)).await.unwrap();
                        }
                        1 => {
                            let (near, _far) = UnixStream::pair().unwrap();
                            Stream::new(near).receiver().next().await.unwrap();
                        }
                        2 => sleep(Duration::from_secs(3600)).await,
                        3 => {
                            let file = alive.handle(pipe().unwrap().0);
                            let event: Handle = Rc::new(EventFd::new().unwrap());
                            read_at(&own, event, Vec::with_capacity(8), 0, true)
                                .await
                                .0
                                .unwrap();
                            drop(file);
                        }
                        4 => drop(listener.accept().next().await),
                        _ => {
                            let (stream, _far) = full_stream();
                            stream.writable().await.unwrap();
                        }
                    }
                    drop(token);
                });
            }
            for _ in 0..5 {
                yield_now().await;
            }
            assert!(alive.count() >= 60);
        }
    });
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_stream_that_leaves_its_task_through_a_panic_is_cleaned_up() {
    on_shard(|shard| async move {
        let alive = Alive::default();
        let owned = alive.clone();
        let failing = shard.spawn(async move {
            let (stream, _far) = full_stream();
            let mut sending = pin!(stream.send(owned.bytes(1 << 16).into(), false));
            begin(sending.as_mut()).await;
            yield_now().await;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let other = shard.spawn(async {
            yield_now().await;
            yield_now().await;
            42
        });
        assert!(matches!(failing.await, Err(JoinError::Ended)));
        assert_eq!(other.await.unwrap(), 42, "other tasks go on");
        assert_eq!(shard.stats().panics, 1);
        until("the buffer's end", || alive.count() == 0).await;
    });
}

#[test]
fn a_panic_in_a_function_sent_to_a_shard_leaves_the_mailbox_open() {
    let _alone = alone();
    let runtime = runtime();
    let handle = runtime.handles()[0].clone();
    let (stop, stopped) = mpsc::channel();
    handle
        .run(|| std::panic::resume_unwind(Box::new("on purpose")))
        .unwrap();
    let running = runtime
        .start(|shard| async move {
            let (near, far) = UnixStream::pair().unwrap();
            NEAR.with(|slot| slot.set(Some(near)));
            until("the panic", || shard.stats().panics == 1).await;
            // Only a message that still gets through ends this shard.
            let mut receiver = Stream::new(far).receiver();
            let limit = Duration::from_secs(5);
            let word = timeout(limit, receiver.next())
                .await
                .expect("the mailbox is deaf");
            assert_eq!(&*word.unwrap().unwrap(), b"end");
        })
        .unwrap();
    handle
        .run(move || {
            NEAR.with(|slot| slot.take())
                .unwrap()
                .write_all(b"end")
                .unwrap();
            stop.send(()).unwrap();
        })
        .unwrap();
    running.join().unwrap();
    stopped.recv().unwrap();
}

thread_local! {
    /// How a message reaches the root task in the test above.
    static NEAR: std::cell::Cell<Option<UnixStream>> = const { std::cell::Cell::new(None) };
}
