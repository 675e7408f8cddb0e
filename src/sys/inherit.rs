//! Listening descriptors that a service manager passes to the program: the protocol of
//! `sd_listen_fds(3)`.

use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: libc::c_int = 3;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// How many descriptors were passed to this process by its environment: `LISTEN_FDS` if
/// `LISTEN_PID` is this process's number, else 0.
pub fn passed() -> usize {
    let number = |name| env::var(name).ok()?.parse::<usize>().ok();
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() as usize => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// Takes over the descriptors that [`passed`] counts, from 3 on, and sets
/// close-on-exec. Works once in a process: a later call finds none.
///
/// Errors: `EBADF` when one of them isn't open.
pub fn take_passed() -> io::Result<Vec<OwnedFd>> {
    let count = passed();
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let numbers = (FIRST..).take(count);
    for number in numbers.clone() {
        // SAFETY: F_SETFD takes an integer, no pointer, and fails on a number
        // that isn't open.
        super::check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    }
    Ok(numbers
        // SAFETY: the environment names this number as open since before `main` and given to this
        // process to own, and `TAKEN` prevents a second owner.
        .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
        .collect())
}
