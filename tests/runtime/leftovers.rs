//! Stopping a receiver: of the bytes that it has received ahead, none is lost or duplicated.

use std::future::Future;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::task::{Context, Waker};
use std::time::Duration;

use headwater::runtime::{Leftovers, RingOptions, Shard, Stream, StreamEnd, yield_now};

use crate::one_shard;

fn on_shard<F, Fut>(test: F)
where
    F: Fn(Shard) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let ring = RingOptions {
        receive_buffers: 8,
        receive_buffer_bytes: 64,
        ..RingOptions::default()
    };
    one_shard::on_shard(ring, test);
}

/// Both ends of a TCP connection.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn append(to: &mut Vec<u8>, leftovers: Leftovers) -> StreamEnd {
    for buf in &leftovers.received {
        to.extend_from_slice(buf);
    }
    leftovers.end
}

/// Bytes that differ from those around them.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Receives all of `near` by a chain of receivers, of which each gives `taken` buffers and is
/// then stopped, after `turns` turns.
async fn by_turns(near: Stream, taken: usize, turns: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut receiver = near.receiver();
        for _ in 0..taken {
            match receiver.next().await.unwrap() {
                Some(buf) => all.extend_from_slice(&buf),
                None => return all,
            }
        }
        // Starts receiving, also where nothing was taken.
        if let std::task::Poll::Ready(next) =
            receiver.poll_next(&mut Context::from_waker(Waker::noop()))
        {
            match next.unwrap() {
                Some(buf) => all.extend_from_slice(&buf),
                None => return all,
            }
        }
        for _ in 0..turns {
            yield_now().await;
        }
        match append(&mut all, receiver.stop().await) {
            StreamEnd::Open => {}
            StreamEnd::Ended => return all,
            StreamEnd::Failed(e) => panic!("{e}"),
        }
    }
}

#[test]
fn receivers_that_are_stopped_hand_over_every_byte_in_order() {
    on_shard(|_| async {
        for tcp_pair in [false, true] {
            for (taken, turns) in [
                (0, 0),
                (0, 1),
                (0, 3),
                (1, 0),
                (1, 1),
                (1, 3),
                (3, 0),
                (3, 2),
            ] {
                let sent = pattern(20_000);
                let bytes = sent.clone();
                let write = move |mut far: Box<dyn Write + Send>| {
                    // Pieces of many sizes; dropping the socket ends the stream.
                    let mut rest = &bytes[..];
                    for size in (1..).map(|n: usize| 1 + n * 13 % 700) {
                        let (piece, others) = rest.split_at(size.min(rest.len()));
                        far.write_all(piece).unwrap();
                        rest = others;
                        if rest.is_empty() {
                            break;
                        }
                        std::thread::yield_now();
                    }
                };
                let (near, writer) = if tcp_pair {
                    let (near, far) = tcp();
                    (
                        Stream::new(near),
                        std::thread::spawn(move || write(Box::new(far))),
                    )
                } else {
                    let (near, far) = UnixStream::pair().unwrap();
                    (
                        Stream::new(near),
                        std::thread::spawn(move || write(Box::new(far))),
                    )
                };
                let received = by_turns(near, taken, turns).await;
                writer.join().unwrap();
                assert_eq!(received.len(), sent.len(), "{taken} {turns}");
                assert!(received == sent, "{taken} {turns}: not in order");
            }
        }
    });
}

#[test]
fn stopping_says_how_the_stream_stands() {
    on_shard(|_| async {
        // Never polled: nothing was received, and nothing is waited for.
        let (near, mut far) = UnixStream::pair().unwrap();
        let stream = Stream::new(near);
        far.write_all(b"before").unwrap();
        let leftovers = stream.receiver().stop().await;
        assert!(matches!(leftovers.end, StreamEnd::Open) && leftovers.received.is_empty());
        // All that was sent and the end behind it, unread.
        let mut receiver = stream.receiver();
        assert_eq!(&*receiver.next().await.unwrap().unwrap(), b"before");
        far.write_all(&pattern(1000)).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        for _ in 0..20 {
            yield_now().await;
        }
        let mut all = Vec::new();
        let mut end = append(&mut all, receiver.stop().await);
        while !matches!(end, StreamEnd::Ended) {
            let mut receiver = stream.receiver();
            match receiver.next().await.unwrap() {
                Some(buf) => all.extend_from_slice(&buf),
                None => break,
            }
            end = append(&mut all, receiver.stop().await);
        }
        assert!(all == pattern(1000));
        // A reset.
        let (near, far) = tcp();
        let stream = Stream::new(near);
        let mut receiver = stream.receiver();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(receiver.poll_next(cx).is_pending());
        yield_now().await;
        socket2::SockRef::from(&far)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(far);
        for _ in 0..3 {
            yield_now().await;
        }
        match receiver.stop().await.end {
            StreamEnd::Failed(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_stopped_receiver_and_one_that_is_dropped_leave_no_buffer_behind() {
    on_shard(|shard| async move {
        let all = shard.receive_pool().lent();
        for stopped in [true, false] {
            let (near, mut far) = UnixStream::pair().unwrap();
            let stream = Stream::new(near);
            let mut receiver = stream.receiver();
            far.write_all(&pattern(200)).unwrap();
            assert_eq!(receiver.next().await.unwrap().unwrap().len(), 64);
            if stopped {
                // Not waited for until it is ready, which discards like dropping.
                let mut stopping = Box::pin(receiver.stop());
                let cx = &mut Context::from_waker(Waker::noop());
                let _ = stopping.as_mut().poll(cx);
            }
            while shard.receive_pool().lent() < all {
                yield_now().await;
            }
        }
    });
}
