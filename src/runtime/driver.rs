//! The driver seam: one vocabulary of operations and completions.
//!
//! A driver owns every operation from `start` to its last completion, with the buffers and
//! descriptors in it. Dropping the future that waits for an operation only *asks* for its end: what
//! the operation owns stays in place until the kernel no longer uses it. This makes the interface
//! safe.

use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::foreign;
use super::send_buf::SendBuf;
use crate::buffers::{ReceiveBuf, ReceivePool};

/// A shared descriptor: an operation in flight keeps it open, so that its
/// number can't be given to another file meanwhile.
pub type Handle = Rc<dyn AsFd>;

/// What a descriptor is polled for (poll(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// POLLIN
    Readable,
    /// POLLOUT
    Writable,
    /// POLLRDHUP: the peer has ended its sending direction.
    PeerEnd,
}

/// How to open a path (openat2(2)); the fields are passed on as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// `O_*`
    pub flags: u64,
    /// `RESOLVE_*`
    pub resolve: u64,
}

/// An operation.
pub enum Op {
    /// Accepts connections, as non-blocking sockets, until it fails or is cancelled (multishot).
    Accept {
        /// A listening socket.
        listener: Handle,
    },
    /// Receives into the driver's buffers until end of stream, error or cancellation (multishot).
    Receive {
        /// A connected socket.
        socket: Handle,
    },
    /// Sends `buf`; may complete short.
    Send {
        /// A connected socket.
        socket: Handle,
        /// The bytes to send.
        buf: SendBuf,
        /// More bytes follow at once (MSG_MORE of send(2)).
        more: bool,
    },
    /// Sends all of `buf` at once or completes short or with EAGAIN, never waiting. Its success
    /// is silent: the operation is forgotten as soon as the kernel has taken every byte.
    SendNow {
        /// A connected socket.
        socket: Handle,
        /// The bytes to send.
        buf: SendBuf,
        /// More bytes follow at once (MSG_MORE of send(2)).
        more: bool,
    },
    /// Sends the concatenation of `bufs`; may complete short.
    SendVectored {
        /// A connected socket.
        socket: Handle,
        /// The parts, in order; empty ones are skipped.
        bufs: Vec<SendBuf>,
        /// More bytes follow at once (MSG_MORE of sendmsg(2)).
        more: bool,
    },
    /// Reads up to `buf`'s capacity at `offset`; with `blocking`, on a worker, never on the shard.
    ReadAt {
        /// The file to read.
        file: Handle,
        /// Its content is replaced; its length becomes the number of bytes read.
        buf: Vec<u8>,
        /// Where to begin in the file, in bytes.
        offset: u64,
        /// A worker thread of the kernel reads, without a first try on the shard (IOSQE_ASYNC).
        blocking: bool,
    },
    /// Opens `path` below `dir`.
    Open {
        /// The folder where a relative path begins (`dirfd` of openat2(2)).
        dir: Handle,
        /// The path to open.
        path: CString,
        /// How to open it (`struct open_how`).
        how: OpenFlags,
    },
    /// Waits until the descriptor is ready.
    Poll {
        /// The descriptor to poll.
        fd: Handle,
        /// The event that it waits for.
        interest: Interest,
    },
    /// Connects a socket.
    Connect {
        /// A socket that is not connected yet.
        socket: Handle,
        /// The address of the peer (`addr` and `addrlen` of connect(2)).
        address: Box<socket2::SockAddr>,
    },
}

impl Op {
    /// The kinds of operations, in the order of their [`kind`](Self::kind).
    pub const KINDS: [&'static str; 9] = [
        "accept",
        "receive",
        "send",
        "send now",
        "send vectored",
        "read",
        "open",
        "poll",
        "connect",
    ];

    /// Which of [`KINDS`](Self::KINDS) this is.
    pub fn kind(&self) -> usize {
        match self {
            Op::Accept { .. } => 0,
            Op::Receive { .. } => 1,
            Op::Send { .. } => 2,
            Op::SendNow { .. } => 3,
            Op::SendVectored { .. } => 4,
            Op::ReadAt { .. } => 5,
            Op::Open { .. } => 6,
            Op::Poll { .. } => 7,
            Op::Connect { .. } => 8,
        }
    }
}

/// Names an operation in flight; stale keys are recognised by their generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Key {
    /// The key as one word, for the kernel and for records.
    pub(super) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that a word was made of.
    pub(super) fn from_user_data(user_data: u64) -> Self {
        Self {
            index: user_data as u32,
            generation: (user_data >> 32) as u32,
        }
    }
}

/// The outcome of a single operation: what it owned, and the kernel's result.
pub struct Outcome {
    /// The operation, with its buffers and descriptors.
    pub op: Op,
    /// The kernel's result: a count of bytes, the poll(2) events that are ready, or 0; or its
    /// errno.
    pub result: io::Result<u32>,
}

/// One completion of a multishot operation.
pub enum MultishotEvent {
    /// A new descriptor: a connection, or an opened file.
    Accepted(OwnedFd),
    /// Bytes from the peer, at least one.
    Received(ReceiveBuf),
    /// End of stream.
    End,
    /// The operation is over and must be started again to continue: the driver ended it without an
    /// error, or after a temporary one (no buffer, too many unread).
    Stopped(StopReason),
    /// The operation is over with this error.
    Failed(io::Error),
}

/// Why a multishot operation ended without having failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Start it again at once.
    Rearm,
    /// All receive buffers are in use: start again when one has been returned.
    NoBuffer,
}

/// How long a turn may wait.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The longest wait; `None`: until something completes; zero: not at all.
    pub timeout: Option<Duration>,
    /// Completions that end the wait at once.
    pub batch: u32,
    /// How long to wait for `batch` completions; after that a single one ends the wait.
    pub batch_wait: Duration,
}

/// Counters of a driver since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverStats {
    /// Waits for the kernel: calls of `io_uring_enter`, or of `epoll_wait`.
    pub enters: u64,
    /// Operations handed over.
    pub submissions: u64,
    /// Completions taken.
    pub completions: u64,
    /// Completions that the kernel had to hold back because the queue was full.
    pub overflows: u64,
}

/// Foreign values that a driver no longer needs; see [`Driver::retired`].
#[derive(Default)]
pub struct Retired {
    /// Operations that are over, with their buffers and descriptors.
    pub ops: Vec<Op>,
    /// Wakers of operations that are over or have a new one.
    pub wakers: Vec<Waker>,
}

impl Retired {
    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.wakers.is_empty()
    }

    /// Drops everything, and keeps the vectors' memory; returns how many destructors panicked.
    pub(super) fn drop_contained(&mut self) -> usize {
        let panics = Cell::new(0);
        let drop_op = |op| match op {
            // Several buffers of foreign types in one operation: drop them one by one.
            Op::SendVectored { socket, bufs, .. } => {
                let dropped = foreign::drop_each(bufs) + foreign::drop_each([socket]);
                panics.set(panics.get() + dropped);
            }
            op => drop(op),
        };
        let dropped = foreign::contain_each(self.ops.drain(..), drop_op)
            + foreign::drop_each(self.wakers.drain(..));
        panics.get() + dropped
    }
}

/// A source of completions.
pub trait Driver {
    /// Takes an operation; it reaches the kernel with the next [`turn`](Driver::turn).
    fn start(&mut self, op: Op) -> Key;

    /// The outcome of a single operation; `None` for a key that is no longer known, which belonged
    /// to an [`Op::SendNow`] that succeeded.
    fn poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<Option<Outcome>>;

    /// The next completion of a multishot operation. After anything but
    /// `Accepted` or `Received` the operation is over and its key is gone.
    fn poll_event(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<MultishotEvent>;

    /// Requests the cancellation of an operation whose future still waits. The completions so far,
    /// and those that precede the one of the cancellation, are still reported.
    fn cancel(&mut self, key: Key);

    /// Abandons an operation: requests its cancellation, undoes results that arrive until it ends
    /// (closes a connection, returns a receive buffer) and then forgets it.
    fn abandon(&mut self, key: Key);

    /// Submits what was started, waits as `wait` says, and gathers the wakers of operations that
    /// completed. Returns the time of the wait's end, by `CLOCK_MONOTONIC`, in ns.
    fn turn(&mut self, wait: Wait, wakers: &mut Vec<Waker>) -> io::Result<u64>;

    /// Foreign values that the driver no longer needs, for its owner to drop while the driver
    /// is not borrowed: their destructors may use the driver, and may panic.
    fn retired(&mut self) -> &mut Retired;

    /// Abandons all operations and waits, for a bounded time, until the kernel has ended them.
    fn end(&mut self);

    /// Operations that the kernel may still touch.
    fn in_flight(&self) -> usize;

    /// The pool that [`Op::Receive`] fills.
    fn receive_pool(&self) -> Rc<ReceivePool>;

    /// The driver's counters so far.
    fn stats(&self) -> DriverStats;

    /// One word for banners and metrics.
    fn name(&self) -> &'static str;
}
