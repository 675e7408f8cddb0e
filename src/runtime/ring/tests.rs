//! Completions that the kernel may post but that a test can't provoke; the tests inject them.

use std::os::unix::net::UnixStream;
use std::task::Waker;

use super::*;
use crate::runtime::driver::Handle;

const BUFFERS: u16 = 4;

fn driver() -> RingDriver {
    let options = RingOptions {
        receive_buffers: BUFFERS,
        receive_buffer_bytes: 64,
        ..RingOptions::default()
    };
    RingDriver::new(options, Rc::new(Writer::off())).unwrap()
}

fn receiving(driver: &mut RingDriver) -> (Key, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let socket: Handle = Rc::new(near);
    (driver.start(Op::Receive { socket }), far)
}

/// Injects a completion that names buffer `id`, as if the kernel had posted it.
fn post(driver: &mut RingDriver, key: Key, result: i32, id: u16, more: bool) {
    driver.receive.handed_out();
    let flags = BUFFER | u32::from(id) << 16 | u32::from(more) << 1;
    driver
        .operations
        .complete(key, Completed { result, flags }, more);
    if driver.operations.list(key) {
        driver.unread.streams.push(key);
    }
}

fn next(driver: &mut RingDriver, key: Key) -> MultishotEvent {
    match driver.poll_event(key, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => event,
        Poll::Pending => panic!("there is an event"),
    }
}

#[test]
fn an_end_or_an_error_that_names_a_buffer_gives_it_back() {
    for (result, copied_out) in [(0, false), (0, true), (-104, false), (-104, true)] {
        let mut driver = driver();
        let (key, _far) = receiving(&mut driver);
        post(&mut driver, key, 5, 1, true);
        post(&mut driver, key, result, 2, false);
        if copied_out {
            driver.copy_out_unread();
        }
        assert!(matches!(next(&mut driver, key), MultishotEvent::Received(buf) if buf.len() == 5));
        match next(&mut driver, key) {
            MultishotEvent::End => assert_eq!(result, 0),
            MultishotEvent::Failed(e) => assert_eq!(e.raw_os_error(), Some(104)),
            _ => panic!("it has ended"),
        }
        let pool = driver.receive_pool();
        assert_eq!((pool.lent(), pool.held()), (usize::from(BUFFERS), 0));
        assert!(
            driver.unread.copied.is_empty(),
            "left for the next operation of this index"
        );
    }
}

#[test]
fn a_late_completion_reaches_no_other_operation() {
    let mut driver = driver();
    let (old, _far) = receiving(&mut driver);
    post(&mut driver, old, 0, 1, false);
    next(&mut driver, old);
    let (new, _other) = receiving(&mut driver);
    assert_eq!(old.index, new.index, "the index is used again");
    let late = Completed {
        result: 5,
        flags: 0,
    };
    assert!(driver.operations.complete(old, late, false).0.is_none());
    assert_eq!(driver.operations.state(new), Some(State::InFlight));
    driver.abandon(old);
    assert_eq!(driver.in_flight(), 1);
}

#[test]
fn an_accept_with_too_many_unread_connections_is_stopped_until_they_are_read() {
    let mut driver = driver();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let key = driver.start(Op::Accept {
        listener: Rc::new(listener),
    });
    let done = Completed {
        result: -libc::ENOENT,
        flags: 2,
    };
    let stopped = (0..limits::ACCEPTED_UNTAKEN_MAX + 5)
        .map(|_| driver.operations.complete(key, done, true).1)
        .filter(|overfull| *overfull)
        .count();
    assert_eq!(stopped, 1);
}

/// Starts a send whose success posts no completion.
fn sending(driver: &mut RingDriver) -> (Key, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let send = Op::SendNow {
        socket: Rc::new(near),
        buf: "hello".into(),
        more: false,
    };
    (driver.start(send), far)
}

const FOREVER: Wait = Wait {
    timeout: None,
    batch: 1,
    batch_wait: std::time::Duration::ZERO,
};

#[test]
fn a_silent_success_is_known_although_something_was_cancelled_in_its_turn() {
    let mut driver = driver();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = driver.start(Op::Accept {
        listener: Rc::new(listener),
    });
    let done = Completed {
        result: -libc::ENOENT,
        flags: 2,
    };
    for _ in 1..limits::ACCEPTED_UNTAKEN_MAX {
        driver.operations.complete(accept, done, true);
    }
    // One connection above the limit of unread ones: reaping it pushes a cancellation.
    let _client = std::net::TcpStream::connect(address).unwrap();
    let (send, _far) = sending(&mut driver);
    driver.turn(FOREVER, &mut Vec::new()).unwrap();
    assert!(
        !driver.ring.submission().is_empty(),
        "nothing was cancelled"
    );
    let known = driver.poll(send, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(known, Poll::Ready(None)));
}

#[test]
fn who_asks_before_a_silent_success_can_be_known_is_woken_without_a_completion() {
    let mut driver = driver();
    let (send, _far) = sending(&mut driver);
    // As after an enter that took no submission because the kernel held completions back.
    driver.reap(&mut Vec::new());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(driver.poll(send, cx).is_pending());
    let mut wakers = Vec::new();
    driver.turn(FOREVER, &mut wakers).unwrap();
    assert_eq!(wakers.len(), 1);
    assert!(matches!(driver.poll(send, cx), Poll::Ready(None)));
    // A success that is known in its own turn wakes no task.
    let (send, _far) = sending(&mut driver);
    assert!(driver.poll(send, cx).is_pending());
    let soon = Wait {
        timeout: Some(std::time::Duration::ZERO),
        ..FOREVER
    };
    wakers.clear();
    driver.turn(soon, &mut wakers).unwrap();
    assert_eq!(wakers.len(), 0);
    assert!(matches!(driver.poll(send, cx), Poll::Ready(None)));
}

#[test]
fn submissions_that_the_kernel_refuses_do_not_hold_a_turn_up_and_are_not_lost() {
    let mut driver = driver();
    // More entries than the submission queue holds, and fewer.
    for count in [limits::RING_SUBMISSIONS as usize + 100, 3] {
        let mut polls = Vec::new();
        let mut far_ends = Vec::new();
        for _ in 0..count {
            let (near, far) = UnixStream::pair().unwrap();
            let fd: Handle = Rc::new(near);
            polls.push(driver.start(Op::Poll {
                fd,
                interest: crate::runtime::driver::Interest::Writable,
            }));
            far_ends.push(far);
        }
        driver.refusals = usize::MAX;
        for _ in 0..3 {
            let before = driver.stats.enters;
            driver.turn(FOREVER, &mut Vec::new()).unwrap();
            // One enter that is refused, and one that waits a little.
            assert_eq!(driver.stats.enters - before, 2);
        }
        driver.refusals = 0;
        let cx = &mut Context::from_waker(Waker::noop());
        let mut left = polls;
        while !left.is_empty() {
            driver.turn(FOREVER, &mut Vec::new()).unwrap();
            left.retain(|key| driver.poll(*key, cx).is_pending());
        }
    }
}

#[test]
fn the_wakers_of_operations_are_retired_and_not_dropped() {
    let mut driver = driver();
    let (key, _far) = receiving(&mut driver);
    for retired in 0..3 {
        // A new waker each time replaces the previous one.
        let waker = Waker::from(std::sync::Arc::new(Nothing));
        assert!(
            driver
                .poll_event(key, &mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(driver.retired().wakers.len(), retired);
    }
    driver.abandon(key);
    assert_eq!(driver.retired().wakers.len(), 3);
}

struct Nothing;

impl std::task::Wake for Nothing {
    fn wake(self: std::sync::Arc<Self>) {}
}
