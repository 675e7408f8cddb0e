//! The sending direction of a connection: what is gathered, and what is on its way.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use crate::buffers::OutputBuf;
use crate::http::h1::encode::{BodyFraming, encode_head};
use crate::http::{Body, DateValue, HeaderBlock, Rendered, Response, Version};
use crate::limits;
use crate::runtime::{PendingSend, SendBuf, Sending, Stream};
use crate::server::min_send_rate::MinimumSendRate;
use crate::server::options::ServerOptions;
use crate::server::request_log::{ConnectionLog, PutAnswer};

/// What of the request decides how its response is written.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    pub version: Version,
    pub is_head: bool,
    pub keep_alive: bool,
    /// The client has said that it sends nothing after this request.
    pub client_closes: bool,
}

/// A body that does not go out with the head in one piece.
pub(super) struct Rest {
    pub body: Body,
    pub framing: BodyFraming,
}

impl Rest {
    /// Whether only the connection's end can end the body.
    pub(crate) fn ends_connection(&self) -> bool {
        self.framing == BodyFraming::UntilClose
    }
}

/// How far [`Output::poll`] is to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// As far as it gets; a success with nothing behind it wakes no task.
    Progress,
    /// What is on its way has been taken by the socket.
    Settled,
    /// Everything has been taken by the socket.
    Empty,
}

/// A response that was put into the output.
pub(super) struct Put {
    /// What of it does not go out with the head.
    pub rest: Option<Rest>,
    pub answer: PutAnswer,
}

pub(super) struct Output {
    gathered: Option<OutputBuf>,
    under_way: UnderWay,
    /// Bytes that the socket was given so far, or is about to be given.
    given_bytes: u64,
    /// The requests whose answers these are; `None`: there is no access log.
    pub log: Option<Box<ConnectionLog>>,
}

/// At most one send of a connection is under way.
enum UnderWay {
    Nothing,
    /// Handed over in this turn of the shard; it succeeds without a word.
    Silent(PendingSend, u64),
    /// The socket was full; this waits for room.
    Blocked(Box<Blocked>),
}

struct Blocked {
    send: Sending,
    bytes: usize,
    rate: MinimumSendRate,
}

impl Output {
    pub(crate) fn new(log: Option<Box<ConnectionLog>>) -> Self {
        Self {
            gathered: None,
            under_way: UnderWay::Nothing,
            given_bytes: 0,
            log,
        }
    }

    pub(crate) fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, |out| out.len())
    }

    /// Takes what was gathered, to send it by other means. Nothing may be under way.
    pub(crate) fn take_gathered(&mut self) -> Option<SendBuf> {
        self.gathered.take().map(SendBuf::from)
    }

    /// Counts a body that is sent past this output.
    pub(crate) fn count_rest(&mut self, rest: &Rest) {
        let bytes = rest.body.len().unwrap_or(u64::MAX);
        self.given_bytes = self.given_bytes.saturating_add(bytes);
    }

    /// Whether so little was sent that a close may leave all of it to the kernel.
    pub(crate) fn has_sent_little(&self) -> bool {
        self.given_bytes <= limits::UNACKNOWLEDGED_AT_CLOSE_BYTES_MAX
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.gathered.is_none() && matches!(self.under_way, UnderWay::Nothing)
    }

    /// Whether the socket has no room.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self.under_way, UnderWay::Blocked(_))
    }

    /// Adds a response to what goes out next. A body that is short goes with it;
    /// another is given back to be sent after.
    pub(crate) fn put(
        &mut self,
        stream: &Stream,
        response: Response,
        exchange: Exchange,
        date: &DateValue,
    ) -> Put {
        let Exchange {
            version,
            is_head,
            keep_alive,
            ..
        } = exchange;
        let framing = match response.status.is_bodiless() {
            true => BodyFraming::None,
            false => BodyFraming::of_stream(response.body.len(), version),
        };
        let status = response.status.code();
        let put = |head_bytes, body_bytes, rest: Option<Rest>| Put {
            answer: PutAnswer {
                status,
                head_bytes,
                body_bytes,
                whole: rest.is_none(),
            },
            rest,
        };
        let plain = keep_alive && !is_head && version == Version::Http11;
        if plain
            && let Some((head_bytes, body_bytes)) =
                self.put_prepared(stream, &response, framing, date)
        {
            return put(head_bytes, body_bytes, None);
        }
        let out = self.buffer(stream);
        let appended = response.appended.as_ref().map(HeaderBlock::as_bytes);
        let blocks = [response.headers.as_bytes(), appended.unwrap_or_default()];
        let before = out.len();
        encode_head(
            out,
            version,
            response.status,
            blocks,
            date,
            framing,
            keep_alive,
        );
        let head_bytes = out.len() - before;
        match response.body {
            _ if is_head || framing == BodyFraming::None => put(head_bytes, 0, None),
            Body::Empty => put(head_bytes, 0, None),
            Body::Bytes(bytes) if bytes.len() <= limits::COPY_BYTES_MAX => {
                out.extend_from_slice(&bytes);
                put(head_bytes, bytes.len(), None)
            }
            body => put(head_bytes, 0, Some(Rest { body, framing })),
        }
    }

    /// Adds a response that is kept in one piece, and gives the bytes of its head and body;
    /// `None` if it isn't, or if its body is too long to be copied behind lines of its own.
    fn put_prepared(
        &mut self,
        stream: &Stream,
        response: &Response,
        framing: BodyFraming,
        date: &DateValue,
    ) -> Option<(usize, usize)> {
        let prepared = response.prepared.as_ref()?;
        let is_short = |piece: &Rendered| piece.bytes.len() <= limits::COPY_BYTES_MAX;
        let piece = prepared.piece(date, || render(response, framing, date));
        let body_bytes = bytes_of(&response.body).len();
        let head_bytes = piece.bytes.len() - body_bytes;
        match &response.appended {
            None if is_short(&piece) || !self.is_idle() => {
                self.buffer(stream).extend_from_slice(&piece.bytes);
                Some((head_bytes, body_bytes))
            }
            None => {
                self.start(stream, piece.bytes.clone());
                Some((head_bytes, body_bytes))
            }
            Some(appended) if is_short(&piece) => {
                let (head, rest) = piece.bytes.split_at(piece.lines_end);
                let appended = appended.as_bytes();
                let out = self.buffer(stream);
                out.extend_from_slice(head);
                out.extend_from_slice(appended);
                out.extend_from_slice(rest);
                Some((head_bytes + appended.len(), body_bytes))
            }
            Some(_) => None,
        }
    }

    /// Adds bytes that are no response of their own, such as `100 Continue`.
    pub(crate) fn put_bytes(&mut self, stream: &Stream, bytes: &[u8]) {
        self.buffer(stream).extend_from_slice(bytes);
        if let Some(log) = &mut self.log {
            log.put_bytes(bytes.len());
        }
    }

    fn buffer(&mut self, stream: &Stream) -> &mut OutputBuf {
        self.gathered
            .get_or_insert_with(|| stream.shard().output_pool().take())
    }

    fn start(&mut self, stream: &Stream, buf: impl Into<SendBuf>) {
        let buf = buf.into();
        self.count_hand_over(buf.len());
        let send = stream.send_now(buf);
        self.under_way = UnderWay::Silent(send, stream.shard().turn());
    }

    #[inline]
    fn count_hand_over(&mut self, bytes: usize) {
        self.given_bytes = self.given_bytes.saturating_add(bytes as u64);
        if let Some(log) = &mut self.log {
            log.handed_over(bytes);
        }
    }

    /// Counts the bytes that the kernel has taken, and gives the access log those that it has not.
    #[inline]
    fn log_settled(&mut self, left: usize) {
        if let Some(log) = &mut self.log {
            log.settled(left);
        }
    }

    /// For the access log: what was gathered before an answer that is sent past this output waits
    /// for room.
    pub(crate) fn hold_back_for_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.hold_back();
        }
    }

    /// For the access log: what was gathered before that answer has left.
    pub(crate) fn release_for_log(&mut self, stream: &Stream) {
        if let Some(log) = &mut self.log {
            log.release(stream.shard().now_ms());
        }
    }

    /// What counts the bytes that the kernel takes, for the access log.
    pub(crate) fn sent_counter(&self) -> Option<Rc<Cell<u64>>> {
        self.log.as_ref().map(|log| log.sent())
    }

    /// For the access log of a connection that ends: what was handed over is taken, unless it is
    /// known not to be.
    pub(crate) fn settle_for_log(&mut self) {
        if self.log.is_none() {
            return;
        }
        let UnderWay::Silent(send, _) = &mut self.under_way else {
            return;
        };
        match send.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return self.log_settled(0),
            Poll::Ready(Ok(rest)) => self.log_settled(rest.map_or(0, |rest| rest.len())),
            Poll::Ready(Err(_)) => {}
        }
        self.under_way = UnderWay::Nothing;
    }

    /// Hands over what is gathered, unless something is on its way already.
    pub(crate) fn hand_over(&mut self, stream: &Stream) {
        if matches!(self.under_way, UnderWay::Nothing)
            && let Some(out) = self.gathered.take()
        {
            self.start(stream, out);
        }
    }

    /// As [`hand_over`](Self::hand_over), for the last bytes before the stream is shut down or
    /// closed, so that they share a segment with the FIN.
    pub(crate) fn hand_over_last(&mut self, stream: &Stream) {
        if matches!(self.under_way, UnderWay::Nothing)
            && let Some(out) = self.gathered.take()
        {
            self.count_hand_over(out.len());
            let send = stream.send_last(out);
            self.under_way = UnderWay::Silent(send, stream.shard().turn());
        }
    }

    /// Sends on. Ready once `goal` is reached.
    ///
    /// # Errors
    /// Of the socket, or TimedOut when the client takes what was sent too slowly.
    pub(crate) fn poll(
        &mut self,
        stream: &Stream,
        options: &ServerOptions,
        goal: Goal,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.under_way {
                UnderWay::Nothing => {
                    if goal == Goal::Settled || self.gathered.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                    self.hand_over(stream);
                }
                UnderWay::Silent(send, turn) => match send.poll(cx) {
                    Poll::Ready(rest) => {
                        self.under_way = UnderWay::Nothing;
                        let rest = rest?;
                        self.log_settled(rest.as_ref().map_or(0, SendBuf::len));
                        if let Some(rest) = rest {
                            let sent = self.sent_counter();
                            self.under_way = UnderWay::blocked(stream, rest, options, sent);
                        }
                    }
                    Poll::Pending => {
                        // A success wakes no task in the turn in which the send was handed over.
                        let wants_success = goal != Goal::Progress || self.gathered.is_some();
                        if wants_success && *turn == stream.shard().turn() {
                            stream.shard().wake_next_turn(cx.waker());
                        }
                        return Poll::Pending;
                    }
                },
                UnderWay::Blocked(blocked) => {
                    let sent = ready!(blocked.poll(stream, cx));
                    self.under_way = UnderWay::Nothing;
                    sent?;
                    self.release_for_log(stream);
                }
            }
        }
    }
}

impl UnderWay {
    fn blocked(
        stream: &Stream,
        rest: SendBuf,
        options: &ServerOptions,
        sent: Option<Rc<Cell<u64>>>,
    ) -> Self {
        Self::Blocked(Box::new(Blocked {
            bytes: rest.len(),
            send: stream.start_send(rest),
            rate: MinimumSendRate::new(stream.shard(), options).counting(sent),
        }))
    }
}

impl Blocked {
    fn poll(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.send.poll(cx) {
                Poll::Ready(Ok(rest)) => {
                    self.rate.moved((self.bytes - rest.len()) as u64);
                    if rest.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    self.bytes = rest.len();
                    self.send = stream.start_send(rest);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    return self
                        .rate
                        .poll_too_slow(stream, cx)
                        .map(|()| Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }
}

/// Head and body of a response in one piece, for an HTTP/1.1 connection that stays open.
fn render(response: &Response, framing: BodyFraming, date: &DateValue) -> Rendered {
    let body = bytes_of(&response.body);
    let mut out = Vec::with_capacity(body.len() + 512);
    let blocks = [response.headers.as_bytes(), &[]];
    encode_head(
        &mut out,
        Version::Http11,
        response.status,
        blocks,
        date,
        framing,
        true,
    );
    // The empty line that ends the head.
    let lines_end = out.len() - 2;
    out.extend_from_slice(body);
    Rendered {
        bytes: out.into(),
        lines_end,
    }
}

fn bytes_of(body: &Body) -> &[u8] {
    match body {
        Body::Bytes(bytes) => bytes,
        _ => &[],
    }
}
