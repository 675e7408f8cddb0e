//! `poll(2)` on one descriptor: whether a read or a write would have to wait.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits up to `timeout_ms` until a write of up to 4096 bytes (PIPE_BUF, pipe(7)) to `fd` would
/// not block. `Ok(false)`: the time is up. A file is always ready, and so is a pipe or socket
/// whose other end is closed: the write itself then gives the error.
pub fn is_writable(fd: BorrowedFd<'_>, timeout_ms: u16) -> io::Result<bool> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: the pointer is to one live pollfd, and the count is 1.
    let ready = super::retry(|| unsafe {
        libc::poll(&raw mut polled, 1, timeout_ms.into()) as libc::c_long
    })?;
    Ok(ready > 0)
}

/// What a descriptor is ready for (poll(2), epoll(7): the bits have the same values).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ready {
    /// A read gives bytes, the end of the stream or an error.
    pub readable: bool,
    /// A write takes bytes or gives an error.
    pub writable: bool,
    /// The peer has ended its sending direction.
    pub peer_end: bool,
    /// A TCP peer has sent urgent data.
    pub urgent: bool,
    /// The events as the kernel gives them.
    pub bits: u32,
}

impl Ready {
    /// What these events mean. An error, or a hang-up of both directions, ends every wait.
    pub fn of_bits(bits: u32) -> Ready {
        let has = |events: i16| bits & u32::from(events.cast_unsigned()) != 0;
        let over = has(libc::POLLERR | libc::POLLHUP);
        Ready {
            readable: over || has(libc::POLLIN | libc::POLLRDHUP),
            writable: over || has(libc::POLLOUT),
            peer_end: over || has(libc::POLLRDHUP),
            urgent: has(libc::POLLPRI),
            bits,
        }
    }
}

/// What a descriptor is ready for at this moment.
pub fn ready_now(fd: BorrowedFd<'_>) -> io::Result<Ready> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the pointer is to one live pollfd, and the count is 1.
    super::retry(|| unsafe { libc::poll(&raw mut polled, 1, 0) as libc::c_long })?;
    Ok(Ready::of_bits(u32::from(polled.revents.cast_unsigned())))
}

/// Waits until a read of `fd` would not block, at most `timeout`, to the nanosecond (`ppoll(2)`).
/// A signal ends the wait.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the pointers are to one live pollfd and one live timespec; no signal mask is given.
    let result = unsafe { libc::ppoll(&raw mut polled, 1, &raw const timeout, std::ptr::null()) };
    match super::check(result.into()) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};
    use std::os::fd::AsFd;

    use super::*;

    fn ready(pipe: &PipeWriter) -> bool {
        is_writable(pipe.as_fd(), 0).expect("a poll")
    }

    #[test]
    fn a_pipe_is_writable_until_it_is_full() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        assert!(ready(&writer));
        let mut written = 0;
        while ready(&writer) {
            writer.write_all(&[0; 4096]).expect("room");
            written += 4096;
            assert!(written < 1 << 30, "a pipe has a bound");
        }
        drop(reader);
        assert!(ready(&writer), "an error is no wait");
    }
}
