//! Responses over HTTP/1.1.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Bytes;

use crate::buffers::OutputBuf;
use crate::http::h1::encode::{BodyFraming, CHUNK_END, LAST_CHUNK, encode_chunk_head, encode_head};
use crate::http::{Body, BodyStream, DateValue, Part, Response, Version};
use crate::limits;
use crate::runtime::{PendingSend, SendBuf, Stream, yield_now};
use crate::server::pace::Pace;
use crate::server::transfer::Transfers;

/// What of the request decides how its response is written.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    pub version: Version,
    pub is_head: bool,
    pub keep_alive: bool,
}

/// A body that does not go out with the head in one piece.
pub(super) struct Rest {
    body: Body,
    framing: BodyFraming,
}

impl Rest {
    /// Whether only the connection's end can end the body.
    pub fn ends_connection(&self) -> bool {
        self.framing == BodyFraming::UntilClose
    }
}

/// The sending side of a connection: what is gathered, and what is on its way.
pub(super) struct Output {
    gathered: Option<OutputBuf>,
    pending: Option<PendingSend>,
}

impl Output {
    pub fn new() -> Self {
        Self {
            gathered: None,
            pending: None,
        }
    }

    pub fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, |out| out.len())
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_none() && self.gathered.is_none()
    }

    /// Looks after what was handed over. Ready with what the socket had no room for.
    pub fn poll_pending(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<SendBuf>> {
        let Some(pending) = &mut self.pending else {
            return Poll::Pending;
        };
        match pending.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(None)) => {
                self.pending = None;
                Poll::Pending
            }
            Poll::Ready(Ok(Some(rest))) => {
                self.pending = None;
                Poll::Ready(Ok(rest))
            }
            Poll::Ready(Err(e)) => {
                self.pending = None;
                Poll::Ready(Err(e))
            }
        }
    }

    /// Adds a response to what goes out next. A body that is short goes with it;
    /// another is given back to be sent after.
    pub fn put(
        &mut self,
        stream: &Stream,
        response: Response,
        exchange: Exchange,
        date: &DateValue,
    ) -> Option<Rest> {
        let Exchange {
            version,
            is_head,
            keep_alive,
        } = exchange;
        let framing = match response.status.is_bodiless() {
            true => BodyFraming::None,
            false => BodyFraming::of_stream(response.body.len(), version),
        };
        let plain = keep_alive && !is_head && version == Version::Http11;
        if plain && let Some(prepared) = &response.prepared {
            let ready = prepared.piece(date, || render(&response, framing, date));
            if self.is_idle() && ready.len() > limits::COPY_BYTES_MAX {
                self.pending = Some(stream.send_now(ready.clone()));
            } else {
                self.buffer(stream).extend_from_slice(&ready);
            }
            return None;
        }
        let out = self.buffer(stream);
        let block = response.headers.as_bytes();
        encode_head(
            out,
            version,
            response.status,
            block,
            date,
            framing,
            keep_alive,
        );
        match response.body {
            _ if is_head || framing == BodyFraming::None => None,
            Body::Empty => None,
            Body::Bytes(bytes) if bytes.len() <= limits::COPY_BYTES_MAX => {
                out.extend_from_slice(&bytes);
                None
            }
            body => Some(Rest { body, framing }),
        }
    }

    fn buffer(&mut self, stream: &Stream) -> &mut OutputBuf {
        self.gathered
            .get_or_insert_with(|| stream.shard().output_pool().take())
    }

    /// Hands over what is gathered, unless something is on its way already.
    pub fn hand_over(&mut self, stream: &Stream) {
        if self.pending.is_none()
            && let Some(out) = self.gathered.take()
        {
            self.pending = Some(stream.send_now(out));
        }
    }

    /// Sends everything, and nothing will follow: the stream is about to be closed.
    pub async fn finish(&mut self, stream: &Stream, pace: &mut Pace) -> io::Result<()> {
        if self.pending.is_none()
            && let Some(out) = self.gathered.take()
        {
            self.pending = Some(stream.send_last(out));
            yield_now().await;
            self.settle(stream, pace).await?;
        }
        self.flush(stream, pace).await
    }

    /// Sends everything, waiting for the client as long as it keeps up its pace.
    pub async fn flush(&mut self, stream: &Stream, pace: &mut Pace) -> io::Result<()> {
        while !self.is_idle() {
            self.hand_over(stream);
            // Handed over now, known after the next turn.
            yield_now().await;
            self.settle(stream, pace).await?;
        }
        Ok(())
    }

    async fn settle(&mut self, stream: &Stream, pace: &mut Pace) -> io::Result<()> {
        let rest = poll_fn(|cx| {
            Poll::Ready(match self.poll_pending(cx) {
                Poll::Ready(result) => result.map(Some),
                Poll::Pending => Ok(None),
            })
        })
        .await?;
        match rest {
            Some(rest) => send_all(stream, rest, false, pace).await,
            None => Ok(()),
        }
    }

    /// Sends a body, after all that was gathered before it.
    pub async fn send_rest(
        &mut self,
        stream: &Stream,
        rest: Rest,
        pace: &mut Pace,
        transfers: &Transfers,
    ) -> io::Result<()> {
        // The service looked at its files in this very turn; from here on it may wait.
        let answered_ms = stream.shard().now_ms();
        // What is on its way must have left before anything is sent past it.
        while self.pending.is_some() {
            yield_now().await;
            self.settle(stream, pace).await?;
        }
        let Some(mut head) = self.gathered.take().map(SendBuf::from) else {
            return Ok(());
        };
        // The head goes out at once, with the first bytes of the body in its segment.
        if let Some(sent) = stream.try_send(head.as_slice(), true)? {
            head.advance(sent);
        }
        send_all(stream, head, true, pace).await?;
        match rest.body {
            Body::Empty => Ok(()),
            Body::Bytes(bytes) => send_all(stream, bytes.into(), false, pace).await,
            Body::File(slice) => transfers.send_file(stream, &slice, pace, answered_ms).await,
            Body::Parts(parts) => {
                let last = parts.len().saturating_sub(1);
                for (index, part) in parts.into_iter().enumerate() {
                    match part {
                        Part::Bytes(bytes) => {
                            send_all(stream, bytes.into(), index < last, pace).await?;
                        }
                        Part::File(slice) => {
                            transfers
                                .send_file(stream, &slice, pace, answered_ms)
                                .await?
                        }
                    }
                }
                Ok(())
            }
            Body::Stream(body) => {
                let chunked = rest.framing == BodyFraming::Chunked;
                self.send_stream(stream, body, chunked, pace).await
            }
        }
    }

    async fn send_stream(
        &mut self,
        stream: &Stream,
        mut body: Box<dyn BodyStream>,
        chunked: bool,
        pace: &mut Pace,
    ) -> io::Result<()> {
        let mut left = body.len();
        while let Some(piece) = poll_fn(|cx| body.poll_next(cx)).await {
            let piece = piece.map_err(|e| io::Error::other(e.to_string()))?;
            if let Some(left) = &mut left {
                // More than was announced would be taken for the next response.
                *left = left
                    .checked_sub(piece.len() as u64)
                    .ok_or_else(|| io::Error::other("a body is longer than it said"))?;
            }
            if piece.is_empty() {
                continue;
            }
            if chunked {
                let mut head = Vec::with_capacity(16);
                encode_chunk_head(&mut head, piece.len());
                let bufs = vec![head.into(), piece.into(), CHUNK_END.into()];
                send_all_vectored(stream, bufs, pace).await?;
            } else {
                send_all(stream, piece.into(), false, pace).await?;
            }
        }
        match (chunked, left) {
            (true, _) => send_all(stream, LAST_CHUNK.into(), false, pace).await,
            (false, Some(1..)) => Err(io::Error::other("a body is shorter than it said")),
            (false, _) => Ok(()),
        }
    }
}

/// Head and body of a response in one piece, for an HTTP/1.1 connection that stays open.
fn render(response: &Response, framing: BodyFraming, date: &DateValue) -> Bytes {
    let body: &[u8] = match &response.body {
        Body::Bytes(bytes) => bytes,
        _ => &[],
    };
    let mut out = Vec::with_capacity(body.len() + 512);
    let block = response.headers.as_bytes();
    encode_head(
        &mut out,
        Version::Http11,
        response.status,
        block,
        date,
        framing,
        true,
    );
    out.extend_from_slice(body);
    out.into()
}

/// Sends a buffer, waiting for the client as long as it keeps up its pace.
pub(super) async fn send_all(
    stream: &Stream,
    mut buf: SendBuf,
    more: bool,
    pace: &mut Pace,
) -> io::Result<()> {
    while !buf.is_empty() {
        let before = buf.len();
        buf = pace.step(stream, stream.send(buf, more)).await?;
        pace.moved((before - buf.len()) as u64);
    }
    Ok(())
}

async fn send_all_vectored(
    stream: &Stream,
    mut bufs: Vec<SendBuf>,
    pace: &mut Pace,
) -> io::Result<()> {
    let left = |bufs: &[SendBuf]| bufs.iter().map(SendBuf::len).sum::<usize>();
    while !bufs.is_empty() {
        let before = left(&bufs);
        bufs = pace.step(stream, stream.send_vectored(bufs, false)).await?;
        pace.moved((before - left(&bufs)) as u64);
    }
    Ok(())
}
