//! Receiving, into buffers that the shard lends to the kernel.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::super::driver::{Handle, Key, MultishotEvent, Op, StopReason};
use super::super::shard::Shard;
use crate::buffers::{BufferTicket, ReceiveBuf};

/// The receiving side of a stream: one multishot receive, started when first
/// polled and whenever the kernel has ended it. An idle stream holds no buffer.
///
/// Bytes arrive ahead of [`next`](Self::next). To go on receiving by other means, end with
/// [`stop`](Self::stop), which hands those bytes over; dropping the receiver discards them
/// (docs/decisions/046-receiver-stop.md).
pub struct Receiver {
    shard: Shard,
    socket: Handle,
    key: Option<Key>,
    /// Its place among the streams that wait for a free buffer.
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

    /// Stops receiving and returns all bytes that [`next`](Self::next) has not returned, so that
    /// another receiver, or another protocol, can continue exactly where this one stopped.
    ///
    /// Requests the cancellation, takes what arrives until the kernel has confirmed it, usually one
    /// turn later, and never waits for the peer. There are at most as many bytes as the stream may
    /// have unread ([`limits::RECV_QUEUE_PER_STREAM`](crate::limits::RECV_QUEUE_PER_STREAM)
    /// buffers) plus those that arrive in that turn; they occupy the shard's receive buffers, of
    /// which there are few, so use or copy them soon.
    ///
    /// Dropping the receiver instead, or dropping this future before it is ready, discards the
    /// bytes: do so only if the stream is no longer needed.
    pub async fn stop(mut self) -> Leftovers {
        let mut received = Vec::new();
        if let Some(key) = self.key {
            self.shard.cancel(key);
        }
        let end = loop {
            let Some(key) = self.key else {
                break StreamEnd::Open;
            };
            let event = std::future::poll_fn(|cx| self.shard.poll_event(key, cx)).await;
            if let MultishotEvent::Received(buf) = event {
                received.push(buf);
                continue;
            }
            self.key = None;
            match event {
                MultishotEvent::End => break StreamEnd::Ended,
                MultishotEvent::Failed(e) => break StreamEnd::Failed(e),
                _ => {}
            }
        };
        Leftovers { received, end }
    }

    /// Ready when the kernel has a buffer to receive into: one may have been returned since it
    /// looked.
    fn poll_buffer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pool = self.shard.receive_pool();
        if pool.lent() > 0 {
            return Poll::Ready(());
        }
        pool.wait_for_buffer(&mut self.ticket, cx.waker());
        Poll::Pending
    }
}

/// The bytes that a receiver had, or still received, when it was [stopped](Receiver::stop).
pub struct Leftovers {
    /// The bytes, in the order in which they arrived.
    pub received: Vec<ReceiveBuf>,
    /// What followed the bytes.
    pub end: StreamEnd,
}

/// The state of the stream when its receiver stopped.
#[derive(Debug)]
pub enum StreamEnd {
    /// The stream is still open; the next receiver gets what the peer sends from here on.
    Open,
    /// The peer has ended its side, and there are no more bytes.
    Ended,
    /// Receiving failed.
    Failed(io::Error),
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.received.iter().map(|buf| buf.len()).sum();
        f.debug_struct("Leftovers")
            .field("bytes", &bytes)
            .field("end", &self.end)
            .finish()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}
