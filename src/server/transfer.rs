//! Sending files: `sendfile(2)` in pieces, without waiting for the client or the disk on the
//! shard.
//!
//! This is the one place that chooses how file data is sent; `benches/transfer.rs` has the
//! figures behind the choice.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use super::activity_names::ActivityNames;
use super::counters::Counters;
use super::integrity::{Integrity, changed};
use super::min_send_rate::MinimumSendRate;
use super::residency::Residency;
use super::semaphore::Semaphore;
use super::send_budget::SendBudget;
use crate::http::FileSlice;
use crate::limits;
use crate::runtime::{Shard, Stream, read_at};
use crate::sys;
use crate::sys::file::File;

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
    /// A file that only grows is sent as promised; see [`Integrity`] for the rule. `integrity` is
    /// that of the whole response.
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
        integrity: &mut Integrity,
        mut looked_at_ms: u64,
    ) -> io::Result<()> {
        let (mut offset, end) = (slice.offset, slice.offset + slice.len);
        let mut resident_to = offset;
        while offset < end {
            let now_ms = stream.shard().now_ms();
            if now_ms != looked_at_ms {
                looked_at_ms = now_ms;
                integrity.check(stream.shard(), slice).await?;
            }
            if offset >= resident_to {
                resident_to = self.make_resident(stream, slice, offset).await?;
            }
            integrity.note_next(stream.shard(), slice, offset).await;
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
                    if offset < end {
                        integrity.note_incomplete(stream.shard(), slice).await;
                    }
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
