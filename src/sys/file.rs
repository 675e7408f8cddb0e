//! Open files and what identifies their content.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::stat::{FileStat, fstat};

/// An open file with its stamp as of the opening or the last check.
#[derive(Debug)]
pub struct File {
    /// The descriptor, closed on drop.
    pub fd: OwnedFd,
    /// Identity, size and times of the file behind `fd`.
    pub stamp: Stamp,
    watch: Option<Rc<dyn WriteWatch>>,
}

/// Reports whether an open file was written to; its times alone can't distinguish that from a
/// `touch`.
pub trait WriteWatch: fmt::Debug {
    /// Whether the file was written to since just before it was opened: `true` after a reported
    /// write, `false` after a reported change of another kind. `None`: unknown.
    fn was_written(&self) -> Option<bool>;
}

impl File {
    /// An open file with its stamp, whose writes are not watched.
    pub fn new(fd: OwnedFd, stamp: Stamp) -> File {
        File {
            fd,
            stamp,
            watch: None,
        }
    }

    /// The same file, whose writes `watch` reports.
    pub fn watched(self, watch: Rc<dyn WriteWatch>) -> File {
        File {
            watch: Some(watch),
            ..self
        }
    }

    /// Whether the file was written to since it was opened; see [`WriteWatch::was_written`].
    pub fn was_written(&self) -> Option<bool> {
        self.watch.as_ref()?.was_written()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Two equal stamps mean the same file with the same content, as far as the
/// file system's clock can tell.
///
/// A writer can't set `ctime_ns` back, so it reveals a file that was rewritten and had its `mtime`
/// restored.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Hard links of the file.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Last change of the content or the inode, nanoseconds since the epoch.
    pub ctime_ns: i64,
}

/// The kind of file that a path leads to.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A FIFO, socket, device or, where links aren't followed, a symbolic link.
    Other,
}

/// Kind and stamp of an open file, by one `fstat(2)`. Works on `O_PATH` descriptors.
pub fn stamp(fd: BorrowedFd<'_>) -> io::Result<(Kind, Stamp)> {
    let stat = fstat(fd)?;
    Ok((kind_of(&stat), stamp_of(&stat)))
}

/// Whether a pipe, a socket or a terminal has room for a write within this time, by `poll(2)`. Also
/// `true` when its reader is gone: the next write then reports that.
pub fn wait_writable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut polled = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    let patience_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is to one `pollfd` that outlives the call, and the count is 1.
    let ready = super::retry(|| unsafe { libc::poll(&mut polled, 1, patience_ms).into() })?;
    Ok(ready > 0)
}

pub(super) fn kind_of(stat: &FileStat) -> Kind {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        _ => Kind::Other,
    }
}

pub(super) fn is_symlink(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFLNK
}

pub(super) fn stamp_of(stat: &FileStat) -> Stamp {
    Stamp {
        dev: stat.st_dev,
        ino: stat.st_ino,
        links: stat.st_nlink as _,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// Saturates: a file system may hold a date beyond the year 2262.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}
