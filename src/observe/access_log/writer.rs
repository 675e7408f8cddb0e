//! The thread that makes lines of records and writes them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::log_file::LogFile;
use super::record::Batch;
use super::render::Renderer;
use super::shared::Shared;
use crate::limits;

const LOOK: Duration = Duration::from_millis(limits::ACCESS_LOG_LOOK_MS);
const RETRY: Duration = Duration::from_millis(limits::ACCESS_LOG_RETRY_MS);
const EXIT: Duration = Duration::from_millis(limits::ACCESS_LOG_EXIT_MS);

/// What the writer is given.
pub(super) enum Message {
    /// Records to write.
    Batch(Batch),
    /// Look at the requests for a reopening and for the end.
    Wake,
}

/// The writer's thread.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub messages: Receiver<Message>,
    /// Where each shard has its batches back.
    pub back: Vec<SyncSender<Batch>>,
    pub renderer: Renderer,
    pub file: LogFile,
    /// Lines to be written.
    pub lines: Vec<u8>,
    /// Bytes of `lines` that have been written.
    pub written: usize,
    /// Number of lines in `lines`.
    pub count: u64,
}

impl Writer {
    /// Writes until the log is being ended, and then what is left, as long as that makes progress
    /// or [`limits::ACCESS_LOG_EXIT_MS`] have not passed.
    pub(crate) fn run(mut self) {
        let mut looked = Instant::now();
        loop {
            // Looked at first: all that was handed over before is in the queue then.
            let ending = self.shared.is_ending();
            if !ending {
                match self.messages.recv_timeout(LOOK) {
                    Ok(Message::Batch(batch)) => self.take(batch),
                    Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            let has_lines = self.take_waiting();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
            if !self.flush() || ending && !has_lines {
                return;
            }
            self.shared.tell_if_caught_up();
        }
    }

    /// Makes lines of the batches that wait, as far as there is memory for them. Whether there
    /// are lines now.
    fn take_waiting(&mut self) -> bool {
        while self.lines.len() < limits::ACCESS_LOG_LINES_BYTES
            && let Ok(message) = self.messages.try_recv()
        {
            if let Message::Batch(batch) = message {
                self.take(batch);
            }
        }
        !self.lines.is_empty()
    }

    fn take(&mut self, mut batch: Batch) {
        self.renderer.put_batch(&mut self.lines, &batch);
        self.count += batch.len() as u64;
        batch.clear();
        if let Some(back) = self.back.get(batch.shard) {
            // A shard that has ended takes nothing back.
            let _ = back.try_send(batch);
        }
    }

    /// Writes the lines that wait. `false` when the end was asked for and they can't be written.
    fn flush(&mut self) -> bool {
        let mut ending_since = None;
        loop {
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            let Some(rest) = self
                .lines
                .get(self.written..)
                .filter(|rest| !rest.is_empty())
            else {
                break;
            };
            if self.starts_line()
                && let Err(error) = self.file.rotate_if_due(rest.len() as u64)
            {
                self.shared.trouble(&error);
            }
            match self.file.write(&self.lines[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    ending_since = None;
                    self.shared.written_bytes.add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.recover(&error);
                    if self.shared.is_ending() {
                        let since = *ending_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= EXIT {
                            return false;
                        }
                    }
                    self.wait(&error);
                }
            }
        }
        self.shared.written_lines.add(self.count);
        self.count = 0;
        self.written = 0;
        self.lines.clear();
        self.lines.shrink_to(2 * limits::ACCESS_LOG_LINES_BYTES);
        true
    }

    fn starts_line(&self) -> bool {
        self.line_start() == self.written
    }

    /// Where the line begins of which the next byte is to be written.
    fn line_start(&self) -> usize {
        let before = self.lines.get(..self.written).unwrap_or_default();
        memchr::memrchr(b'\n', before).map_or(0, |at| at + 1)
    }

    /// A write has failed. A part of a line that went before it is taken out of the file again,
    /// so that there are whole lines only.
    fn recover(&mut self, error: &io::Error) {
        let line_start = self.line_start();
        let part = (self.written - line_start) as u64;
        if part > 0 && self.file.cut_back(part) {
            self.written = line_start;
        }
        if error.kind() != io::ErrorKind::WouldBlock {
            self.shared.stopped(error);
        }
    }

    fn wait(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            if self.file.wait_writable(RETRY) {
                return;
            }
            let stopped = io::Error::other("nothing takes what is written");
            return self.shared.stopped(&stopped);
        }
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.file.close();
        }
        thread::park_timeout(RETRY);
        self.look();
    }

    /// Looks whether the file was renamed or removed.
    fn look(&mut self) {
        if self.file.was_replaced() {
            self.reopen();
        }
    }

    /// Opens the file by its name again. A line that was written in part is written again, whole.
    fn reopen(&mut self) {
        match self.file.reopen() {
            Ok(true) => self.written = self.line_start(),
            Ok(false) => {}
            Err(error) => self.shared.trouble(&error),
        }
    }
}
