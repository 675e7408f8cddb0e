//! One reader: asks for what is new, or for an answer that grows.

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

/// What a reader asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    /// Where the object ends.
    Size,
    /// The object from this byte on.
    From(u64),
    /// An answer that grows as the object does.
    All,
}

/// How an answer ended.
enum AnswerEnd {
    /// Whether another request may follow on its connection.
    Answered {
        keep_alive: bool,
    },
    Failed(ErrorClass),
    /// The load is over, or nothing more is to come.
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
    /// The object's byte that is to come next; `None`: wherever it ends.
    position: Option<u64>,
    timer: Timer,
}

/// Reads along from when reader `number`, of all, is to come.
pub(super) async fn run(engine: Rc<Engine>, number: usize) {
    let join_ns = engine.join_ns(number);
    let come = engine.until_over(sleep_to(join_ns)).await;
    // A reader that joins when everything is written has nothing to read.
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

/// Sleeps with the timer wheel's precision: thousands of precise timers would leave no time to read.
async fn sleep_to(at_ns: u64) {
    sleep(Duration::from_nanos(at_ns.saturating_sub(monotonic_ns()))).await;
}

impl Reader {
    /// Asks again and again, from `next_ns` on.
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
            let ask = match (engine.plan.follow, self.position) {
                (true, _) => Ask::All,
                (false, None) => Ask::Size,
                (false, Some(position)) => Ask::From(position),
            };
            match self.ask(ask, &mut on).await {
                AnswerEnd::Answered { keep_alive } => {
                    connection = keep_alive.then_some(on);
                    if ask == Ask::Size {
                        // What comes next is what it is here for.
                        next_ns = monotonic_ns();
                    }
                }
                AnswerEnd::Failed(class) => engine.error(class),
                AnswerEnd::Over => break,
            }
        }
    }

    /// When to ask again: at the next of its own moments, whatever the last answer took.
    fn after(&self, last_ns: u64) -> u64 {
        let poll_ns = self.engine.plan.poll_ns;
        let now_ns = monotonic_ns();
        last_ns + now_ns.saturating_sub(last_ns) / poll_ns * poll_ns + poll_ns
    }

    /// Waits until it is time to ask; `false` when there is nothing left to ask for.
    async fn wait(&mut self, next_ns: u64, connection: &mut Option<ServerConnection>) -> bool {
        let engine = Rc::clone(&self.engine);
        let waits = next_ns > monotonic_ns();
        if waits {
            let mut until = std::pin::pin!(sleep_to(next_ns));
            let mut idle = poll_fn(|cx| {
                if self.is_done() {
                    return Poll::Ready(());
                }
                // A server may close what it takes for idle.
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

    /// Whether the load is over, or everything was written and has been read.
    fn is_done(&self) -> bool {
        let engine = &self.engine;
        let has_all = || engine.shared.is_ending() && self.viewer.has_all(&engine.object());
        engine.is_over() || has_all()
    }

    /// Sends a request and takes its answer.
    async fn ask(&mut self, ask: Ask, connection: &mut ServerConnection) -> AnswerEnd {
        let engine = Rc::clone(&self.engine);
        self.timer.reset(engine.plan.timeout_ms);
        if ask == Ask::All {
            self.viewer.begin_again();
        }
        let head = engine.request.one();
        let mut bytes = engine.shard.output_pool().take();
        match ask {
            Ask::Size => ranges::encode(&mut bytes, head, ByteRange { start: 0, len: 1 }),
            Ask::From(position) => ranges::encode_from(&mut bytes, head, position),
            Ask::All => bytes.extend_from_slice(head),
        }
        engine.record.borrow_mut().tally.requests += 1;
        match engine.until_over(connection.stream.send_all(bytes)).await {
            None => return AnswerEnd::Over,
            Some(Ok(())) => {}
            Some(Err(_)) => return AnswerEnd::Failed(ErrorClass::Reset),
        }
        match self.answer(ask, connection).await {
            Ok(end) => end,
            Err(class) => AnswerEnd::Failed(class),
        }
    }

    async fn answer(
        &mut self,
        ask: Ask,
        connection: &mut ServerConnection,
    ) -> Result<AnswerEnd, ErrorClass> {
        let mut body = None;
        loop {
            // What grows has no end to wait for.
            let timed = ask != Ask::All || body.is_none();
            let buf = match self.receive(connection, timed).await {
                None => return Ok(AnswerEnd::Over),
                Some(Ok(Some(buf))) => buf,
                Some(Ok(None)) => {
                    return match connection.reader.end() {
                        Some(answer) => self.ended(ask, body, answer),
                        None if connection.reader.is_within() => Err(ErrorClass::Truncated),
                        None => Err(ErrorClass::Closed),
                    };
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(ErrorClass::Timeout);
                }
                Some(Err(_)) => return Err(ErrorClass::Reset),
            };
            if let Some(answer) = self.take(ask, connection, &buf, &mut body)? {
                return self.ended(ask, body, answer);
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

    /// Takes what has come; gives the answer, when it has ended.
    fn take(
        &mut self,
        ask: Ask,
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
                let known = self.judge(ask, status, connection.reader.last_head())?;
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
            // More than was asked for.
            true => Err(ErrorClass::BadResponse),
            false => Ok(step.answer),
        }
    }

    /// What the body is of an answer with this head.
    fn judge(&mut self, ask: Ask, status: u16, head: &[u8]) -> Result<Body, ErrorClass> {
        match (ask, status) {
            (Ask::Size | Ask::From(_), 206) => {
                let (start, end, size) = ranges::content_range(head).ok_or(ErrorClass::BadRange)?;
                match ask {
                    Ask::From(position) if start == position && end >= start => Ok(Body::Object {
                        bytes: Some(end - start + 1),
                    }),
                    Ask::Size if (start, end) == (0, 0) && size.is_some() => {
                        self.position = size;
                        Ok(Body::Other)
                    }
                    _ => Err(ErrorClass::BadRange),
                }
            }
            (Ask::Size | Ask::From(_), 200) => Err(ErrorClass::BadRange),
            (Ask::Size, 416) => {
                // It is empty.
                self.position = Some(0);
                Ok(Body::Other)
            }
            (Ask::From(_), 416) => {
                self.engine.record.borrow_mut().tally.nothing_new += 1;
                Ok(Body::Other)
            }
            (Ask::All, 200) => Ok(Body::Object { bytes: None }),
            (_, 400..500) => Ok(Body::CommandError(ErrorClass::Status4xx)),
            (_, 500..) => Ok(Body::CommandError(ErrorClass::Status5xx)),
            _ => Err(ErrorClass::BadResponse),
        }
    }

    /// An answer has ended as it should.
    fn ended(&self, ask: Ask, body: Option<Body>, answer: Answer) -> Result<AnswerEnd, ErrorClass> {
        match body {
            Some(Body::CommandError(class)) => self.engine.error(class),
            Some(Body::Object { bytes: Some(bytes) }) if bytes != answer.body_bytes => {
                return Err(ErrorClass::BadRange);
            }
            // The object is not at its end.
            Some(Body::Object { .. }) if ask == Ask::All => {
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

    /// Notes what is left to be read.
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

/// What an answer's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    /// The object's next bytes, and how many, if the head states it.
    Object { bytes: Option<u64> },
    /// Nothing to look at.
    Other,
    /// Neither; the answer is an error.
    CommandError(ErrorClass),
}
