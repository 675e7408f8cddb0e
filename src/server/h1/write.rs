//! Sending the bodies that do not fit into the output buffer with their head.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::link::Link;
use super::output::Rest;
use crate::http::h1::encode::{BodyFraming, CHUNK_END, LAST_CHUNK, encode_chunk_head};
use crate::http::{Body, BodyStream, Part};
use crate::runtime::{SendBuf, Stream};
use crate::server::integrity::Integrity;
use crate::server::min_send_rate::MinimumSendRate;
use crate::server::options::ServerOptions;
use crate::server::transfer::Transfers;

/// Sends a body, after all that was gathered before it.
///
/// # Errors
/// Of the socket; TimedOut when the client takes it too slowly; and what keeps the body from
/// being sent as it was announced.
pub(super) async fn send_rest(
    link: &Link,
    rest: Rest,
    options: &ServerOptions,
    transfers: &Transfers,
) -> io::Result<()> {
    let stream = &link.stream;
    // The service looked at its files in this very turn; from here on it may wait.
    let answered_ms = stream.shard().now_ms();
    // What is on its way must have left before anything is sent past it.
    link.settle(options).await?;
    let gathered = link.output.borrow_mut().take_gathered();
    let Some(mut head) = gathered else {
        return Ok(());
    };
    let sent = link.output.borrow().sent_counter();
    let rate = &mut MinimumSendRate::new(stream.shard(), options).counting(sent);
    if let Body::Stream(body) = rest.body {
        let chunked = rest.framing == BodyFraming::Chunked;
        return send_stream(link, head, body, chunked, options, rate).await;
    }
    // The head goes out at once, with the first bytes of the body in its segment.
    if let Some(sent) = stream.try_send(head.as_slice(), true)? {
        head.advance(sent);
        rate.moved(sent as u64);
    }
    if !head.is_empty() {
        link.output.borrow_mut().hold_back_for_log();
        send_all(stream, head, true, rate).await?;
        link.output.borrow_mut().release_for_log(stream);
    }
    match rest.body {
        Body::Empty | Body::Stream(_) => Ok(()),
        Body::Bytes(bytes) | Body::Explanation(bytes) => {
            send_all(stream, bytes.into(), false, rate).await
        }
        Body::File(slice) => {
            let mut integrity = Integrity::of([&slice]);
            transfers
                .send_file(stream, &slice, rate, &mut integrity, answered_ms)
                .await
        }
        Body::Parts(parts) => {
            let last = parts.len().saturating_sub(1);
            let slices = parts.iter().filter_map(|part| match part {
                Part::File(slice) => Some(slice),
                Part::Bytes(_) => None,
            });
            let mut integrity = Integrity::of(slices);
            for (index, part) in parts.into_iter().enumerate() {
                match part {
                    Part::Bytes(bytes) => {
                        send_all(stream, bytes.into(), index < last, rate).await?;
                    }
                    Part::File(slice) => {
                        transfers
                            .send_file(stream, &slice, rate, &mut integrity, answered_ms)
                            .await?;
                    }
                }
            }
            Ok(())
        }
    }
}

/// Sends a body that is made while it is sent. Its head leaves with the first piece if that is
/// ready, and at once if it is not.
async fn send_stream(
    link: &Link,
    head: SendBuf,
    mut body: Box<dyn BodyStream>,
    chunked: bool,
    options: &ServerOptions,
    rate: &mut MinimumSendRate,
) -> io::Result<()> {
    let stream = &link.stream;
    let mut head = Some(head);
    let mut left = body.len();
    link.output.borrow_mut().hold_back_for_log();
    loop {
        let ready = poll_fn(|cx| Poll::Ready(body.poll_next(cx))).await;
        let next = match ready {
            Poll::Ready(next) => next,
            Poll::Pending => {
                if let Some(head) = head.take() {
                    send_all(stream, head, false, rate).await?;
                    link.output.borrow_mut().release_for_log(stream);
                }
                let next = link.attend(options, poll_fn(|cx| body.poll_next(cx)));
                let next = next.await?;
                // The time that the service took is not the client's.
                rate.restart();
                next
            }
        };
        let with_head = head.is_some();
        let mut bufs: Vec<SendBuf> = head.take().into_iter().collect();
        let Some(piece) = next else {
            if chunked {
                bufs.push(LAST_CHUNK.into());
            }
            send_all_vectored(stream, bufs, rate).await?;
            return match left {
                Some(1..) => Err(io::Error::other("a body is shorter than it said")),
                _ => Ok(()),
            };
        };
        let piece = piece.map_err(|e| io::Error::other(e.to_string()))?;
        if let Some(left) = &mut left {
            // More than was announced would be taken for the next response.
            *left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| io::Error::other("a body is longer than it said"))?;
        }
        if !piece.is_empty() && chunked {
            let mut size = Vec::with_capacity(16);
            encode_chunk_head(&mut size, piece.len());
            bufs.extend([size.into(), piece.into(), CHUNK_END.into()]);
        } else if !piece.is_empty() {
            bufs.push(piece.into());
        }
        send_all_vectored(stream, bufs, rate).await?;
        if with_head {
            link.output.borrow_mut().release_for_log(stream);
        }
    }
}

/// Sends a buffer, waiting for the client as long as it keeps up the least rate.
async fn send_all(
    stream: &Stream,
    mut buf: SendBuf,
    more: bool,
    rate: &mut MinimumSendRate,
) -> io::Result<()> {
    while !buf.is_empty() {
        let before = buf.len();
        buf = rate.step(stream, stream.send(buf, more)).await?;
        rate.moved((before - buf.len()) as u64);
    }
    Ok(())
}

async fn send_all_vectored(
    stream: &Stream,
    mut bufs: Vec<SendBuf>,
    rate: &mut MinimumSendRate,
) -> io::Result<()> {
    let left = |bufs: &[SendBuf]| bufs.iter().map(SendBuf::len).sum::<usize>();
    while !bufs.is_empty() {
        let before = left(&bufs);
        bufs = rate.step(stream, stream.send_vectored(bufs, false)).await?;
        rate.moved((before - left(&bufs)) as u64);
    }
    Ok(())
}
