//! One HTTP/1.1 connection, from its first byte to its last.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::body::H1Body;
use super::input::Input;
use super::link::Link;
use super::output::{Exchange, Goal, Output, Put, Rest};
use super::write::send_rest;
use crate::http::h1::parse::Framing;
use crate::http::preference::accept_in;
use crate::http::{Known, Method, ParseError, Parsed, Response, Status, Version, parse_request};
use crate::limits;
use crate::observe::access_log::Cut;
use crate::runtime::{Stream, Timer};
use crate::server::cut::Phase;
use crate::server::lingering_close::lingering_close;
use crate::server::min_send_rate::unacknowledged_bytes;
use crate::server::options::ServerOptions;
use crate::server::request_log::{LoggedRequest, cut_of};
use crate::server::service::{BodySource, Incoming, IncomingError, Request, Service};
use crate::server::state::ShardState;

/// A connection and what it is in the middle of.
pub(in crate::server) struct Connection<S> {
    link: Link,
    state: Rc<ShardState>,
    service: Rc<S>,
    /// Until when the next thing must have come: a head's end, or a request's beginning.
    timer: Timer,
    /// The beginning of a head is here, and its end is waited for.
    in_head: bool,
    /// The drain was noticed while the first request was still to come.
    draining: bool,
    phase: Phase,
    /// For the next request's first byte, as the listener has it.
    idle_timeout_ms: u32,
    /// Bytes of that head when it was last looked at.
    parsed_bytes: usize,
    requests: u64,
    /// When the first byte came of what is answered next.
    started_ms: u64,
}

/// What ended a wait.
enum Wake {
    /// Bytes have come and are in the input; whether they may end a head.
    Input(bool),
    /// The client has ended its sending direction.
    End,
    Timeout,
    /// The server is stopping and this connection is idle.
    Drain,
    /// The socket is full.
    Blocked,
    Gone(io::Error),
}

/// What is to be done about a request.
enum Step {
    /// Nothing more: its answer is gathered.
    Answered,
    /// There is no further whole request, or there can't be.
    Over(NextState),
    /// Its answer's body is to be sent.
    Send(Rest, Exchange),
    /// The service or the reading of the body has to wait. The first value is the head's length in
    /// bytes.
    Call(usize, Exchange),
}

/// How a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextState {
    Open,
    /// Close when all is sent: the client sends nothing more.
    Close,
    /// Close when all is sent, but read on for a while: the client may still be sending.
    Linger,
}

impl NextState {
    /// After an answer that was given completely.
    fn after(exchange: Exchange) -> Self {
        match (exchange.keep_alive, exchange.client_closes) {
            (true, _) => Self::Open,
            (false, true) => Self::Close,
            (false, false) => Self::Linger,
        }
    }
}

impl<S: Service> Connection<S> {
    pub(crate) fn new(
        stream: Stream,
        state: Rc<ShardState>,
        service: Rc<S>,
        idle_timeout_ms: u64,
    ) -> Self {
        let timer = Timer::after(stream.shard(), state.options().header_timeout_ms);
        let started_ms = stream.shard().now_ms();
        state.idle.enter(timer.id(), started_ms);
        let log = state.access_log.as_ref();
        let log = log.map(|log| log.connection(&stream));
        Self {
            link: Link::new(stream, log),
            timer,
            state,
            service,
            in_head: false,
            draining: false,
            phase: Phase::Idle,
            idle_timeout_ms: u32::try_from(idle_timeout_ms).unwrap_or(u32::MAX),
            parsed_bytes: 0,
            requests: 0,
            started_ms,
        }
    }

    /// Serves the connection to its end. A client that breaks off, or is too slow, is reset.
    pub(crate) async fn run(&mut self) {
        let ended = self.serve().await;
        if let Err(e) = &ended {
            self.log_cut(cut_of(e));
        }
        match ended {
            Ok(NextState::Linger) => Box::pin(self.linger()).await,
            Ok(_) => {}
            // An answer that can't be completed; what was sent of it may still be of use.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Box::pin(self.linger()).await,
            Err(_) => self.link.stream.reset_on_close(),
        }
        self.phase = Phase::Closed;
    }

    async fn serve(&mut self) -> io::Result<NextState> {
        loop {
            let next = match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Input(false) => {
                    self.input().detach();
                    continue;
                }
                Wake::Input(true) => match self.process().await? {
                    NextState::Close if self.has_more_input().await => NextState::Linger,
                    next => next,
                },
                Wake::Blocked => {
                    self.leave_idle();
                    self.input().detach();
                    Box::pin(self.flush()).await?;
                    self.restart_timer();
                    NextState::Open
                }
                Wake::Timeout if self.in_head => self.refuse_late_head(),
                Wake::End => {
                    self.log_unanswered(Cut::ClientClosed);
                    NextState::Close
                }
                Wake::Timeout | Wake::Drain => NextState::Close,
                Wake::Gone(e) => return Err(e),
            };
            if next != NextState::Open {
                self.leave_idle();
                self.input().detach();
                Box::pin(self.finish()).await?;
                return Ok(match next {
                    NextState::Close if self.socket_holds_much() => NextState::Linger,
                    next => next,
                });
            }
            self.link.output.get_mut().hand_over(&self.link.stream);
        }
    }

    fn input(&mut self) -> &mut Input {
        &mut self.link.inbound.get_mut().input
    }

    /// Whether a close now would leave the kernel more of an answer than may be left to it.
    fn socket_holds_much(&mut self) -> bool {
        !self.link.output.get_mut().has_sent_little()
            && unacknowledged_bytes(&self.link.stream) > limits::UNACKNOWLEDGED_AT_CLOSE_BYTES_MAX
    }

    /// Whether the client has sent more than was answered: to close over it would
    /// be a reset, which may overtake the answers.
    async fn has_more_input(&mut self) -> bool {
        if !self.input().is_empty() {
            return true;
        }
        let inbound = self.link.inbound.get_mut();
        poll_fn(|cx| Poll::Ready(matches!(inbound.poll_receive(cx), Poll::Ready(Ok(Some(_))))))
            .await
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let output = self.link.output.get_mut();
        let goal = match self.state.is_draining() {
            true => Goal::Empty,
            false => Goal::Progress,
        };
        match output.poll(&self.link.stream, &self.state.shared.options, goal, cx) {
            Poll::Ready(Err(e)) => return Poll::Ready(Wake::Gone(e)),
            Poll::Pending if output.is_blocked() => return Poll::Ready(Wake::Blocked),
            _ => {}
        }
        let output_is_idle = output.is_idle();
        match self.link.inbound.get_mut().poll_receive(cx) {
            Poll::Ready(Ok(Some(buf))) => {
                let may_end = self.may_end_head(&buf);
                if self.input().is_empty() {
                    self.started_ms = self.link.stream.shard().now_ms();
                }
                self.input().push(buf);
                return Poll::Ready(Wake::Input(may_end));
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Wake::End),
            Poll::Ready(Err(e)) => return Poll::Ready(Wake::Gone(e)),
            Poll::Pending => {}
        }
        if self.state.is_draining() && !self.in_head && output_is_idle {
            if self.requests > 0 {
                return Poll::Ready(Wake::Drain);
            }
            // Accepted before the drain: its first request may be on its way.
            if !self.draining {
                self.draining = true;
                self.timer.reset(limits::DRAIN_FIRST_REQUEST_MS);
            }
        }
        self.timer.poll_elapsed(cx).map(|()| Wake::Timeout)
    }

    /// Answers what has come in. What waits is boxed: an idle connection shall
    /// not be as large as the largest thing that it may ever do.
    async fn process(&mut self) -> io::Result<NextState> {
        loop {
            let next = match self.step() {
                Step::Answered
                    if self.link.output.get_mut().gathered_bytes() < limits::GATHER_BYTES_MAX =>
                {
                    continue;
                }
                Step::Answered => {
                    self.leave_idle();
                    self.input().detach();
                    Box::pin(self.flush()).await?;
                    continue;
                }
                Step::Over(next) => return Ok(next),
                Step::Send(rest, exchange) => {
                    self.leave_idle();
                    self.input().detach();
                    Box::pin(self.send_rest(rest, exchange)).await?
                }
                Step::Call(head_bytes, exchange) => {
                    self.leave_idle();
                    Box::pin(self.call(head_bytes, exchange)).await?
                }
            };
            if next != NextState::Open {
                return Ok(next);
            }
            // What came meanwhile begins when its turn has come.
            self.started_ms = self.link.stream.shard().now_ms();
        }
    }

    /// Takes the next request as far as it goes without waiting.
    fn step(&mut self) -> Step {
        let options = self.state.options();
        let input = &mut self.link.inbound.get_mut().input;
        let parsed = match parse_request(input.bytes(), &options.head) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.await_more();
                return Step::Over(NextState::Open);
            }
            Err(e) => return Step::Over(self.refuse(&e)),
        };
        self.requests += 1;
        self.state.counters.requests.add(1);
        self.link.stream.shard().doing(self.state.doing.answer);
        let last = self.state.is_draining() || self.requests == options.requests_per_connection_max;
        let exchange = exchange_of(&parsed, last);
        let head_bytes = parsed.head_bytes;
        let response = match parsed.framing {
            Framing::None => self.service.try_call(&parsed.head),
            _ => None,
        };
        let Some(mut response) = response else {
            return Step::Call(head_bytes, exchange);
        };
        response.explain(|| parsed.head.headers.get_all(Known::Accept));
        let output = self.link.output.get_mut();
        let put = put(output, &self.link.stream, &self.state, response, exchange);
        if let Some(log) = &mut output.log {
            let request = LoggedRequest {
                number: self.requests,
                started_ms: self.started_ms,
                bytes: input.bytes().get(..head_bytes).unwrap_or_default(),
                head: Some(&parsed.head),
                cut: None,
            };
            log.answered(request, put.answer, self.link.stream.shard().now_ms());
        }
        self.in_head = false;
        input.consume(head_bytes);
        match put.rest {
            Some(rest) => Step::Send(rest, exchange),
            None if exchange.keep_alive => Step::Answered,
            None => Step::Over(NextState::after(exchange)),
        }
    }

    /// All requests here are answered: idle, or in the middle of a head.
    fn await_more(&mut self) {
        if self.input().is_empty() {
            self.in_head = false;
            self.timer.reset(self.idle_timeout_ms.into());
            self.enter_idle();
        } else {
            self.parsed_bytes = self.input().bytes().len();
            // From the head's first byte on; the next one doesn't push it back.
            if !self.in_head {
                self.in_head = true;
                let wait_ms = self.state.options().header_timeout_ms;
                self.timer.reset(wait_ms);
                self.leave_idle();
            }
            self.input().detach();
        }
    }

    /// Whether a head that has begun is worth another look with this piece. Each
    /// look begins at its first byte, so looking at every byte of a drip would
    /// cost the square of its length: a line must have ended, or much have come.
    fn may_end_head(&mut self, piece: &[u8]) -> bool {
        let len = self.input().bytes().len() + piece.len();
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
        let now_ms = self.link.stream.shard().now_ms();
        self.state.idle.enter(self.timer.id(), now_ms);
    }

    /// Has work, and is not to be closed.
    fn leave_idle(&self) {
        self.state.idle.leave(self.timer.id());
    }

    /// Has the service answer what has a body or needs time. The head is copied
    /// out of the receive buffer, which others may need meanwhile.
    async fn call(&mut self, head_bytes: usize, exchange: Exchange) -> io::Result<NextState> {
        self.phase = Phase::Answering;
        let head = self.input().take(head_bytes);
        self.input().detach();
        self.in_head = false;
        let state = Rc::clone(&self.state);
        let options = state.options();
        let Ok(Some(parsed)) = parse_request(&head, &options.head) else {
            return Err(io::Error::other("a request changed while it was copied"));
        };
        if let Some(log) = &mut self.link.output.get_mut().log {
            log.begin(LoggedRequest {
                number: self.requests,
                started_ms: self.started_ms,
                bytes: &head,
                head: Some(&parsed.head),
                cut: None,
            });
        }
        let mut body = H1Body::new(&self.link, parsed.framing, parsed.expect_continue, options);
        let too_large = matches!(parsed.framing, Framing::Length(n) if n > options.body_bytes_max);
        let head_fields = parsed.head.headers;
        let mut response = if too_large {
            let response = IncomingError::TooLarge.response();
            self.service.refused(Some(&parsed.head), response)
        } else {
            let request = Request {
                head: parsed.head,
                body: Incoming(&mut body),
            };
            self.link
                .attend(options, self.service.call(request))
                .await?
        };
        response.explain(|| head_fields.get_all(Known::Accept));
        let whole = body.is_done();
        let drainable = whole || body.may_drain(limits::LINGER_BYTES_MAX);
        let cut = body.cut();
        let left = body.into_left();
        let exchange = Exchange {
            keep_alive: exchange.keep_alive && drainable && !self.state.is_draining(),
            ..exchange
        };
        let output = self.link.output.get_mut();
        let put = put(output, &self.link.stream, &self.state, response, exchange);
        if let Some(log) = &mut output.log {
            log.answer_put(put.answer, cut, self.link.stream.shard().now_ms());
        }
        let next = match put.rest {
            None => NextState::after(exchange),
            Some(rest) => self.send_rest(rest, exchange).await?,
        };
        if whole {
            self.phase = Phase::Idle;
            return Ok(next);
        }
        if !drainable || next != NextState::Open {
            return Ok(NextState::Linger);
        }
        self.phase = Phase::Receiving;
        // The response doesn't wait for the rest of a body that the service left.
        self.flush().await?;
        let mut body = H1Body::resume(&self.link, left, limits::LINGER_BYTES_MAX, options);
        let drained = self.link.attend(options, drain(&mut body)).await?;
        self.phase = Phase::Idle;
        Ok(match drained {
            true => NextState::Open,
            false => NextState::Linger,
        })
    }

    async fn send_rest(&mut self, rest: Rest, exchange: Exchange) -> io::Result<NextState> {
        self.phase = Phase::Sending;
        self.link.output.get_mut().count_rest(&rest);
        let exchange = Exchange {
            keep_alive: exchange.keep_alive && !rest.ends_connection(),
            ..exchange
        };
        send_rest(&self.link, rest, self.options(), &self.state.transfers).await?;
        if let Some(log) = &mut self.link.output.get_mut().log {
            log.answer_sent(self.link.stream.shard().now_ms());
        }
        self.phase = Phase::Idle;
        Ok(NextState::after(exchange))
    }

    fn options(&self) -> &ServerOptions {
        self.state.options()
    }

    async fn finish(&self) -> io::Result<()> {
        self.link.finish(self.options()).await
    }

    async fn flush(&self) -> io::Result<()> {
        self.link.flush(self.options()).await
    }

    fn refuse(&mut self, error: &ParseError) -> NextState {
        self.state.counters.malformed.add(1);
        let response = Response::error(error.status(), &error.to_string());
        self.put_last(response, Cut::Malformed);
        NextState::Linger
    }

    fn refuse_late_head(&mut self) -> NextState {
        self.state.counters.late.add(1);
        let sentence = "the request's head did not arrive in time; send it again";
        let response = Response::error(Status::REQUEST_TIMEOUT, sentence);
        self.put_last(response, Cut::HeadTimeout);
        NextState::Linger
    }

    /// The last response of a connection on which the next request's beginning is not known.
    fn put_last(&mut self, response: Response, cut: Cut) {
        let exchange = Exchange {
            version: Version::Http11,
            is_head: false,
            keep_alive: false,
            client_closes: false,
        };
        let mut response = self.service.refused(None, response);
        let inbound = self.link.inbound.get_mut();
        response.explain(|| accept_in(inbound.input.bytes()));
        let output = self.link.output.get_mut();
        let put = put(output, &self.link.stream, &self.state, response, exchange);
        debug_assert!(put.rest.is_none(), "an error's body is short");
        let input = &mut self.link.inbound.get_mut().input;
        if let Some(log) = &mut output.log {
            let request = LoggedRequest::unread(input.bytes(), self.requests, self.started_ms, cut);
            log.answered(request, put.answer, self.link.stream.shard().now_ms());
        }
        self.in_head = false;
        *input = Input::Empty;
    }

    /// Closes so that the last answer reaches a client that may still be sending.
    async fn linger(&mut self) {
        self.phase = Phase::Closing;
        *self.input() = Input::Empty;
        let inbound = &self.link.inbound;
        lingering_close(
            &self.link.stream,
            self.options(),
            limits::LINGER_TIMEOUT_MS,
            |cx| inbound.borrow_mut().poll_receive(cx),
        )
        .await;
    }
}

impl<S> Connection<S> {
    /// Notes a head that has begun and will neither end nor be answered.
    fn log_unanswered(&mut self, cut: Cut) {
        if let Some(log) = &mut self.link.output.get_mut().log
            && std::mem::take(&mut self.in_head)
        {
            let input = &self.link.inbound.get_mut().input;
            let request = LoggedRequest::unread(input.bytes(), self.requests, self.started_ms, cut);
            log.unanswered(request, self.link.stream.shard().now_ms());
        }
    }

    /// Notes what the connection's end cuts.
    fn log_cut(&mut self, cut: Cut) {
        let output = self.link.output.get_mut();
        output.settle_for_log();
        if let Some(log) = &mut output.log
            && log.is_busy()
        {
            log.cut(cut, self.link.stream.shard().now_ms());
        }
        self.log_unanswered(cut);
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        // The id goes to another connection.
        self.state.idle.leave(self.timer.id());
        if self.phase == Phase::Closed {
            return;
        }
        if std::thread::panicking() {
            // No end of a drain has cut it; the shard counts the panic.
            if self.phase == Phase::Idle {
                // In the service's `try_call`, which has the request at the input's beginning.
                self.in_head = true;
                self.requests = self.requests.saturating_sub(1);
            }
            self.log_cut(Cut::Panicked);
        } else {
            let phase = match self.phase {
                Phase::Idle if self.in_head => Phase::Receiving,
                phase => phase,
            };
            self.state.counters.count_cut(phase);
            self.log_cut(Cut::DrainDeadline);
        }
        if unacknowledged_bytes(&self.link.stream) > 0 {
            self.link.stream.reset_on_close();
        }
    }
}

/// Adds a response to what goes out next, and counts it.
fn put(
    output: &mut Output,
    stream: &Stream,
    state: &ShardState,
    response: Response,
    exchange: Exchange,
) -> Put {
    state.counters.count_response(response.status);
    let date = state.clock.date(stream.shard().now_ms());
    output.put(stream, response, exchange, &date)
}

fn exchange_of(parsed: &Parsed<'_>, last: bool) -> Exchange {
    Exchange {
        version: parsed.head.version,
        is_head: parsed.head.method == Method::Head,
        keep_alive: parsed.keep_alive && !last,
        client_closes: !parsed.keep_alive,
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
