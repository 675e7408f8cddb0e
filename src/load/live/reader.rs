//! One reader: polls for new bytes, or reads one growing answer.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::super::error::ErrorClass;
use super::super::ranges;
use super::engine::Engine;
use super::viewer::Viewer;
use crate::buffers::ReceiveBuf;
use crate::http::ByteRange;
use crate::http::h1::response::{Answer, ResponseReader};
use crate::runtime::{Receiver, Stream, Timer, sleep};
use crate::sys::time::monotonic_ns;

/// What a reader requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RequestKind {
    /// The object's size.
    Size,
    /// The object from this byte on.
    From(u64),
    /// An answer that grows with the object.
    All,
}

/// How an answer ended.
enum AnswerEnd {
    /// Whether another request may follow on its connection.
    Answered {
        keep_alive: bool,
    },
    Failed(ErrorClass),
    /// The load is over, or the whole object has been read.
    Over,
}

struct ServerConnection {
    stream: Stream,
    receiver: Receiver,
    reader: ResponseReader,
}

struct Reader {
    engine: Rc<Engine>,
    viewer: Viewer,
    /// The offset of the next byte to read; `None`: the object's end.
    position: Option<u64>,
    timer: Timer,
}

/// Runs reader `number`, of all, from the moment at which it joins.
pub(super) async fn run(engine: Rc<Engine>, number: usize) {
    let join_ns = engine.join_ns(number);
    let come = engine.until_over(sleep_to(join_ns)).await;
    // A reader that joins after the last piece has nothing to read.
    if come.is_some() && !engine.shared.is_ending() {
        engine.record.borrow_mut().tally.joined += 1;
        let mut reader = Reader {
            viewer: Viewer::new(engine.plan.from_start, monotonic_ns()),
            position: engine.plan.from_start.then_some(0),
            timer: Timer::after(&engine.shard, engine.plan.timeout_ms),
            engine: Rc::clone(&engine),
        };
        reader.read(join_ns).await;
        reader.finish();
    }
    engine.clients.ends();
}

/// Sleeps on the timer wheel: thousands of precise timers would leave no time to read.
async fn sleep_to(at_ns: u64) {
    sleep(Duration::from_nanos(at_ns.saturating_sub(monotonic_ns()))).await;
}

impl Reader {
    /// Sends requests at regular times, from `next_ns` on.
    async fn read(&mut self, mut next_ns: u64) {
        let engine = Rc::clone(&self.engine);
        let mut connection = None;
        let mut connected = false;
        while self.wait(next_ns, &mut connection).await {
            next_ns = self.after(next_ns);
            let mut on = match connection.take() {
                Some(connection) => connection,
                None => match engine.until_over(engine.connect()).await {
                    None => break,
                    Some(Ok(stream)) => {
                        let again = std::mem::replace(&mut connected, true);
                        engine.record.borrow_mut().tally.reconnects += u64::from(again);
                        ServerConnection {
                            receiver: stream.receiver(),
                            stream,
                            reader: ResponseReader::default(),
                        }
                    }
                    Some(Err(error)) => {
                        engine.error(ErrorClass::of_connect(&error));
                        continue;
                    }
                },
            };
            let kind = match (engine.plan.follow, self.position) {
                (true, _) => RequestKind::All,
                (false, None) => RequestKind::Size,
                (false, Some(position)) => RequestKind::From(position),
            };
            match self.exchange(kind, &mut on).await {
                AnswerEnd::Answered { keep_alive } => {
                    connection = keep_alive.then_some(on);
                    if kind == RequestKind::Size {
                        // The size is known now, so the next bytes are requested at once.
                        next_ns = monotonic_ns();
                    }
                }
                AnswerEnd::Failed(class) => engine.error(class),
                AnswerEnd::Over => break,
            }
        }
    }

    /// The time of the next request: on the reader's regular schedule, however long the last answer
    /// took.
    fn after(&self, last_ns: u64) -> u64 {
        let poll_ns = self.engine.plan.poll_ns;
        let now_ns = monotonic_ns();
        last_ns + now_ns.saturating_sub(last_ns) / poll_ns * poll_ns + poll_ns
    }

    /// Waits until the next request is due; `false` when nothing is left to request.
    async fn wait(&mut self, next_ns: u64, connection: &mut Option<ServerConnection>) -> bool {
        let engine = Rc::clone(&self.engine);
        let waits = next_ns > monotonic_ns();
        if waits {
            let mut until = std::pin::pin!(sleep_to(next_ns));
            let mut idle = poll_fn(|cx| {
                if self.is_done() {
                    return Poll::Ready(());
                }
                // The server may close a connection that is idle.
                if let Some(on) = connection
                    && on.receiver.poll_next(cx).is_ready()
                {
                    *connection = None;
                }
                until.as_mut().poll(cx)
            });
            (&mut idle).await;
        }
        if self.is_done() {
            return false;
        }
        if waits {
            let late_ns = monotonic_ns().saturating_sub(next_ns);
            engine.record.borrow_mut().lag.saturating_record(late_ns);
        }
        true
    }

    /// Whether the load is over, or the whole object was written and has been read.
    fn is_done(&self) -> bool {
        let engine = &self.engine;
        let has_all = || engine.shared.is_ending() && self.viewer.has_all(&engine.object());
        engine.is_over() || has_all()
    }

    /// Sends a request and reads its answer.
    async fn exchange(
        &mut self,
        kind: RequestKind,
        connection: &mut ServerConnection,
    ) -> AnswerEnd {
        let engine = Rc::clone(&self.engine);
        self.timer.reset(engine.plan.timeout_ms);
        if kind == RequestKind::All {
            self.viewer.begin_again();
        }
        let head = engine.request.one();
        let mut bytes = engine.shard.output_pool().take();
        match kind {
            RequestKind::Size => ranges::encode(&mut bytes, head, ByteRange { start: 0, len: 1 }),
            RequestKind::From(position) => ranges::encode_from(&mut bytes, head, position),
            RequestKind::All => bytes.extend_from_slice(head),
        }
        engine.record.borrow_mut().tally.requests += 1;
        match engine.until_over(connection.stream.send_all(bytes)).await {
            None => return AnswerEnd::Over,
            Some(Ok(())) => {}
            Some(Err(_)) => return AnswerEnd::Failed(ErrorClass::Reset),
        }
        match self.answer(kind, connection).await {
            Ok(end) => end,
            Err(class) => AnswerEnd::Failed(class),
        }
    }

    async fn answer(
        &mut self,
        kind: RequestKind,
        connection: &mut ServerConnection,
    ) -> Result<AnswerEnd, ErrorClass> {
        let mut body = None;
        loop {
            // A growing answer has no end for which to wait.
            let timed = kind != RequestKind::All || body.is_none();
            let buf = match self.receive(connection, timed).await {
                None => return Ok(AnswerEnd::Over),
                Some(Ok(Some(buf))) => buf,
                Some(Ok(None)) => {
                    return match connection.reader.end() {
                        Some(answer) => self.ended(kind, body, answer),
                        None if connection.reader.is_within() => Err(ErrorClass::Truncated),
                        None => Err(ErrorClass::Closed),
                    };
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(ErrorClass::Timeout);
                }
                Some(Err(_)) => return Err(ErrorClass::Reset),
            };
            if let Some(answer) = self.take(kind, connection, &buf, &mut body)? {
                return self.ended(kind, body, answer);
            }
        }
    }

    /// The next bytes; `None` when the load is over or an answer that grows has no more bytes.
    async fn receive(
        &mut self,
        connection: &mut ServerConnection,
        timed: bool,
    ) -> Option<io::Result<Option<ReceiveBuf>>> {
        poll_fn(|cx| {
            if self.engine.is_over() || !timed && self.is_done() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(received) = connection.receiver.poll_next(cx) {
                return Poll::Ready(Some(received));
            }
            match timed && self.timer.poll_elapsed(cx).is_ready() {
                true => Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Parses received bytes; returns the answer once it has ended.
    fn take(
        &mut self,
        kind: RequestKind,
        connection: &mut ServerConnection,
        bytes: &[u8],
        body: &mut Option<Body>,
    ) -> Result<Option<Answer>, ErrorClass> {
        let now_ns = monotonic_ns();
        let engine = Rc::clone(&self.engine);
        engine.record.borrow_mut().tally.bytes += bytes.len() as u64;
        let bad = ErrorClass::of_response;
        let head_bytes = connection.reader.begin(bytes, false).map_err(bad)?;
        let known = match (*body, connection.reader.status()) {
            (Some(known), _) => known,
            (None, Some(status)) => {
                let known = self.classify(kind, status, connection.reader.last_head())?;
                *body = Some(known);
                known
            }
            (None, None) => return Ok(None),
        };
        let record = &mut *engine.record.borrow_mut();
        let before = record.tally.pieces;
        let object = engine.object();
        let rest = &bytes[head_bytes..];
        let (viewer, position) = (&mut self.viewer, &mut self.position);
        let step = connection.reader.read(rest, false, |data| {
            if matches!(known, Body::Object { .. }) {
                viewer.take(data, now_ns, &object, record);
                if let Some(position) = position {
                    *position += data.len() as u64;
                }
            }
        });
        let step = step.map_err(bad)?;
        if record.tally.pieces > before {
            engine.last_ns.set(now_ns);
        }
        match step.consumed < rest.len() {
            // More bytes than the answer has.
            true => Err(ErrorClass::BadResponse),
            false => Ok(step.answer),
        }
    }

    /// The kind of body that an answer with this head has.
    fn classify(
        &mut self,
        kind: RequestKind,
        status: u16,
        head: &[u8],
    ) -> Result<Body, ErrorClass> {
        match (kind, status) {
            (RequestKind::Size | RequestKind::From(_), 206) => {
                let (start, end, size) = ranges::content_range(head).ok_or(ErrorClass::BadRange)?;
                match kind {
                    RequestKind::From(position) if start == position && end >= start => {
                        Ok(Body::Object {
                            bytes: Some(end - start + 1),
                        })
                    }
                    RequestKind::Size if (start, end) == (0, 0) && size.is_some() => {
                        self.position = size;
                        Ok(Body::Other)
                    }
                    _ => Err(ErrorClass::BadRange),
                }
            }
            (RequestKind::Size | RequestKind::From(_), 200) => Err(ErrorClass::BadRange),
            (RequestKind::Size, 416) => {
                // It is empty.
                self.position = Some(0);
                Ok(Body::Other)
            }
            (RequestKind::From(_), 416) => {
                self.engine.record.borrow_mut().tally.nothing_new += 1;
                Ok(Body::Other)
            }
            (RequestKind::All, 200) => Ok(Body::Object { bytes: None }),
            (_, 400..500) => Ok(Body::CommandError(ErrorClass::Status4xx)),
            (_, 500..) => Ok(Body::CommandError(ErrorClass::Status5xx)),
            _ => Err(ErrorClass::BadResponse),
        }
    }

    /// Handles the regular end of an answer.
    fn ended(
        &self,
        kind: RequestKind,
        body: Option<Body>,
        answer: Answer,
    ) -> Result<AnswerEnd, ErrorClass> {
        match body {
            Some(Body::CommandError(class)) => self.engine.error(class),
            Some(Body::Object { bytes: Some(bytes) }) if bytes != answer.body_bytes => {
                return Err(ErrorClass::BadRange);
            }
            // The object is not at its end.
            Some(Body::Object { .. }) if kind == RequestKind::All => {
                return match self.engine.shared.is_ending() {
                    true => Ok(AnswerEnd::Over),
                    false => Err(ErrorClass::Closed),
                };
            }
            _ => {}
        }
        Ok(AnswerEnd::Answered {
            keep_alive: answer.keep_alive,
        })
    }

    /// Counts the pieces that are left unread.
    fn finish(&self) {
        let engine = &self.engine;
        let record = &mut *engine.record.borrow_mut();
        let (now_ns, object) = (monotonic_ns(), engine.object());
        let unread = self.viewer.unread(now_ns, &object, record);
        engine.unread.set(engine.unread.get() + unread);
        let without = u64::from(!self.viewer.has_started());
        engine
            .without_piece
            .set(engine.without_piece.get() + without);
    }
}

/// The kind of an answer's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    /// The object's next bytes; how many, if the head states it.
    Object { bytes: Option<u64> },
    /// A body that is ignored.
    Other,
    /// None of these: the answer is an error.
    CommandError(ErrorClass),
}
