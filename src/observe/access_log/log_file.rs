//! The file that the log goes to: opened, written, reopened, rotated.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::OFlag;

use crate::limits;
use crate::sys;

/// Owner writes, group reads: the log has clients' addresses and what they requested.
const MODE: u32 = 0o640;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The process's standard output.
    Stdout,
    /// A file, or a FIFO.
    File(PathBuf),
}

impl From<PathBuf> for Destination {
    /// `-` is standard output.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("-") => Self::Stdout,
            _ => Self::File(path),
        }
    }
}

/// When the log begins a new file, and how many old ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before a file gets larger than this; `None`: its size doesn't matter.
    pub bytes: Option<u64>,
    /// When a file was made so long ago; `None`: its age doesn't matter.
    pub age: Option<Duration>,
    /// Old files that stay, as `FILE.1` (the newest) and so on; at least one.
    pub keep: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            bytes: None,
            age: None,
            keep: limits::ACCESS_LOG_KEEP,
        }
    }
}

pub(super) struct LogFile {
    destination: Destination,
    rotation: Rotation,
    open: Option<Open>,
    /// A rotation that failed is not tried again before this.
    rotate_after: Option<Instant>,
}

struct Open {
    file: File,
    id: (u64, u64),
    regular: bool,
    /// Of a regular file, as far as we have written it.
    bytes: u64,
    since: SystemTime,
}

impl Open {
    fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            id: id(&metadata),
            regular: metadata.is_file(),
            bytes: metadata.len(),
            since: metadata.created().unwrap_or_else(|_| SystemTime::now()),
        })
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl LogFile {
    /// Opens it. A FIFO without a reader is tried again at each write.
    ///
    /// # Errors
    /// When it can't be opened for writing.
    pub(crate) fn open(destination: Destination, rotation: Rotation) -> io::Result<Self> {
        let open = match open(&destination) {
            Ok(open) => Some(open),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            destination,
            rotation,
            open,
            rotate_after: None,
        })
    }

    /// Writes what can be written without waiting for a reader.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(open(&self.destination)?),
        };
        // Standard output is shared with others, so it is not made non-blocking; when poll(2) has
        // found room, a pipe takes this much at once (pipe(7)).
        let piece = match self.destination {
            Destination::Stdout if !open.regular => {
                if !sys::file::wait_writable(open.file.as_fd(), Duration::ZERO)? {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                &bytes[..bytes.len().min(limits::PIPE_PIECE_BYTES)]
            }
            _ => bytes,
        };
        match open.file.write(piece)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                open.bytes += count as u64;
                Ok(count)
            }
        }
    }

    /// Whether there is room for more within this time.
    pub(crate) fn wait_writable(&self, patience: Duration) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        sys::file::wait_writable(open.file.as_fd(), patience).unwrap_or(true)
    }

    /// Takes the last bytes that were written out of the file again, if it is a regular file and
    /// they are its last ones.
    pub(crate) fn cut_back(&mut self, count: u64) -> bool {
        let Some(open) = self.open.as_mut().filter(|open| open.regular) else {
            return false;
        };
        let is_ours = |metadata: Metadata| metadata.len() == open.bytes;
        if count > open.bytes || !open.file.metadata().is_ok_and(is_ours) {
            return false;
        }
        let cut = open.file.set_len(open.bytes - count).is_ok();
        if cut {
            open.bytes -= count;
        }
        cut
    }

    /// Whether another file, or none, has the log's name now.
    pub(crate) fn was_replaced(&self) -> bool {
        let (Destination::File(path), Some(open)) = (&self.destination, &self.open) else {
            return false;
        };
        match fs::metadata(path) {
            Ok(metadata) => id(&metadata) != open.id,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Opens it by its name. When that fails the old one stays. `false`: it is the same file.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        if self.destination == Destination::Stdout {
            return Ok(false);
        }
        let new = open(&self.destination)?;
        let same = self.open.as_ref().is_some_and(|open| open.id == new.id);
        if !same {
            self.open = Some(new);
        }
        Ok(!same)
    }

    /// Closes it; the next write opens it again.
    pub(crate) fn close(&mut self) {
        if self.destination != Destination::Stdout {
            self.open = None;
        }
    }

    /// Renames the file and opens a new one, if it is too old or too large for `more` bytes.
    ///
    /// # Errors
    /// When that fails, which is not tried again for a while; the old file is written to meanwhile.
    pub(crate) fn rotate_if_due(&mut self, more: u64) -> io::Result<()> {
        let (Destination::File(path), Some(open)) = (&self.destination, &self.open) else {
            return Ok(());
        };
        let too_large = self
            .rotation
            .bytes
            .is_some_and(|max| open.bytes.saturating_add(more) > max);
        let is_too_old = |max| open.since.elapsed().is_ok_and(|age| age >= max);
        let due = open.regular
            && open.bytes > 0
            && (too_large || self.rotation.age.is_some_and(is_too_old));
        if !due
            || self
                .rotate_after
                .is_some_and(|after| Instant::now() < after)
        {
            return Ok(());
        }
        let path = path.clone();
        let rotated = match self.was_replaced() {
            true => Ok(()),
            false => shift_generations(&path, self.rotation.keep),
        };
        if let Err(error) = rotated.and_then(|()| self.reopen()) {
            let pause = Duration::from_millis(limits::ACCESS_LOG_TELL_MS);
            self.rotate_after = Some(Instant::now() + pause);
            return Err(error);
        }
        // A new file may have the age of the one that had its inode before.
        if let Some(open) = &mut self.open {
            open.since = SystemTime::now();
        }
        Ok(())
    }
}

fn open(destination: &Destination) -> io::Result<Open> {
    let file = match destination {
        Destination::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        Destination::File(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            // A FIFO must not be waited for; on a file it means nothing.
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(path)
            .map_err(|error| match is_without_reader(&error) {
                true => io::Error::new(io::ErrorKind::NotConnected, "nobody reads it"),
                false => error,
            })?,
    };
    Open::new(file)
}

/// Whether a FIFO could not be opened for writing because no process reads it (ENXIO of open(2)).
fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32)
}

/// `FILE` becomes `FILE.1`, that becomes `FILE.2`, and so on; `FILE.keep` goes.
fn shift_generations(path: &Path, keep: usize) -> io::Result<()> {
    for older in (1..keep).rev() {
        match fs::rename(generation(path, older), generation(path, older + 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    fs::rename(path, generation(path, 1))
}

fn generation(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}
