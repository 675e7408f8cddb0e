//! Sending.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::super::driver::{Handle, Key, Op, Outcome};
use super::super::send_buf::SendBuf;
use super::super::shard::Shard;
use super::Operation;

/// A send that was submitted and has to be awaited only if the socket was full.
pub struct PendingSend {
    shard: Shard,
    key: Option<Key>,
}

impl PendingSend {
    pub(super) fn start(shard: &Shard, socket: Handle, buf: SendBuf, more: bool) -> Self {
        let key = shard.start(Op::SendNow { socket, buf, more });
        Self {
            shard: shard.clone(),
            key: Some(key),
        }
    }

    /// Ready with `None` when the socket took every byte, or with the bytes that it had no room
    /// for. Wakes the task only in the second case or on an error.
    ///
    /// Every send is pending until the shard's next turn. A poll after that turn returns the
    /// outcome, or wakes the task when it is known.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<SendBuf>>> {
        let Some(key) = self.key else {
            return Poll::Ready(Ok(None));
        };
        let outcome = match self.shard.poll_op(key, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        self.key = None;
        let Some(Outcome {
            op: Op::SendNow { mut buf, .. },
            result,
        }) = outcome
        else {
            return Poll::Ready(Ok(None));
        };
        Poll::Ready(match result {
            Ok(sent) => {
                buf.advance(sent as usize);
                Ok(Some(buf).filter(|b| !b.is_empty()))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Some(buf)),
            Err(e) => Err(e),
        })
    }
}

impl Drop for PendingSend {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}

/// A send that waits for room in the socket. It borrows nothing, so the task can poll it while it
/// waits for something else.
pub struct Sending(Operation);

impl Sending {
    pub(super) fn start(shard: &Shard, socket: Handle, buf: SendBuf, more: bool) -> Self {
        Self(Operation::start(shard, Op::Send { socket, buf, more }))
    }

    /// Ready with what the socket did not take of the buffer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SendBuf>> {
        let outcome = ready!(Pin::new(&mut self.0).poll(cx));
        let Some(Outcome {
            op: Op::Send { mut buf, .. },
            result,
        }) = outcome
        else {
            return Poll::Ready(Err(io::Error::other("a send came back as something else")));
        };
        Poll::Ready(match result? as usize {
            0 if !buf.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            sent => {
                buf.advance(sent);
                Ok(buf)
            }
        })
    }
}

/// As [`Sending`], for several buffers one after another; buffers that were sent whole are dropped.
pub(super) async fn send_vectored(
    shard: &Shard,
    socket: &Handle,
    mut bufs: Vec<SendBuf>,
    more: bool,
) -> io::Result<Vec<SendBuf>> {
    bufs.retain(|b| !b.is_empty());
    if bufs.is_empty() {
        return Ok(bufs);
    }
    let op = Op::SendVectored {
        socket: Rc::clone(socket),
        bufs,
        more,
    };
    let Some(Outcome {
        op: Op::SendVectored { mut bufs, .. },
        result,
    }) = Operation::start(shard, op).await
    else {
        return Err(io::Error::other("a send came back as something else"));
    };
    match result? as usize {
        0 => Err(io::ErrorKind::WriteZero.into()),
        sent => {
            advance(&mut bufs, sent);
            Ok(bufs)
        }
    }
}

fn advance(bufs: &mut Vec<SendBuf>, mut sent: usize) {
    let whole = bufs
        .iter()
        .take_while(|b| {
            let whole = b.len() <= sent;
            if whole {
                sent -= b.len();
            }
            whole
        })
        .count();
    bufs.drain(..whole);
    if let Some(first) = bufs.first_mut() {
        first.advance(sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_drops_whole_buffers_and_cuts_the_next() {
        let mut bufs: Vec<SendBuf> = vec!["abc".into(), "de".into(), "fgh".into()];
        advance(&mut bufs, 6);
        assert_eq!(bufs.len(), 1);
        assert_eq!(bufs[0].as_slice(), b"gh");
        advance(&mut bufs, 2);
        assert!(bufs.is_empty());
    }
}
