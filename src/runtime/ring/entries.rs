//! Operations as submission queue entries.

use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types};

use super::RECEIVE_GROUP;
use super::operations::TrackedOperation;
use crate::runtime::driver::{Handle, Interest, Op};
use crate::runtime::send_buf::SendBuf;

/// Buffers that one vectored send may have.
pub(super) const VECTORED_MAX: usize = 64;

/// The structures that an entry points to besides the operation's buffers. Boxed, since tracked
/// operations move when their table grows.
pub(super) struct Scratch(Box<Structures>);

struct Structures {
    message: libc::msghdr,
    parts: [libc::iovec; VECTORED_MAX],
    how: types::OpenHow,
}

impl Scratch {
    fn new() -> Self {
        // SAFETY: msghdr and iovec are plain C structures for which all zeroes (null pointers,
        // zero lengths) is a valid value.
        let (message, parts) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self(Box::new(Structures {
            message,
            parts,
            how: types::OpenHow::new(),
        }))
    }
}

impl Structures {
    /// Points `message` at the bytes of `bufs`, which must live as long as the operation.
    #[inline]
    fn gather(&mut self, bufs: &[SendBuf]) {
        let mut count = 0;
        for (part, from) in self.parts.iter_mut().zip(parts_of(bufs)) {
            *part = from;
            count += 1;
        }
        self.message.msg_iov = self.parts.as_mut_ptr();
        self.message.msg_iovlen = count;
    }
}

fn fd(handle: &Handle) -> types::Fd {
    types::Fd(handle.as_fd().as_raw_fd())
}

fn parts_of(bufs: &[SendBuf]) -> impl Iterator<Item = libc::iovec> {
    bufs.iter()
        .filter(|b| !b.is_empty())
        .take(VECTORED_MAX)
        .map(|b| libc::iovec {
            iov_base: b.as_slice().as_ptr().cast_mut().cast(),
            iov_len: b.len(),
        })
}

/// The kernel takes lengths as `u32`; a longer send completes short and is continued.
fn length(bytes: usize) -> u32 {
    bytes.min(1 << 30) as u32
}

/// Builds the submission entry of an operation. Every pointer in it goes to heap
/// memory (or a static) owned by the operation or its scratch, at an address that does
/// not change when the tracked operation itself moves.
pub(super) fn build(tracked: &mut TrackedOperation) -> squeue::Entry {
    let Some(op) = tracked.op.as_mut() else {
        return opcode::Nop::new().build();
    };
    match op {
        Op::Accept { listener } => opcode::AcceptMulti::new(fd(listener))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build(),
        Op::Receive { socket } => opcode::RecvMulti::new(fd(socket), RECEIVE_GROUP).build(),
        Op::Send { socket, buf, more } => {
            let flags = libc::MSG_NOSIGNAL | more_flag(*more);
            let bytes = buf.as_slice();
            opcode::Send::new(fd(socket), bytes.as_ptr(), length(bytes.len()))
                .flags(flags)
                .build()
        }
        Op::SendNow { socket, buf, more } => {
            let flags =
                libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT | more_flag(*more);
            let bytes = buf.as_slice();
            opcode::Send::new(fd(socket), bytes.as_ptr(), length(bytes.len()))
                .flags(flags)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
        }
        Op::SendVectored { socket, bufs, more } => {
            let Scratch(scratch) = tracked.scratch.get_or_insert_with(Scratch::new);
            scratch.gather(bufs);
            let flags = libc::MSG_NOSIGNAL | more_flag(*more);
            opcode::SendMsg::new(fd(socket), &raw const scratch.message)
                .flags(flags as u32)
                .build()
        }
        Op::ReadAt {
            file,
            buf,
            offset,
            blocking,
        } => {
            let entry = opcode::Read::new(fd(file), buf.as_mut_ptr(), length(buf.capacity()))
                .offset(*offset)
                .build();
            if *blocking {
                entry.flags(squeue::Flags::ASYNC)
            } else {
                entry
            }
        }
        Op::Open { dir, path, how } => {
            let Scratch(scratch) = tracked.scratch.get_or_insert_with(Scratch::new);
            scratch.how = types::OpenHow::new().flags(how.flags).resolve(how.resolve);
            let dir = types::Fd(dir.as_fd().as_raw_fd());
            opcode::OpenAt2::new(dir, path.as_ptr(), &raw const scratch.how).build()
        }
        Op::Poll {
            fd: target,
            interest,
        } => {
            let events = poll_events(*interest) as u32;
            opcode::PollAdd::new(fd(target), events).build()
        }
        Op::Connect { socket, address } => {
            opcode::Connect::new(fd(socket), address.as_ptr().cast(), address.len()).build()
        }
    }
}

fn poll_events(interest: Interest) -> i16 {
    match interest {
        Interest::Readable => libc::POLLIN,
        Interest::Writable => libc::POLLOUT,
        Interest::PeerEnd => libc::POLLRDHUP,
    }
}

fn more_flag(more: bool) -> i32 {
    if more { libc::MSG_MORE } else { 0 }
}
