//! A connected stream socket, TCP or Unix.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::super::driver::{Handle, Interest, Op, Outcome};
use super::super::send_buf::SendBuf;
use super::super::shard::Shard;
use super::{Operation, PeerEnd, PendingSend, Receiver, Sending, poll_ready, send, yield_now};
use crate::limits;
use crate::sys;

/// A connected stream socket of this shard.
pub struct Stream {
    shard: Shard,
    socket: Handle,
    /// `sendfile(2)` needs a non-blocking socket, and the ring accepts either: the first send of a
    /// file changes the mode, at the cost of two system calls.
    nonblocking: Cell<bool>,
}

impl Stream {
    /// Takes a connected socket.
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        Self::on(&Shard::current(), socket.into(), false)
    }

    /// Takes a socket that a shard has accepted and that is therefore non-blocking.
    pub fn accepted(socket: OwnedFd) -> Self {
        Self::on(&Shard::current(), socket, true)
    }

    pub(super) fn on(shard: &Shard, socket: OwnedFd, nonblocking: bool) -> Self {
        Self {
            shard: shard.clone(),
            socket: Rc::new(socket),
            nonblocking: Cell::new(nonblocking),
        }
    }

    /// Connects to a TCP address.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        Self::connect_socket(socket, address.into()).await
    }

    /// Connects to a Unix stream socket.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        let address = socket2::SockAddr::unix(path)?;
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        Self::connect_socket(socket, address).await
    }

    async fn connect_socket(
        socket: socket2::Socket,
        address: socket2::SockAddr,
    ) -> io::Result<Self> {
        let shard = Shard::current();
        let stream = Self::on(&shard, socket.into(), false);
        let op = Op::Connect {
            socket: Rc::clone(&stream.socket),
            address: Box::new(address),
        };
        match Operation::start(&shard, op).await {
            Some(Outcome { result: Err(e), .. }) => Err(e),
            _ => Ok(stream),
        }
    }

    /// The shard that this stream lives on.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Starts receiving. There must be only one receiver of a stream at a time; the next one starts
    /// after [`Receiver::stop`], which returns the bytes that the earlier one has received ahead.
    pub fn receiver(&self) -> Receiver {
        Receiver::new(&self.shard, Rc::clone(&self.socket))
    }

    /// Sends all of `buf`.
    pub async fn send_all(&self, buf: impl Into<SendBuf>) -> io::Result<()> {
        let mut buf = buf.into();
        while !buf.is_empty() {
            buf = self.send(buf, false).await?;
        }
        Ok(())
    }

    /// Sends what the socket takes of `buf` and gives back the rest; with
    /// `more`, the kernel may hold back a last partial segment (MSG_MORE).
    pub async fn send(&self, buf: SendBuf, more: bool) -> io::Result<SendBuf> {
        let mut sending = Sending::start(&self.shard, Rc::clone(&self.socket), buf, more);
        std::future::poll_fn(|cx| sending.poll(cx)).await
    }

    /// Starts a [`send`](Self::send) that borrows nothing of this stream.
    pub fn start_send(&self, buf: SendBuf) -> Sending {
        Sending::start(&self.shard, Rc::clone(&self.socket), buf, false)
    }

    /// As [`send`](Self::send), for several buffers one after another.
    pub async fn send_vectored(&self, bufs: Vec<SendBuf>, more: bool) -> io::Result<Vec<SendBuf>> {
        send::send_vectored(&self.shard, &self.socket, bufs, more).await
    }

    /// Sends at once, by a separate system call, as much of `bytes` as the socket takes: `None`
    /// when it is full. For a head that must leave before a file's data.
    pub fn try_send(&self, bytes: &[u8], more: bool) -> io::Result<Option<usize>> {
        let more = if more { sys::transfer::MSG_MORE } else { 0 };
        match sys::transfer::send(
            self.socket.as_fd(),
            bytes,
            sys::transfer::MSG_DONTWAIT | more,
        ) {
            Ok(sent) => Ok(Some(sent)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Hands a buffer over with the shard's next submission and doesn't wait.
    /// The result must have been polled ready before anything else is sent.
    pub fn send_now(&self, buf: impl Into<SendBuf>) -> PendingSend {
        PendingSend::start(&self.shard, Rc::clone(&self.socket), buf.into(), false)
    }

    /// As [`send_now`](Self::send_now), for the last bytes before the stream is
    /// shut down or dropped, which must follow: the kernel holds them back
    /// (MSG_MORE), so that they leave in one segment with the FIN.
    pub fn send_last(&self, buf: impl Into<SendBuf>) -> PendingSend {
        PendingSend::start(&self.shard, Rc::clone(&self.socket), buf.into(), true)
    }

    /// Passes up to `count` bytes of a file to the socket without copying
    /// (sendfile(2)) and without waiting: `None` when the socket is full.
    ///
    /// Reads from the disk, on the shard, what is not in the page cache.
    pub fn try_send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<Option<usize>> {
        if !self.nonblocking.replace(true) {
            sys::transfer::set_nonblocking(self.socket.as_fd())?;
        }
        match sys::transfer::sendfile(self.socket.as_fd(), file, offset, count) {
            Ok(sent) => Ok(Some(sent)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sends `len` bytes of a file from `offset`, yielding to other tasks every
    /// [`limits::SEND_BUDGET_BYTES`]. Returns the bytes sent: fewer than `len` if the file ends
    /// before.
    pub async fn send_file(&self, file: &impl AsFd, offset: u64, len: u64) -> io::Result<u64> {
        let mut sent = 0;
        while sent < len {
            let piece = (len - sent).min(limits::SEND_BUDGET_BYTES as u64) as usize;
            match self.try_send_file(file.as_fd(), offset + sent, piece)? {
                Some(0) => break,
                Some(n) if n == piece => {
                    sent += n as u64;
                    yield_now().await;
                }
                Some(n) => {
                    sent += n as u64;
                    self.writable().await?;
                }
                None => self.writable().await?,
            }
        }
        Ok(sent)
    }

    /// Sends what earlier sends with `more` hold back: setting `TCP_NODELAY` flushes it (tcp(7)).
    pub fn push(&self) {
        // A Unix socket has no such option, and holds nothing back.
        let _ = sys::socket::set_nodelay(self.socket.as_fd(), true);
    }

    /// Waits until the socket has room.
    pub async fn writable(&self) -> io::Result<()> {
        poll_ready(&self.shard, Rc::clone(&self.socket), Interest::Writable).await
    }

    /// Waits until the peer has ended its sending direction, or the connection is gone. Works even
    /// while received bytes are unread.
    pub fn peer_end(&self) -> PeerEnd {
        PeerEnd::start(&self.shard, Rc::clone(&self.socket))
    }

    /// Whether the connection is gone in both directions: it was reset, or both have ended.
    pub fn is_hung_up(&self) -> bool {
        sys::socket::is_hung_up(self.socket.as_fd())
    }

    /// Whether the connection has failed, as by a reset, also after the peer had ended its side.
    pub fn has_failed(&self) -> bool {
        sys::socket::has_failed(self.socket.as_fd())
    }

    /// Makes the close of this socket reset the connection (`SO_LINGER` of 0, socket(7)): the
    /// kernel discards at once what is unsent or unacknowledged.
    pub fn reset_on_close(&self) {
        // If the option can't be set, the close is an ordinary one.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    /// Ends one or both directions (shutdown(2), done at once).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket2::SockRef::from(self).shutdown(how)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
