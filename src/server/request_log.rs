//! A connection's side of the access log: which of its requests have ended, and with how many bytes.
//!
//! Bytes of answers are counted twice, when they are put into the connection's output and when the
//! kernel has taken them; the difference is what is unsent. A small answer is recorded when it is
//! put, since it leaves with the shard's next submission. Where the kernel then doesn't take all
//! of it, its record is taken back until it has, or until the connection ends. The record of one
//! that is put behind it is kept back with it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;

use crate::http::{Head, Headers, Known};
use crate::observe::access_log::{Cut, Record, ShardLog, TakenBack, Unfinished};
use crate::runtime::Stream;
use crate::sys;

/// The access log of one shard, and how it finds the request's fields that it logs.
pub(super) struct RequestLog {
    log: ShardLog,
    fields: Vec<LoggedField>,
}

/// A field of the request that the log's format names.
enum LoggedField {
    Known(Known),
    Other(String),
}

impl LoggedField {
    #[inline]
    fn of<'a>(&self, headers: &Headers<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Known(known) => headers.get(*known),
            Self::Other(name) => headers.find(name),
        }
    }
}

impl RequestLog {
    pub(crate) fn new(log: ShardLog) -> Self {
        let field = |name: &String| match Known::of(name.as_bytes()) {
            Some(known) => LoggedField::Known(known),
            None => LoggedField::Other(name.clone()),
        };
        let fields = log.headers().iter().map(field).collect();
        Self { log, fields }
    }

    pub(crate) fn shard_log(&self) -> &ShardLog {
        &self.log
    }

    /// The log of a connection that was admitted.
    pub(crate) fn connection(self: &Rc<Self>, stream: &Stream) -> Box<ConnectionLog> {
        Box::new(ConnectionLog {
            log: Rc::clone(self),
            connection: self.log.next_connection(),
            peer: peer(stream),
            queued: 0,
            pending: 0,
            sent: Rc::default(),
            current: None,
            is_blocked: false,
            held_back: Vec::new(),
            held_end: 0,
        })
    }

    /// A connection was refused with an answer of `sent_bytes`, of which the head has `head_bytes`.
    pub(crate) fn refused(
        &self,
        stream: &Stream,
        status: u16,
        head_bytes: usize,
        sent_bytes: usize,
    ) {
        let now_ms = stream.shard().now_ms();
        let mut record = Record::new(self.log.next_connection(), 0, peer(stream), now_ms);
        record.status = status;
        record.cut = Some(Cut::Refused);
        record.sent_bytes = sent_bytes as u64;
        record.body_bytes = sent_bytes.saturating_sub(head_bytes) as u64;
        if sent_bytes > 0 {
            record.first_byte(now_ms);
        }
        self.log.record(&record, self.texts(None, None));
    }

    #[inline]
    fn texts<'a>(
        &'a self,
        line: Option<&'a [u8]>,
        head: Option<&'a Head<'a>>,
    ) -> impl Iterator<Item = Option<&'a [u8]>> {
        let fields = self.fields.iter();
        std::iter::once(line).chain(fields.map(move |field| field.of(&head?.headers)))
    }
}

/// `None` on a Unix socket, or for a client that is gone already.
fn peer(stream: &Stream) -> Option<SocketAddr> {
    sys::socket::peer_address(stream.as_fd()).ok().flatten()
}

/// A request, as far as the log is concerned.
#[derive(Clone, Copy)]
pub(super) struct LoggedRequest<'a> {
    /// Its number on the connection, from 1.
    pub number: u64,
    /// When its first byte was received, by the shard's clock.
    pub started_ms: u64,
    /// Its bytes, from the first.
    pub bytes: &'a [u8],
    /// `None`: it could not be read to its end.
    pub head: Option<&'a Head<'a>>,
    /// What is wrong with it, if something is.
    pub cut: Option<Cut>,
}

impl<'a> LoggedRequest<'a> {
    /// One whose head could not be read to its end, after `before` others on its connection.
    pub(crate) fn unread(bytes: &'a [u8], before: u64, started_ms: u64, cut: Cut) -> Self {
        Self {
            number: before + 1,
            started_ms,
            bytes,
            head: None,
            cut: Some(cut),
        }
    }
}

/// What of an answer was put into the output.
#[derive(Clone, Copy)]
pub(super) struct PutAnswer {
    pub status: u16,
    pub head_bytes: usize,
    /// Those of its body that went with the head.
    pub body_bytes: usize,
    /// Whether that is all of it.
    pub whole: bool,
}

/// The requests of one connection.
pub(super) struct ConnectionLog {
    log: Rc<RequestLog>,
    connection: u64,
    peer: Option<SocketAddr>,
    /// Bytes put into the output so far.
    queued: u64,
    /// Of those, handed over with the last submission, and not known to be taken.
    pending: u64,
    /// Bytes taken by the kernel.
    sent: Rc<Cell<u64>>,
    /// The request that is being answered, where that takes time.
    current: Option<Current>,
    /// The kernel has not taken all of what was handed over: what is put now waits behind it.
    is_blocked: bool,
    /// Answered, but not taken by the kernel yet; oldest first.
    held_back: Vec<TakenBack>,
    /// Where the last of them ends, among the bytes put into the output.
    held_end: u64,
}

struct Current {
    unfinished: Unfinished,
    /// The answer's place among the bytes put into the output, once there is one.
    answer: Option<Answer>,
}

#[derive(Clone, Copy)]
struct Answer {
    begin: u64,
    head_bytes: u64,
}

impl ConnectionLog {
    /// What counts the bytes that the kernel takes of an answer being sent.
    pub(crate) fn sent(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.sent)
    }

    /// A request is going to take time.
    pub(crate) fn begin(&mut self, request: LoggedRequest<'_>) {
        let unfinished = self
            .log
            .log
            .begin(self.record(&request), self.texts(&request));
        self.current = Some(Current {
            unfinished,
            answer: None,
        });
    }

    /// The answer to a request was put, with nothing between the two.
    #[inline]
    pub(crate) fn answered(&mut self, request: LoggedRequest<'_>, put: PutAnswer, now_ms: u64) {
        if !put.whole {
            self.begin(request);
            return self.answer_begun(put, now_ms);
        }
        if self.is_blocked {
            return self.answered_behind(request, put);
        }
        let sent = put.head_bytes + put.body_bytes;
        self.queued += sent as u64;
        let mut record = self.record(&request);
        record.status = put.status;
        record.sent_bytes = sent as u64;
        record.body_bytes = put.body_bytes as u64;
        record.first_byte(now_ms);
        record.end(now_ms);
        self.log.log.record(&record, self.texts(&request));
    }

    /// As [`answered`](Self::answered), where the answer waits behind others.
    #[cold]
    fn answered_behind(&mut self, request: LoggedRequest<'_>, put: PutAnswer) {
        let record = self.record(&request);
        let unfinished = self.log.log.begin(record, self.texts(&request));
        self.queued += (put.head_bytes + put.body_bytes) as u64;
        self.hold(unfinished, put);
    }

    /// Keeps the record of a whole answer that was put behind others until it has left.
    fn hold(&mut self, mut unfinished: Unfinished, put: PutAnswer) {
        let sent = (put.head_bytes + put.body_bytes) as u64;
        unfinished.record.status = put.status;
        unfinished.record.sent_bytes = sent;
        unfinished.record.body_bytes = put.body_bytes as u64;
        unfinished.record.no_first_byte();
        self.held_back.push(TakenBack {
            unfinished,
            missing_bytes: sent,
        });
        self.held_end = self.queued;
    }

    /// The answer to the request that took time was put, whole or in part. `cut` says what went
    /// wrong with the request, if something did.
    pub(crate) fn answer_put(&mut self, put: PutAnswer, cut: Option<Cut>, now_ms: u64) {
        if let Some(current) = &mut self.current {
            current.unfinished.record.cut = cut;
        }
        self.answer_begun(put, now_ms);
        if put.whole
            && let Some(current) = self.current.take()
        {
            let mut unfinished = current.unfinished;
            if self.is_blocked {
                return self.hold(unfinished, put);
            }
            unfinished.record.sent_bytes = (put.head_bytes + put.body_bytes) as u64;
            unfinished.record.body_bytes = put.body_bytes as u64;
            unfinished.record.end(now_ms);
            self.log.log.finish(unfinished);
        }
    }

    fn answer_begun(&mut self, put: PutAnswer, now_ms: u64) {
        if let Some(current) = &mut self.current {
            let record = &mut current.unfinished.record;
            record.status = put.status;
            record.first_byte(now_ms);
            current.answer = Some(Answer {
                begin: self.queued,
                head_bytes: put.head_bytes as u64,
            });
        }
        self.queued += (put.head_bytes + put.body_bytes) as u64;
    }

    /// The rest of the current answer was sent.
    pub(crate) fn answer_sent(&mut self, now_ms: u64) {
        self.release(now_ms);
        self.end_current(None, now_ms);
        // Whatever the answer's framing has added is both queued and sent.
        self.queued = self.sent.get();
    }

    /// Bytes were put into the output that are no answer of their own.
    pub(crate) fn put_bytes(&mut self, bytes: usize) {
        self.queued += bytes as u64;
    }

    /// `bytes` of the output were handed over with the next submission.
    #[inline]
    pub(crate) fn handed_over(&mut self, bytes: usize) {
        self.pending = bytes as u64;
    }

    /// What was handed over is settled: but for `left` bytes the kernel has taken it.
    #[inline]
    pub(crate) fn settled(&mut self, left: usize) {
        let taken = std::mem::take(&mut self.pending).saturating_sub(left as u64);
        self.sent.set(self.sent.get() + taken);
        if left > 0 {
            self.hold_back();
        }
    }

    /// Takes the records of answers back that the kernel has not taken whole.
    #[cold]
    pub(crate) fn hold_back(&mut self) {
        self.is_blocked = true;
        let mut begin = self.sent.get();
        if !self.held_back.is_empty() {
            begin = begin.max(self.held_end);
        }
        let end = self.answered_end();
        let unsent = end.saturating_sub(begin);
        self.held_end = end;
        if unsent == 0 {
            return;
        }
        for mut taken in self.log.log.take_back(self.connection, unsent) {
            let record = &mut taken.unfinished.record;
            if taken.missing_bytes >= record.sent_bytes {
                record.no_first_byte();
            }
            self.held_back.push(taken);
        }
    }

    /// Where the last answer that is recorded already ends, among the bytes put into the output.
    fn answered_end(&self) -> u64 {
        let answer = self.current.as_ref().and_then(|current| current.answer);
        answer.map_or(self.queued, |answer| answer.begin)
    }

    /// Bytes of answers recorded already that the kernel has not taken.
    fn unsent(&self) -> u64 {
        self.answered_end().saturating_sub(self.sent.get())
    }

    /// All that was put before the current answer has been taken by the kernel, or is handed over
    /// now with nothing before it.
    pub(crate) fn release(&mut self, now_ms: u64) {
        self.is_blocked = false;
        for held in self.held_back.drain(..) {
            let mut unfinished = held.unfinished;
            if unfinished.record.sent_bytes > 0 {
                unfinished.record.first_byte_by(now_ms);
            }
            unfinished.record.end(now_ms);
            self.log.log.finish(unfinished);
        }
    }

    /// The connection ends in the middle of something, by `cut`.
    pub(crate) fn cut(&mut self, cut: Cut, now_ms: u64) {
        self.hold_back();
        let mut unsent = self.unsent();
        for held in self.held_back.iter_mut().rev() {
            let missing = unsent.min(held.missing_bytes);
            unsent -= missing;
            let record = &mut held.unfinished.record;
            if missing > 0 {
                record.sent_bytes = record.sent_bytes.saturating_sub(missing);
                record.body_bytes = record.body_bytes.saturating_sub(missing);
                record.cut = record.cut.or(Some(cut));
            }
        }
        self.release(now_ms);
        self.end_current(Some(cut), now_ms);
        self.queued = self.sent.get();
    }

    /// Whether something would be cut by the connection's end.
    pub(crate) fn is_busy(&self) -> bool {
        self.current.is_some() || !self.held_back.is_empty() || self.unsent() > 0
    }

    fn end_current(&mut self, cut: Option<Cut>, now_ms: u64) {
        let Some(current) = self.current.take() else {
            return;
        };
        let mut unfinished = current.unfinished;
        let record = &mut unfinished.record;
        record.cut = record.cut.or(cut);
        if let Some(Answer { begin, head_bytes }) = current.answer {
            record.sent_bytes = self.sent.get().saturating_sub(begin);
            record.body_bytes = record.sent_bytes.saturating_sub(head_bytes);
        }
        record.end(now_ms);
        self.log.log.finish(unfinished);
    }

    /// A request of which no more will come and that was not answered.
    pub(crate) fn unanswered(&mut self, request: LoggedRequest<'_>, now_ms: u64) {
        let mut record = self.record(&request);
        record.end(now_ms);
        self.log.log.record(&record, self.texts(&request));
    }

    #[inline]
    fn record(&self, request: &LoggedRequest<'_>) -> Record {
        let mut record = Record::new(
            self.connection,
            request.number,
            self.peer,
            request.started_ms,
        );
        record.head_bytes = u32::try_from(request.bytes.len()).unwrap_or(u32::MAX);
        record.cut = request.cut;
        record
    }

    #[inline]
    fn texts<'a>(
        &'a self,
        request: &LoggedRequest<'a>,
    ) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        self.log.texts(first_line(request.bytes), request.head)
    }
}

/// The first line of what was received, without its end; `None` where there is nothing.
#[inline]
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = bytes.iter().position(|byte| !is_end(byte))?;
    let rest = &bytes[begin..];
    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// Why a connection ended, by the error that ended it.
pub(super) fn cut_of(error: &io::Error) -> Cut {
    match error.kind() {
        io::ErrorKind::TimedOut => Cut::SlowClient,
        io::ErrorKind::InvalidData => Cut::FileChanged,
        // The latter where the client had ended its side and its answer took too long.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => Cut::ClientClosed,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => Cut::ClientReset,
        _ => Cut::BodyFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::observe::access_log::{AccessLog, Format, Options, QueryRule, Rotation};

    /// A log that runs, and a connection's side of it.
    fn connection(path: &Path) -> (AccessLog, ConnectionLog) {
        let options = Options {
            destination: path.to_owned().into(),
            format: Format::parse(
                "$request $status $cut $bytes_sent $first_byte_time $request_time",
            )
            .unwrap(),
            query: QueryRule::Keep,
            rotation: Rotation::default(),
        };
        let log = AccessLog::start(options, 1, Arc::new(|_: fmt::Arguments<'_>| {})).unwrap();
        let connection = ConnectionLog {
            log: Rc::new(RequestLog::new(log.of_shard(0).unwrap())),
            connection: 1,
            peer: None,
            queued: 0,
            pending: 0,
            sent: Rc::default(),
            current: None,
            is_blocked: false,
            held_back: Vec::new(),
            held_end: 0,
        };
        (log, connection)
    }

    fn request(line: &str) -> LoggedRequest<'_> {
        LoggedRequest {
            cut: None,
            ..LoggedRequest::unread(line.as_bytes(), 0, 0, Cut::Malformed)
        }
    }

    fn put(body_bytes: usize) -> PutAnswer {
        PutAnswer {
            status: 200,
            head_bytes: 100,
            body_bytes,
            whole: true,
        }
    }

    /// Hands over all that is recorded, as two ticks do.
    fn tick(connection: &ConnectionLog) {
        connection.log.log.tick();
        connection.log.log.tick();
    }

    /// The lines of the log of a connection that has ended.
    fn lines(path: &Path, log: &AccessLog, connection: ConnectionLog) -> Vec<String> {
        drop(connection);
        assert_eq!(log.finish(), 0);
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_answer_behind_one_that_is_held_back_is_cut_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, mut connection) = connection(&path);
        connection.answered(request("/a"), put(900), 1000);
        connection.handed_over(1000);
        connection.settled(800);
        // More of the first leaves, and others wait behind it, for longer than a batch is in reach.
        connection.sent.set(700);
        connection.answered(request("/b"), put(300), 2000);
        connection.begin(request("/c"));
        connection.answer_put(put(400), None, 2000);
        tick(&connection);
        connection.cut(Cut::SlowClient, 9000);
        assert_eq!(
            lines(&path, &log, connection),
            [
                "/a 200 slow_client 700 1.000 9.000",
                "/b 200 slow_client 0 - 9.000",
                "/c 200 slow_client 0 - 9.000"
            ]
        );
    }

    #[test]
    fn an_answer_behind_one_that_is_held_back_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, mut connection) = connection(&path);
        connection.answered(request("/a"), put(900), 1000);
        connection.handed_over(1000);
        connection.settled(800);
        connection.answered(request("/b"), put(300), 2000);
        tick(&connection);
        connection.sent.set(1000);
        connection.release(5000);
        connection.handed_over(400);
        // The next one has nothing before it.
        connection.answered(request("/c"), put(0), 6000);
        connection.settled(0);
        assert_eq!(
            lines(&path, &log, connection),
            [
                "/a 200 - 1000 1.000 5.000",
                "/b 200 - 400 5.000 5.000",
                "/c 200 - 100 6.000 6.000"
            ]
        );
    }

    #[test]
    fn the_first_line_ends_at_any_line_end() {
        for (bytes, line) in [
            (
                &b"GET / HTTP/1.1\r\nhost: a\r\n"[..],
                Some(&b"GET / HTTP/1.1"[..]),
            ),
            (b"\r\n\r\nGET /\nx", Some(b"GET /")),
            (b"\x16\x03", Some(b"\x16\x03")),
            (b"\r\n", None),
            (b"", None),
        ] {
            assert_eq!(first_line(bytes), line);
        }
    }
}
