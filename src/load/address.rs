//! The addresses that the generator connects to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::Stream;

/// The address of a server: TCP, or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and TCP port.
    Tcp(SocketAddr),
    /// The path of a Unix socket (unix(7)).
    Unix(PathBuf),
}

impl Address {
    /// Connects on the current shard.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => Stream::connect(*address).await,
            Self::Unix(path) => Stream::connect_unix(path).await,
        }
    }

    /// Connects on the current thread, which blocks for up to `timeout`; the connection's reads and
    /// writes get the same time-out.
    pub(super) fn connect_blocking(&self, timeout: Duration) -> io::Result<BlockingStream> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(stream.into())
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(stream.into())
            }
        }
    }

    /// Whether each connection to it takes a local port.
    pub(super) fn takes_ports(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// A blocking connection of either kind.
pub(super) type BlockingStream = socket2::Socket;

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
