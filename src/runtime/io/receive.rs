//! Receiving out of the shard's lent buffers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::super::driver::{Event, Handle, Interest, Key, Op, Stop};
use super::super::shard::Shard;
use super::Operation;
use crate::buffers::ReceiveBuf;

/// The receiving side of a stream: one multishot receive, started when first
/// polled and whenever the kernel has ended it. An idle stream holds no buffer.
pub struct Receiver {
    shard: Shard,
    socket: Handle,
    state: State,
}

enum State {
    Idle,
    Armed(Key),
    /// The socket is in non-blocking mode and was empty.
    Waiting(Operation),
}

impl Receiver {
    pub(super) fn new(shard: &Shard, socket: Handle) -> Self {
        Self {
            shard: shard.clone(),
            socket,
            state: State::Idle,
        }
    }

    /// The next bytes; `None` at the end of the stream.
    pub async fn next(&mut self) -> io::Result<Option<ReceiveBuf>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<ReceiveBuf>>> {
        loop {
            let key = match &mut self.state {
                State::Armed(key) => *key,
                State::Idle => {
                    let key = self.shard.start(Op::Receive {
                        socket: Rc::clone(&self.socket),
                    });
                    self.state = State::Armed(key);
                    key
                }
                State::Waiting(readable) => match Pin::new(readable).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => {
                        self.state = State::Idle;
                        continue;
                    }
                },
            };
            let event = match self.shard.poll_event(key, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => event,
            };
            if let Event::Received(buf) = event {
                return Poll::Ready(Ok(Some(buf)));
            }
            self.state = State::Idle;
            match event {
                Event::End => return Poll::Ready(Ok(None)),
                Event::Stopped(Stop::NoBuffer) => {
                    let pool = self.shard.receive_pool();
                    if pool.held() > 0 {
                        pool.wait_for_buffer(cx.waker());
                        return Poll::Pending;
                    }
                }
                Event::Failed(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let (fd, interest) = (Rc::clone(&self.socket), Interest::Readable);
                    let poll = Operation::start(&self.shard, Op::Poll { fd, interest });
                    self.state = State::Waiting(poll);
                }
                Event::Failed(e) => return Poll::Ready(Err(e)),
                _ => {}
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let State::Armed(key) = self.state {
            self.shard.abandon(key);
        }
    }
}
