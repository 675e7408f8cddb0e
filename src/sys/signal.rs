//! Signals as values that one thread waits for, instead of handlers.
//!
//! Block them before the first thread starts, so that every thread inherits the
//! mask and only the waiting one sees them.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal as nix_signal;
use nix_signal::{SigHandler, SigSet};

/// A signal that the server acts on.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT (Ctrl-C).
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    const ALL: [Signal; 6] = [
        Signal::Terminate,
        Signal::Interrupt,
        Signal::Quit,
        Signal::Hangup,
        Signal::User1,
        Signal::User2,
    ];

    fn to_nix(self) -> nix_signal::Signal {
        match self {
            Signal::Terminate => nix_signal::Signal::SIGTERM,
            Signal::Interrupt => nix_signal::Signal::SIGINT,
            Signal::Quit => nix_signal::Signal::SIGQUIT,
            Signal::Hangup => nix_signal::Signal::SIGHUP,
            Signal::User1 => nix_signal::Signal::SIGUSR1,
            Signal::User2 => nix_signal::Signal::SIGUSR2,
        }
    }

    fn from_number(number: i32) -> Option<Signal> {
        Signal::ALL
            .into_iter()
            .find(|signal| signal.to_nix() as i32 == number)
    }
}

fn set() -> SigSet {
    Signal::ALL.into_iter().map(Signal::to_nix).collect()
}

/// Blocks every [`Signal`] in this thread and all that it starts from now on,
/// and ignores SIGPIPE in the process.
pub fn block() -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler, so no code of this program can run inside a
    // signal handler.
    unsafe { nix_signal::signal(nix_signal::Signal::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(set().thread_block()?)
}

/// Waits for the next blocked signal, by `sigwaitinfo(2)`. Needs [`block`] first.
pub fn wait() -> io::Result<Signal> {
    loop {
        match wait_once(None) {
            Ok(Some(signal)) => return Ok(signal),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the next blocked signal at most this long; `None` when none came.
pub fn wait_timeout(timeout: Duration) -> io::Result<Option<Signal>> {
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        match wait_once(Some(left)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn wait_once(timeout: Option<Duration>) -> io::Result<Option<Signal>> {
    let set = set();
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the set and the timeout (null means without limit) are locals that outlive the call;
    // a null siginfo is allowed.
    let number = unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), timeout) };
    match super::check(number.into()) {
        Ok(_) => Ok(Signal::from_number(number)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
