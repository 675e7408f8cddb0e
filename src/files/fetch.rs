//! Finding a file anew: from its path to an [`Entry`].

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use bytes::Bytes;

use super::cache::Cache;
use super::entry::{Content, Entry, prepared_and_body_bytes};
use super::failure::Failure;
use super::lookup;
use super::root::Served;
use crate::limits;
use crate::runtime::driver::Handle;
use crate::runtime::{self, Shard};
use crate::sys;
use crate::sys::file::{File, Kind, Stamp};
use crate::sys::open::{open_how_path, open_how_read};
use crate::sys::transfer::pread_nowait;

/// What a look at a path came to.
pub enum Fetched {
    /// The known entry still holds.
    Known(Rc<Entry>),
    /// A new entry, good for the cache.
    New(Entry),
    /// A new entry, good for this one answer: the file is just being changed,
    /// or the disk has too much to do.
    Passing(Entry),
}

/// How files are fetched.
#[derive(Copy, Clone)]
pub struct Fetch<'a> {
    /// The shard that does it.
    pub shard: &'a Shard,
    /// The folder that paths are resolved beneath.
    pub served: &'a Served,
    /// Where the entry is to go.
    pub cache: &'a Cache,
    /// A file up to this size is read into memory.
    pub body_bytes_max: usize,
    /// Coded forms of files are served.
    pub codes: bool,
    /// Bodies of this shard whose reading waits for the disk.
    pub cold_reads: &'a Cell<usize>,
}

/// One of the shard's [`limits::COLD_READS_MAX`] reads that may wait at one time.
struct ColdRead<'a>(&'a Cell<usize>);

impl ColdRead<'_> {
    fn begin(running: &Cell<usize>) -> Option<ColdRead<'_>> {
        if running.get() >= limits::COLD_READS_MAX {
            return None;
        }
        running.set(running.get() + 1);
        Some(ColdRead(running))
    }
}

impl Drop for ColdRead<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Fetch<'_> {
    /// Finds what `path` leads to now. `known` is what it led to before.
    ///
    /// The file is found first and opened afterwards, so that no device and no
    /// FIFO is ever opened, which may have effects of its own.
    pub async fn file(&self, path: &CStr, known: Option<Rc<Entry>>) -> Result<Fetched, Failure> {
        let mut changing = None;
        for _ in 0..limits::FETCH_ATTEMPTS {
            let now_ms = self.shard.now_ms();
            let found = lookup::open(self.shard, self.served, path, open_how_path()).await?;
            let stamp = regular(&found)?;
            drop(found);
            if let Some(known) = known.as_ref().filter(|known| *known.stamp() == stamp) {
                known.checked_ms.set(now_ms);
                return Ok(Fetched::Known(Rc::clone(known)));
            }
            let fd = lookup::open(self.shard, self.served, path, open_how_read()).await?;
            // Something else may have come between.
            let Ok(stamp) = regular(&fd) else { continue };
            let file = Rc::new(File { fd, stamp });
            let entry =
                |content| Entry::new(CString::from(path), stamp, content, self.codes, now_ms);
            if !self.goes_to_memory(stamp.size) {
                return Ok(Fetched::New(entry(Content::Open(file))));
            }
            let settled = is_settled(&stamp);
            if let Some(body) = self.read(&file).await? {
                return Ok(match settled {
                    true => Fetched::New(entry(Content::Memory(body, Some(Rc::default())))),
                    false => Fetched::Passing(entry(Content::Memory(body, None))),
                });
            }
            changing = Some(entry(Content::Open(file)));
        }
        changing.map(Fetched::Passing).ok_or(Failure::Exhausted)
    }

    fn goes_to_memory(&self, size: u64) -> bool {
        usize::try_from(size).is_ok_and(|size| {
            size <= self.body_bytes_max && self.cache.takes(prepared_and_body_bytes(size))
        })
    }

    /// The whole file; `None` if it changed meanwhile, or if so many others
    /// wait for the disk that their buffers would come to too much memory.
    async fn read(&self, file: &Rc<File>) -> io::Result<Option<Bytes>> {
        let size = file.stamp.size as usize;
        let mut body = vec![0; size];
        let mut filled = 0;
        while filled < size {
            let offset = filled as u64;
            match pread_nowait(file.as_fd(), &mut body[filled..], offset) {
                Ok(0) => return Ok(None),
                Ok(count) => filled += count,
                Err(error) if needs_the_disk(&error) => {
                    let Some(_place) = ColdRead::begin(self.cold_reads) else {
                        return Ok(None);
                    };
                    let piece = Vec::with_capacity(size - filled);
                    let handle: Handle = Rc::clone(file) as Handle;
                    let (count, piece) =
                        runtime::read_at(self.shard, handle, piece, offset, true).await;
                    let piece = &piece[..count?.min(size - filled)];
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    body[filled..filled + piece.len()].copy_from_slice(piece);
                    filled += piece.len();
                }
                Err(error) => return Err(error),
            }
        }
        let after = sys::file::stamp(file.as_fd())?.1;
        Ok((after == file.stamp).then(|| Bytes::from(body)))
    }
}

/// Whether a read that must not wait could not be done without.
pub fn needs_the_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported
    )
}

/// The stamp of a regular file; other things are a [`Failure`].
fn regular(fd: &OwnedFd) -> Result<Stamp, Failure> {
    match sys::file::stamp(fd.as_fd())? {
        (Kind::File, stamp) => Ok(stamp),
        (Kind::Directory, _) => Err(Failure::Folder),
        (Kind::Other, _) => Err(Failure::NotFound),
    }
}

/// Whether another change would show in the file's times.
pub fn is_settled(stamp: &Stamp) -> bool {
    let (seconds, nanoseconds) = sys::time::realtime();
    let now_ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    (now_ns - i128::from(stamp.ctime_ns)).unsigned_abs() >= u128::from(limits::FILE_SETTLED_NS)
}
