//! Moves bytes from a file, a pipe or memory to a socket, and reads the page cache's state, on
//! which the choice between these ways depends.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use std::sync::OnceLock;

use nix::fcntl::PosixFadviseAdvice;

/// [`splice`]: more data follows, hold back a partial segment.
pub const SPLICE_MORE: u32 = libc::SPLICE_F_MORE;
/// [`splice`]: don't wait on the pipe.
pub const SPLICE_NONBLOCK: u32 = libc::SPLICE_F_NONBLOCK;
/// [`send`] and [`recv`]: fail with `EAGAIN` rather than wait.
pub const MSG_DONTWAIT: i32 = libc::MSG_DONTWAIT;
/// [`send`]: more data follows, hold back a partial segment.
pub const MSG_MORE: i32 = libc::MSG_MORE;
/// Pieces that one [`send_vectored`] may have.
pub const VECTORED_MAX: usize = 64;
/// [`recv`]: leave the data in the socket.
pub const MSG_PEEK: i32 = libc::MSG_PEEK;

/// Copies from a file's page cache to a socket by `sendfile(2)`, without moving
/// the file's own position. Returns the bytes sent, 0 at the end of the file.
///
/// On a non-blocking socket a full send buffer is a short count, then `EAGAIN`.
/// Waits for the disk where the file isn't cached.
pub fn sendfile(
    out: BorrowedFd<'_>,
    in_: BorrowedFd<'_>,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut position = file_offset(offset)?;
    // SAFETY: `position` is the only pointer and outlives the call.
    super::retry(|| unsafe {
        libc::sendfile(out.as_raw_fd(), in_.as_raw_fd(), &mut position, count) as libc::c_long
    })
}

/// Moves bytes between a pipe and another descriptor by `splice(2)`; one of the
/// two must be a pipe. `offset` is where to read in `from` when it is a file, and
/// leaves the file's own position alone. Returns the bytes moved, 0 at the end.
pub fn splice(
    from: BorrowedFd<'_>,
    offset: Option<u64>,
    to: BorrowedFd<'_>,
    count: usize,
    flags: u32,
) -> io::Result<usize> {
    let mut position = offset.map(file_offset).transpose()?;
    let position = match &mut position {
        Some(position) => std::ptr::from_mut(position),
        None => std::ptr::null_mut(),
    };
    // SAFETY: `position` is null or points to a local that outlives the call.
    super::retry(|| unsafe {
        libc::splice(
            from.as_raw_fd(),
            position,
            to.as_raw_fd(),
            std::ptr::null_mut(),
            count,
            flags,
        ) as libc::c_long
    })
}

/// Makes a pipe, returned as (read end, write end), close-on-exec and blocking.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors into the array of two.
    super::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just made both for us, and nothing else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sets `O_NONBLOCK`. It belongs to the open file, so every duplicate of the
/// descriptor changes with it.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    change_nonblocking(fd, true)
}

/// Clears `O_NONBLOCK`; see [`set_nonblocking`].
pub fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    change_nonblocking(fd, false)
}

fn change_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = super::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())?;
    let flags = flags as libc::c_int;
    let wanted = if on {
        flags | libc::O_NONBLOCK
    } else {
        flags & !libc::O_NONBLOCK
    };
    if wanted != flags {
        // SAFETY: F_SETFL takes an integer, no pointer.
        super::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) }.into())?;
    }
    Ok(())
}

/// Reads at `offset` what is in the page cache, by `preadv2(2)` with `RWF_NOWAIT`. Returns the
/// bytes read, which may be fewer than asked, 0 at the end of the file.
///
/// Errors: `EAGAIN` when the first byte isn't cached, `EOPNOTSUPP` where the
/// file system can't tell, or the kernel tells wrong.
pub fn pread_nowait(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let position = file_offset(offset)?;
    if !nowait_is_reliable() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: the one iovec covers exactly `buffer`, which is borrowed mutably
    // for the call.
    super::retry(|| unsafe {
        libc::preadv2(fd.as_raw_fd(), &piece, 1, position, libc::RWF_NOWAIT) as libc::c_long
    })
}

/// Whether a read with `RWF_NOWAIT` that gives 0 is at the end of the file: on Linux 5.9 and 5.10 it
/// need not be (BUGS of readv(2)).
fn nowait_is_reliable() -> bool {
    const WRONG: std::ops::RangeInclusive<(u32, u32)> = (5, 9)..=(5, 10);
    static IS_RELIABLE: OnceLock<bool> = OnceLock::new();
    *IS_RELIABLE.get_or_init(|| {
        let release = super::probe::kernel_release().unwrap_or_default();
        let version = super::probe::KernelVersion::parse(&release);
        !version.is_some_and(|version| WRONG.contains(&(version.major, version.minor)))
    })
}

/// Reads into the whole capacity of `buffer`, whose content is replaced, without waiting: from a
/// file at `offset` what is in the page cache, from anything else what has come. Returns the bytes
/// read, which are then the buffer's length.
///
/// Errors: as [`pread_nowait`]; `EAGAIN` where nothing has come, `EOPNOTSUPP` where the kernel
/// can't promise not to wait.
pub fn read_nowait(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let read = match nowait_is_reliable() {
        true => read_into(fd, buffer, file_offset(offset)?, libc::RWF_NOWAIT),
        // What has positions may be a file, for which 0 is not to be believed.
        false if has_positions(fd) => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        false => read_into(fd, buffer, -1, libc::RWF_NOWAIT),
    };
    match read {
        // A counter or a queue has no positions.
        Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {
            read_into(fd, buffer, -1, libc::RWF_NOWAIT)
        }
        result => result,
    }
}

fn has_positions(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: lseek takes no pointers, and moves nothing by 0 from where it is.
    unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_CUR) >= 0 }
}

/// As [`read_nowait`], but waits for the disk.
pub fn read_waiting(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    match read_into(fd, buffer, file_offset(offset)?, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => read_into(fd, buffer, -1, 0),
        result => result,
    }
}

fn read_into(
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    position: libc::off_t,
    flags: libc::c_int,
) -> io::Result<usize> {
    buffer.clear();
    let piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.capacity(),
    };
    // SAFETY: the one iovec covers exactly the vector's capacity, which is borrowed mutably.
    let read = super::retry(|| unsafe {
        libc::preadv2(fd.as_raw_fd(), &piece, 1, position, flags) as libc::c_long
    })?;
    // SAFETY: the kernel has written the first `read` bytes, at most the capacity.
    unsafe { buffer.set_len(read) };
    Ok(read)
}

/// What the page cache holds of a range, in pages.
#[repr(C)]
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct CacheStat {
    /// Pages in the cache.
    pub cached: u64,
    /// Of these, pages not yet written back.
    pub dirty: u64,
    /// Of these, pages being written back.
    pub writeback: u64,
    /// Pages that were dropped.
    pub evicted: u64,
    /// Of the dropped, pages that the kernel would count as still in the working set.
    pub recently_evicted: u64,
}

#[repr(C)]
struct CacheStatRange {
    offset: u64,
    len: u64,
}

/// `cachestat(2)` has one number on every architecture but alpha.
const SYS_CACHESTAT: libc::c_long = 451;

/// Asks what is cached of `len` bytes at `offset`, by `cachestat(2)` (Linux 6.5).
/// A `len` of 0 means up to the end of the file.
///
/// Errors: `ENOSYS` on older kernels, `EPERM` for a file that this user neither owns nor may write,
/// `EOPNOTSUPP` on hugetlbfs.
pub fn cached_pages(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<CacheStat> {
    let range = CacheStatRange { offset, len };
    let mut stat = CacheStat::default();
    // SAFETY: both structs have the kernel's layout (include/uapi/linux/mman.h)
    // and outlive the call; the kernel reads `range` and writes `stat`.
    super::retry(|| unsafe {
        libc::syscall(
            SYS_CACHESTAT,
            fd.as_raw_fd(),
            std::ptr::from_ref(&range),
            std::ptr::from_mut(&mut stat),
            0,
        )
    })?;
    Ok(stat)
}

/// Asks the kernel to drop the clean cached pages of a range (`len` 0: to the end).
pub fn fadvise_dontneed(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    fadvise(fd, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
}

/// Starts reading a range into the page cache (`len` 0: to the end). May itself
/// wait when the disk's queue is full.
pub fn fadvise_willneed(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    fadvise(fd, offset, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED)
}

fn fadvise(
    fd: BorrowedFd<'_>,
    offset: u64,
    len: u64,
    advice: PosixFadviseAdvice,
) -> io::Result<()> {
    Ok(nix::fcntl::posix_fadvise(
        fd,
        file_offset(offset)?,
        file_offset(len)?,
        advice,
    )?)
}

/// `send(2)`, always with `MSG_NOSIGNAL`. Returns the bytes taken, maybe fewer than given.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes from a live slice.
    super::retry(|| unsafe {
        libc::send(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags | libc::MSG_NOSIGNAL,
        ) as libc::c_long
    })
}

/// As [`send`], for several pieces one after another, of which the kernel takes at most
/// [`VECTORED_MAX`] at a time (`sendmsg(2)`).
pub fn send_vectored(fd: BorrowedFd<'_>, pieces: &[&[u8]], flags: i32) -> io::Result<usize> {
    let empty = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut parts = [empty; VECTORED_MAX];
    let mut count = 0;
    for (part, piece) in parts.iter_mut().zip(pieces) {
        part.iov_base = piece.as_ptr().cast_mut().cast();
        part.iov_len = piece.len();
        count += 1;
    }
    // SAFETY: a msghdr is a plain C structure for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = count;
    // SAFETY: the kernel reads `count` parts, each of a live slice, and writes none.
    super::retry(|| unsafe {
        libc::sendmsg(
            fd.as_raw_fd(),
            &raw const message,
            flags | libc::MSG_NOSIGNAL,
        ) as libc::c_long
    })
}

/// `recv(2)`. Returns the bytes read, 0 when the peer has finished.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into a slice that
    // is borrowed mutably for the call.
    super::retry(|| unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
        ) as libc::c_long
    })
}

/// Offsets beyond the kernel's signed range are `EINVAL`, as the call itself would say.
fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
