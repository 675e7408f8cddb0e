//! Streams of the runtime: sockets, buffers and files.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use super::one_shard::on_shard;
use headwater::runtime::driver::{Handle, OpenFlags};
use headwater::runtime::{
    Elapsed, Listener, RingOptions, Stream, open, read_at, sleep, timeout, yield_now,
};

fn receive_buffers(receive_buffers: u16) -> RingOptions {
    RingOptions {
        receive_buffers,
        receive_buffer_bytes: 1024,
        ..RingOptions::default()
    }
}

/// Bytes that differ by position, so that a loss or a swap shows.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(next).collect()
}

async fn read_all(stream: &Stream) -> Vec<u8> {
    let mut receiver = stream.receiver();
    let mut all = Vec::new();
    while let Some(bytes) = receiver.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

fn listen() -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (Listener::new(socket), address)
}

fn pair() -> (Stream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Stream::new(near), far)
}

async fn echo(stream: Stream) {
    let mut receiver = stream.receiver();
    while let Ok(Some(bytes)) = receiver.next().await {
        stream.send_all(bytes).await.unwrap();
    }
}

#[test]
fn megabytes_are_echoed_to_several_clients() {
    on_shard(RingOptions::default(), |shard| async move {
        let (listener, address) = listen();
        let clients: Vec<_> = (0..4)
            .map(|seed| {
                thread::spawn(move || {
                    let sent = pattern(4 << 20, seed + 1);
                    let mut client = TcpStream::connect(address).unwrap();
                    let mut writer = client.try_clone().unwrap();
                    let copy = sent.clone();
                    let writing = thread::spawn(move || {
                        writer.write_all(&copy).unwrap();
                        writer.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut echoed = Vec::new();
                    client.read_to_end(&mut echoed).unwrap();
                    writing.join().unwrap();
                    assert!(echoed == sent, "client {seed} got something else back");
                })
            })
            .collect();
        let mut accepting = listener.accept();
        let mut echoing = Vec::new();
        for _ in 0..clients.len() {
            echoing.push(shard.spawn(echo(accepting.next().await.unwrap())));
        }
        for task in echoing {
            task.await.unwrap();
        }
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
}

#[test]
fn both_ends_may_live_on_the_same_shard() {
    on_shard(RingOptions::default(), |shard| async move {
        let (listener, address) = listen();
        shard.spawn_detached(async move { echo(listener.accept().next().await.unwrap()).await });
        let stream = Stream::connect(address).await.unwrap();
        let mut receiver = stream.receiver();
        for word in ["one", "two", "three"] {
            stream.send_all(word).await.unwrap();
            assert_eq!(&*receiver.next().await.unwrap().unwrap(), word.as_bytes());
        }
        let refused = Stream::connect("127.0.0.1:1".parse().unwrap())
            .await
            .err()
            .unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_reader_that_comes_late_gets_everything_in_order() {
    on_shard(RingOptions::default(), |shard| async move {
        let (stream, far) = pair();
        let far = Stream::new(far);
        let sent = pattern(3 << 20, 7);
        let whole = sent.clone();
        let sending = shard.spawn(async move {
            let (mut rest, parts) = (&whole[..], [100_usize, 1 << 20, 70_000, 1]);
            for part in parts {
                let (now, later) = rest.split_at(part);
                stream.send_all(now.to_vec()).await.unwrap();
                rest = later;
            }
            // What a pending send had no room for is sent by waiting.
            let mut pending = stream.send_now(rest.to_vec());
            let left = std::future::poll_fn(|cx| pending.poll(cx)).await.unwrap();
            let left = left.expect("the socket is full");
            let bufs = vec![left, "tail".into()];
            let mut bufs = stream.send_vectored(bufs, false).await.unwrap();
            while !bufs.is_empty() {
                bufs = stream.send_vectored(bufs, true).await.unwrap();
            }
        });
        while shard.stats().submissions < 2 {
            yield_now().await;
        }
        assert!(sending.try_take().is_none(), "nobody reads yet");
        let mut received = read_all(&far).await;
        sending.await.unwrap();
        assert_eq!(received.split_off(sent.len()), b"tail");
        assert!(received == sent);
    });
}

#[test]
fn a_pending_send_takes_everything_or_gives_the_rest_back() {
    on_shard(RingOptions::default(), |_| async {
        let (stream, mut far) = pair();
        let mut pending = stream.send_now("all of it");
        let left = std::future::poll_fn(|cx| match pending.poll(cx) {
            Poll::Ready(left) => Poll::Ready(Some(left)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        assert!(left.is_none(), "nothing is known before the shard's turn");
        yield_now().await;
        let left = std::future::poll_fn(|cx| pending.poll(cx)).await.unwrap();
        assert!(left.is_none());
        let mut bytes = [0; 9];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"all of it");

        let long = pattern(4 << 20, 3);
        let mut pending = stream.send_now(long.clone());
        let left = std::future::poll_fn(|cx| pending.poll(cx))
            .await
            .unwrap()
            .unwrap();
        assert!(left.len() < long.len(), "the socket was empty");
        assert_eq!(left.as_slice(), &long[long.len() - left.len()..]);
        let mut pending = stream.send_now("no room");
        let left = std::future::poll_fn(|cx| pending.poll(cx))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(left.as_slice(), b"no room");
        drop(far);
        let mut pending = stream.send_now("nobody");
        let error = std::future::poll_fn(|cx| pending.poll(cx))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn few_buffers_serve_many_streams() {
    for buffers in [1, 4] {
        on_shard(receive_buffers(buffers), move |shard| async move {
            const STREAMS: usize = 64;
            let mut reading = Vec::new();
            let mut writers = Vec::new();
            for n in 0..STREAMS {
                let (stream, far) = pair();
                writers.push((far, pattern(20_000, n as u64)));
                reading.push(shard.spawn(async move { read_all(&stream).await }));
            }
            let writing = thread::spawn(move || {
                for (far, bytes) in &mut writers {
                    far.write_all(bytes).unwrap();
                }
                writers
                    .into_iter()
                    .map(|(_, bytes)| bytes)
                    .collect::<Vec<_>>()
            });
            let mut received = Vec::new();
            for task in reading {
                received.push(task.await.unwrap());
            }
            assert!(received == writing.join().unwrap());
            assert_eq!(shard.receive_pool().lent(), usize::from(buffers));
        });
    }
}

#[test]
fn an_empty_pool_is_waited_for_without_spinning() {
    on_shard(receive_buffers(2), |shard| async move {
        let (first, mut feeds_first) = pair();
        let (second, mut feeds_second) = pair();
        feeds_first.write_all(b"held").unwrap();
        feeds_second.write_all(b"too").unwrap();
        let held = first.receiver().next().await.unwrap().unwrap();
        let held_too = second.receiver().next().await.unwrap().unwrap();
        assert_eq!(shard.receive_pool().lent(), 0);
        let (starved, mut feeds_starved) = pair();
        feeds_starved.write_all(b"at last").unwrap();
        let reading =
            shard.spawn(async move { starved.receiver().next().await.unwrap().unwrap().to_vec() });
        sleep(Duration::from_millis(5)).await;
        let before = shard.stats();
        sleep(Duration::from_millis(50)).await;
        let after = shard.stats();
        assert!(after.enters - before.enters < 10, "{before:?} {after:?}");
        assert!(reading.try_take().is_none());
        drop(held);
        assert_eq!(reading.await.unwrap(), b"at last");
        assert_eq!(&*held_too, b"too");
    });
}

#[test]
fn a_stream_starved_while_another_holds_its_buffer_goes_on_with_the_rest() {
    on_shard(receive_buffers(2), |_| async move {
        let (a, mut feeds_a) = pair();
        let (b, mut feeds_b) = pair();
        let mut receives_a = a.receiver();
        feeds_a.write_all(&[1; 2048]).unwrap();
        let kept = receives_a.next().await.unwrap().unwrap();
        let passing = receives_a.next().await.unwrap().unwrap();
        feeds_b.write_all(b"b").unwrap();
        let mut receives_b = b.receiver();
        // The kernel finds no buffer; one is back before the receiver hears of it.
        let refused = std::future::poll_fn(|cx| Poll::Ready(receives_b.poll_next(cx).is_pending()));
        assert!(refused.await);
        yield_now().await;
        drop(passing);
        let came = timeout(Duration::from_secs(2), receives_b.next()).await;
        assert_eq!(
            &*came
                .expect("it waits though a buffer is free")
                .unwrap()
                .unwrap(),
            b"b"
        );
        drop(kept);
    });
}

#[test]
fn floods_that_nobody_reads_leave_the_buffers_to_others() {
    const FLOODS: usize = 12;
    on_shard(receive_buffers(64), |shard| async move {
        let (listener, address) = listen();
        let mut accepting = listener.accept();
        let mut floods = Vec::new();
        for seed in 0..FLOODS {
            let sent = pattern(2 << 20, seed as u64);
            let copy = sent.clone();
            let thread = thread::spawn(move || {
                let mut far = TcpStream::connect(address).unwrap();
                far.write_all(&[seed as u8]).unwrap();
                far.write_all(&copy).unwrap();
            });
            let stream = accepting.next().await.unwrap();
            // The first piece only: from here on no task reads, and the sender continues.
            let mut receiver = stream.receiver();
            let first = receiver.next().await.unwrap().unwrap().to_vec();
            floods.push((stream, receiver, first, sent, thread));
        }
        // Whatever they send, after a few turns all buffers are there for those who read.
        let pool = shard.receive_pool();
        let mut turns = 0;
        while pool.lent() < 64 || turns < 100 {
            yield_now().await;
            turns += 1;
            assert!(turns < 10_000, "only {} buffers are left", pool.lent());
        }
        let (near, mut far) = pair();
        far.write_all(b"me too").unwrap();
        assert_eq!(&*near.receiver().next().await.unwrap().unwrap(), b"me too");
        // And nothing was lost or reordered, nor taken without bound.
        for (_stream, mut receiver, mut received, sent, thread) in floods {
            while received.len() < sent.len() + 1 {
                received.extend_from_slice(&receiver.next().await.unwrap().unwrap());
            }
            assert!(received[1..] == sent, "bytes were lost or reordered");
            thread.join().unwrap();
        }
    });
}

#[test]
fn files_larger_than_the_socket_arrive_whole_and_receiving_goes_on() {
    on_shard(RingOptions::default(), |shard| async move {
        let mut file = tempfile::tempfile().unwrap();
        let content = pattern(9_000_001, 5);
        file.write_all(&content).unwrap();
        let (listener, address) = listen();
        let client = thread::spawn(move || {
            let mut client = TcpStream::connect(address).unwrap();
            let mut body = vec![0; 9_000_001 - 3];
            client.read_exact(&mut body).unwrap();
            // The socket is in non-blocking mode now; the echo has to work as before.
            let long = pattern(3 << 20, 6);
            let (mut writer, copy) = (client.try_clone().unwrap(), long.clone());
            let writing = thread::spawn(move || {
                writer.write_all(&copy).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut echoed = Vec::new();
            client.read_to_end(&mut echoed).unwrap();
            writing.join().unwrap();
            assert!(echoed == long);
            body
        });
        let stream = listener.accept().next().await.unwrap();
        let mut receiver = stream.receiver();
        let armed = timeout(Duration::from_millis(2), receiver.next()).await;
        assert!(matches!(armed, Err(Elapsed)));
        // Asked for more than there is, it says what it sent.
        let sent = stream.send_file(&file, 3, u64::MAX).await.unwrap();
        assert_eq!(sent, 9_000_001 - 3);
        drop(receiver);
        shard.spawn(echo(stream)).await.unwrap();
        assert!(client.join().unwrap() == content[3..]);
    });
}

#[test]
fn more_operations_than_the_queue_holds_are_all_submitted_before_the_shard_waits() {
    let ring = RingOptions {
        submissions: 8,
        ..RingOptions::default()
    };
    on_shard(ring, |shard| async move {
        let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
        let (streams, mut fars): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        // Only the last one started has anything to say.
        fars[49].write_all(b"x").unwrap();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|s| shard.spawn(async move { s.receiver().next().await.unwrap().is_some() }))
            .collect();
        let last = tasks.into_iter().next_back().unwrap();
        let start = Instant::now();
        assert!(last.await.unwrap());
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(1),
            "{waited:?} outside the kernel"
        );
        let submissions = shard.stats().submissions;
        assert_eq!(submissions, 51, "50 receives and the mailbox's read");
    });
}

#[test]
fn bytes_behind_urgent_data_are_received() {
    on_shard(RingOptions::default(), |_| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = Stream::new(listener.accept().unwrap().0);
        let mut receiver = near.receiver();
        far.write_all(b"abc").unwrap();
        socket2::SockRef::from(&far).send_out_of_band(b"!").unwrap();
        far.write_all(b"def").unwrap();
        let mut received = Vec::new();
        while received.len() < 6 {
            received.extend_from_slice(&receiver.next().await.unwrap().unwrap());
        }
        assert_eq!(received, b"abcdef");
    });
}

#[test]
fn files_of_proc_are_read() {
    on_shard(RingOptions::default(), |shard| async move {
        for path in [
            "/proc/mounts",
            "/proc/self/status",
            "/proc/sys/kernel/osrelease",
        ] {
            let file: Handle = Rc::new(std::fs::File::open(path).unwrap());
            let (read, buf) = read_at(&shard, file, Vec::with_capacity(4096), 0, false).await;
            assert!(read.unwrap() > 0 && !buf.is_empty(), "{path}");
        }
    });
}

#[test]
fn an_open_that_waits_for_the_other_end_of_a_fifo_keeps_nobody_else_waiting() {
    on_shard(RingOptions::default(), |shard| async move {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let folder: Handle = Rc::new(std::fs::File::open(dir.path()).unwrap());
        let own = shard.clone();
        let opening = shard.spawn(async move {
            open(&own, folder, c"fifo".to_owned(), OpenFlags::default()).await
        });
        sleep(Duration::from_millis(5)).await;
        let _writer = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let fifo = opening.await.unwrap().unwrap();
        let flags = nix::fcntl::fcntl(&fifo, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & nix::libc::O_NONBLOCK, 0, "it was not asked for");
    });
}
