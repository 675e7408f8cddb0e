//! A file's way to a socket: `sendfile(2)` in pieces, never waiting for the
//! client or the disk on the shard.
//!
//! The one place that chooses how file data is sent. The figures behind the
//! choice are those of `benches/transfer.rs`.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use super::pace::Pace;
use super::residency::Residency;
use crate::http::FileSlice;
use crate::limits;
use crate::runtime::{Shard, Stream, read_at, yield_now};
use crate::sys;
use crate::sys::file::File;

/// What is known of a file's residency, and brought in, at a time.
const PIECE_BYTES: u64 = limits::SEND_BUDGET_BYTES as u64;

/// Sends a part of a file.
///
/// # Errors
/// Besides the socket's: InvalidData when the file was changed or cut short
/// since its length was announced. The response can't be completed then, and
/// closing the connection is the only honest way to say so.
pub(super) async fn send_file(
    stream: &Stream,
    slice: &FileSlice,
    pace: &mut Pace,
    residency: &Residency,
) -> io::Result<()> {
    let (mut offset, end) = (slice.offset, slice.offset + slice.len);
    let mut resident_to = offset;
    let mut budget = limits::SEND_BUDGET_BYTES;
    // The service looked at the file when it answered, in this very turn as a rule.
    let mut looked_at_ms = stream.shard().now_ms();
    while offset < end {
        let now_ms = stream.shard().now_ms();
        if now_ms != looked_at_ms {
            looked_at_ms = now_ms;
            check_unchanged(&slice.file)?;
        }
        if offset >= resident_to {
            // Whole pieces of the file, so that all who send it share what is known of a piece.
            let piece_end = (offset / PIECE_BYTES + 1) * PIECE_BYTES;
            let piece = piece_end.min(end) - offset;
            if !residency.is_known(&slice.file, offset, now_ms) {
                make_resident(stream.shard(), &slice.file, offset, piece).await?;
                if piece_end <= end || end == slice.file.stamp.size {
                    residency.note(&slice.file, offset, stream.shard().now_ms());
                }
            }
            resident_to = offset + piece;
        }
        let piece = (resident_to - offset).min(budget as u64) as usize;
        match stream.try_send_file(slice.file.as_fd(), offset, piece)? {
            Some(0) => return Err(changed()),
            Some(sent) => {
                offset += sent as u64;
                pace.moved(sent as u64);
                budget -= sent;
                if budget == 0 {
                    budget = limits::SEND_BUDGET_BYTES;
                    yield_now().await;
                } else if sent < piece {
                    pace.step(stream.writable()).await?;
                    budget = limits::SEND_BUDGET_BYTES;
                }
            }
            None => pace.step(stream.writable()).await?,
        }
    }
    Ok(())
}

fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file was changed while it was sent",
    )
}

/// A file that is written to in place while it is sent would arrive as a
/// mixture of old and new. (Replacing it by a rename is no change: the old file
/// goes on to exist until it is sent, though its `ctime` moves.)
fn check_unchanged(file: &File) -> io::Result<()> {
    match sys::file::stamp(file.as_fd())? {
        (_, stamp) if stamp.has_content_of(&file.stamp) => Ok(()),
        _ => Err(changed()),
    }
}

/// Waits until a part of a file is in the page cache, where it isn't, without
/// making the shard wait: a worker of the kernel reads it.
async fn make_resident(shard: &Shard, file: &Rc<File>, offset: u64, len: u64) -> io::Result<()> {
    if is_resident(file, offset, len) {
        return Ok(());
    }
    let (mut at, end) = (offset, offset + len);
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
        // Not to be had on this kernel or for this file: try the first byte too.
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
