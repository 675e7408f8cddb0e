//! `eventfd(2)`: a counter that one thread adds to and another waits on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A wake-up counter, close-on-exec.
///
/// The descriptor is in blocking mode, so that a ring may wait in a read of it;
/// [`EventFd::drain`] itself never waits.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// Makes one with the counter at 0.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes no pointers.
        let fd = super::check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }.into())?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };
        Ok(EventFd { fd })
    }

    /// Adds `count` and wakes the thread that waits.
    pub fn write(&self, count: u64) -> io::Result<()> {
        let bytes = count.to_ne_bytes();
        // SAFETY: the kernel reads the 8 bytes of a live array.
        super::retry(|| unsafe {
            libc::write(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) as libc::c_long
        })?;
        Ok(())
    }

    /// Resets the counter to 0 and returns its value before; 0 when nothing was written.
    pub fn drain(&self) -> io::Result<u64> {
        let mut bytes = [0_u8; 8];
        let piece = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the one iovec covers exactly the local array; offset -1 means
        // "no position", as a counter has none.
        let result = super::retry(|| unsafe {
            libc::preadv2(self.fd.as_raw_fd(), &piece, 1, -1, libc::RWF_NOWAIT) as libc::c_long
        });
        match result {
            Ok(_) => Ok(u64::from_ne_bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
