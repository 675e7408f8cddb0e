//! Accepting connections.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::driver::{Handle, Key, MultishotEvent, Op};
use super::super::shard::Shard;
use super::Stream;

/// A listening socket on this shard.
///
/// ```
/// use std::time::Duration;
/// use headwater::runtime::{Listener, Runtime, Stream, timeout};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::new(vec![0])?.unpinned();
/// let handle = runtime.handles()[0].clone();
/// runtime.run(move |shard| {
///     let handle = handle.clone();
///     async move {
///         let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
///         let address = socket.local_addr().unwrap();
///         let mut connections = Listener::new(socket).accept();
///         // From the shard itself by `spawn`, from any thread by a handle.
///         let serving = shard.spawn(async move {
///             let stream = connections.next().await?;
///             match stream.receiver().next().await? {
///                 Some(bytes) => stream.send_all(bytes).await,
///                 None => Ok(()),
///             }
///         });
///         let asking = async move || {
///             let stream = Stream::connect(address).await?;
///             stream.send_all("hello").await?;
///             stream.receiver().next().await
///         };
///         handle.run(|| println!("the mailbox works")).unwrap();
///         let answer = timeout(Duration::from_secs(5), asking()).await.unwrap();
///         assert_eq!(&*answer.unwrap().unwrap(), b"hello");
///         serving.await.unwrap().unwrap();
///     }
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    shard: Shard,
    socket: Handle,
}

impl Listener {
    /// Takes a listening socket, blocking or not: the ring waits on either.
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        Self {
            shard: Shard::current(),
            socket: Rc::new(socket.into()),
        }
    }

    /// Starts accepting; connections arrive for as long as the result lives.
    pub fn accept(&self) -> Accepting {
        Accepting {
            shard: self.shard.clone(),
            socket: Rc::clone(&self.socket),
            key: None,
        }
    }
}

/// A multishot accept in progress.
pub struct Accepting {
    shard: Shard,
    socket: Handle,
    key: Option<Key>,
}

impl Accepting {
    /// The next connection.
    ///
    /// An error does not end accepting: call again, after a pause for EMFILE or ENFILE (accept(2)
    /// lists the errors).
    pub async fn next(&mut self) -> io::Result<Stream> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let shard = self.shard.clone();
        self.poll_next_fd(cx)
            .map_ok(|fd| Stream::on(&shard, fd, true))
    }

    /// As [`poll_next`](Self::poll_next), but gives the bare, non-blocking socket,
    /// which may still be handed to another shard ([`Stream::accepted`]).
    pub fn poll_next_fd(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        loop {
            let key = *self.key.get_or_insert_with(|| {
                self.shard.start(Op::Accept {
                    listener: Rc::clone(&self.socket),
                })
            });
            match self.shard.poll_event(key, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(MultishotEvent::Accepted(fd)) => {
                    return Poll::Ready(Ok(fd));
                }
                Poll::Ready(MultishotEvent::Failed(e)) => {
                    self.key = None;
                    return Poll::Ready(Err(e));
                }
                Poll::Ready(_) => self.key = None,
            }
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}
