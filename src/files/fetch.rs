//! Looks a file up that is not cached: from its path to a [`CachedFile`].

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;

use super::cache::Cache;
use super::cached_file::{CachedFile, Found};
use super::changes::Changes;
use super::content::Content;
use super::lookup;
use super::options::FilesOptions;
use super::request_error::RequestError;
use super::served_root::ServedRoot;
use super::source::needs_the_disk;
use super::validators::is_settled;
use super::watch::{FileWatch, Folder};
use super::weight::prepared_and_body_bytes;
use crate::limits;
use crate::runtime::driver::Handle;
use crate::runtime::{self, Shard};
use crate::sys;
use crate::sys::file::{File, Kind, Stamp, WriteWatch};
use crate::sys::open::{open_how_path, open_how_read};
use crate::sys::transfer::pread_nowait;

/// The result of looking a path up.
pub(crate) enum Fetched {
    /// The cached file is still current.
    Known(Rc<CachedFile>),
    /// A file that may be cached.
    New(CachedFile),
    /// A file for this one response: it is being changed, or too many reads wait for the disk.
    Passing(CachedFile),
}

/// Looks files up for one shard.
#[derive(Copy, Clone)]
pub(crate) struct Fetch<'a> {
    /// The shard that does it.
    pub shard: &'a Shard,
    /// The folder that paths are resolved beneath.
    pub served: &'a ServedRoot,
    /// The shard's cache.
    pub cache: &'a Cache,
    /// The changes of cached files.
    pub changes: &'a Changes,
    /// How files are served.
    pub options: &'a FilesOptions,
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
    pub(crate) async fn file(
        &self,
        path: &CStr,
        known: Option<Rc<CachedFile>>,
    ) -> Result<Fetched, RequestError> {
        let mut changing = None;
        for _ in 0..limits::FETCH_ATTEMPTS {
            let (now_ms, era) = (self.shard.now_ms(), self.cache.era());
            let (found, is_direct) = self.find(path).await?;
            let before = regular(&found)?;
            drop(found);
            if let Some(known) = known.as_ref().filter(|known| *known.stamp() == before)
                && known.is_valid(now_ms)
            {
                known.note_checked(now_ms, self.options.revalidate_ms, era);
                return Ok(Fetched::Known(Rc::clone(known)));
            }
            let watch = self.watch(path, is_direct).await;
            // What was found without a link is opened without one: else it could be in a folder
            // that is not watched.
            let how = match is_direct {
                true => open_how_read().no_symlinks(),
                false => open_how_read(),
            };
            let fd = match lookup::open(self.shard, self.served, path, how).await {
                Err(error) if is_direct && is_link(&error) => continue,
                fd => fd?,
            };
            // Something else may have come between.
            let Ok(stamp) = regular(&fd) else { continue };
            if (stamp.dev, stamp.ino) != (before.dev, before.ino) {
                continue;
            }
            watch.note_opened(&stamp);
            let writes = Rc::clone(&watch) as Rc<dyn WriteWatch>;
            let file = Rc::new(File::new(fd, stamp).watched(writes));
            let cached = |content| {
                let found = Found {
                    path: CString::from(path),
                    stamp,
                    watch: Rc::clone(&watch),
                    now_ms,
                    era,
                    options: self.options,
                };
                CachedFile::new(found, content)
            };
            if !self.goes_to_memory(stamp.size) {
                return Ok(keep_unless_changed(&watch, cached(Content::Open(file))));
            }
            let settled = is_settled(&stamp, sys::time::realtime());
            if let Some(body) = self.read(&file).await? {
                return Ok(match settled {
                    true => {
                        let content = Content::Memory(body, Some(Rc::default()));
                        keep_unless_changed(&watch, cached(content))
                    }
                    false => Fetched::Passing(cached(Content::Memory(body, None))),
                });
            }
            changing = Some(cached(Content::Open(file)));
        }
        changing
            .map(Fetched::Passing)
            .ok_or(RequestError::Exhausted)
    }

    /// Finds what `path` leads to, and says whether it does so without symbolic links: only then
    /// is the file in the folder that its path names.
    async fn find(&self, path: &CStr) -> io::Result<(OwnedFd, bool)> {
        let how = open_how_path();
        match lookup::open(self.shard, self.served, path, how.no_symlinks()).await {
            Err(error) if is_link(&error) => {
                let found = lookup::open(self.shard, self.served, path, how).await?;
                Ok((found, false))
            }
            found => Ok((found?, true)),
        }
    }

    /// Watches for changes of the file at `path`, of which all reports count that come after the
    /// call.
    async fn watch(&self, path: &CStr, is_direct: bool) -> Rc<FileWatch> {
        let folder = match is_direct {
            true => self.folder(path).await,
            false => None,
        };
        self.changes.watch(path, folder)
    }

    async fn folder(&self, path: &CStr) -> Option<Arc<Folder>> {
        let watches = self.changes.watches();
        watches.instance()?;
        let path = path.to_bytes();
        let parent = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => CString::new(&path[..slash]).ok()?,
            None => CString::from(c"."),
        };
        let how = open_how_path().no_symlinks();
        let folder = lookup::open(self.shard, self.served, &parent, how)
            .await
            .ok()?;
        let (_, stamp) = sys::file::stamp(folder.as_fd()).ok()?;
        watches.folder(folder.as_fd(), (stamp.dev, stamp.ino))
    }

    fn goes_to_memory(&self, size: u64) -> bool {
        usize::try_from(size).is_ok_and(|size| {
            size <= self.options.cache_body_bytes && self.cache.takes(prepared_and_body_bytes(size))
        })
    }

    /// The whole file; `None` if it changed meanwhile, or if so many others
    /// wait for the disk that their buffers would come to too much memory.
    ///
    /// # Errors
    /// [`RequestError::Unsized`] when the file states a size that it does not have, as those of
    /// `/proc` (0) and `/sys` (a page) do.
    async fn read(&self, file: &Rc<File>) -> Result<Option<Bytes>, RequestError> {
        let size = file.stamp.size as usize;
        let mut body = vec![0; size];
        let mut filled = 0;
        while filled < size {
            let offset = filled as u64;
            match pread_nowait(file.as_fd(), &mut body[filled..], offset) {
                Ok(0) => return ended_early(file),
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
                        return ended_early(file);
                    }
                    body[filled..filled + piece.len()].copy_from_slice(piece);
                    filled += piece.len();
                }
                Err(error) => return Err(error.into()),
            }
        }
        if size == 0 && self.has_bytes(file).await? && is_unchanged(file)? {
            return Err(RequestError::Unsized);
        }
        Ok(is_unchanged(file)?.then(|| Bytes::from(body)))
    }

    /// Whether a byte can be read, whatever the file's size.
    async fn has_bytes(&self, file: &Rc<File>) -> io::Result<bool> {
        match pread_nowait(file.as_fd(), &mut [0], 0) {
            Err(error) if needs_the_disk(&error) => {
                let handle: Handle = Rc::clone(file) as Handle;
                let byte = Vec::with_capacity(1);
                let (count, _) = runtime::read_at(self.shard, handle, byte, 0, true).await;
                Ok(count? > 0)
            }
            count => Ok(count? > 0),
        }
    }
}

/// Whether a lookup that refuses symbolic links has met one.
fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ELOOP as i32)
}

/// What a file is that ended before its stated size: one that was cut meanwhile (`None`), or one
/// that states a wrong size.
fn ended_early(file: &File) -> Result<Option<Bytes>, RequestError> {
    match is_unchanged(file)? {
        true => Err(RequestError::Unsized),
        false => Ok(None),
    }
}

fn is_unchanged(file: &File) -> io::Result<bool> {
    Ok(sys::file::stamp(file.as_fd())?.1 == file.stamp)
}

/// The stamp of a regular file; other things are a [`RequestError`].
fn regular(fd: &OwnedFd) -> Result<Stamp, RequestError> {
    match sys::file::stamp(fd.as_fd())? {
        (Kind::File, stamp) => Ok(stamp),
        (Kind::Directory, _) => Err(RequestError::Folder),
        (Kind::Other, _) => Err(RequestError::NotFound),
    }
}

/// What was reported as changed while it was looked at may be outdated by now.
fn keep_unless_changed(watch: &FileWatch, cached: CachedFile) -> Fetched {
    match watch.has_changed() {
        true => Fetched::Passing(cached),
        false => Fetched::New(cached),
    }
}
