//! Closing a connection so that its last answer reaches the client (RFC 9112 section 9.6).
//!
//! To close a socket while the client is still sending makes the kernel reset the connection, and
//! a reset may overtake the answer. So the sending direction is shut down first, and what comes
//! is read and thrown away, within bounds, until the client closes.
//!
//! The other way round, a socket that is closed while the client takes its last bytes slowly
//! keeps its send buffer for as long as the client likes, past every limit. So the bytes that are
//! not acknowledged are waited for as long as the client takes them at the least rate; a client
//! that does not is reset, which frees the buffer at once (docs/decisions/051-reset-or-linger.md).

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};

use super::min_send_rate::{MinimumSendRate, unacknowledged_bytes};
use super::options::ServerOptions;
use crate::buffers::ReceiveBuf;
use crate::limits;
use crate::runtime::{Stream, Timer};

/// Shuts down the sending direction and waits for the client's end, for at most `timeout_ms` once
/// all is acknowledged, and for at most [`limits::LINGER_BYTES_MAX`] of what it sends.
/// `poll_receive` gives what it sends, `None` at its end.
///
/// The stream is to be dropped after this.
pub(super) async fn lingering_close(
    stream: &Stream,
    options: &ServerOptions,
    timeout_ms: u64,
    mut poll_receive: impl FnMut(&mut Context<'_>) -> Poll<io::Result<Option<ReceiveBuf>>>,
) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let timer = Timer::after(stream.shard(), timeout_ms);
    let look = Timer::after(stream.shard(), limits::LINGER_LOOK_MS);
    let mut rate = MinimumSendRate::new(stream.shard(), options);
    let mut left_bytes = limits::LINGER_BYTES_MAX;
    let mut ended = false;
    let close = poll_fn(|cx| {
        while !ended {
            match poll_receive(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(buf))) => match left_bytes.checked_sub(buf.len() as u64) {
                    Some(left) => left_bytes = left,
                    None => return Poll::Ready(Close::Reset),
                },
                Poll::Ready(Ok(None)) => ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Close::Reset),
            }
        }
        loop {
            let slow = rate.poll_too_slow(stream, cx).is_ready();
            match unacknowledged_bytes(stream) {
                0 if ended => return Poll::Ready(Close::Graceful),
                // Nothing more is received behind the client's end, so a reset after it has to be
                // looked for; what it had not acknowledged stays counted.
                _ if ended && stream.has_failed() => return Poll::Ready(Close::Reset),
                0 => match timer.poll_elapsed(cx) {
                    Poll::Ready(()) => return Poll::Ready(Close::Graceful),
                    Poll::Pending => return Poll::Pending,
                },
                _ if slow => return Poll::Ready(Close::Reset),
                _ => timer.reset(timeout_ms),
            }
            // An acknowledgement wakes no task.
            if look.poll_elapsed(cx).is_pending() {
                return Poll::Pending;
            }
            look.reset(limits::LINGER_LOOK_MS);
        }
    });
    if matches!(close.await, Close::Reset) {
        stream.reset_on_close();
    }
}

enum Close {
    Graceful,
    Reset,
}
