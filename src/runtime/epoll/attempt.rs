//! One operation's system call, without waiting.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::runtime::driver::{Handle, Interest, Op, OpenFlags};
use crate::runtime::send_buf::SendBuf;
use crate::sys::open::{OpenHow, openat2};
use crate::sys::ready::{Ready, ready_now};
use crate::sys::{self, transfer};

pub(super) const ALWAYS_READY: i32 = Errno::EPERM as i32;
pub(super) const CANCELLED: i32 = Errno::ECANCELED as i32;

/// How an attempt ended.
pub(super) enum Attempt {
    /// With this result.
    Done(io::Result<u32>),
    /// An open, with this.
    Opened(OwnedFd),
    /// It has to wait for this descriptor.
    Wait(Handle),
    /// It may have to wait for a disk.
    Work,
}

/// Makes the operation's call; `is_first`: it was not tried before.
pub(super) fn attempt(op: &mut Op, is_first: bool) -> Attempt {
    match op {
        // They take from the kernel when they are polled.
        Op::Accept { listener } => match transfer::set_nonblocking((**listener).as_fd()) {
            Ok(()) => Attempt::Wait(listener.clone()),
            Err(error) => Attempt::Done(Err(error)),
        },
        Op::Receive { socket } => Attempt::Wait(socket.clone()),
        Op::Send { socket, buf, more } => {
            let sent = transfer::send((**socket).as_fd(), buf.as_slice(), send_flags(*more));
            or_wait(socket, sent)
        }
        Op::SendNow { socket, buf, more } => {
            Attempt::Done(send_now(socket, buf, *more).map(|sent| sent as u32))
        }
        Op::SendVectored { socket, bufs, more } => {
            let full = bufs.iter().filter(|buf| !buf.is_empty());
            let pieces: Vec<&[u8]> = full
                .take(transfer::VECTORED_MAX)
                .map(SendBuf::as_slice)
                .collect();
            let sent = transfer::send_vectored((**socket).as_fd(), &pieces, send_flags(*more));
            or_wait(socket, sent)
        }
        // Anything but a file is waited for, since nothing ends a worker's read of a silent pipe.
        Op::ReadAt {
            file,
            blocking: true,
            ..
        } if is_file((**file).as_fd()) => Attempt::Work,
        Op::ReadAt {
            file, buf, offset, ..
        } => read(file, buf, *offset),
        Op::Open { dir, path, how } => open(dir, path, *how),
        Op::Poll { fd, interest } => match ready_now((**fd).as_fd()) {
            Ok(ready) if is_ready(*interest, ready) => Attempt::Done(Ok(ready.bits)),
            Ok(_) => Attempt::Wait(fd.clone()),
            Err(error) => Attempt::Done(Err(error)),
        },
        Op::Connect { socket, address } if is_first => {
            let begun = transfer::set_nonblocking((**socket).as_fd())
                .and_then(|()| sys::socket::connect((**socket).as_fd(), address));
            match begun {
                Ok(true) => Attempt::Done(Ok(0)),
                Ok(false) => Attempt::Wait(socket.clone()),
                Err(error) => Attempt::Done(Err(error)),
            }
        }
        Op::Connect { socket, .. } => connected(socket),
    }
}

/// What needs no disk to be found. `O_NONBLOCK` keeps the open of a FIFO from waiting for its other
/// end, as RESOLVE_CACHED does not.
fn open(dir: &Handle, path: &CStr, how: OpenFlags) -> Attempt {
    let bits = |flag: OFlag| u64::from(flag.bits().cast_unsigned());
    let leaves_mode = how.flags & (bits(OFlag::O_PATH) | bits(OFlag::O_NONBLOCK)) != 0;
    let nonblocking = match leaves_mode {
        true => 0,
        false => bits(OFlag::O_NONBLOCK),
    };
    let cached = OpenHow::of(how.flags | nonblocking, how.resolve).cached();
    let opened = openat2((**dir).as_fd(), path, &cached).and_then(|fd| {
        if !leaves_mode {
            transfer::set_blocking(fd.as_fd())?;
        }
        Ok(fd)
    });
    match opened {
        Ok(fd) => Attempt::Opened(fd),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Work,
        // A FIFO without a reader; a worker waits for one.
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Attempt::Work,
        Err(error) => Attempt::Done(Err(error)),
    }
}

/// A connect that was begun.
fn connected(socket: &Handle) -> Attempt {
    let fd = (**socket).as_fd();
    match ready_now(fd) {
        Ok(ready) if !ready.writable => Attempt::Wait(socket.clone()),
        Ok(_) => Attempt::Done(match sys::socket::take_error(fd) {
            Ok(None) => Ok(0),
            Ok(Some(error)) | Err(error) => Err(error),
        }),
        Err(error) => Attempt::Done(Err(error)),
    }
}

/// From a file what is in the page cache, from anything else what has come.
fn read(file: &Handle, buf: &mut Vec<u8>, offset: u64) -> Attempt {
    let fd = (**file).as_fd();
    let error = match transfer::read_nowait(fd, buf, offset) {
        Ok(read) => return Attempt::Done(Ok(read as u32)),
        Err(error) => error,
    };
    let would_block = error.kind() == io::ErrorKind::WouldBlock;
    if !would_block && error.raw_os_error() != Some(Errno::EOPNOTSUPP as i32) {
        return Attempt::Done(Err(error));
    }
    // Also one of /proc or /sys, which epoll accepts but reports once only.
    if is_file(fd) {
        return Attempt::Work;
    }
    if would_block {
        return Attempt::Wait(file.clone());
    }
    // A queue or a pipe for which the kernel can't promise not to wait, and that has something:
    // it gives that at once, since a shard is the only reader of what it reads.
    match ready_now(fd) {
        Ok(ready) if ready.readable => match transfer::read_waiting(fd, buf, offset) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Wait(file.clone()),
            read => Attempt::Done(read.map(|read| read as u32)),
        },
        Ok(_) => Attempt::Wait(file.clone()),
        Err(error) => Attempt::Done(Err(error)),
    }
}

fn is_file(fd: BorrowedFd<'_>) -> bool {
    sys::file::stamp(fd).is_ok_and(|(kind, _)| kind == sys::file::Kind::File)
}

/// Sends all, or as much as the socket takes.
fn send_now(socket: &Handle, buf: &SendBuf, more: bool) -> io::Result<usize> {
    let bytes = buf.as_slice();
    let mut sent = 0;
    while sent < bytes.len() {
        match transfer::send((**socket).as_fd(), &bytes[sent..], send_flags(more)) {
            Ok(count) => sent += count,
            // What was taken counts, and the next send gets the error.
            Err(_) if sent > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

fn or_wait(socket: &Handle, sent: io::Result<usize>) -> Attempt {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Wait(socket.clone()),
        result => Attempt::Done(result.map(|sent| sent as u32)),
    }
}

fn send_flags(more: bool) -> i32 {
    let more = if more { transfer::MSG_MORE } else { 0 };
    transfer::MSG_DONTWAIT | more
}

/// Whether a poll for this has its answer.
pub(super) fn is_ready(interest: Interest, ready: Ready) -> bool {
    match interest {
        Interest::Readable => ready.readable,
        Interest::Writable => ready.writable,
        Interest::PeerEnd => ready.peer_end,
    }
}

/// The descriptor that an operation may wait for.
pub(super) fn waits_for(op: &Op) -> Option<&Handle> {
    match op {
        Op::Accept { listener: handle }
        | Op::Receive { socket: handle }
        | Op::Send { socket: handle, .. }
        | Op::SendVectored { socket: handle, .. }
        | Op::ReadAt { file: handle, .. }
        | Op::Poll { fd: handle, .. }
        | Op::Connect { socket: handle, .. } => Some(handle),
        Op::SendNow { .. } | Op::Open { .. } => None,
    }
}
