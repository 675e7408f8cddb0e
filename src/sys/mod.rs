//! Thin safe wrappers over single system calls: one concern per file, no policy.
//!
//! Every wrapper takes borrowed descriptors, returns [`std::io::Error`] with the
//! kernel's errno untouched unless its docs say otherwise, and retries `EINTR`.

pub mod atomic_ref;
pub mod cpu;
pub mod dir;
pub mod epoll;
pub mod ethtool;
pub mod eventfd;
pub mod file;
pub mod inherit;
pub mod inotify;
pub mod keepalive;
pub mod link;
pub mod link_walk;
pub mod memory;
pub mod open;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod ready;
pub mod rlimit;
pub mod scheduling;
pub mod signal;
pub mod socket;
pub mod sync;
pub mod tcp_table;
pub mod time;
pub mod transfer;
pub mod word_waker;

use std::io;

/// Turns the `-1` of a system call into the thread's errno.
fn check(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Runs a system call again for as long as a signal interrupts it.
fn retry(mut call: impl FnMut() -> libc::c_long) -> io::Result<usize> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
