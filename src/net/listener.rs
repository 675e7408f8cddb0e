//! A group of listening sockets, one for each shard.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::address::ListenAddr;
use super::error::ListenError;
use super::options::ListenOptions;
use super::retry::BindDeadline;
use super::unix::SocketFile;
use super::{tcp, unix};
use crate::keepalive::Policy;
use crate::sys;

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
    /// Keeps a Unix socket's file until the last listener has been dropped.
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
    /// On TCP they form an `SO_REUSEPORT` group, in shard order, on the same port also where that
    /// is 0 and the kernel chooses. The port must not be in use, not even by sockets that would
    /// share it, unless [`ListenOptions::share_port`] is set. If a process that has just ended
    /// still occupies the address, this waits for it, at most [`crate::limits::BIND_RETRY_MS`].
    ///
    /// # Errors
    /// Why the address can't be listened on; [`ListenErrorKind`] has the causes that an operator
    /// can fix.
    ///
    /// [`ListenErrorKind`]: super::error::ListenErrorKind
    pub fn bind(
        address: &ListenAddr,
        shards: usize,
        options: &ListenOptions,
    ) -> Result<ListenerGroup, ListenError> {
        ListenerGroup::bind_until(BindDeadline::start(), address, shards, options)
    }

    /// As [`bind`](Self::bind), with a deadline that the start's other addresses share.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_until(
        deadline: BindDeadline,
        address: &ListenAddr,
        shards: usize,
        options: &ListenOptions,
    ) -> Result<ListenerGroup, ListenError> {
        deadline.retry(|| ListenerGroup::bind_now(address, shards, options))
    }

    fn bind_now(
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

    /// The backlog in effect: the requested one, cut to `net.core.somaxconn`.
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
