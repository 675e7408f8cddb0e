//! Reading a folder: names by `getdents64(2)`, sizes and times by `fstatat(2)`.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{AccessFlags, faccessat};

use super::file::{self, Kind, Stamp};
use super::open::Root;

/// Bytes of entries fetched with one system call.
const BATCH_BYTES: usize = 32 * 1024;

/// Bytes before the name in `struct linux_dirent64`: inode, offset, record
/// length and type.
const NAME_OFFSET: usize = 19;

/// One name in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name as stored by the file system: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The kind that the folder's entry states.
    pub kind: EntryKind,
}

/// The kind of an entry, as far as the folder states it without a look at the file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link: [`stat_entry`] finds its target.
    Symlink,
    /// A FIFO, socket or device.
    Other,
    /// The file system does not state it: [`stat_entry`] finds it.
    Unknown,
}

/// The entries of a folder, in the file system's order, without `.` and `..`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entries {
    /// At most as many as the caller requested.
    pub entries: Vec<Entry>,
    /// Whether the folder has more.
    pub cut: bool,
}

/// Reads up to `entries_max` entries of a folder opened for reading
/// ([`super::open::open_how_dir`]), from its descriptor's current position.
pub fn read_dir(dir: BorrowedFd<'_>, entries_max: usize) -> io::Result<Entries> {
    let mut found = Entries::default();
    let mut batch = vec![0_u8; BATCH_BYTES];
    loop {
        // SAFETY: the kernel writes at most `batch.len()` bytes into the vector.
        let filled = super::retry(|| unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                dir.as_raw_fd(),
                batch.as_mut_ptr(),
                batch.len(),
            )
        })?;
        if filled == 0 {
            return Ok(found);
        }
        let mut records = &batch[..filled];
        while let Some((entry, rest)) = next_entry(records) {
            records = rest;
            if entry.name == b"." || entry.name == b".." {
                continue;
            }
            if found.entries.len() == entries_max {
                found.cut = true;
                return Ok(found);
            }
            found.entries.push(entry);
        }
    }
}

/// Takes one `struct linux_dirent64` off the front.
fn next_entry(records: &[u8]) -> Option<(Entry, &[u8])> {
    let length = u16::from_ne_bytes(records.get(16..18)?.try_into().ok()?);
    let kind = match *records.get(18)? {
        libc::DT_REG => EntryKind::File,
        libc::DT_DIR => EntryKind::Directory,
        libc::DT_LNK => EntryKind::Symlink,
        libc::DT_UNKNOWN => EntryKind::Unknown,
        _ => EntryKind::Other,
    };
    let name = records.get(NAME_OFFSET..length.into())?;
    let name = CStr::from_bytes_until_nul(name).ok()?.to_bytes().to_vec();
    Some((Entry { name, kind }, &records[length.into()..]))
}

/// What a name in a folder leads to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct EntryStat {
    /// What it is.
    pub kind: Kind,
    /// Its identity, size and times.
    pub stamp: Stamp,
    /// Whether this process may read it, and search it if it is a folder.
    pub is_readable: bool,
}

/// What `name` in `dir` leads to. `dir_path` is the folder's own path beneath
/// `root`, empty for the root itself.
///
/// Follows a symbolic link as `root` does: a link that leaves the root fails with `EXDEV`, which
/// reveals nothing about its target.
pub fn stat_entry(
    root: &Root,
    dir: BorrowedFd<'_>,
    dir_path: &[u8],
    name: &[u8],
) -> io::Result<EntryStat> {
    let name = CString::new(name)?;
    let stat = fstatat(dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if !file::is_symlink(&stat) {
        let kind = file::kind_of(&stat);
        return Ok(EntryStat {
            kind,
            stamp: file::stamp_of(&stat),
            is_readable: is_readable(dir, &name, kind, AtFlags::empty()),
        });
    }
    let mut path = Vec::with_capacity(dir_path.len() + 1 + name.as_bytes().len());
    if !dir_path.is_empty() {
        path.extend_from_slice(dir_path);
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    let target = root.open_path(&CString::new(path)?, false)?;
    let (kind, stamp) = file::stamp(target.as_fd())?;
    let itself = AtFlags::AT_EMPTY_PATH;
    Ok(EntryStat {
        kind,
        stamp,
        is_readable: is_readable(target.as_fd(), c"", kind, itself),
    })
}

/// The answer of `faccessat2(2)` for the effective user: permission bits, access control lists,
/// capabilities and security modules together.
fn is_readable(dir: BorrowedFd<'_>, name: &CStr, kind: Kind, flags: AtFlags) -> bool {
    let mode = match kind {
        Kind::Directory => AccessFlags::R_OK | AccessFlags::X_OK,
        _ => AccessFlags::R_OK,
    };
    faccessat(dir, name, mode, flags | AtFlags::AT_EACCESS).is_ok()
}
