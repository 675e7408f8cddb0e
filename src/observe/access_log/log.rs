//! The access log from its start to its end.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::format::Format;
use super::log_file::{Destination, LogFile, Rotation};
use super::record::Batch;
use super::redact::QueryRule;
use super::render::Renderer;
use super::shard_log::ShardLog;
use super::shared::{Report, Shared};
use super::writer::{Message, Writer};
use crate::limits;
use crate::sys::sync::lock;

/// An access log as an operator wants it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it goes.
    pub destination: Destination,
    /// What a line contains.
    pub format: Format,
    /// What it keeps of queries.
    pub query: QueryRule,
    /// When it begins a new file.
    pub rotation: Rotation,
}

/// A running access log; clones are the same one.
#[derive(Clone)]
pub struct AccessLog(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    messages: SyncSender<Message>,
    /// Each shard's, until it takes it.
    returned: Mutex<Vec<Option<Receiver<Batch>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    ended: Mutex<Receiver<()>>,
}

/// What the log has done since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines written.
    pub lines: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Attempts to write, to open or to rotate that failed.
    pub errors: u64,
    /// Records dropped by each shard, since the writer was behind.
    pub shed: Vec<u64>,
}

impl AccessLog {
    /// Opens the log for this many shards and starts its writer, which reports errors and
    /// dropped lines through `report`, at most once a minute.
    ///
    /// # Errors
    /// When the file can't be opened or the thread can't be started.
    pub fn start(options: Options, shards: usize, report: Report) -> Result<Self, OpenError> {
        let name = match &options.destination {
            Destination::Stdout => "on standard output".to_owned(),
            Destination::File(path) => path.display().to_string(),
        };
        let fail = |source: io::Error| OpenError {
            name: name.clone(),
            source,
        };
        let file = LogFile::open(options.destination, options.rotation).map_err(fail)?;
        let shared = Shared::new(options.format.clone(), name.clone(), report, shards);
        // One place for each batch, and one for a wake.
        let (messages, received) = sync_channel(shards * limits::ACCESS_LOG_BATCHES + 1);
        let channels = (0..shards).map(|_| sync_channel(limits::ACCESS_LOG_BATCHES));
        let (back, returned): (Vec<_>, Vec<_>) = channels.unzip();
        let writer = Writer {
            shared: Arc::clone(&shared),
            messages: received,
            back,
            renderer: Renderer::new(options.format, options.query),
            file,
            lines: Vec::with_capacity(limits::ACCESS_LOG_LINES_BYTES),
            written: 0,
            count: 0,
        };
        let (end, ended) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writer.run();
                let _ = end.send(());
            })
            .map_err(fail)?;
        Ok(Self(Arc::new(Running {
            shared,
            messages,
            returned: Mutex::new(returned.into_iter().map(Some).collect()),
            writer: Mutex::new(Some(thread)),
            ended: Mutex::new(ended),
        })))
    }

    /// The log of one shard; `None` when that has it already.
    pub fn of_shard(&self, shard: usize) -> Option<ShardLog> {
        let mut returned = lock(&self.0.returned);
        let returned = returned.get_mut(shard)?.take()?;
        let shared = Arc::clone(&self.0.shared);
        Some(ShardLog::new(
            shared,
            shard,
            returned,
            self.0.messages.clone(),
        ))
    }

    /// Has the writer open the file by its name again, before the next line that it writes.
    pub fn reopen(&self) {
        self.0.shared.reopen.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        Stats {
            lines: shared.written_lines.get(),
            bytes: shared.written_bytes.get(),
            errors: shared.write_errors.get(),
            shed: shared.shards.iter().map(|c| c.shed.get()).collect(),
        }
    }

    /// Writes what the shards, which have ended, have left, and ends the writer. Waits no longer
    /// than a log that can't be written is worth ([`limits::ACCESS_LOG_EXIT_MS`]); returns
    /// the number of lines that were not written since the start, and reports it.
    pub fn finish(&self) -> u64 {
        let shared = &self.0.shared;
        shared.ending.store(true, Ordering::Release);
        self.wake();
        let thread = lock(&self.0.writer).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            let patience = Duration::from_millis(2 * limits::ACCESS_LOG_EXIT_MS);
            let began = Instant::now();
            let ended = lock(&self.0.ended);
            // Written for as long as that goes on: a slow disk is no stopped one.
            let (mut bytes, mut progress) = (shared.written_bytes.get(), began);
            while let Err(RecvTimeoutError::Timeout) =
                ended.recv_timeout(Duration::from_millis(limits::ACCESS_LOG_RETRY_MS))
            {
                let now = shared.written_bytes.get();
                if now != bytes {
                    (bytes, progress) = (now, Instant::now());
                }
                if progress.elapsed() >= patience {
                    break;
                }
            }
        }
        let lost = shared
            .handed_over_lines()
            .saturating_sub(shared.written_lines.get())
            .saturating_add(shared.shed_lines());
        if lost > 0 {
            shared.tell_of_loss(lost);
        }
        lost
    }

    fn wake(&self) {
        // Where the queue is full the writer has something to do, and looks after each of it.
        let _ = self.0.messages.try_send(Message::Wake);
    }
}

/// Why an access log could not be opened.
#[derive(Debug)]
pub struct OpenError {
    name: String,
    source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot open the access log {}: {}; the server's user must be allowed to write there",
            self.name, self.source
        )
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
