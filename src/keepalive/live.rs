//! The keepalive options that the connections of a running process have.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::options::{self, Actual};
use crate::sys;
use crate::sys::tcp_table::{Entry, State};

/// A connection of another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The entry in the kernel's table: addresses, state, timer.
    pub entry: Entry,
    /// Its options; `None` without permission to read them.
    pub options: Option<Actual>,
}

/// The connections of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The process.
    pub pid: u32,
    /// Its connections, ordered by when their timers are due.
    pub connections: Vec<Connection>,
    /// Whether the permission to read the options is missing.
    pub denied: bool,
}

/// Why nothing can be shown.
#[derive(Debug)]
pub enum LiveError {
    /// The process can't be inspected.
    Process {
        /// Its number.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// No process listens there.
    NoListener(SocketAddr),
    /// A process listens there, but this user may not see which.
    Owner(SocketAddr),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(
                    f,
                    "there is no process {pid}; find it with: pgrep headwater"
                )
            }
            Self::Process { pid, source } => write!(
                f,
                "cannot look into process {pid}: {source}; run this as its user or as root"
            ),
            Self::NoListener(address) => write!(
                f,
                "no process listens on {address}; list all listeners with: ss -ltn"
            ),
            Self::Owner(address) => write!(
                f,
                "this user may not see which process listens on {address}; run this as that \
                 process's user or as root"
            ),
        }
    }
}

impl std::error::Error for LiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Process { source, .. } => Some(source),
            Self::NoListener(_) | Self::Owner(_) => None,
        }
    }
}

/// The processes that listen on `address` in this process's network namespace; an unspecified IP
/// matches every IP.
///
/// # Errors
/// When there are none, or none that this user may see.
pub fn listeners(address: SocketAddr) -> Result<Vec<u32>, LiveError> {
    let own = std::process::id();
    let table = sys::tcp_table::of_process(own)
        .map_err(|source| LiveError::Process { pid: own, source })?;
    let inodes: Vec<u64> = table
        .iter()
        .filter(|entry| entry.state == State::LISTEN && covers(address, entry.local))
        .map(|entry| entry.inode)
        .collect();
    if inodes.is_empty() {
        return Err(LiveError::NoListener(address));
    }
    let listens = |pid: &u32| {
        let sockets = sys::tcp_table::descriptors_by_inode(*pid);
        sockets.is_ok_and(|sockets| inodes.iter().any(|inode| sockets.contains_key(inode)))
    };
    let pids: Vec<u32> = sys::tcp_table::processes()
        .into_iter()
        .filter(listens)
        .collect();
    match pids.is_empty() {
        true => Err(LiveError::Owner(address)),
        false => Ok(pids),
    }
}

/// Whether `address` matches a socket at `local`.
fn covers(address: SocketAddr, local: SocketAddr) -> bool {
    let same_ip = address.ip().is_unspecified()
        || local.ip().is_unspecified()
        || address.ip().to_canonical() == local.ip();
    same_ip && address.port() == local.port()
}

/// The TCP connections of process `pid`, all or those on `local`.
///
/// # Errors
/// When the process is gone, or belongs to another user.
pub fn connections(pid: u32, local: Option<SocketAddr>) -> Result<Live, LiveError> {
    let failed = |source| LiveError::Process { pid, source };
    let sockets = sys::tcp_table::descriptors_by_inode(pid).map_err(failed)?;
    let process = sys::pidfd::open(pid).map_err(failed)?;
    let mut live = Live {
        pid,
        connections: Vec::new(),
        denied: false,
    };
    for entry in sys::tcp_table::of_process(pid).map_err(failed)? {
        let meant = local.is_none_or(|local| covers(local, entry.local));
        let (true, Some(&fd)) = (
            meant && entry.state != State::LISTEN,
            sockets.get(&entry.inode),
        ) else {
            continue;
        };
        let mut found = None;
        if !live.denied {
            match sys::pidfd::duplicate(process.as_fd(), fd) {
                // Another socket may have this number by now.
                Ok(socket) => {
                    let peer = sys::socket::peer_address(socket.as_fd()).ok().flatten();
                    let same = peer.is_some_and(|peer| peer.ip().to_canonical() == entry.peer.ip());
                    found = options::get(socket.as_fd()).ok().filter(|_| same);
                }
                Err(error) => live.denied = error.kind() == io::ErrorKind::PermissionDenied,
            }
        }
        live.connections.push(Connection {
            entry,
            options: found,
        });
    }
    live.connections.sort_by_key(|connection| {
        connection
            .entry
            .timer
            .map_or(u64::MAX, |(_, due_ms)| due_ms)
    });
    Ok(live)
}
