//! `poll(2)` on one descriptor: whether a write would have to wait.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
