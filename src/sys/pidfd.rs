//! Other processes' descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A descriptor that names a process (`pidfd_open(2)`, Linux 5.3). Errors: `ESRCH`
/// where there is none.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes two integers and no pointer.
    let fd = super::check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A duplicate of another process's descriptor (`pidfd_getfd(2)`, Linux 5.6). Errors: `EPERM`
/// without the right to trace it (PTRACE_MODE_ATTACH_REALCREDS of ptrace(2)), `EBADF` where it
/// has closed it.
pub fn duplicate(process: BorrowedFd<'_>, fd: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes three integers and no pointer.
    let fd =
        super::check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })?;
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
