//! One HTTP/1.1 connection, from its first byte to its last.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body::H1Body;
use super::input::Input;
use super::write::{Exchange, Output, Rest, send_all};
use crate::http::h1::parse::Framing;
use crate::http::{Method, ParseError, Parsed, Response, Status, Version, parse_request};
use crate::limits;
use crate::runtime::{Receiver, SendBuf, Stream, Timer};
use crate::server::pace::Pace;
use crate::server::service::{BodySource, Incoming, IncomingError, Request, Service};
use crate::server::state::ShardState;

/// A connection and what it is in the middle of.
pub(in crate::server) struct Connection<S> {
    stream: Stream,
    receiver: Receiver,
    state: Rc<ShardState>,
    service: Rc<S>,
    input: Input,
    output: Output,
    /// Until when the next thing must have come: a head's end, or a request's beginning.
    timer: Timer,
    /// The beginning of a head is here, and its end is waited for.
    in_head: bool,
    /// For the next request's first byte, as the listener has it.
    idle_timeout_ms: u32,
    /// Bytes of that head when it was last looked at.
    parsed_bytes: usize,
    requests: u64,
}

/// What ended a wait. Small, since it is kept while what follows from it waits.
enum Wake {
    /// Bytes have come and are in the input; whether they may end a head.
    Input(bool),
    /// The client has closed its side.
    End,
    Timeout,
    /// The server is stopping and this connection is idle.
    Drain,
    /// The socket had no room for these bytes.
    Full(Box<SendBuf>),
    Gone,
}

/// What is to be done about a request.
enum Step {
    /// Nothing more: its answer is gathered.
    Answered,
    /// There is no further whole request, or there can't be.
    Over(Fate),
    /// Its answer's body is to be sent.
    Send(Rest, Exchange),
    /// The service wants to wait, or the body; the head has so many bytes.
    Call(usize, Exchange),
}

/// How a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Close when all is sent.
    Close,
    /// Close, but read on for a while first: the client is still sending, and a
    /// close now would reset the connection and take the response with it.
    Linger,
}

impl<S: Service> Connection<S> {
    pub fn new(
        stream: Stream,
        state: Rc<ShardState>,
        service: Rc<S>,
        idle_timeout_ms: u64,
    ) -> Self {
        let timer = Timer::after(stream.shard(), state.options().header_timeout_ms);
        state.idle.enter(timer.id(), stream.shard().now_ms());
        Self {
            receiver: stream.receiver(),
            timer,
            stream,
            state,
            service,
            input: Input::Empty,
            output: Output::new(),
            in_head: false,
            idle_timeout_ms: u32::try_from(idle_timeout_ms).unwrap_or(u32::MAX),
            parsed_bytes: 0,
            requests: 0,
        }
    }

    /// Serves the connection to its end. Errors of the socket end it without a word.
    pub async fn run(&mut self) {
        if let Ok(Fate::Linger) = self.serve().await {
            Box::pin(self.linger()).await;
        }
    }

    async fn serve(&mut self) -> io::Result<Fate> {
        loop {
            let fate = match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Input(false) => {
                    self.input.detach();
                    continue;
                }
                Wake::Input(true) => match self.process().await? {
                    Fate::Close if self.has_more_input().await => Fate::Linger,
                    fate => fate,
                },
                Wake::Full(rest) => {
                    self.leave_idle();
                    self.input.detach();
                    Box::pin(self.send_late(*rest)).await?;
                    self.restart_timer();
                    Fate::Open
                }
                Wake::Timeout if self.in_head => self.refuse_late_head(),
                Wake::End | Wake::Timeout | Wake::Drain => Fate::Close,
                Wake::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
            };
            if fate != Fate::Open {
                self.leave_idle();
                self.input.detach();
                Box::pin(self.finish()).await?;
                return Ok(fate);
            }
            self.output.hand_over(&self.stream);
        }
    }

    /// Whether the client has sent more than was answered: to close over it would
    /// be a reset, which may overtake the answers.
    async fn has_more_input(&mut self) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        poll_fn(|cx| {
            Poll::Ready(matches!(
                self.receiver.poll_next(cx),
                Poll::Ready(Ok(Some(_)))
            ))
        })
        .await
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        match self.output.poll_pending(cx) {
            Poll::Ready(Ok(rest)) => return Poll::Ready(Wake::Full(Box::new(rest))),
            Poll::Ready(Err(_)) => return Poll::Ready(Wake::Gone),
            Poll::Pending => {}
        }
        if self.output.gathered_bytes() > 0 {
            // Behind something that is on its way: its success wakes nobody, so look again.
            self.output.hand_over(&self.stream);
            cx.waker().wake_by_ref();
        }
        match self.receiver.poll_next(cx) {
            Poll::Ready(Ok(Some(buf))) => {
                let may_end = self.may_end_head(&buf);
                self.input.push(buf);
                return Poll::Ready(Wake::Input(may_end));
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Wake::End),
            Poll::Ready(Err(_)) => return Poll::Ready(Wake::Gone),
            Poll::Pending => {}
        }
        if self.timer.poll_elapsed(cx).is_ready() {
            return Poll::Ready(Wake::Timeout);
        }
        if self.state.is_draining() && !self.in_head {
            if self.output.is_idle() {
                return Poll::Ready(Wake::Drain);
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Answers what has come in. What waits is boxed: an idle connection shall
    /// not be as large as the largest thing that it may ever do.
    async fn process(&mut self) -> io::Result<Fate> {
        loop {
            let fate = match self.step() {
                Step::Answered if self.output.gathered_bytes() < limits::GATHER_BYTES_MAX => {
                    continue;
                }
                Step::Answered => {
                    self.leave_idle();
                    self.input.detach();
                    Box::pin(self.flush()).await?;
                    continue;
                }
                Step::Over(fate) => return Ok(fate),
                Step::Send(rest, exchange) => {
                    self.leave_idle();
                    self.input.detach();
                    Box::pin(self.send_rest(rest, exchange)).await?
                }
                Step::Call(head_bytes, exchange) => {
                    self.leave_idle();
                    Box::pin(self.call(head_bytes, exchange)).await?
                }
            };
            if fate != Fate::Open {
                return Ok(fate);
            }
        }
    }

    /// Takes the next request as far as it goes without waiting.
    fn step(&mut self) -> Step {
        let options = self.state.options();
        let parsed = match parse_request(self.input.bytes(), &options.head) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.await_more();
                return Step::Over(Fate::Open);
            }
            Err(e) => return Step::Over(self.refuse(&e)),
        };
        self.requests += 1;
        self.state.counters.requests.add(1);
        self.stream.shard().doing(self.state.doing.answer);
        let last = self.state.is_draining() || self.requests == options.requests_per_connection_max;
        let exchange = exchange_of(&parsed, last);
        let head_bytes = parsed.head_bytes;
        let response = match parsed.framing {
            Framing::None => self.service.try_call(&parsed.head),
            _ => None,
        };
        let Some(response) = response else {
            return Step::Call(head_bytes, exchange);
        };
        self.input.consume(head_bytes);
        match self.put(response, exchange) {
            Some(rest) => Step::Send(rest, exchange),
            None if exchange.keep_alive => Step::Answered,
            None => Step::Over(Fate::Close),
        }
    }

    /// All requests here are answered: idle, or in the middle of a head.
    fn await_more(&mut self) {
        let options = self.state.options();
        if self.input.is_empty() {
            self.in_head = false;
            self.timer.reset(self.idle_timeout_ms.into());
            self.enter_idle();
        } else {
            self.parsed_bytes = self.input.bytes().len();
            // From the head's first byte on; the next one doesn't push it back.
            if !self.in_head {
                self.in_head = true;
                self.timer.reset(options.header_timeout_ms);
                self.leave_idle();
            }
            self.input.detach();
        }
    }

    /// Whether a head that has begun is worth another look with this piece. Each
    /// look begins at its first byte, so looking at every byte of a drip would
    /// cost the square of its length: a line must have ended, or much have come.
    fn may_end_head(&self, piece: &[u8]) -> bool {
        let len = self.input.bytes().len() + piece.len();
        !self.in_head
            || piece.contains(&b'\n')
            || len >= 2 * self.parsed_bytes
            || len >= self.state.options().head.head_bytes_max
    }

    /// What the client was not sent yet, it could not react to: its time begins now.
    fn restart_timer(&mut self) {
        let options = self.state.options();
        if self.in_head {
            self.timer.reset(options.header_timeout_ms);
        } else {
            self.timer.reset(self.idle_timeout_ms.into());
            self.enter_idle();
        }
    }

    /// Waits for a request from now on, and may be closed for another's sake.
    fn enter_idle(&self) {
        let now_ms = self.stream.shard().now_ms();
        self.state.idle.enter(self.timer.id(), now_ms);
    }

    /// Has work, and is not to be closed.
    fn leave_idle(&self) {
        self.state.idle.leave(self.timer.id());
    }

    fn put(&mut self, response: Response, exchange: Exchange) -> Option<Rest> {
        self.in_head = false;
        self.state.counters.count_response(response.status);
        let date = self.state.clock.date(self.stream.shard().now_ms());
        self.output.put(&self.stream, response, exchange, &date)
    }

    /// Has the service answer what has a body or needs time. The head is copied
    /// out of the receive buffer, which others may need meanwhile.
    async fn call(&mut self, head_bytes: usize, exchange: Exchange) -> io::Result<Fate> {
        let head = self.input.take(head_bytes);
        self.input.detach();
        self.in_head = false;
        let options = self.state.options();
        let Ok(Some(parsed)) = parse_request(&head, &options.head) else {
            return Err(io::Error::other("a request changed while it was copied"));
        };
        // What was gathered for requests before this one must not wait for it, and
        // must be out before `100 Continue` can be.
        match parsed.framing {
            Framing::None => self.output.hand_over(&self.stream),
            _ => {
                let mut pace = self.pace();
                self.output.flush(&self.stream, &mut pace).await?;
            }
        }
        let mut body = H1Body::new(
            &self.stream,
            &mut self.receiver,
            &mut self.input,
            parsed.framing,
            parsed.expect_continue,
            options.body_bytes_max,
            options.body_timeout_ms,
        );
        let too_large = matches!(parsed.framing, Framing::Length(n) if n > options.body_bytes_max);
        let response = if too_large {
            IncomingError::TooLarge.response()
        } else {
            let request = Request {
                head: parsed.head,
                body: Incoming(&mut body),
            };
            self.service.call(request).await
        };
        let whole = body.is_done();
        let drainable = whole || body.may_drain(limits::LINGER_BYTES_MAX);
        let left = body.into_left();
        let exchange = Exchange {
            keep_alive: exchange.keep_alive && drainable && !self.state.is_draining(),
            ..exchange
        };
        let fate = match self.put(response, exchange) {
            None if exchange.keep_alive => Fate::Open,
            None => Fate::Close,
            Some(rest) => self.send_rest(rest, exchange).await?,
        };
        if whole {
            return Ok(fate);
        }
        if !drainable || fate != Fate::Open {
            return Ok(Fate::Linger);
        }
        // The response doesn't wait for the rest of a body that nobody wanted.
        self.flush().await?;
        let options = self.state.options();
        let mut body = H1Body::resume(
            &self.stream,
            &mut self.receiver,
            &mut self.input,
            left,
            limits::LINGER_BYTES_MAX,
            options.body_timeout_ms,
        );
        let drained = drain(&mut body).await;
        Ok(if drained { Fate::Open } else { Fate::Linger })
    }

    async fn send_rest(&mut self, rest: Rest, exchange: Exchange) -> io::Result<Fate> {
        let keep = exchange.keep_alive && !rest.ends_connection();
        let mut pace = self.pace();
        let transfers = &self.state.transfers;
        self.output
            .send_rest(&self.stream, rest, &mut pace, transfers)
            .await?;
        Ok(if keep { Fate::Open } else { Fate::Close })
    }

    async fn send_late(&mut self, rest: SendBuf) -> io::Result<()> {
        let mut pace = self.pace();
        send_all(&self.stream, rest, false, &mut pace).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        let mut pace = self.pace();
        self.output.finish(&self.stream, &mut pace).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut pace = self.pace();
        self.output.flush(&self.stream, &mut pace).await
    }

    fn pace(&self) -> Pace {
        let options = self.state.options();
        let (period, rate) = (options.send_period_ms, options.send_rate_bytes_per_s_min);
        Pace::new(self.stream.shard(), period, rate)
    }

    fn refuse(&mut self, error: &ParseError) -> Fate {
        self.state.counters.malformed.add(1);
        self.put_last(Response::error(error.status(), &error.to_string()));
        Fate::Linger
    }

    fn refuse_late_head(&mut self) -> Fate {
        self.state.counters.late.add(1);
        let sentence = "the request's head did not arrive in time; send it again";
        self.put_last(Response::error(Status::REQUEST_TIMEOUT, sentence));
        Fate::Linger
    }

    /// The last response of a connection whose requests can't be told apart any more.
    fn put_last(&mut self, response: Response) {
        let exchange = Exchange {
            version: Version::Http11,
            is_head: false,
            keep_alive: false,
        };
        let rest = self.put(response, exchange);
        debug_assert!(rest.is_none(), "an error's body is short");
        self.input = Input::Empty;
    }

    /// Ends our side and reads on for a while, throwing away what comes (RFC 9112 section 9.6).
    async fn linger(&mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        self.input = Input::Empty;
        self.timer.reset(limits::LINGER_TIMEOUT_MS);
        let mut left = limits::LINGER_BYTES_MAX;
        poll_fn(|cx| {
            loop {
                if self.timer.poll_elapsed(cx).is_ready() {
                    return Poll::Ready(());
                }
                match self.receiver.poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(buf))) => match left.checked_sub(buf.len() as u64) {
                        Some(rest) => left = rest,
                        None => return Poll::Ready(()),
                    },
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        // The name goes to another connection.
        self.state.idle.leave(self.timer.id());
    }
}

fn exchange_of(parsed: &Parsed<'_>, last: bool) -> Exchange {
    Exchange {
        version: parsed.head.version,
        is_head: parsed.head.method == Method::Head,
        keep_alive: parsed.keep_alive && !last,
    }
}

/// Reads what a service left of a body; `false` when that can't be done.
async fn drain(body: &mut H1Body<'_>) -> bool {
    loop {
        match poll_fn(|cx| body.poll_piece(cx)).await {
            Ok(None) => return true,
            Ok(Some(_)) => {}
            Err(_) => return false,
        }
    }
}
