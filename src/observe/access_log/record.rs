//! What a shard notes of one request, and the batches in which records go to the writer.
//!
//! A record is copied, not formatted, on the shard: numbers into a [`Record`], texts behind one
//! another into the batch's buffer. Formatting and escaping are the writer's work.

use std::net::SocketAddr;

use crate::limits;

/// Stands in [`Record::first_byte_ms`] where no byte was sent.
pub(crate) const NO_BYTE: u32 = u32::MAX;
/// Stands in place of a record's connection for a moment, while it is taken out of its batch.
const TAKEN: u64 = u64::MAX;
/// Stands in place of a text's length where the request has no such field.
const ABSENT: u16 = u16::MAX;

const _: () = assert!(limits::ACCESS_LOG_TEXT_BYTES_MAX < ABSENT as usize);

/// Why a request ended before its answer was complete, or was not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The client reset the connection.
    ClientReset,
    /// The client closed its side in the middle of the request.
    ClientClosed,
    /// The client took the answer more slowly than the least rate that the server asks for.
    SlowClient,
    /// The request's head did not arrive in time.
    HeadTimeout,
    /// The request's body did not arrive in time.
    BodyTimeout,
    /// The server was stopping, and the time for what was under way had run out.
    DrainDeadline,
    /// The file was changed or cut short while it was sent.
    FileChanged,
    /// The answer's body could not be made to its end.
    BodyFailed,
    /// The request's head or body breaks the protocol's rules.
    Malformed,
    /// The connection was refused: there were too many.
    Refused,
    /// The code that makes the answer has panicked, and the connection was closed without the rest
    /// of it.
    Panicked,
}

impl Cut {
    /// The word for it in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientReset => "client_reset",
            Self::ClientClosed => "client_closed",
            Self::SlowClient => "slow_client",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::DrainDeadline => "drain_deadline",
            Self::FileChanged => "file_changed",
            Self::BodyFailed => "body_failed",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
        }
    }
}

/// The numbers of one request. Moments are in milliseconds of the shard's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The connection, counted by its shard from 1.
    pub connection: u64,
    /// The request's number on its connection, from 1; 0 where none was read.
    pub request: u64,
    /// The socket's other end; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// When the first byte of the request was received.
    pub started_ms: u64,
    /// From there to the answer's first byte handed to the kernel; `NO_BYTE`: there was none.
    pub first_byte_ms: u32,
    /// From there to the last byte handed to the kernel, or to the cut.
    pub duration_ms: u32,
    /// Bytes of the answer handed to the kernel.
    pub sent_bytes: u64,
    /// Those of its body, with the framing of chunks.
    pub body_bytes: u64,
    /// Bytes of the request's head.
    pub head_bytes: u32,
    /// The status; 0: the request was not answered.
    pub status: u16,
    /// Why it was cut, if it was.
    pub cut: Option<Cut>,
    /// Where its texts lie in the batch's buffer.
    texts: (u32, u32),
}

impl Record {
    /// A request that began at `started_ms`, not answered yet.
    pub fn new(connection: u64, request: u64, peer: Option<SocketAddr>, started_ms: u64) -> Self {
        Self {
            connection,
            request,
            peer,
            started_ms,
            first_byte_ms: NO_BYTE,
            duration_ms: 0,
            sent_bytes: 0,
            body_bytes: 0,
            head_bytes: 0,
            status: 0,
            cut: None,
            texts: (0, 0),
        }
    }

    /// The request ends at `now_ms`.
    pub fn end(&mut self, now_ms: u64) {
        self.duration_ms = since(self.started_ms, now_ms);
    }

    /// The answer's first byte is handed over at `now_ms`.
    pub fn first_byte(&mut self, now_ms: u64) {
        self.first_byte_ms = since(self.started_ms, now_ms).min(NO_BYTE - 1);
    }

    /// As [`first_byte`](Self::first_byte), unless that was noted before.
    pub fn first_byte_by(&mut self, now_ms: u64) {
        if self.first_byte_ms == NO_BYTE {
            self.first_byte(now_ms);
        }
    }

    /// No byte of the answer has been handed over, whatever was noted before.
    pub fn no_first_byte(&mut self) {
        self.first_byte_ms = NO_BYTE;
    }
}

fn since(start_ms: u64, now_ms: u64) -> u32 {
    u32::try_from(now_ms.saturating_sub(start_ms)).unwrap_or(u32::MAX)
}

/// Records of one shard on their way to the writer.
#[derive(Debug)]
pub(super) struct Batch {
    pub shard: usize,
    /// Add this to a moment of the shard's clock for milliseconds since the epoch.
    pub epoch_ms: i64,
    records: Vec<Record>,
    texts: Vec<u8>,
}

impl Batch {
    pub(crate) fn new(shard: usize) -> Self {
        Self {
            shard,
            epoch_ms: 0,
            records: Vec::with_capacity(limits::ACCESS_LOG_BATCH_RECORDS),
            texts: Vec::with_capacity(limits::ACCESS_LOG_BATCH_BYTES),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the next record belongs into another batch.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= limits::ACCESS_LOG_BATCH_RECORDS
            || self.texts.len() + limits::ACCESS_LOG_TEXT_BYTES_MAX > limits::ACCESS_LOG_BATCH_BYTES
    }

    /// Adds a record with its texts: the request line, then the fields that the format asks for.
    #[inline]
    pub(crate) fn push<'a>(
        &mut self,
        record: &Record,
        texts: impl Iterator<Item = Option<&'a [u8]>>,
    ) {
        let begin = self.texts.len() as u32;
        texts.for_each(|text| put_text(&mut self.texts, text));
        self.records.push(Record {
            texts: (begin, self.texts.len() as u32),
            ..*record
        });
    }

    /// Adds a request that has ended, whose texts are encoded already.
    pub(crate) fn push_finished(&mut self, finished: &Unfinished) {
        let begin = self.texts.len() as u32;
        self.texts.extend_from_slice(&finished.texts);
        self.records.push(Record {
            texts: (begin, self.texts.len() as u32),
            ..finished.record
        });
    }

    /// Each record with its texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Record, Texts<'_>)> {
        let records = self.records.iter();
        records.map(|record| (record, Texts(self.texts_of(record))))
    }

    /// Takes out the newest records of a connection, the last one first, for as long as `wanted`
    /// says so. `false` when it has said no.
    pub(crate) fn take_newest(
        &mut self,
        connection: u64,
        mut wanted: impl FnMut(&Record) -> bool,
        taken: &mut Vec<Unfinished>,
    ) -> bool {
        let before = taken.len();
        let mut reached_end = true;
        for at in (0..self.records.len()).rev() {
            let record = self.records[at];
            if record.connection != connection {
                continue;
            }
            if !wanted(&record) {
                reached_end = false;
                break;
            }
            let texts = self.texts_of(&record).to_vec();
            taken.push(Unfinished { record, texts });
            self.records[at].connection = TAKEN;
        }
        if taken.len() > before {
            self.records.retain(|record| record.connection != TAKEN);
        }
        reached_end
    }

    fn texts_of(&self, record: &Record) -> &[u8] {
        let (begin, end) = record.texts;
        let texts = self.texts.get(begin as usize..end as usize);
        texts.unwrap_or_default()
    }

    /// Empties it for its next use; gives back memory that a long record has made it take.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.texts.clear();
        self.texts.shrink_to(limits::ACCESS_LOG_BATCH_BYTES);
    }
}

/// The texts of one record, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    /// The text at `index`: 0 is the request line, others are as the format names them.
    pub(crate) fn get(mut self, index: usize) -> Option<&'a [u8]> {
        self.nth(index).flatten()
    }
}

impl<'a> Iterator for Texts<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let length = u16::from_le_bytes(*length);
        if length == ABSENT {
            self.0 = rest;
            return Some(None);
        }
        let (text, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Some(text))
    }
}

#[inline]
fn put_text(out: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else {
        return out.extend_from_slice(&ABSENT.to_le_bytes());
    };
    let length = text.len().min(limits::ACCESS_LOG_TEXT_BYTES_MAX);
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text[..length]);
}

/// A request whose record waits for its end, with its texts.
#[derive(Debug)]
pub struct Unfinished {
    /// The numbers as far as they are known.
    pub record: Record,
    pub(super) texts: Vec<u8>,
}

impl Unfinished {
    pub(super) fn set<'a>(
        &mut self,
        record: Record,
        texts: impl Iterator<Item = Option<&'a [u8]>>,
    ) {
        self.record = record;
        self.texts.clear();
        texts.for_each(|text| put_text(&mut self.texts, text));
    }
}
