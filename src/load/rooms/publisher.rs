//! One publisher: sends its share of the messages when they are due.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::arrivals::{Arrivals, Share};
use super::super::error::ErrorClass;
use super::super::message_tag::MessageTag;
use super::super::request::{Prepared, RequestSpec};
use super::super::shards::ShardEngine;
use super::engine::{Engine, Phase};
use super::plan::PublishBy;
use super::socket::{self, Socket};
use crate::http::h1::response::ResponseReader;
use crate::http::websocket::{Opcode, frame};
use crate::load::limits;
use crate::runtime::{Receiver, Stream, sleep, sleep_until, timeout};
use crate::sys::time::monotonic_ns;

/// A publisher's connection.
enum PublisherConnection {
    Http {
        stream: Stream,
        receiver: Receiver,
        reader: ResponseReader,
    },
    Socket(Socket),
}

struct Publisher {
    engine: Rc<Engine>,
    number: usize,
    room: usize,
    /// The request, whose last bytes are the message's.
    request: Vec<u8>,
    /// Messages sent in the warm-up.
    warmed: u64,
    connection: Option<PublisherConnection>,
}

/// A message that is due.
#[derive(Clone, Copy)]
struct Message {
    due_ns: u64,
    sequence: u64,
    counts: bool,
}

/// How a message failed.
struct PublishError {
    class: ErrorClass,
    /// The server has certainly not accepted it, so its number may be reused.
    certain: bool,
}

/// Runs publisher `number`, of all: publishes its messages when they are due.
pub(super) async fn run(engine: Rc<Engine>, number: usize) {
    let room = number % engine.plan.rooms;
    let mut publisher = Publisher {
        request: request(&engine, room),
        engine,
        number,
        room,
        warmed: 0,
        connection: None,
    };
    publisher.publish().await;
    let engine = &publisher.engine;
    engine.shared.publishing.fetch_sub(1, Ordering::Release);
    if let Some(PublisherConnection::Socket(mut socket)) = publisher.connection.take() {
        // The server may send the room's messages here too; unread, they would block the server's
        // side of the connection.
        let over = poll_fn(|cx| {
            socket.reply();
            let ended = socket.poll(cx, &mut |_, _| {}, |_| {}).is_ready();
            match ended || engine.is(Phase::Over) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        over.await;
        socket.close();
    }
    engine.clients.ends();
}

/// The request of a message, without its tag; empty over WebSocket.
fn request(engine: &Engine, room: usize) -> Vec<u8> {
    let plan = &engine.plan;
    let PublishBy::Request(method) = &plan.publish_by else {
        return Vec::new();
    };
    let mut headers = plan.headers.clone();
    let is_type = |line: &&String| line.to_ascii_lowercase().starts_with("content-type:");
    if headers.iter().find(is_type).is_none() {
        headers.push("Content-Type: text/plain".to_owned());
    }
    let spec = RequestSpec {
        method: Some(method.clone()),
        headers,
        body: Some(vec![b' '; plan.size]),
        close: false,
    };
    // This can't fail: it succeeded when the plan was made.
    Prepared::new(&plan.publish.of_room(room), &spec, 1)
        .map_or_else(|_| Vec::new(), |request| request.one().to_vec())
}

impl Publisher {
    async fn publish(&mut self) {
        let engine = Rc::clone(&self.engine);
        let connected = engine.until(Phase::Over, self.connect()).await;
        match connected {
            Some(Ok(())) => {
                let count = &engine.shared.connecting.connected;
                count.fetch_add(1, Ordering::Release);
            }
            Some(Err(class)) => engine.error(class),
            None => {}
        }
        engine.clients.tried();
        // The beginning of the load wakes every task.
        let begun = poll_fn(|_| match engine.is(Phase::Publishing) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        begun.await;
        if engine.is(Phase::Draining) {
            return;
        }
        let mut arrivals = self.arrivals();
        while let Some(due_ns) = arrivals.peek() {
            let waits = due_ns > monotonic_ns();
            if waits && !self.wait(due_ns).await {
                break;
            }
            let patience_ns = limits::GRACE_MS * 1_000_000;
            if engine.is(Phase::Draining) || monotonic_ns() >= engine.end_ns() + patience_ns {
                break;
            }
            if self.connection.is_none() {
                match engine.until(Phase::Draining, self.connect()).await {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(class)) => {
                        engine.error(class);
                        let pause = sleep(Duration::from_millis(limits::RECONNECT_MS));
                        engine.until(Phase::Draining, pause).await;
                        continue;
                    }
                }
            }
            let now_ns = monotonic_ns();
            if waits && due_ns >= engine.measure_ns() {
                let late_ns = now_ns.saturating_sub(due_ns);
                engine.record.borrow_mut().lag.saturating_record(late_ns);
            }
            self.send_due(&mut arrivals, now_ns).await;
        }
        // A load lasts as long as requested, even if no more messages are due in that time.
        if arrivals.peek().is_none() {
            self.wait(engine.end_ns()).await;
        }
        let until_ns = engine.end_ns().min(monotonic_ns());
        let measure_ns = engine.measure_ns();
        arrivals.drain_due(until_ns, |due_ns| {
            let unsent = u64::from(due_ns >= measure_ns);
            engine.unsent.set(engine.unsent.get() + unsent);
        });
    }

    /// Every publisher's moments are a share of all moments, so messages that are due need no
    /// queue.
    fn arrivals(&self) -> Arrivals {
        let plan = &self.engine.plan;
        let share = Share {
            index: self.number,
            of: plan.publishers,
        };
        let seconds = (plan.warmup_ns + plan.duration_ns) as f64 / 1e9;
        Arrivals::at_rate(
            (&plan.rate, plan.spacing),
            Some(seconds),
            self.engine.start_ns(),
            share,
            plan.seed,
            None,
        )
    }

    async fn connect(&mut self) -> Result<(), ErrorClass> {
        let plan = &self.engine.plan;
        self.connection = Some(match &plan.publish_by {
            PublishBy::WebSocket => {
                PublisherConnection::Socket(self.engine.open(&plan.publish, self.room).await?)
            }
            PublishBy::Request(_) => {
                let stream = self.engine.connect(&plan.publish).await?;
                PublisherConnection::Http {
                    receiver: stream.receiver(),
                    stream,
                    reader: ResponseReader::default(),
                }
            }
        });
        Ok(())
    }

    /// Waits until a message is due; `false` when there are no more messages.
    async fn wait(&mut self, due_ns: u64) -> bool {
        let engine = Rc::clone(&self.engine);
        let mut due = pin!(sleep_until(due_ns));
        let connection = &mut self.connection;
        poll_fn(|cx| {
            if engine.is(Phase::Draining) {
                return Poll::Ready(false);
            }
            // The server may close a connection that is idle.
            if connection
                .as_mut()
                .is_some_and(|open| open.poll_idle(cx).is_ready())
            {
                *connection = None;
            }
            due.as_mut().poll(cx).map(|()| true)
        })
        .await
    }

    /// Sends the messages that are due: one as a request, or several over WebSocket.
    async fn send_due(&mut self, arrivals: &mut Arrivals, now_ns: u64) {
        let engine = Rc::clone(&self.engine);
        let published = &engine.shared.publishers[self.number];
        let most = match &self.connection {
            Some(PublisherConnection::Socket(_)) => limits::PUBLISH_BATCH_MAX,
            _ => 1,
        };
        let measure_ns = engine.measure_ns();
        let mut batch = Vec::with_capacity(1);
        while batch.len() < most
            && let Some(due_ns) = arrivals.take_due(now_ns)
        {
            let counts = due_ns >= measure_ns;
            let sequence = match counts {
                // Only this publisher writes the counter.
                true => published.issued.fetch_add(1, Ordering::Release),
                false => {
                    self.warmed += 1;
                    self.warmed - 1
                }
            };
            batch.push(Message {
                due_ns,
                sequence,
                counts,
            });
        }
        let count = batch.iter().filter(|message| message.counts).count() as u64;
        let sent_ns = monotonic_ns();
        match self.send(&batch, sent_ns).await {
            Ok(answered_ns) => {
                published.accepted.fetch_add(count, Ordering::Release);
                let mut record = engine.record.borrow_mut();
                record.tally.published += count;
                if let Some(ns) = answered_ns.filter(|_| count > 0) {
                    record.publish.saturating_record(ns - sent_ns);
                }
                engine.last_ns.set(engine.last_ns.get().max(sent_ns));
            }
            Err(PublishError { class, certain }) => {
                engine.error(class);
                if certain {
                    published.issued.fetch_sub(count, Ordering::Release);
                }
            }
        }
    }

    /// Sends messages; returns when the server answered, if it does.
    async fn send(&mut self, batch: &[Message], sent_ns: u64) -> Result<Option<u64>, PublishError> {
        let bytes = self.encode(batch, sent_ns);
        let wait = Duration::from_millis(self.engine.plan.timeout_ms);
        let lost = |class| PublishError {
            class,
            certain: false,
        };
        let result = match &mut self.connection {
            None => return Err(lost(ErrorClass::ConnectFailed)),
            Some(PublisherConnection::Http {
                stream,
                receiver,
                reader,
            }) => match timeout(wait, request_and_answer(stream, receiver, reader, bytes)).await {
                Ok(Ok((status, keep_alive))) => {
                    if !keep_alive {
                        self.connection = None;
                    }
                    return match status {
                        200..=299 => Ok(Some(monotonic_ns())),
                        _ => Err(PublishError {
                            class: match status {
                                500.. => ErrorClass::Status5xx,
                                400..500 => ErrorClass::Status4xx,
                                _ => ErrorClass::BadResponse,
                            },
                            certain: true,
                        }),
                    };
                }
                Ok(Err(class)) => Err(lost(class)),
                Err(_) => Err(lost(ErrorClass::Timeout)),
            },
            Some(PublisherConnection::Socket(socket)) => {
                match timeout(wait, send_reading(socket, bytes)).await {
                    Ok(Ok(())) => return Ok(None),
                    Ok(Err(class)) => Err(lost(class)),
                    Err(_) => Err(lost(ErrorClass::Timeout)),
                }
            }
        };
        self.connection = None;
        result
    }

    fn encode(&mut self, batch: &[Message], sent_ns: u64) -> Vec<u8> {
        let plan = &self.engine.plan;
        let mut tag = MessageTag {
            run: self.engine.shared.run,
            room: self.room as u32,
            publisher: self.number as u32,
            sequence: 0,
            due_ns: 0,
            sent_ns,
            size: plan.size as u32,
        };
        let mut write = |out: &mut [u8], message: &Message| {
            (tag.sequence, tag.due_ns) = (message.sequence, message.due_ns);
            tag.write(out);
        };
        if let Some(PublisherConnection::Socket(socket)) = &mut self.connection {
            // Control frames that answer the server go first: they must not interrupt a frame.
            let mut bytes = std::mem::take(&mut socket.replies);
            let mut text = vec![0; plan.size];
            for message in batch {
                write(&mut text, message);
                frame::push(&mut bytes, Opcode::Text, &text, Some(socket::mask()));
            }
            return bytes;
        }
        let mut bytes = self.request.clone();
        let body = bytes.len() - plan.size;
        if let Some(message) = batch.first() {
            write(&mut bytes[body..], message);
        }
        bytes
    }
}

impl PublisherConnection {
    /// Ready when the connection ends while no message is in flight.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http { receiver, .. } => receiver.poll_next(cx).map(|_| ()),
            Self::Socket(socket) => {
                let over = socket.poll(cx, &mut |_, _| {}, |_| {}).map(|_| ());
                socket.reply();
                over
            }
        }
    }
}

/// Sends a request; returns the answer's status, and whether another request may follow.
async fn request_and_answer(
    stream: &Stream,
    receiver: &mut Receiver,
    reader: &mut ResponseReader,
    bytes: Vec<u8>,
) -> Result<(u16, bool), ErrorClass> {
    let sent = stream.send_all(bytes).await;
    sent.map_err(|_| ErrorClass::Reset)?;
    loop {
        let buf = match receiver.next().await {
            Ok(Some(buf)) => buf,
            Ok(None) => {
                return match reader.end() {
                    Some(answer) => Ok((answer.status, false)),
                    None if reader.is_within() => Err(ErrorClass::Truncated),
                    None => Err(ErrorClass::Closed),
                };
            }
            Err(_) => return Err(ErrorClass::Reset),
        };
        let step = reader.read(&buf, false, |_| {});
        let step = step.map_err(ErrorClass::of_response)?;
        if let Some(answer) = step.answer {
            if step.consumed < buf.len() {
                return Err(ErrorClass::BadResponse);
            }
            return Ok((answer.status, answer.keep_alive));
        }
    }
}

/// Sends, and reads meanwhile: a server whose output is not read may stop reading too.
async fn send_reading(socket: &mut Socket, bytes: Vec<u8>) -> Result<(), ErrorClass> {
    let stream = Rc::clone(&socket.stream);
    let mut send = pin!(stream.send_all(bytes));
    poll_fn(|cx| {
        if let Poll::Ready(end) = socket.poll(cx, &mut |_, _| {}, |_| {}) {
            return Poll::Ready(Err(end));
        }
        let sent = send.as_mut().poll(cx);
        sent.map(|sent| sent.map_err(|_| ErrorClass::Reset))
    })
    .await
}
