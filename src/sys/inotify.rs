//! `inotify(7)`: the kernel reports changes to the files of watched folders.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::statfs::fstatfs;

/// Bytes of `struct inotify_event` before the name: watch, mask, cookie, length of the name.
const HEADER_BYTES: usize = 16;

/// The events that change what a path below the folder leads to, or the content of a file in it.
const MASK: u32 = libc::IN_MODIFY
    | libc::IN_ATTRIB
    | libc::IN_CREATE
    | libc::IN_DELETE
    | libc::IN_MOVED_FROM
    | libc::IN_MOVED_TO
    | libc::IN_DELETE_SELF
    | libc::IN_MOVE_SELF
    | libc::IN_ONLYDIR;

/// An inotify instance: close-on-exec and non-blocking.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

/// A watch of one instance. The kernel assigns the numbers in ascending order, so it does not soon
/// reuse that of an ended watch.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchId(i32);

/// One event as the kernel wrote it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The watch; without meaning for an overflow.
    pub watch: WatchId,
    /// The name in the watched folder; empty for events of the folder itself.
    pub name: &'a [u8],
    mask: u32,
}

impl Event<'_> {
    /// Events were lost since the queue was full (`IN_Q_OVERFLOW`).
    pub fn is_overflow(&self) -> bool {
        self.mask & libc::IN_Q_OVERFLOW != 0
    }

    /// The content was written to or truncated (`IN_MODIFY`).
    pub fn is_write(&self) -> bool {
        self.mask & libc::IN_MODIFY != 0
    }

    /// The owner, the mode, the link count or the times changed (`IN_ATTRIB`), as by touch(1).
    pub fn is_of_attributes(&self) -> bool {
        self.mask & libc::IN_ATTRIB != 0
    }

    /// The event is about a subfolder of the watched folder (`IN_ISDIR`).
    pub fn is_of_folder(&self) -> bool {
        self.mask & libc::IN_ISDIR != 0 && !self.name.is_empty()
    }

    /// A name now leads somewhere else or nowhere (`IN_MOVED_FROM`, `IN_MOVED_TO`, `IN_DELETE`).
    pub fn changes_names(&self) -> bool {
        self.mask & (libc::IN_MOVED_FROM | libc::IN_MOVED_TO | libc::IN_DELETE) != 0
    }

    /// The watched folder was renamed (`IN_MOVE_SELF`): its path no longer leads to it.
    pub fn is_folder_moved(&self) -> bool {
        self.mask & libc::IN_MOVE_SELF != 0
    }

    /// The watch is over: the folder was removed or its file system unmounted, or the watch was
    /// removed (`IN_IGNORED`).
    pub fn is_end(&self) -> bool {
        self.mask & (libc::IN_IGNORED | libc::IN_UNMOUNT | libc::IN_DELETE_SELF) != 0
    }
}

impl Inotify {
    /// Makes an instance.
    ///
    /// Errors: `EMFILE` when the user has as many as `fs.inotify.max_user_instances` allows.
    pub fn new() -> io::Result<Inotify> {
        let flags = libc::IN_CLOEXEC | libc::IN_NONBLOCK;
        // SAFETY: inotify_init1 takes no pointers.
        let fd = super::check(unsafe { libc::inotify_init1(flags) }.into())?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) };
        Ok(Inotify { fd })
    }

    /// Watches an open folder, which may be an `O_PATH` descriptor. Watching a folder again returns
    /// the same watch.
    ///
    /// Errors: `ENOSPC` at the limit `fs.inotify.max_user_watches`, `EACCES` without the right to
    /// read the folder, `ENOENT` without `/proc`, which leads from the descriptor to the folder.
    pub fn watch(&self, folder: BorrowedFd<'_>) -> io::Result<WatchId> {
        let path = format!("/proc/self/fd/{}\0", folder.as_raw_fd());
        let instance = self.fd.as_raw_fd();
        // SAFETY: the path is a live string that ends in NUL.
        let id = super::retry(|| unsafe {
            libc::inotify_add_watch(instance, path.as_ptr().cast(), MASK) as libc::c_long
        })?;
        Ok(WatchId(id as i32))
    }

    /// Ends a watch. The kernel reports the end as an event.
    ///
    /// Errors: `EINVAL` when it has ended already.
    pub fn unwatch(&self, watch: WatchId) -> io::Result<()> {
        // SAFETY: inotify_rm_watch takes no pointers.
        super::check(unsafe { libc::inotify_rm_watch(self.fd.as_raw_fd(), watch.0) }.into())?;
        Ok(())
    }

    /// Reads whole events into `buffer`, as many as fit, and returns the count of bytes, for
    /// [`events`]; 0 when there are no events. The buffer must have room for one event with the
    /// longest name (272 bytes).
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `buffer.len()` bytes into the buffer, which is
        // borrowed mutably for the call.
        let result = super::retry(|| unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            ) as libc::c_long
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The events in the bytes that [`Inotify::read`] has read. Stops at an incomplete event.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let word = |at: usize| {
            let word = header.get(at..at + 4)?;
            Some(u32::from_ne_bytes(word.try_into().ok()?))
        };
        let (name, rest) = rest.split_at_checked(word(12)? as usize)?;
        bytes = rest;
        // The name is padded with NULs.
        let len = name.iter().position(|&byte| byte == 0);
        Some(Event {
            watch: WatchId(word(0)? as i32),
            mask: word(4)?,
            name: &name[..len.unwrap_or(name.len())],
        })
    })
}

/// File systems whose files only this kernel changes, by their magic numbers (statfs(2),
/// linux/magic.h). Not network file systems, FUSE, or kernel interfaces like proc.
const LOCAL: [u64; 22] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0xF2F5_2010, // f2fs
    0x794C_7630, // overlayfs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x7371_7368, // squashfs
    0xE0F5_E1E2, // erofs
    0x9660,      // iso9660
    0x1501_3346, // udf
    0x2011_BAB0, // exfat
    0x4D44,      // vfat
    0x7366_746E, // ntfs3
    0x3153_464A, // jfs
    0x5265_4973, // reiserfs
    0x3434,      // nilfs2
    0x4244,      // hfs
    0x482B,      // hfs+
    0x137F,      // minix
];

/// Whether the kernel reports every change on the file system of an open file, which is so for the
/// kinds known to be local.
pub fn reports_changes(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let kind = fstatfs(fd)?.filesystem_type().0;
    Ok(LOCAL.contains(&(kind as u64 & 0xFFFF_FFFF)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_names_and_the_end_of_a_folder_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        let folder = fs::File::open(dir.path()).unwrap();
        let watch = inotify.watch(folder.as_fd()).unwrap();
        assert_eq!(inotify.watch(folder.as_fd()).unwrap(), watch);
        assert!(reports_changes(folder.as_fd()).unwrap());
        let mut buffer = [0; 4096];
        assert_eq!(inotify.read(&mut buffer).unwrap(), 0);
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        let read = inotify.read(&mut buffer).unwrap();
        let seen: Vec<_> = events(&buffer[..read]).collect();
        assert!(seen.iter().all(|event| event.watch == watch));
        assert!(
            seen.iter()
                .any(|event| event.name == b"a" && event.is_write())
        );
        assert!(
            seen.iter()
                .any(|event| event.name == b"b" && event.changes_names())
        );
        drop((dir, folder));
        let read = inotify.read(&mut buffer).unwrap();
        assert!(events(&buffer[..read]).any(|event| event.is_end()));
        assert!(inotify.unwatch(watch).is_err());
    }

    #[test]
    fn kernel_interfaces_do_not_report() {
        let proc = fs::File::open("/proc/self").unwrap();
        assert!(!reports_changes(proc.as_fd()).unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = events(&bytes).map(|event| HEADER_BYTES + event.name.len()).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
