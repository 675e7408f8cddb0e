//! TCP keepalive and TCP_USER_TIMEOUT (socket(7), tcp(7)).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Turns probes on or off (`SO_KEEPALIVE`).
pub fn set(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    SockRef::from(&fd).set_keepalive(on)
}

/// Whether probes are on (`SO_KEEPALIVE`).
pub fn is_set(fd: BorrowedFd<'_>) -> io::Result<bool> {
    SockRef::from(&fd).keepalive()
}

/// Sets `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in seconds and `TCP_KEEPCNT`, and turns
/// probes on. Errors: `EINVAL` beyond 32767 s or 127 probes, and for 0.
pub fn set_times(fd: BorrowedFd<'_>, idle_s: u64, interval_s: u64, probes: u64) -> io::Result<()> {
    let times = TcpKeepalive::new()
        .with_time(Duration::from_secs(idle_s))
        .with_interval(Duration::from_secs(interval_s))
        .with_retries(u32::try_from(probes).unwrap_or(u32::MAX));
    SockRef::from(&fd).set_tcp_keepalive(&times)
}

/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in seconds, and `TCP_KEEPCNT`.
pub fn times(fd: BorrowedFd<'_>) -> io::Result<(u64, u64, u64)> {
    let socket = SockRef::from(&fd);
    Ok((
        socket.tcp_keepalive_time()?.as_secs(),
        socket.tcp_keepalive_interval()?.as_secs(),
        socket.tcp_keepalive_retries()?.into(),
    ))
}

/// Bounds how long sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`); 0: the
/// kernel's own bound.
pub fn set_user_timeout_ms(fd: BorrowedFd<'_>, ms: u64) -> io::Result<()> {
    let timeout = (ms > 0).then(|| Duration::from_millis(ms));
    SockRef::from(&fd).set_tcp_user_timeout(timeout)
}

/// `TCP_USER_TIMEOUT` in milliseconds; 0: the kernel's own bound.
pub fn user_timeout_ms(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let timeout = SockRef::from(&fd).tcp_user_timeout()?;
    Ok(timeout.map_or(0, |timeout| timeout.as_millis() as u64))
}
