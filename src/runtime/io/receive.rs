//! Receiving out of the shard's lent buffers.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::driver::{Event, Handle, Key, Op, Stop};
use super::super::shard::Shard;
use crate::buffers::ReceiveBuf;

/// The receiving side of a stream: one multishot receive, started when first
/// polled and whenever the kernel has ended it. An idle stream holds no buffer.
pub struct Receiver {
    shard: Shard,
    socket: Handle,
    key: Option<Key>,
}

impl Receiver {
    pub(super) fn new(shard: &Shard, socket: Handle) -> Self {
        Self {
            shard: shard.clone(),
            socket,
            key: None,
        }
    }

    /// The next bytes; `None` at the end of the stream.
    pub async fn next(&mut self) -> io::Result<Option<ReceiveBuf>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<ReceiveBuf>>> {
        loop {
            let key = *self.key.get_or_insert_with(|| {
                self.shard.start(Op::Receive {
                    socket: Rc::clone(&self.socket),
                })
            });
            let event = match self.shard.poll_event(key, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => event,
            };
            if let Event::Received(buf) = event {
                return Poll::Ready(Ok(Some(buf)));
            }
            self.key = None;
            match event {
                Event::End => return Poll::Ready(Ok(None)),
                Event::Stopped(Stop::NoBuffer) => {
                    let pool = self.shard.receive_pool();
                    // One may have come back since the kernel looked.
                    if pool.lent() == 0 {
                        pool.wait_for_buffer(cx.waker());
                        return Poll::Pending;
                    }
                }
                Event::Failed(e) => return Poll::Ready(Err(e)),
                _ => {}
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}
