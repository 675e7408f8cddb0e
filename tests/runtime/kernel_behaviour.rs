//! The kernel behaviour that the io_uring driver relies on, with a test on the bare ring for each
//! point: a kernel that behaves differently fails the test that names it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use headwater::buffers::ReceivePool;
use headwater::sys::eventfd::EventFd;
use headwater::sys::transfer::{MSG_DONTWAIT, send, set_blocking, set_nonblocking};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

const GROUP: u16 = 7;

/// A completion: user data, result, flags.
#[derive(Clone, Copy, Debug)]
struct Done {
    tag: u64,
    result: i32,
    flags: u32,
}

impl Done {
    fn more(self) -> bool {
        cqueue::more(self.flags)
    }
}

/// A ring with the driver's flags.
struct Ring(IoUring);

impl Ring {
    fn new() -> Self {
        let ring = IoUring::builder()
            .setup_cqsize(256)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(64)
            .unwrap();
        Self(ring)
    }

    fn push(&mut self, tag: u64, entry: squeue::Entry) {
        // SAFETY: the tests keep what their entries point to until the ring is done with it.
        unsafe { self.0.submission().push(&entry.user_data(tag)).unwrap() };
    }

    /// One enter that waits for nothing, and all that it gave.
    fn enter(&mut self) -> Vec<Done> {
        let flags = io_uring::EnterFlags::GETEVENTS.bits();
        let count = self.0.submission().len() as u32;
        // SAFETY: no extended argument is passed.
        unsafe {
            self.0
                .submitter()
                .enter::<libc::sigset_t>(count, 0, flags, None)
                .unwrap()
        };
        self.gather()
    }

    fn gather(&mut self) -> Vec<Done> {
        let done = |c: cqueue::Entry| Done {
            tag: c.user_data(),
            result: c.result(),
            flags: c.flags(),
        };
        self.0.completion().map(done).collect()
    }

    /// Waits until `count` completions are there.
    fn wait(&mut self, count: usize) -> Vec<Done> {
        let mut all = Vec::new();
        let until = Instant::now() + Duration::from_secs(5);
        while all.len() < count {
            assert!(
                Instant::now() < until,
                "only {all:?} of {count} completions came"
            );
            let limit = types::Timespec::new().sec(1);
            let args = types::SubmitArgs::new().timespec(&limit);
            match self.0.submitter().submit_with_args(1, &args) {
                Err(e) if e.raw_os_error() != Some(libc::ETIME) => panic!("{e}"),
                _ => all.extend(self.gather()),
            }
        }
        all
    }

    fn one(&mut self) -> Done {
        let all = self.wait(1);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    fn lend(&mut self, pool: &ReceivePool) {
        // SAFETY: every test keeps its pool until its ring has been dropped.
        let registered = unsafe {
            self.0.submitter().register_buf_ring_with_flags(
                pool.ring_addr(),
                pool.buffers(),
                GROUP,
                0,
            )
        };
        registered.unwrap();
    }
}

fn fd(of: &impl AsRawFd) -> types::Fd {
    types::Fd(of.as_raw_fd())
}

fn recv_multi(of: &impl AsRawFd) -> squeue::Entry {
    opcode::RecvMulti::new(fd(of), GROUP).build()
}

/// A send as the driver's `SendNow` does it.
fn send_now(of: &impl AsRawFd, bytes: &[u8]) -> squeue::Entry {
    opcode::Send::new(fd(of), bytes.as_ptr(), bytes.len() as u32)
        .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Sends until the socket takes no more.
fn fill(socket: &TcpStream) {
    // The kernel may move what it has to the reader's side and take more.
    let mut refusals = 0;
    while refusals < 20 {
        match send(socket.as_fd(), &[7; 64 * 1024], MSG_DONTWAIT) {
            Ok(_) => refusals = 0,
            Err(_) => {
                refusals += 1;
                std::thread::yield_now();
            }
        }
    }
}

fn taken(done: Done) -> u16 {
    cqueue::buffer_select(done.flags).unwrap_or_else(|| panic!("{done:?} names no buffer"))
}

#[test]
fn a_multishot_accept_goes_on_and_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ring = Ring::new();
    ring.push(
        1,
        opcode::AcceptMulti::new(fd(&listener))
            .flags(libc::SOCK_CLOEXEC)
            .build(),
    );
    ring.enter();
    for _ in 0..3 {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let done = ring.one();
        assert!(done.result >= 0 && done.more(), "{done:?}");
        // SAFETY: the kernel has just made this descriptor for us.
        let accepted = unsafe { OwnedFd::from_raw_fd(done.result) };
        // SAFETY: F_GETFD and F_GETFL take no pointer.
        let (own, open) = unsafe {
            (
                libc::fcntl(accepted.as_raw_fd(), libc::F_GETFD),
                libc::fcntl(accepted.as_raw_fd(), libc::F_GETFL),
            )
        };
        assert_eq!(own & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        assert_eq!(
            open & libc::O_NONBLOCK,
            0,
            "an accepted socket starts in blocking mode"
        );
    }
}

#[test]
fn a_cancelled_accept_ends_without_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ring = Ring::new();
    ring.push(1, opcode::AcceptMulti::new(fd(&listener)).build());
    ring.enter();
    ring.push(2, opcode::AsyncCancel::new(1).build());
    let mut done = ring.wait(2);
    done.sort_by_key(|d| d.tag);
    assert_eq!((done[0].result, done[0].more()), (-libc::ECANCELED, false));
    assert_eq!(done[1].result, 0);
}

#[test]
fn a_multishot_receive_takes_lent_buffers_until_the_end_of_the_stream() {
    let pool = ReceivePool::new(4, 64).unwrap();
    let (near, far) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    ring.push(1, recv_multi(&near));
    ring.enter();
    (&far).write_all(b"hello").unwrap();
    let first = ring.one();
    assert_eq!((first.result, first.more()), (5, true));
    pool.handed_out();
    // SAFETY: this completion has just handed the buffer out, and it is passed once.
    let bytes = unsafe { pool.filled(taken(first), 5) };
    assert_eq!(&*bytes, b"hello");
    drop(far);
    let last = ring.one();
    assert_eq!((last.result, last.more()), (0, false));
    drop((ring, bytes));
}

#[test]
fn a_receive_without_a_buffer_ends_with_enobufs_and_a_moved_tail_feeds_the_next() {
    let pool = ReceivePool::new(2, 8).unwrap();
    let (near, far) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    (&far).write_all(b"aaaaaaaabbbbbbbbcccccccc").unwrap();
    ring.push(1, recv_multi(&near));
    let done = ring.wait(3);
    assert!(done[0].more() && done[1].more());
    assert_eq!((done[2].result, done[2].more()), (-libc::ENOBUFS, false));
    pool.handed_out();
    pool.handed_out();
    // SAFETY: each completion has handed its buffer out and is passed once.
    let (a, b) = unsafe {
        (
            pool.filled(taken(done[0]), 8),
            pool.filled(taken(done[1]), 8),
        )
    };
    assert_eq!((&*a, &*b), (&b"aaaaaaaa"[..], &b"bbbbbbbb"[..]));
    drop(b);
    ring.push(2, recv_multi(&near));
    let again = ring.wait(1)[0];
    assert_eq!(again.result, 8);
    assert_eq!(
        taken(again),
        taken(done[1]),
        "the one buffer lent again is the one used"
    );
    pool.handed_out();
    // SAFETY: as above.
    let c = unsafe { pool.filled(taken(again), 8) };
    assert_eq!((&*a, &*c), (&b"aaaaaaaa"[..], &b"cccccccc"[..]));
    drop((ring, a, c));
}

#[test]
fn completions_that_hand_out_buffers_come_before_the_enobufs_they_cause() {
    let pool = ReceivePool::new(2, 8).unwrap();
    let (near_a, far_a) = tcp_pair();
    let (near_b, far_b) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    (&far_a).write_all(&[1; 16]).unwrap();
    (&far_b).write_all(&[2; 8]).unwrap();
    ring.push(1, recv_multi(&near_a));
    ring.push(2, recv_multi(&near_b));
    let done = ring.wait(3);
    let lack = done
        .iter()
        .position(|d| d.result == -libc::ENOBUFS)
        .unwrap();
    let handed = done[..lack]
        .iter()
        .filter(|d| cqueue::buffer_select(d.flags).is_some())
        .count();
    assert_eq!(handed, 2, "{done:?}");
    drop(ring);
}

#[test]
fn a_cancelled_receive_ends_without_more_and_leaves_unread_bytes_in_the_socket() {
    let pool = ReceivePool::new(4, 8).unwrap();
    let (mut near, far) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    ring.push(1, recv_multi(&near));
    ring.enter();
    ring.push(2, opcode::AsyncCancel::new(1).build());
    let mut done = ring.wait(2);
    done.sort_by_key(|d| d.tag);
    assert_eq!((done[0].result, done[0].more()), (-libc::ECANCELED, false));
    assert!(
        cqueue::buffer_select(done[0].flags).is_none(),
        "a cancellation takes no buffer along"
    );
    (&far).write_all(b"later").unwrap();
    let mut bytes = [0; 5];
    near.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"later");
    drop(ring);
}

#[test]
fn a_silent_send_that_succeeds_posts_nothing() {
    let (near, mut far) = tcp_pair();
    let mut ring = Ring::new();
    ring.push(1, send_now(&near, b"quiet"));
    assert!(ring.enter().is_empty());
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"quiet");
    assert!(ring.enter().is_empty());
}

#[test]
fn a_silent_send_to_a_full_socket_posts_eagain_within_its_enter() {
    let (near, _far) = tcp_pair();
    fill(&near);
    let mut ring = Ring::new();
    ring.push(1, send_now(&near, &[7; 1024]));
    let done = ring.enter();
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!((done[0].tag, done[0].result), (1, -libc::EAGAIN));
}

#[test]
fn a_silent_send_that_fits_in_part_posts_its_count_within_its_enter() {
    let (near, mut far) = tcp_pair();
    socket2::SockRef::from(&near)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    socket2::SockRef::from(&far)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    let bytes = vec![9; 32 << 20];
    let mut ring = Ring::new();
    ring.push(1, send_now(&near, &bytes));
    let done = ring.enter();
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(
        done[0].result > 0 && (done[0].result as usize) < bytes.len(),
        "{done:?}"
    );
    drop(near);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).unwrap();
    assert_eq!(
        sent.len(),
        done[0].result as usize,
        "the count is what was taken"
    );
}

#[test]
fn a_silent_send_to_a_peer_that_is_gone_posts_its_error() {
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let mut ring = Ring::new();
    ring.push(1, send_now(&near, b"x"));
    let done = ring.enter();
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(done[0].result, -libc::EPIPE);

    let (near, far) = tcp_pair();
    socket2::SockRef::from(&far)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(far);
    ring.push(2, send_now(&near, b"x"));
    let done = ring.enter();
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(
        [-libc::EPIPE, -libc::ECONNRESET].contains(&done[0].result),
        "{done:?}"
    );
}

#[test]
fn silent_sends_of_one_enter_leave_in_order() {
    let (near, mut far) = tcp_pair();
    let mut ring = Ring::new();
    for piece in [&b"one "[..], b"two ", b"three"] {
        ring.push(1, send_now(&near, piece));
    }
    assert!(ring.enter().is_empty());
    let mut bytes = [0; 13];
    far.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one two three");
}

#[test]
fn the_ring_waits_on_a_nonblocking_socket_too() {
    let pool = ReceivePool::new(4, 64).unwrap();
    let (near, mut far) = tcp_pair();
    fill(&near);
    set_nonblocking(near.as_fd()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_nonblocking(listener.as_fd()).unwrap();
    let mut ring = Ring::new();
    ring.lend(&pool);
    let bytes = [1; 16];
    ring.push(1, recv_multi(&near));
    ring.push(2, opcode::Send::new(fd(&near), bytes.as_ptr(), 16).build());
    ring.push(3, opcode::AcceptMulti::new(fd(&listener)).build());
    assert!(
        ring.enter().is_empty(),
        "EAGAIN would have been here by now"
    );
    far.write_all(b"in").unwrap();
    let received = ring.one();
    assert_eq!(
        (received.tag, received.result, received.more()),
        (1, 2, true)
    );
    let drain = std::thread::spawn(move || while far.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {});
    let sent = ring.one();
    assert_eq!((sent.tag, sent.result), (2, 16));
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = ring.one();
    assert!(accepted.tag == 3 && accepted.result >= 0 && accepted.more());
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(accepted.result) });
    drop(ring);
    near.shutdown(std::net::Shutdown::Both).unwrap();
    drain.join().unwrap();
}

#[test]
fn a_receive_armed_before_the_socket_became_nonblocking_stays_armed() {
    let pool = ReceivePool::new(4, 64).unwrap();
    let (near, far) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    ring.push(1, recv_multi(&near));
    assert!(ring.enter().is_empty());
    set_nonblocking(near.as_fd()).unwrap();
    for _ in 0..3 {
        (&far).write_all(b"more").unwrap();
        let done = ring.one();
        assert_eq!((done.result, done.more()), (4, true));
    }
    drop(ring);
}

#[test]
fn a_read_of_an_eventfd_waits_for_a_write_and_resets_the_counter() {
    let event = EventFd::new().unwrap();
    let mut counter = [0_u8; 8];
    let mut ring = Ring::new();
    ring.push(
        1,
        opcode::Read::new(fd(&event.as_fd()), counter.as_mut_ptr(), 8).build(),
    );
    assert!(ring.enter().is_empty());
    event.write(3).unwrap();
    event.write(4).unwrap();
    assert_eq!(ring.one().result, 8);
    assert_eq!(u64::from_ne_bytes(counter), 7);
    assert_eq!(event.drain().unwrap(), 0);
}

#[test]
fn a_batch_wait_ends_early_with_fewer_completions() {
    let mut ring = Ring::new();
    if !ring.0.params().is_feature_min_timeout() {
        return; // Before 6.12; the driver looks at the same flag.
    }
    ring.push(1, opcode::Nop::new().build());
    let long = types::Timespec::new().sec(5);
    let args = types::SubmitArgs::new()
        .timespec(&long)
        .min_wait_usec(2_000);
    let start = Instant::now();
    ring.0.submitter().submit_with_args(8, &args).unwrap();
    let waited = start.elapsed();
    assert_eq!(ring.gather().len(), 1);
    assert!(
        waited >= Duration::from_millis(2) && waited < Duration::from_secs(4),
        "{waited:?}"
    );

    // With nothing there after the short wait, the first completion ends the long one.
    let event = EventFd::new().unwrap();
    ring.push(
        2,
        opcode::PollAdd::new(fd(&event.as_fd()), libc::POLLIN as u32).build(),
    );
    let limit = types::Timespec::new().nsec(30_000_000);
    let args = types::SubmitArgs::new()
        .timespec(&limit)
        .min_wait_usec(1_000);
    let start = Instant::now();
    // It reports what it submitted, not that the time was up.
    assert_eq!(ring.0.submitter().submit_with_args(8, &args).unwrap(), 1);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(30), "{waited:?}");
    assert!(ring.gather().is_empty());
    let ended = ring.0.submitter().submit_with_args(8, &args).unwrap_err();
    assert_eq!(ended.raw_os_error(), Some(libc::ETIME));
}

#[test]
fn an_operation_outlives_the_descriptor_that_named_it() {
    let pool = ReceivePool::new(4, 64).unwrap();
    let (near, far) = tcp_pair();
    let twin = near.try_clone().unwrap();
    let mut ring = Ring::new();
    ring.lend(&pool);
    ring.push(1, recv_multi(&near));
    assert!(ring.enter().is_empty());
    drop(near);
    (&far).write_all(b"still here").unwrap();
    assert_eq!(ring.one().result, 10);
    drop((ring, twin));
}

#[test]
fn a_peer_sees_no_end_while_an_operation_holds_the_socket() {
    // Which is why an abandoned receive has to be cancelled before its connection closes.
    let pool = ReceivePool::new(4, 64).unwrap();
    let (near, mut far) = tcp_pair();
    let mut ring = Ring::new();
    ring.lend(&pool);
    ring.push(1, recv_multi(&near));
    assert!(ring.enter().is_empty());
    drop(near);
    set_nonblocking(far.as_fd()).unwrap();
    let nothing = far.read(&mut [0; 8]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    ring.push(2, opcode::AsyncCancel::new(1).build());
    ring.wait(2);
    set_blocking(far.as_fd()).unwrap();
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    drop(ring);
}

#[test]
fn an_open_beneath_a_folder_does_not_climb_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("inside"), "x").unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("sub/link")).unwrap();
    let dir = std::fs::File::open(folder.path().join("sub")).unwrap();
    let how = types::OpenHow::new()
        .flags(libc::O_RDONLY as u64)
        .resolve(libc::RESOLVE_BENEATH);
    let mut ring = Ring::new();
    for (path, expected) in [
        (c"../inside", -libc::EXDEV),
        (c"link", -libc::EXDEV),
        (c"none", -libc::ENOENT),
    ] {
        ring.push(
            1,
            opcode::OpenAt2::new(fd(&dir), path.as_ptr(), &how).build(),
        );
        assert_eq!(ring.one().result, expected, "{path:?}");
    }
    let top = std::fs::File::open(folder.path()).unwrap();
    ring.push(
        1,
        opcode::OpenAt2::new(fd(&top), c"inside".as_ptr(), &how).build(),
    );
    let opened = ring.one().result;
    assert!(opened >= 0);
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(opened) });
}
