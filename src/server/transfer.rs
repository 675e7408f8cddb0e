//! Sending files: `sendfile(2)` in pieces, without waiting for the client or the disk on the
//! shard.
//!
//! This is the one place that chooses how file data is sent; `benches/transfer.rs` has the
//! figures behind the choice.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::activity_names::ActivityNames;
use super::counters::Counters;
use super::min_send_rate::MinimumSendRate;
use super::residency::Residency;
use super::semaphore::Semaphore;
use super::send_budget::SendBudget;
use crate::http::FileSlice;
use crate::limits;
use crate::runtime::{Shard, Stream, read_at, sleep};
use crate::sys;
use crate::sys::file::{File, Stamp};

/// What the downloads of one shard share.
pub(super) struct Transfers {
    residency: Residency,
    send_budget: SendBudget,
    /// Bounds the downloads that read a cold piece, each into a buffer of its own.
    cold: Semaphore,
    doing: Rc<ActivityNames>,
    counters: Arc<Counters>,
}

impl Transfers {
    pub(crate) fn new(shard: &Shard, doing: Rc<ActivityNames>, counters: Arc<Counters>) -> Self {
        Self {
            residency: Residency::new(),
            send_budget: SendBudget::new(shard),
            cold: Semaphore::new(limits::COLD_PIECES_MAX),
            doing,
            counters,
        }
    }

    /// Sends a part of a file, which was last looked at when its answer was made,
    /// at `looked_at_ms` on the shard's clock.
    ///
    /// A file that only grows is sent as promised; see [`Integrity`] for the rule.
    ///
    /// # Errors
    /// Besides the socket's: InvalidData when bytes that were promised are gone or may have been
    /// rewritten. The response can't be completed then, and closing the connection is the only
    /// way to say so.
    pub(crate) async fn send_file(
        &self,
        stream: &Stream,
        slice: &FileSlice,
        rate: &mut MinimumSendRate,
        mut looked_at_ms: u64,
    ) -> io::Result<()> {
        let (mut offset, end) = (slice.offset, slice.offset + slice.len);
        let mut resident_to = offset;
        let mut integrity = Integrity::default();
        while offset < end {
            let now_ms = stream.shard().now_ms();
            if now_ms != looked_at_ms {
                looked_at_ms = now_ms;
                integrity.check(slice).await?;
            }
            if offset >= resident_to {
                resident_to = self.make_resident(stream, slice, offset).await?;
            }
            self.send_budget.acquire().await;
            let piece = (resident_to - offset).min(limits::SEND_BUDGET_BYTES as u64) as usize;
            stream.shard().doing(self.doing.send_file);
            let sent = stream.try_send_file(slice.file.as_fd(), offset, piece);
            self.send_budget
                .spend(sent.as_ref().map_or(0, |sent| sent.unwrap_or(0)));
            match sent? {
                Some(0) => return Err(changed()),
                Some(sent) => {
                    offset += sent as u64;
                    self.counters.file_bytes.add(sent as u64);
                    rate.moved(sent as u64);
                    if sent < piece {
                        rate.step(stream, stream.writable()).await?;
                    }
                }
                None => rate.step(stream, stream.writable()).await?,
            }
        }
        Ok(())
    }

    /// Waits until what a file has from `offset` on is in the page cache, up to where that
    /// is known, which is returned.
    async fn make_resident(
        &self,
        stream: &Stream,
        slice: &FileSlice,
        offset: u64,
    ) -> io::Result<u64> {
        const PIECE: u64 = limits::RESIDENCY_PIECE_BYTES;
        let shard = stream.shard();
        let (file, end) = (&slice.file, slice.offset + slice.len);
        // Whole pieces of the file, so that all transfers of it share what is known of a piece.
        let piece_end = (offset / PIECE + 1) * PIECE;
        let until = piece_end.min(end);
        if !self.residency.is_known(file, offset, shard.now_ms()) {
            shard.doing(self.doing.look_in_page_cache);
            if !is_resident(file, offset, until - offset) {
                // The head was sent with MSG_MORE, and the disk may take longer than is good for it.
                stream.push();
                let _permit = self.cold.acquire().await;
                bring_in(shard, file, offset, until).await?;
            }
            if until == piece_end || until == file.stamp.size {
                self.residency.note(file, offset, shard.now_ms());
            }
        }
        Ok(until)
    }
}

fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file was changed while it was sent",
    )
}

/// Whether the bytes that a response has promised are still there, as far as that can be known
/// (docs/decisions/055-growing-files.md).
///
/// They are gone when the file ends before the last of them. They may have been rewritten when
/// the file has the size that it had, but another time of modification, and was written to: the
/// response would be a mixture. The watch on the folder distinguishes a rewrite from a `touch`.
/// Where the folder is not watched, another time counts as a rewrite. A file that has grown was
/// appended to, and what lies before the appended bytes is sent. Replacing the file by a rename,
/// removing it or changing its mode leaves the open file as it is.
#[derive(Default)]
struct Integrity {
    /// The time of modification of a file that was touched.
    touched_ns: Option<i64>,
}

impl Integrity {
    /// Fails when the bytes are gone or may have been rewritten.
    async fn check(&mut self, slice: &FileSlice) -> io::Result<()> {
        if self.is_intact(slice)? {
            return Ok(());
        }
        // The time changes before the size does, and both before the change is reported.
        for _ in 0..limits::CHANGE_SETTLE_LOOKS {
            sleep(Duration::from_millis(limits::CHANGE_SETTLE_MS)).await;
            let stamp = Self::look(slice)?;
            match slice.file.was_written() {
                _ if !is_rewritten(slice, &stamp) => return Ok(()),
                Some(true) => return Err(changed()),
                Some(false) => {
                    self.touched_ns = Some(stamp.mtime_ns);
                    return Ok(());
                }
                None => {}
            }
        }
        Err(changed())
    }

    fn is_intact(&self, slice: &FileSlice) -> io::Result<bool> {
        let stamp = Self::look(slice)?;
        let is_known_touch =
            self.touched_ns == Some(stamp.mtime_ns) && slice.file.was_written() == Some(false);
        Ok(is_known_touch || !is_rewritten(slice, &stamp))
    }

    /// The file's stamp now; an error if the file ends before the last byte promised.
    fn look(slice: &FileSlice) -> io::Result<Stamp> {
        let (_, stamp) = sys::file::stamp(slice.file.as_fd())?;
        match stamp.size < slice.offset + slice.len {
            true => Err(changed()),
            false => Ok(stamp),
        }
    }
}

/// Whether the file looks as if it had been written to in place, or touched.
fn is_rewritten(slice: &FileSlice, now: &Stamp) -> bool {
    let before = &slice.file.stamp;
    now.size == before.size && now.mtime_ns != before.mtime_ns
}

/// Reads a part of a file into the page cache without making the shard wait: a
/// worker of the kernel does it.
async fn bring_in(shard: &Shard, file: &Rc<File>, mut at: u64, end: u64) -> io::Result<()> {
    let mut buf = Vec::with_capacity(limits::COLD_READ_BYTES);
    while at < end {
        let (result, back) = read_at(shard, Rc::clone(file) as _, buf, at, true).await;
        buf = back;
        match result? {
            0 => return Err(changed()),
            n => at += n as u64,
        }
    }
    Ok(())
}

/// Whether sending a part of a file would not have to wait for the disk.
///
/// The count of pages in the cache includes those still being read, so the
/// last byte is tried as well: readahead goes forward, and what came last is
/// there last.
fn is_resident(file: &File, offset: u64, len: u64) -> bool {
    let page = limits::PAGE_BYTES;
    let pages = (offset + len).div_ceil(page) - offset / page;
    match sys::transfer::cached_pages(file.as_fd(), offset, len) {
        Ok(stat) if stat.cached < pages => return false,
        Ok(_) => {}
        // Not supported by this kernel or for this file: try the first byte too.
        Err(_) if !is_byte_resident(file, offset) => return false,
        Err(_) => {}
    }
    is_byte_resident(file, offset + len - 1)
}

fn is_byte_resident(file: &File, at: u64) -> bool {
    let mut byte = [0];
    match sys::transfer::pread_nowait(file.as_fd(), &mut byte, at) {
        Ok(_) => true,
        // A file system that can't tell, such as tmpfs on older kernels, is taken as memory.
        Err(e) => e.kind() != io::ErrorKind::WouldBlock,
    }
}
