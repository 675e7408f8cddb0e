//! A group of listening sockets, one for each shard.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::address::ListenAddr;
use super::unix::SocketFile;
use super::{tcp, unix};
use crate::keepalive::Policy;
use crate::{limits, sys};

/// How listening sockets are opened. The default asks nothing special.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted, per socket.
    pub backlog: i32,
    /// Share a TCP port with other processes of the same user instead of
    /// refusing one that is in use.
    pub share_port: bool,
    /// Announce a connection only once data has come, or after this many
    /// seconds (`TCP_DEFER_ACCEPT`).
    pub defer_accept_s: Option<u32>,
    /// The CPU of each shard in order: a connection goes to the shard on the CPU
    /// that handles its first packet. `None` leaves it to the kernel's hash.
    pub steer_by_cpu: Option<Vec<usize>>,
    /// Congestion control of accepted connections, by name.
    pub congestion: Option<String>,
    /// Where the kernel's congestion control paces (BBR), take one that doesn't
    /// on loopback addresses: between two programs of one host there is no
    /// bottleneck to pace for, and the timers cost more than half of a large transfer.
    pub unpaced_loopback: bool,
    /// Send buffer of accepted connections; fixing it turns the kernel's tuning off.
    pub send_buffer_bytes: Option<usize>,
    /// Unsent bytes above which an accepted connection isn't writable (`TCP_NOTSENT_LOWAT`).
    pub unsent_low_water_bytes: Option<u32>,
    /// Permission bits of a Unix socket's file; `None` leaves them to the umask.
    pub unix_mode: Option<u32>,
    /// What is done about silent peers of accepted connections; `None` leaves it to the kernel,
    /// and the HTTP idle time-out to the server.
    pub keepalive: Option<Policy>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: limits::BACKLOG,
            share_port: false,
            defer_accept_s: None,
            steer_by_cpu: None,
            congestion: None,
            unpaced_loopback: false,
            send_buffer_bytes: None,
            unsent_low_water_bytes: None,
            unix_mode: None,
            keepalive: None,
        }
    }
}

/// One shard's listening socket, in blocking mode: a ring answers `EAGAIN`
/// instead of waiting on a non-blocking one.
#[derive(Debug)]
pub struct Listener {
    /// The socket. On TCP it is the shard's own; on a Unix or inherited socket
    /// all shards hold duplicates of one, and a connection goes to whichever
    /// accepts it first.
    pub fd: OwnedFd,
    /// As [`ListenOptions::keepalive`].
    pub keepalive: Option<Policy>,
    /// Keeps a Unix socket's file until the last listener is gone.
    _file: Option<Arc<SocketFile>>,
}

/// The listening sockets of all shards on one address.
///
/// A Unix socket's file is removed when the group and every listener taken
/// from it have been dropped.
#[derive(Debug)]
pub struct ListenerGroup {
    address: ListenAddr,
    listeners: Vec<Option<Listener>>,
    backlog: u32,
    backlog_effective: u32,
    idle_timeout_ms: Option<u64>,
}

impl ListenerGroup {
    /// Opens `shards` listening sockets on `address`.
    ///
    /// On TCP they form an `SO_REUSEPORT` group, in shard order, on the same
    /// port also where that is 0 and the kernel chooses. The port must not be in
    /// use by anyone, not even by sockets that would share it, unless
    /// [`ListenOptions::share_port`] is set.
    pub fn bind(
        address: &ListenAddr,
        shards: usize,
        options: &ListenOptions,
    ) -> Result<ListenerGroup, ListenError> {
        let (bound, sockets) = match address {
            ListenAddr::Unix(path) => {
                let (socket, file) = unix::bind(path, options)?;
                let file = Arc::new(file);
                let fds = duplicate(socket.into(), shards)
                    .map_err(|source| ListenError::new(address, "duplicate", source))?;
                return Ok(ListenerGroup::new(
                    address.clone(),
                    fds,
                    Some(&file),
                    options,
                ));
            }
            ListenAddr::Any(port) => tcp::bind_any(address, *port, shards, options)?,
            ListenAddr::Localhost(port) => tcp::bind(
                address,
                (Ipv4Addr::LOCALHOST, *port).into(),
                shards,
                options,
            )?,
            ListenAddr::Tcp(ip) => tcp::bind(address, *ip, shards, options)?,
        };
        let fds = sockets.into_iter().map(OwnedFd::from).collect();
        Ok(ListenerGroup::new(
            ListenAddr::Tcp(bound),
            fds,
            None,
            options,
        ))
    }

    /// Shares one socket that already listens among all shards.
    pub(super) fn share(
        address: ListenAddr,
        fd: OwnedFd,
        shards: usize,
        options: &ListenOptions,
    ) -> Result<ListenerGroup, ListenError> {
        let fds = duplicate(fd, shards)
            .map_err(|source| ListenError::new(&address, "duplicate", source))?;
        Ok(ListenerGroup::new(address, fds, None, options))
    }

    fn new(
        address: ListenAddr,
        fds: Vec<OwnedFd>,
        file: Option<&Arc<SocketFile>>,
        options: &ListenOptions,
    ) -> ListenerGroup {
        let backlog = u32::try_from(options.backlog).unwrap_or(0);
        let listeners = fds.into_iter().map(|fd| {
            Some(Listener {
                fd,
                keepalive: options.keepalive,
                _file: file.cloned(),
            })
        });
        ListenerGroup {
            address,
            listeners: listeners.collect(),
            backlog,
            idle_timeout_ms: options.keepalive.map(|policy| policy.http_idle_ms),
            backlog_effective: sys::probe::somaxconn().map_or(backlog, |max| max.min(backlog)),
        }
    }

    /// Hands out the listener of one shard; `None` when it has been taken or the
    /// group has no such shard.
    pub fn take(&mut self, shard: usize) -> Option<Listener> {
        self.listeners.get_mut(shard)?.take()
    }

    /// Where it listens, with the port that the kernel chose.
    pub fn local_addr(&self) -> &ListenAddr {
        &self.address
    }

    /// The HTTP idle time-out of its policy, if it has one.
    pub fn idle_timeout_ms(&self) -> Option<u64> {
        self.idle_timeout_ms
    }

    /// The backlog that the kernel keeps to: what was asked, cut to `net.core.somaxconn`.
    pub fn backlog_effective(&self) -> u32 {
        self.backlog_effective
    }

    /// A sentence for the operator where the backlog was cut.
    pub fn backlog_warning(&self) -> Option<String> {
        (self.backlog_effective < self.backlog).then(|| {
            format!(
                "the backlog of {} is cut from {} to {} by net.core.somaxconn; raise it with: sysctl -w net.core.somaxconn={}",
                self.address, self.backlog, self.backlog_effective, self.backlog
            )
        })
    }
}

/// `count` descriptors of one socket.
fn duplicate(fd: OwnedFd, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::with_capacity(count);
    for _ in 1..count {
        fds.push(fd.try_clone()?);
    }
    fds.push(fd);
    Ok(fds)
}

/// A listening socket that couldn't be opened.
#[derive(Debug)]
pub struct ListenError {
    address: ListenAddr,
    operation: &'static str,
    kind: ListenErrorKind,
    source: io::Error,
}

/// Why a listening socket couldn't be opened, where it is something that the
/// operator can act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenErrorKind {
    /// Someone listens there already.
    InUse,
    /// Low ports and foreign folders need a privilege.
    Denied,
    /// The machine doesn't have that address.
    NoSuchAddress,
    /// A Unix socket's path is taken by something that isn't a socket.
    NotASocket(PathBuf),
    /// The kernel doesn't have this congestion control, or doesn't let us use it.
    Congestion(String),
    /// Anything else: the operation and the system's own words.
    Failed,
}

impl ListenError {
    /// Reads the kind off the system's error.
    pub(super) fn new(address: &ListenAddr, operation: &'static str, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::AddrInUse => ListenErrorKind::InUse,
            io::ErrorKind::PermissionDenied => ListenErrorKind::Denied,
            io::ErrorKind::AddrNotAvailable => ListenErrorKind::NoSuchAddress,
            _ => ListenErrorKind::Failed,
        };
        ListenError::with_kind(address, operation, kind, source)
    }

    pub(super) fn with_kind(
        address: &ListenAddr,
        operation: &'static str,
        kind: ListenErrorKind,
        source: io::Error,
    ) -> Self {
        ListenError {
            address: address.clone(),
            operation,
            kind,
            source,
        }
    }

    /// Why.
    pub fn kind(&self) -> &ListenErrorKind {
        &self.kind
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.kind {
            ListenErrorKind::InUse => write!(
                f,
                "{address} is already in use; choose another with --listen"
            ),
            ListenErrorKind::Denied if matches!(address, ListenAddr::Unix(_)) => write!(
                f,
                "no permission to make the socket {address}; let the server's user write in its folder or choose another with --listen"
            ),
            ListenErrorKind::Denied => write!(
                f,
                "no permission to listen on {address}; choose a port of 1024 or higher with --listen, pass the socket from systemd, or give the program the right with: setcap cap_net_bind_service=+ep headwater"
            ),
            ListenErrorKind::NoSuchAddress => write!(
                f,
                "this machine doesn't have the address of {address}; see them with: ip address, or listen on all with --listen :PORT"
            ),
            ListenErrorKind::NotASocket(path) => write!(
                f,
                "cannot listen on {address}: {} exists and is not a socket; remove it or choose another with --listen",
                path.display()
            ),
            ListenErrorKind::Congestion(name) => write!(
                f,
                "cannot use the congestion control \"{name}\" on {address}: {}; see what there is with: sysctl net.ipv4.tcp_available_congestion_control",
                self.source
            ),
            ListenErrorKind::Failed => write!(
                f,
                "cannot {} the listening socket {address}: {}",
                self.operation, self.source
            ),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_address_says_how_to_get_the_right() {
        let denied = |address: &str| {
            let source = io::ErrorKind::PermissionDenied.into();
            ListenError::new(&address.parse().unwrap(), "bind", source).to_string()
        };
        let tcp = denied("127.0.0.1:80");
        assert!(
            tcp.starts_with("no permission to listen on 127.0.0.1:80;"),
            "{tcp}"
        );
        assert!(tcp.contains("setcap cap_net_bind_service"), "{tcp}");
        let unix = denied("/run/x.sock");
        assert!(unix.contains("write in its folder"), "{unix}");
    }
}
