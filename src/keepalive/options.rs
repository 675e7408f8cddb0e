//! Sets a policy's socket options, and reads them back.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Policy, Probes};
use crate::sys;

/// Sets a policy's options on a TCP socket. Connections accepted from a listening socket inherit
/// its options, which saves a call for each.
///
/// # Errors
/// `EINVAL` for values that [`Policy::in_range`] refuses.
pub fn set(fd: BorrowedFd<'_>, policy: &Policy) -> io::Result<()> {
    policy
        .in_range()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    if let Some(probes) = &policy.probes {
        sys::keepalive::set_times(fd, probes.idle_s, probes.interval_s, probes.count)?;
    }
    sys::keepalive::set(fd, policy.probes.is_some())?;
    sys::keepalive::set_user_timeout_ms(fd, policy.user_timeout_ms)
}

/// The options that a TCP socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actual {
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// TCP_KEEPIDLE, in seconds.
    pub idle_s: u64,
    /// TCP_KEEPINTVL, in seconds.
    pub interval_s: u64,
    /// TCP_KEEPCNT.
    pub probes: u64,
    /// TCP_USER_TIMEOUT, in milliseconds.
    pub user_timeout_ms: u64,
}

impl Actual {
    /// Whether these are what `policy` asks for.
    pub fn is_of(&self, policy: &Policy) -> bool {
        let probes = self.keepalive.then_some(Probes {
            idle_s: self.idle_s,
            interval_s: self.interval_s,
            count: self.probes,
        });
        (probes, self.user_timeout_ms) == (policy.probes, policy.user_timeout_ms)
    }
}

/// Reads the options back from a TCP socket.
pub fn get(fd: BorrowedFd<'_>) -> io::Result<Actual> {
    let (idle_s, interval_s, probes) = sys::keepalive::times(fd)?;
    Ok(Actual {
        keepalive: sys::keepalive::is_set(fd)?,
        idle_s,
        interval_s,
        probes,
        user_timeout_ms: sys::keepalive::user_timeout_ms(fd)?,
    })
}
