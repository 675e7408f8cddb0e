//! Socket activation: listening sockets that a service manager has opened for the program
//! (`sd_listen_fds(3)`, systemd.socket(5)).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{SockRef, Type};

use super::address::ListenAddr;
use super::error::ListenError;
use super::listener::ListenerGroup;
use super::options::ListenOptions;
use super::tcp;
use crate::sys;

/// Number of the first descriptor that is passed.
const FIRST: usize = 3;

/// Takes over the sockets that were passed to this process, in order; empty when
/// none were, or when they have been taken before.
///
/// Every shard gets a duplicate of each, since the manager opened just one. The
/// options that accepted connections inherit are set on TCP sockets.
pub fn inherited(
    shards: usize,
    options: &ListenOptions,
) -> Result<Vec<ListenerGroup>, ActivationError> {
    let count = sys::inherit::passed();
    let fds =
        sys::inherit::take_passed().map_err(|source| ActivationError::NotOpen { count, source })?;
    let mut groups = Vec::with_capacity(fds.len());
    for (number, fd) in (FIRST..).zip(fds) {
        groups.push(adopt(number, fd, shards, options)?);
    }
    Ok(groups)
}

fn adopt(
    number: usize,
    fd: OwnedFd,
    shards: usize,
    options: &ListenOptions,
) -> Result<ListenerGroup, ActivationError> {
    let not_listening = || ActivationError::NotListening { number };
    let socket = SockRef::from(&fd);
    let listens = socket.is_listener().is_ok_and(|listens| listens)
        && socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !listens {
        return Err(not_listening());
    }
    let name = socket.local_addr().map_err(|_| not_listening())?;
    let address = match (name.as_socket(), name.as_pathname()) {
        (Some(ip), _) => ListenAddr::Tcp(ip),
        (None, Some(path)) => ListenAddr::Unix(path.to_owned()),
        (None, None) => return Err(ActivationError::NoName { number }),
    };
    if let ListenAddr::Tcp(_) = address {
        tcp::tune(&address, &fd, options).map_err(ActivationError::Listen)?;
    }
    sys::transfer::set_blocking(fd.as_fd()).map_err(|_| not_listening())?;
    ListenerGroup::share(address, fd, shards, options).map_err(ActivationError::Listen)
}

/// Passed sockets that can't be used.
#[derive(Debug)]
pub enum ActivationError {
    /// `LISTEN_FDS` counts more descriptors than are open.
    NotOpen {
        /// The value of `LISTEN_FDS`.
        count: usize,
        /// The system's error.
        source: io::Error,
    },
    /// A descriptor is no listening stream socket.
    NotListening {
        /// Its number.
        number: usize,
    },
    /// A Unix socket without a path: abstract ones aren't supported.
    NoName {
        /// Its number.
        number: usize,
    },
    /// A socket can't be set up.
    Listen(ListenError),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActivationError::NotOpen { count, source } => write!(
                f,
                "LISTEN_FDS promises {count} descriptors from {FIRST} on, but not all are open ({source}); let the service manager set it"
            ),
            ActivationError::NotListening { number } => write!(
                f,
                "descriptor {number}, passed by the service manager, is not a listening stream socket; use ListenStream= and Accept=no in its .socket unit"
            ),
            ActivationError::NoName { number } => write!(
                f,
                "descriptor {number}, passed by the service manager, is a Unix socket without a path; give ListenStream= a path or a port"
            ),
            ActivationError::Listen(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ActivationError::NotOpen { source, .. } => Some(source),
            ActivationError::Listen(error) => Some(error),
            ActivationError::NotListening { .. } | ActivationError::NoName { .. } => None,
        }
    }
}
