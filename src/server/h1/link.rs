//! Both directions of one connection, and the one place where its requests wait.
//!
//! Whatever a request waits for (its service, the next piece of a streamed answer, the rest of
//! its body), it waits in [`Link::attend`]. Meanwhile queued output goes on being sent, received
//! bytes are kept up to a bound, and a client that is gone ends the wait: the waiting future is
//! dropped.
//!
//! A client that has ended only its sending direction (FIN) may still wait for its answer, as
//! `nc` does, or may be gone for good: TCP shows no difference before something is sent. Such a
//! client is given [`ServerOptions::half_close_timeout_ms`] of waiting; a reset ends it at once
//! (docs/decisions/050-half-close.md).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::inbound::Inbound;
use super::output::{Goal, Output};
use crate::limits;
use crate::runtime::{PeerEnd, Stream, Timer};
use crate::server::options::ServerOptions;
use crate::server::request_log::ConnectionLog;

/// The bytes of one connection, in both directions.
pub(super) struct Link {
    pub stream: Stream,
    pub inbound: RefCell<Inbound>,
    pub output: RefCell<Output>,
}

impl Link {
    pub(crate) fn new(stream: Stream, log: Option<Box<ConnectionLog>>) -> Self {
        Self {
            inbound: RefCell::new(Inbound::new(stream.receiver())),
            output: RefCell::new(Output::new(log)),
            stream,
        }
    }

    /// Waits for `work` and looks after both directions meanwhile.
    ///
    /// # Errors
    /// When the client is gone, or takes queued output too slowly. `work` is dropped then.
    pub(crate) async fn attend<F: Future>(
        &self,
        options: &ServerOptions,
        work: F,
    ) -> io::Result<F::Output> {
        let mut work = pin!(work);
        let mut watch = ClientWatch::default();
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(Ok(done));
                }
                if let Poll::Ready(Err(e)) = self.poll_output(options, Goal::Progress, cx) {
                    return Poll::Ready(Err(e));
                }
                // Bytes have come that `work` waits for.
                ready!(watch.poll(self, options, cx))?;
            }
        })
        .await
    }

    /// Waits until the socket has taken everything that was queued.
    pub(crate) async fn flush(&self, options: &ServerOptions) -> io::Result<()> {
        poll_fn(|cx| self.poll_output(options, Goal::Empty, cx)).await
    }

    /// Waits until the socket has taken what is on its way; what is gathered stays.
    pub(crate) async fn settle(&self, options: &ServerOptions) -> io::Result<()> {
        poll_fn(|cx| self.poll_output(options, Goal::Settled, cx)).await
    }

    /// As [`flush`](Self::flush), where nothing will follow: the stream is about to be closed.
    pub(crate) async fn finish(&self, options: &ServerOptions) -> io::Result<()> {
        self.output.borrow_mut().hand_over_last(&self.stream);
        self.flush(options).await
    }

    fn poll_output(
        &self,
        options: &ServerOptions,
        goal: Goal,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut output = self.output.borrow_mut();
        output.poll(&self.stream, options, goal, cx)
    }
}

/// Watches the client while something else is waited for.
#[derive(Default)]
struct ClientWatch {
    /// Looked at where bytes are left unread, so that their end is not seen.
    end: Option<PeerEnd>,
    half_closed: Option<HalfClosed>,
}

/// The client has ended its sending direction.
struct HalfClosed {
    timeout: Timer,
    look: Timer,
}

impl ClientWatch {
    /// Ready when bytes, or the end, have come that the reader of a request's body waits for.
    fn poll(
        &mut self,
        link: &Link,
        options: &ServerOptions,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut inbound = link.inbound.borrow_mut();
            // The shard has few receive buffers, and this wait may be long.
            inbound.input.detach();
            if inbound.has_ended() {
                return self.poll_half_closed(link, options, cx);
            }
            if inbound.is_full() {
                let end = self.end.get_or_insert_with(|| link.stream.peer_end());
                ready!(end.poll(cx));
                return self.poll_half_closed(link, options, cx);
            }
            if let Some(buf) = ready!(inbound.poll_receive(cx))? {
                inbound.input.push(buf);
            }
            if inbound.wake_reader() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_half_closed(
        &mut self,
        link: &Link,
        options: &ServerOptions,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let shard = link.stream.shard();
        let wait_ms = options.half_close_timeout_ms;
        let half_closed = self.half_closed.get_or_insert_with(|| HalfClosed {
            timeout: Timer::after(shard, wait_ms),
            look: Timer::after(shard, limits::LINGER_LOOK_MS),
        });
        if wait_ms == 0 || half_closed.timeout.poll_elapsed(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        loop {
            // The ring reports the end that is known, so that a reset after it has to be looked for.
            if link.stream.is_hung_up() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if half_closed.look.poll_elapsed(cx).is_pending() {
                return Poll::Pending;
            }
            half_closed.look.reset(limits::LINGER_LOOK_MS);
        }
    }
}
