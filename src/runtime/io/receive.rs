//! Receiving out of the shard's lent buffers.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::super::driver::{Handle, Key, MultishotEvent, Op, StopReason};
use super::super::shard::Shard;
use crate::buffers::{BufferTicket, ReceiveBuf};

/// The receiving side of a stream: one multishot receive, started when first
/// polled and whenever the kernel has ended it. An idle stream holds no buffer.
pub struct Receiver {
    shard: Shard,
    socket: Handle,
    key: Option<Key>,
    /// Where it waits for a buffer.
    ticket: BufferTicket,
}

impl Receiver {
    pub(super) fn new(shard: &Shard, socket: Handle) -> Self {
        Self {
            shard: shard.clone(),
            socket,
            key: None,
            ticket: BufferTicket::default(),
        }
    }

    /// The next bytes; `None` at the end of the stream.
    pub async fn next(&mut self) -> io::Result<Option<ReceiveBuf>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<ReceiveBuf>>> {
        loop {
            if self.key.is_none() && self.shard.receive_pool().is_waiting(self.ticket) {
                ready!(self.poll_buffer(cx));
            }
            let key = *self.key.get_or_insert_with(|| {
                self.shard.start(Op::Receive {
                    socket: Rc::clone(&self.socket),
                })
            });
            let event = match self.shard.poll_event(key, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => event,
            };
            if let MultishotEvent::Received(buf) = event {
                return Poll::Ready(Ok(Some(buf)));
            }
            self.key = None;
            match event {
                MultishotEvent::End => return Poll::Ready(Ok(None)),
                MultishotEvent::Stopped(StopReason::NoBuffer) => ready!(self.poll_buffer(cx)),
                MultishotEvent::Failed(e) => return Poll::Ready(Err(e)),
                _ => {}
            }
        }
    }

    /// Ready when the kernel has a buffer to receive into: one may have come back since it looked.
    fn poll_buffer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pool = self.shard.receive_pool();
        if pool.lent() > 0 {
            return Poll::Ready(());
        }
        pool.wait_for_buffer(&mut self.ticket, cx.waker());
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}
