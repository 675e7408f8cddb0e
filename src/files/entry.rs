//! A file as it was found: its content or descriptor, and the header lines of its answers.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::rc::Rc;

use bytes::Bytes;

use crate::http::{DateValue, HeaderBlock, Prepared, Validators, mime};
use crate::sys;
use crate::sys::file::{File, Stamp};

/// A file as it was found.
#[derive(Debug)]
pub struct Entry {
    /// Its path below the root.
    pub path: CString,
    /// What it was found as.
    pub stamp: Stamp,
    /// Where its bytes are.
    pub content: Content,
    /// The value of Content-Type.
    pub content_type: Cow<'static, str>,
    /// The lines of a 200: type, validators, Accept-Ranges.
    pub lines: HeaderBlock,
    /// The lines of a 304: the validators.
    pub validator_lines: HeaderBlock,
    etag: String,
    modified_s: u64,
    /// When it was last found to be what its path leads to, on the shard's clock.
    pub checked_ms: Cell<u64>,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub enum Content {
    /// All in memory; no descriptor is held. The second is there if it is cached.
    Memory(Bytes, Option<Rc<Prepared>>),
    /// Behind a descriptor.
    Open(Rc<File>),
}

impl Entry {
    /// What is known of the file at `path`, which had `stamp` at `checked_ms`.
    ///
    /// The entity tag is made of the time of last modification and the size:
    /// the same on every server that holds a faithful copy (`rsync -t`), and
    /// another one after any edit that the file system's clock can tell apart.
    /// It is strong, as ranges need it to be: nothing on the way to the client
    /// changes the bytes.
    pub fn new(path: CString, stamp: Stamp, content: Content, checked_ms: u64) -> Entry {
        let content_type = mime::content_type(path.as_bytes());
        let etag = format!("\"{:x}-{:x}\"", stamp.mtime_ns, stamp.size);
        // No Last-Modified may lie in the future (RFC 9110 section 8.8.2.1).
        let modified_s = u64::try_from(stamp.mtime_ns / 1_000_000_000)
            .unwrap_or(0)
            .min(sys::time::realtime().0);
        let validator_lines = HeaderBlock::new()
            .with("etag", &etag)
            .with("last-modified", DateValue::from_unix(modified_s).as_bytes());
        let lines = validator_lines
            .clone()
            .with("content-type", content_type.as_bytes())
            .with("accept-ranges", "bytes");
        Entry {
            path,
            stamp,
            content,
            content_type,
            lines: lines.into_shared(),
            validator_lines: validator_lines.into_shared(),
            etag,
            modified_s,
            checked_ms: Cell::new(checked_ms),
        }
    }

    /// What conditional requests are measured against.
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: Some(self.etag.as_bytes()),
            modified_s: Some(self.modified_s),
        }
    }

    /// Whether the open file is still as it was found; content in memory is.
    /// Costs an `fstat(2)` for an open file, and so catches an edit in place,
    /// and also its removal (which changes the time of the inode), at once.
    pub fn is_intact(&self) -> bool {
        match &self.content {
            Content::Memory(..) => true,
            Content::Open(file) => {
                matches!(sys::file::stamp(file.as_fd()), Ok((_, stamp)) if stamp == self.stamp)
            }
        }
    }

    /// Whether to drop it, were it only in the cache, would close a descriptor.
    pub fn holds_idle_descriptor(&self) -> bool {
        matches!(&self.content, Content::Open(file) if Rc::strong_count(file) == 1)
    }

    /// Bytes of bodies that it keeps in memory: the body itself, and once more
    /// in the [`Prepared`] piece.
    pub fn memory_bytes(&self) -> usize {
        match &self.content {
            Content::Memory(body, _) => prepared_and_body_bytes(body.len()),
            Content::Open(_) => 0,
        }
    }
}

/// [`Entry::memory_bytes`] of a body of `body_bytes`.
pub fn prepared_and_body_bytes(body_bytes: usize) -> usize {
    body_bytes.saturating_mul(2)
}
