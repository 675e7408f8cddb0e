//! The writer of the object, on a separate thread, so that slow readers and shards do not delay it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::address::BlockingStream;
use super::super::error::{ErrorClass, LoadError};
use super::super::preflight;
use super::super::record::histogram;
use super::super::request::{Prepared, RequestSpec};
use super::super::rooms::Route;
use super::super::shards::StopHandle;
use super::engine::Shared;
use super::plan::{LivePlan, WriteTo};
use crate::http::h1::response::ResponseReader;
use crate::load::limits;
use crate::sys::time::{monotonic_ns, set_timer_slack_ns};

/// The last chunk (RFC 9112 section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The writer's record.
pub(super) struct Written {
    pub pieces: u64,
    pub bytes: u64,
    /// How late it was, where neither the server nor the disk delayed it.
    pub lag: Histogram<u64>,
    /// The time that writing a piece took.
    pub took: Histogram<u64>,
    pub errors: [u64; ErrorClass::ALL.len()],
    pub last_ns: u64,
}

pub(super) struct Writer {
    plan: Arc<LivePlan>,
    shared: Arc<Shared>,
    stop: StopHandle,
    sink: Sink,
    written: Written,
}

enum Sink {
    File(File),
    /// `None` after a failure.
    Upload(Option<Box<Upload>>),
}

impl Writer {
    /// Empties the file, or begins the upload.
    ///
    /// # Errors
    /// When the file or the upload can't be opened.
    pub(crate) fn open(
        plan: Arc<LivePlan>,
        shared: Arc<Shared>,
        stop: StopHandle,
    ) -> Result<Self, LoadError> {
        let sink = match &plan.write_to {
            WriteTo::File(path) => {
                let options = &mut OpenOptions::new();
                // Opened to append, so that another writer can only insert between pieces.
                let file = options.create(true).append(true).open(path);
                let emptied = file.and_then(|file| file.set_len(0).map(|()| file));
                Sink::File(emptied.map_err(|error| LoadError::Write {
                    path: path.clone(),
                    error,
                })?)
            }
            WriteTo::Upload { route, method } => {
                Sink::Upload(Some(Box::new(Upload::begin(&plan, route, method)?)))
            }
        };
        Ok(Self {
            plan,
            shared,
            stop,
            sink,
            written: Written {
                pieces: 0,
                bytes: 0,
                lag: histogram(),
                took: histogram(),
                errors: [0; ErrorClass::ALL.len()],
                last_ns: 0,
            },
        })
    }

    /// Writes from the moment that the shards agree on, until all pieces are written or it must
    /// stop.
    ///
    /// # Errors
    /// When the file can't be written to.
    pub(crate) fn run(mut self) -> Result<Written, LoadError> {
        let _ = set_timer_slack_ns(1);
        let result = self.write_all();
        self.shared.ending.store(true, Ordering::Release);
        if result.is_err() {
            self.stop.immediately();
        }
        if let Sink::Upload(Some(upload)) = &mut self.sink
            && let Err(class) = upload.end(&self.stop, self.plan.timeout_ms)
        {
            self.written.errors[class as usize] += 1;
        }
        result.map(|()| self.written)
    }

    fn write_all(&mut self) -> Result<(), LoadError> {
        self.shared.is_ready(&self.plan);
        while self.shared.start.start_ns().is_none() {
            if self.stop.is_requested() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let mut bytes = vec![0; self.plan.piece_bytes];
        let end_ns = self.shared.object(&self.plan).start_ns + self.plan.duration_ns;
        for sequence in 0..self.plan.pieces() {
            let object = self.shared.object(&self.plan);
            let due_ns = object.due_ns(sequence);
            let waits = monotonic_ns() < due_ns;
            if !self.sleep_until(due_ns) || monotonic_ns() >= end_ns {
                break;
            }
            let sent_ns = monotonic_ns();
            // A file delays the writer only when the disk of this host is slow.
            if waits || matches!(self.sink, Sink::File(_)) {
                self.written.lag.saturating_record(sent_ns - due_ns);
            }
            object.tag(sequence, sent_ns).write(&mut bytes);
            self.shared.issued.store(sequence + 1, Ordering::Release);
            if let Err(class) = self.write(&bytes)? {
                self.written.errors[class as usize] += 1;
                continue;
            }
            self.written.last_ns = monotonic_ns();
            let took_ns = self.written.last_ns - sent_ns;
            self.written.took.saturating_record(took_ns);
            self.written.pieces += 1;
            self.written.bytes += bytes.len() as u64;
        }
        // A load lasts as long as requested, even if no more pieces are due in that time.
        self.sleep_until(end_ns);
        Ok(())
    }

    /// `false`: the writer must stop.
    fn sleep_until(&self, at_ns: u64) -> bool {
        let look_ns = limits::STOP_POLL_MS * 1_000_000;
        loop {
            if self.stop.is_requested() {
                return false;
            }
            let left_ns = at_ns.saturating_sub(monotonic_ns());
            if left_ns == 0 {
                return true;
            }
            thread::sleep(Duration::from_nanos(left_ns.min(look_ns)));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Result<(), ErrorClass>, LoadError> {
        let slot = match (&mut self.sink, &self.plan.write_to) {
            (Sink::File(file), WriteTo::File(path)) => {
                return match file.write_all(bytes) {
                    Ok(()) => Ok(Ok(())),
                    Err(error) => Err(LoadError::Write {
                        path: path.clone(),
                        error,
                    }),
                };
            }
            (Sink::Upload(slot), WriteTo::Upload { route, method }) => {
                if slot.is_none() {
                    match Upload::begin(&self.plan, route, method) {
                        Ok(upload) => *slot = Some(Box::new(upload)),
                        Err(LoadError::Connect { error, .. }) => {
                            return Ok(Err(ErrorClass::of_connect(&error)));
                        }
                        Err(_) => return Ok(Err(ErrorClass::Reset)),
                    }
                }
                slot
            }
            _ => unreachable!("a sink is of the kind that the plan says"),
        };
        let sent = match slot {
            Some(upload) => upload.write(bytes, &self.stop, self.plan.timeout_ms),
            None => Ok(()),
        };
        if sent.is_err() {
            *slot = None;
        }
        Ok(sent)
    }
}

/// A request whose body is being sent.
struct Upload {
    stream: BlockingStream,
    reader: ResponseReader,
}

impl Upload {
    fn begin(plan: &LivePlan, route: &Route, method: &str) -> Result<Self, LoadError> {
        let io = |error| LoadError::Io {
            what: "beginning the upload",
            error,
        };
        let head = upload_head(plan, route, method)
            .map_err(|error| io(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let wait = Duration::from_millis(plan.timeout_ms);
        let mut stream = preflight::connect(&route.addresses, wait)?;
        stream.write_all(&head).map_err(io)?;
        let look = Some(Duration::from_millis(limits::STOP_POLL_MS));
        stream.set_write_timeout(look).map_err(io)?;
        stream.set_read_timeout(look).map_err(io)?;
        Ok(Self {
            stream,
            reader: ResponseReader::default(),
        })
    }

    /// Sends a piece as a chunk.
    fn write(
        &mut self,
        bytes: &[u8],
        stop: &StopHandle,
        timeout_ms: u64,
    ) -> Result<(), ErrorClass> {
        self.early()?;
        let head = format!("{:x}\r\n", bytes.len());
        for part in [head.as_bytes(), bytes, b"\r\n"] {
            self.send(part, stop, timeout_ms)?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        mut bytes: &[u8],
        stop: &StopHandle,
        timeout_ms: u64,
    ) -> Result<(), ErrorClass> {
        let until_ns = monotonic_ns() + timeout_ms * 1_000_000;
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if waits(&error) => {
                    if monotonic_ns() >= until_ns || stop.is_immediate() {
                        return Err(ErrorClass::Timeout);
                    }
                }
                // The server may have answered before it closed.
                Err(_) => {
                    self.early()?;
                    return Err(ErrorClass::Reset);
                }
            }
        }
        Ok(())
    }

    /// Whether the server has answered, or closed, before the body's end.
    fn early(&mut self) -> Result<(), ErrorClass> {
        let _ = self.stream.set_nonblocking(true);
        let status = self.read();
        let _ = self.stream.set_nonblocking(false);
        match status? {
            None => Ok(()),
            Some(400..500) => Err(ErrorClass::Status4xx),
            Some(500..) => Err(ErrorClass::Status5xx),
            Some(_) => Err(ErrorClass::Closed),
        }
    }

    /// Reads what has been received; returns the answer's status once known.
    fn read(&mut self) -> Result<Option<u16>, ErrorClass> {
        let mut piece = [0; 4096];
        loop {
            let count = match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorClass::Closed),
                Ok(count) => count,
                Err(error) if waits(&error) => return Ok(None),
                Err(_) => return Err(ErrorClass::Reset),
            };
            let begun = self.reader.begin(&piece[..count], false);
            begun.map_err(ErrorClass::of_response)?;
            if let Some(status) = self.reader.status() {
                return Ok(Some(status));
            }
        }
    }

    /// Ends the body and waits for the answer.
    fn end(&mut self, stop: &StopHandle, timeout_ms: u64) -> Result<(), ErrorClass> {
        self.send(LAST_CHUNK, stop, timeout_ms)?;
        let until_ns = monotonic_ns() + timeout_ms * 1_000_000;
        let status = loop {
            match self.read()? {
                Some(status) => break status,
                None if monotonic_ns() >= until_ns || stop.is_immediate() => {
                    return Err(ErrorClass::Timeout);
                }
                None => {}
            }
        };
        let _ = self.stream.shutdown(Shutdown::Both);
        match status {
            200..300 => Ok(()),
            400..500 => Err(ErrorClass::Status4xx),
            500.. => Err(ErrorClass::Status5xx),
            _ => Err(ErrorClass::BadResponse),
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The head of the request whose body the object is.
fn upload_head(
    plan: &LivePlan,
    route: &Route,
    method: &str,
) -> Result<Vec<u8>, super::super::request::RequestError> {
    let mut headers = plan.headers.clone();
    headers.push("Transfer-Encoding: chunked".to_owned());
    let spec = RequestSpec {
        method: Some(method.to_owned()),
        headers,
        body: Some(Vec::new()),
        close: false,
    };
    let request = Prepared::new(&route.target, &spec, 1)?;
    let bytes = request.one();
    let head = bytes.strip_suffix(LAST_CHUNK).unwrap_or(bytes);
    Ok(head.to_vec())
}
