//! One connection of a load: it sends the requests that are due, reads the answers, and is made
//! again when it ends.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crc32fast::Hasher;

use super::engine::{ConnectionState, Due, Engine, Next};
use super::error::ErrorClass;
use super::ranges::WHOLE;
use crate::http::h1::response::{Answer, ResponseReader};
use crate::load::limits;
use crate::runtime::{PendingSend, Receiver, SendBuf, Stream, Timer, sleep};
use crate::sys::time::monotonic_ns;

/// How one TCP connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ConnectionEnd {
    /// It was closed, or failed; the load continues.
    Closed,
    /// Nothing is left to send, or the load is over.
    Finished,
}

/// Runs one connection of the load and makes it again when it ends.
pub(super) async fn run(engine: Rc<Engine>) {
    let state = engine.connection_state();
    let mut carried = VecDeque::new();
    let mut tried = false;
    loop {
        if engine.plan.connection_per_request && carried.is_empty() {
            if !std::mem::replace(&mut tried, true) {
                engine.clients.tried();
            }
            match next_due(&engine, &state).await {
                Some(due) => carried.push_back(due),
                None => break,
            }
        }
        if carried.is_empty() && !state.is_assigned() && engine.is_finished() {
            break;
        }
        let Some(connected) = engine.until_over(engine.connect()).await else {
            break;
        };
        if !std::mem::replace(&mut tried, true) {
            engine.clients.tried();
        }
        let healthy = match connected {
            Ok(stream) => {
                let mut connection = Connection::new(&engine, &state, stream, carried);
                let end = poll_fn(|cx| connection.poll(cx)).await;
                carried = connection.carried;
                if end == ConnectionEnd::Finished {
                    break;
                }
                connection.answers > 0
            }
            Err(error) => {
                let class = ErrorClass::of_connect(&error);
                match carried.pop_front() {
                    Some(due) => engine.failed(due, None, class),
                    None => engine.connection_failed(class),
                }
                false
            }
        };
        engine.leave_idle_queue(&state);
        if !healthy {
            let pause = sleep(Duration::from_millis(limits::RECONNECT_MS));
            if engine.until_over(pause).await.is_none() {
                break;
            }
        }
    }
    for due in carried.into_iter().chain(state.take_assigned()) {
        engine.unanswered(due, None);
    }
    engine.connection_ends(&state);
}

/// Waits for a request; `None` when no more requests will be due.
async fn next_due(engine: &Rc<Engine>, state: &Rc<ConnectionState>) -> Option<Due> {
    poll_fn(|cx| {
        if engine.is_over() {
            return Poll::Ready(None);
        }
        match engine.next(state, monotonic_ns(), cx) {
            Next::Send(due) => Poll::Ready(Some(due)),
            Next::Wait | Next::WaitUntil(_) => Poll::Pending,
            Next::Finished => Poll::Ready(None),
        }
    })
    .await
}

/// A request in flight.
struct Sent {
    due: Due,
    sent_ns: u64,
}

type Sending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

struct Connection<'a> {
    engine: &'a Rc<Engine>,
    state: &'a Rc<ConnectionState>,
    stream: Rc<Stream>,
    receiver: Receiver,
    reader: ResponseReader,
    /// Of the body so far, if bodies are compared.
    checksum: Option<Hasher>,
    /// A send whose outcome is not known yet; it returns the bytes that the socket could not take.
    pending: Option<PendingSend>,
    /// The bytes for which the socket had no room.
    rest: Option<Sending>,
    in_flight: VecDeque<Sent>,
    /// Requests to send, or to send again, before any others.
    carried: VecDeque<Due>,
    /// Requests that are being gathered for one send.
    batch: Vec<Due>,
    timer: Timer,
    answers: u64,
    finished: bool,
    /// No further request is sent on this connection.
    closing: bool,
    /// Whether the server keeps the connection open: it has not announced a close.
    stays_open: bool,
}

impl<'a> Connection<'a> {
    fn new(
        engine: &'a Rc<Engine>,
        state: &'a Rc<ConnectionState>,
        stream: Stream,
        carried: VecDeque<Due>,
    ) -> Self {
        Self {
            receiver: stream.receiver(),
            stream: Rc::new(stream),
            reader: ResponseReader::default(),
            checksum: engine.plan.check.then(Hasher::new),
            pending: None,
            rest: None,
            in_flight: VecDeque::new(),
            carried,
            batch: Vec::new(),
            timer: Timer::after(&engine.shard, engine.plan.timeout_ms),
            answers: 0,
            finished: false,
            closing: false,
            stays_open: false,
            engine,
            state,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if let Poll::Ready(end) = self.poll_receive(cx) {
            return Poll::Ready(end);
        }
        if self.engine.is_over() {
            for Sent { due, sent_ns } in self.in_flight.drain(..) {
                self.engine.unanswered(due, Some(sent_ns));
            }
            return Poll::Ready(ConnectionEnd::Finished);
        }
        if let Err(error) = self.poll_send(cx) {
            return Poll::Ready(self.broken(&error));
        }
        if self.finished && self.in_flight.is_empty() && self.carried.is_empty() {
            return Poll::Ready(ConnectionEnd::Finished);
        }
        if self.closing && self.stays_open {
            return Poll::Ready(ConnectionEnd::Closed);
        }
        if self.timer.poll_elapsed(cx).is_ready() {
            if self.closing {
                return Poll::Ready(ConnectionEnd::Closed);
            }
            if !self.in_flight.is_empty() {
                return Poll::Ready(self.give_up(ErrorClass::Timeout));
            }
        }
        Poll::Pending
    }

    // ---- sending ---------------------------------------------------------------

    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if let Some(pending) = &mut self.pending {
                match pending.poll(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(result) => {
                        self.pending = None;
                        self.rest = result?.map(|rest| {
                            let stream = Rc::clone(&self.stream);
                            Box::pin(async move { stream.send_all(rest).await }) as Sending
                        });
                    }
                }
            }
            if let Some(rest) = &mut self.rest {
                match rest.as_mut().poll(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(result) => {
                        self.rest = None;
                        result?;
                    }
                }
            }
            if !self.fill(cx) {
                return Ok(());
            }
        }
    }

    /// Starts to send as many due requests as the connection has room for; returns whether there
    /// were any.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let plan = &self.engine.plan;
        let free_slots = match plan.connection_per_request {
            true => 1 - usize::from(self.answers > 0 || !self.in_flight.is_empty()),
            false => plan.pipeline.saturating_sub(self.in_flight.len()),
        };
        if free_slots == 0 || self.finished || self.closing {
            return false;
        }
        let now_ns = monotonic_ns();
        while self.batch.len() < free_slots {
            if let Some(due) = self.carried.pop_front() {
                self.batch.push(due);
                continue;
            }
            match self.engine.next(self.state, now_ns, cx) {
                Next::Send(due) => self.batch.push(due),
                Next::Wait => break,
                Next::WaitUntil(at_ns) => {
                    let wait_ns = at_ns.saturating_sub(now_ns);
                    self.timer.reset(wait_ns.div_ceil(1_000_000));
                    break;
                }
                Next::Finished => {
                    self.finished = true;
                    break;
                }
            }
        }
        if self.batch.is_empty() {
            return false;
        }
        if self.in_flight.is_empty() {
            self.timer.reset(plan.timeout_ms);
        }
        self.pending = Some(self.stream.send_now(self.gathered()));
        self.engine.sent(self.batch.len() as u64);
        let sent = self.batch.drain(..).map(|due| Sent {
            due,
            sent_ns: now_ns,
        });
        self.in_flight.extend(sent);
        true
    }

    /// The gathered requests as one buffer.
    fn gathered(&self) -> SendBuf {
        let requests = &self.engine.plan.requests;
        if let Some(ranges) = &self.engine.plan.ranges {
            let mut all = self.engine.shard.output_pool().take();
            for due in &self.batch {
                let head = requests[due.request as usize].0.one();
                ranges.encode(&mut all, head, due.request, due.piece);
            }
            return all.into();
        }
        let first = self.batch[0].request;
        if self.batch.iter().all(|due| due.request == first)
            && let Some(burst) = requests[first as usize].0.burst(self.batch.len())
        {
            return burst.into();
        }
        let mut all = self.engine.shard.output_pool().take();
        for due in &self.batch {
            all.extend_from_slice(requests[due.request as usize].0.one());
        }
        all.into()
    }

    // ---- receiving ---------------------------------------------------------------

    /// Reads received bytes; ready when the connection is over.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        loop {
            match self.receiver.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(buf))) => {
                    let now_ns = monotonic_ns();
                    self.engine.received(buf.len(), now_ns);
                    if let Err(class) = self.take(&buf, now_ns) {
                        return Poll::Ready(self.give_up(class));
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(self.ended()),
                Poll::Ready(Err(error)) => return Poll::Ready(self.broken(&error)),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], now_ns: u64) -> Result<(), ErrorClass> {
        while !bytes.is_empty() {
            let Some(front) = self.in_flight.front() else {
                // More bytes than the answers have, which is an error unless the connection is over
                // anyway.
                return match self.closing {
                    true => Ok(()),
                    false => Err(ErrorClass::BadResponse),
                };
            };
            let due = front.due;
            let no_body = self.engine.plan.requests[due.request as usize].0.no_body;
            let player = self
                .state
                .player
                .as_ref()
                .zip(self.engine.plan.ranges.as_ref());
            let step = match (&mut self.checksum, player) {
                (None, None) => self.reader.read(bytes, no_body, |_| {}),
                (checksum, player) => self.reader.read(bytes, no_body, |data| {
                    if let Some(checksum) = checksum {
                        checksum.update(data);
                    }
                    if let Some((player, ranges)) = player {
                        player.borrow_mut().data(data, ranges);
                    }
                }),
            };
            let step = step.map_err(ErrorClass::of_response)?;
            bytes = &bytes[step.consumed..];
            let Some(answer) = step.answer else {
                continue;
            };
            self.engine
                .answered(due, front.sent_ns, now_ns, answer.status);
            self.check(due, answer, now_ns);
            self.in_flight.pop_front();
            self.answers += 1;
            if let Some(front) = self.in_flight.front() {
                let waited_ms = now_ns.saturating_sub(front.sent_ns) / 1_000_000;
                let plan = &self.engine.plan;
                self.timer.reset(plan.timeout_ms.saturating_sub(waited_ms));
            }
            if !answer.keep_alive || self.engine.plan.connection_per_request {
                self.closing = true;
                self.carry_all();
                // Waits for a server that announces the close, so that TIME_WAIT is on the server's
                // side.
                self.stays_open = answer.keep_alive;
                self.timer.reset(limits::GRACE_MS);
            }
        }
        Ok(())
    }

    fn check(&mut self, due: Due, answer: Answer, now_ns: u64) {
        if due.piece != WHOLE {
            let head = self.reader.last_head();
            let good = self.engine.check_range(due, answer, head);
            self.engine.player_answered(self.state, good, now_ns);
        }
        if let Some(checksum) = &mut self.checksum {
            let crc = std::mem::take(checksum).finalize();
            self.engine
                .check(due, (answer.status, answer.body_bytes, crc));
        }
    }

    // ---- the end -----------------------------------------------------------------

    /// Passes requests that were sent and will not be answered on this connection to the next one.
    fn carry_all(&mut self) {
        self.engine.unsend(self.in_flight.len() as u64);
        for Sent { due, .. } in self.in_flight.drain(..).rev() {
            self.carried.push_front(due);
        }
    }

    /// Counts the oldest request as failed, and ends the connection.
    fn give_up(&mut self, class: ErrorClass) -> ConnectionEnd {
        match self.in_flight.pop_front() {
            Some(Sent { due, sent_ns }) => self.engine.failed(due, Some(sent_ns), class),
            None => self.engine.connection_failed(class),
        }
        self.carry_all();
        ConnectionEnd::Closed
    }

    /// Handles the server's close.
    fn ended(&mut self) -> ConnectionEnd {
        if let Some(answer) = self.reader.end()
            && let Some(Sent { due, sent_ns }) = self.in_flight.pop_front()
        {
            let now_ns = monotonic_ns();
            self.engine.answered(due, sent_ns, now_ns, answer.status);
            self.check(due, answer, now_ns);
            self.answers += 1;
            self.carry_all();
            return ConnectionEnd::Closed;
        }
        match (self.in_flight.is_empty(), self.reader.is_within()) {
            // A server may close an idle connection at any time.
            (true, _) => ConnectionEnd::Closed,
            (false, true) => self.give_up(ErrorClass::Truncated),
            (false, false) => self.give_up(ErrorClass::Closed),
        }
    }

    fn broken(&mut self, error: &io::Error) -> ConnectionEnd {
        if self.in_flight.is_empty() {
            return ConnectionEnd::Closed;
        }
        let class = match error.kind() {
            io::ErrorKind::TimedOut => ErrorClass::Timeout,
            _ => ErrorClass::Reset,
        };
        self.give_up(class)
    }
}
