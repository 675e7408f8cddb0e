//! I/O as futures. Every future here owns its operation: dropping the future abandons the
//! operation, whose buffers and descriptors stay with the driver until the kernel no longer uses
//! them.

mod accept;
mod file;
mod receive;
mod send;
mod stream;
mod time;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use accept::{Accepting, Listener};
pub use file::{open, read_at};
pub use receive::{Leftovers, Receiver, StreamEnd};
pub use send::{PendingSend, Sending};
pub use stream::Stream;
pub use time::{Elapsed, Sleep, Timer, sleep, timeout};

use super::driver::{Handle, Interest, Key, Op, Outcome};
use super::shard::Shard;

/// One operation in flight.
pub(super) struct Operation {
    shard: Shard,
    key: Option<Key>,
}

impl Operation {
    pub(crate) fn start(shard: &Shard, op: Op) -> Self {
        Self {
            shard: shard.clone(),
            key: Some(shard.start(op)),
        }
    }
}

impl Future for Operation {
    /// `None`: an operation that posts no completion on success has succeeded.
    type Output = Option<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.key else {
            return Poll::Ready(None);
        };
        let poll = self.shard.poll_op(key, cx);
        if poll.is_ready() {
            self.key = None;
        }
        poll
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}

/// Waits until the peer has ended its sending direction ([`Stream::peer_end`]).
pub struct PeerEnd(Operation);

impl PeerEnd {
    fn start(shard: &Shard, fd: Handle) -> Self {
        let interest = Interest::PeerEnd;
        Self(Operation::start(shard, Op::Poll { fd, interest }))
    }

    /// Ready once the peer has ended its direction.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// Waits until a descriptor is ready, by the shard's driver (poll(2)).
pub async fn poll_ready(shard: &Shard, fd: Handle, interest: Interest) -> std::io::Result<()> {
    match Operation::start(shard, Op::Poll { fd, interest }).await {
        Some(Outcome { result: Err(e), .. }) => Err(e),
        _ => Ok(()),
    }
}

/// Lets other tasks run and the shard enter its ring before this task continues.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        Shard::current().wake_next_turn(cx.waker());
        Poll::Pending
    })
    .await;
}
