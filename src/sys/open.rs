//! Opening files beneath a folder with `openat2(2)`, which resolves a path in
//! the kernel without ever leaving that folder.
//!
//! A `..` or a symbolic link that climbs out, and any absolute link, fails with
//! `EXDEV`; relative links that stay inside are followed by the kernel, the
//! others that stay inside by a [`LinkWalk`]. There is no window between a
//! check and its use: every open is beneath the folder.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::link_walk::{LinkStep, LinkWalk, RootNames, components, read_link};

/// Rounds after which a lookup that keeps racing renames gives up with `EAGAIN`.
const RACE_RETRIES: usize = 8;

/// `struct open_how` of `openat2(2)`, as the kernel and the ring read it.
///
/// Resolves beneath the starting folder and refuses magic links, but for
/// [`open_how_root`].
#[repr(C)]
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl OpenHow {
    const fn beneath(flags: libc::c_int) -> OpenHow {
        OpenHow {
            flags: (flags | libc::O_CLOEXEC) as u64,
            mode: 0,
            resolve: libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
        }
    }

    /// These very flags.
    pub const fn of(flags: u64, resolve: u64) -> OpenHow {
        OpenHow {
            flags,
            mode: 0,
            resolve,
        }
    }

    /// Adds `RESOLVE_CACHED` (Linux 5.12): fail with `EAGAIN` rather than touch
    /// the disk or wait during the lookup.
    pub const fn cached(mut self) -> OpenHow {
        self.resolve |= libc::RESOLVE_CACHED;
        self
    }

    /// Takes `RESOLVE_BENEATH` away: links may lead anywhere.
    const fn anywhere(mut self) -> OpenHow {
        self.resolve &= !libc::RESOLVE_BENEATH;
        self
    }

    /// Adds `RESOLVE_NO_SYMLINKS`: any symbolic link on the way is `ELOOP`.
    pub const fn no_symlinks(mut self) -> OpenHow {
        self.resolve |= libc::RESOLVE_NO_SYMLINKS;
        self
    }

    /// `O_*` flags.
    pub const fn flags(&self) -> u64 {
        self.flags
    }

    /// `RESOLVE_*` flags.
    pub const fn resolve(&self) -> u64 {
        self.resolve
    }

    const fn is_cached(&self) -> bool {
        self.resolve & libc::RESOLVE_CACHED != 0
    }
}

/// Opens for reading. `O_NONBLOCK` keeps a FIFO without a writer from blocking the thread,
/// `O_NOCTTY` keeps a terminal from becoming the controlling one.
pub const fn open_how_read() -> OpenHow {
    OpenHow::beneath(libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Locates the file without opening it (`O_PATH`): enough for a stamp, and needs no read
/// permission.
pub const fn open_how_path() -> OpenHow {
    OpenHow::beneath(libc::O_PATH)
}

/// Opens a folder for reading its entries; anything else is `ENOTDIR`.
pub const fn open_how_dir() -> OpenHow {
    OpenHow::beneath(libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Locates the file without opening it (`O_PATH`); if the path ends in a symbolic link, the link
/// itself.
pub const fn open_how_link() -> OpenHow {
    OpenHow::beneath(libc::O_PATH | libc::O_NOFOLLOW)
}

/// Locates a folder by a path that may lead anywhere (`O_PATH`): for the root itself.
pub const fn open_how_root() -> OpenHow {
    OpenHow {
        flags: (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64,
        mode: 0,
        resolve: 0,
    }
}

/// Opens `path`, relative to `dir`, with `openat2(2)`. An empty path is the folder itself.
///
/// Errors: `EXDEV` when the path leads out of `dir`; `EAGAIN` with [`OpenHow::cached`] when the
/// lookup would have to wait or the kernel lacks the flag, and without it when renames kept racing
/// the lookup.
pub fn openat2(dir: BorrowedFd<'_>, path: &CStr, how: &OpenHow) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { c"." } else { path };
    let mut rounds = 0;
    loop {
        // SAFETY: `path` is NUL-terminated and `how` is a live `open_how` of the
        // size given; the kernel reads both and keeps neither.
        let result = super::retry(|| unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                path.as_ptr(),
                std::ptr::from_ref(how),
                size_of::<OpenHow>(),
            )
        });
        match result {
            Ok(fd) => {
                // SAFETY: the kernel has just made this descriptor for us, and nothing else owns
                // it.
                return Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) });
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL) if how.is_cached() => {
                    return Err(io::Error::from_raw_os_error(libc::EAGAIN));
                }
                Some(libc::EAGAIN) if !how.is_cached() && rounds < RACE_RETRIES => rounds += 1,
                _ => return Err(error),
            },
        }
    }
}

/// A folder that paths are resolved beneath.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    names: RootNames,
    follows_links_out: bool,
}

impl Root {
    /// Opens the folder and makes sure that the kernel has `openat2(2)`.
    pub fn open(path: impl AsRef<Path>) -> Result<Root, RootError> {
        let path = path.as_ref();
        let fail = |source: io::Error| RootError {
            path: path.to_owned(),
            source,
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
        openat2(fd.as_fd(), c".", &open_how_path()).map_err(fail)?;
        Ok(Root {
            names: root_names(&fd, path),
            fd,
            path: path.to_owned(),
            follows_links_out: false,
        })
    }

    /// A root for the folder that [`open_how_root`] has located at the path of `self`, to replace
    /// `self`.
    pub fn replacement(&self, fd: OwnedFd) -> Root {
        Root {
            names: root_names(&fd, &self.path),
            fd,
            path: self.path.clone(),
            follows_links_out: self.follows_links_out,
        }
    }

    /// Sets whether links that lead out of the folder are followed.
    #[must_use]
    pub fn following_links_out(mut self, follow: bool) -> Root {
        self.follows_links_out = follow;
        self
    }

    /// Adapts `how` to this root: removes `RESOLVE_BENEATH` where links that lead out are followed.
    /// A path without `..` can then lead out by a link only.
    pub fn how(&self, how: OpenHow) -> OpenHow {
        match self.follows_links_out {
            true => how.anywhere(),
            false => how,
        }
    }

    /// The walk along the links of `path`, after opening it has failed with `error`; `None` if no
    /// link caused the error.
    pub fn link_walk(&self, path: &CStr, error: &io::Error) -> Option<LinkWalk<'_>> {
        let by_link = error.raw_os_error() == Some(libc::EXDEV) && !is_absolute(path);
        (by_link && !self.follows_links_out).then(|| LinkWalk::new(&self.names, path.to_bytes()))
    }

    /// The path by which the folder was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locates `rel` (`O_PATH`); errors as [`openat2`].
    pub fn open_path(&self, rel: &CStr, cached: bool) -> io::Result<OwnedFd> {
        self.open_with(rel, open_how_path(), cached)
    }

    /// Opens `rel` for reading; errors as [`openat2`]. Check the kind before
    /// reading: FIFOs and devices open as well.
    pub fn open_read(&self, rel: &CStr, cached: bool) -> io::Result<OwnedFd> {
        self.open_with(rel, open_how_read(), cached)
    }

    /// Opens the folder `rel` for reading its entries; errors as [`openat2`].
    pub fn open_dir(&self, rel: &CStr, cached: bool) -> io::Result<OwnedFd> {
        self.open_with(rel, open_how_dir(), cached)
    }

    /// With `cached`, absolute links fail with `EXDEV` even where they stay inside.
    fn open_with(&self, rel: &CStr, how: OpenHow, cached: bool) -> io::Result<OwnedFd> {
        if is_absolute(rel) {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        let how = self.how(how);
        if cached {
            return openat2(self.as_fd(), rel, &how.cached());
        }
        let error = match openat2(self.as_fd(), rel, &how) {
            Ok(fd) => return Ok(fd),
            Err(error) => error,
        };
        let Some(mut walk) = self.link_walk(rel, &error) else {
            return Err(error);
        };
        loop {
            match walk.step()? {
                LinkStep::Look(path) => {
                    let found = openat2(self.as_fd(), &path, &open_how_link())?;
                    walk.found(read_link(found.as_fd())?)?;
                }
                LinkStep::Open(path) => return openat2(self.as_fd(), &path, &how),
            }
        }
    }
}

/// An absolute path is beneath no folder, and without `RESOLVE_BENEATH` the kernel would follow it.
fn is_absolute(path: &CStr) -> bool {
    path.to_bytes().starts_with(b"/")
}

/// The absolute paths by which links may name the folder `fd`. Its real path is unknown without
/// `/proc`.
fn root_names(fd: &OwnedFd, path: &Path) -> RootNames {
    let of = |path: &Path| {
        components(path.as_os_str().as_bytes())
            .map(<[u8]>::to_vec)
            .collect()
    };
    let real = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let given = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    RootNames {
        real: real.ok().map(|real| of(&real)),
        given: of(&given),
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A root folder that can't be used.
#[derive(Debug)]
pub struct RootError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.source.raw_os_error() {
            Some(libc::ENOSYS) => write!(
                f,
                "cannot serve {path}: this kernel has no openat2(2); Linux 5.6 or newer is needed"
            ),
            // Old container runtimes answer unknown system calls with EPERM.
            Some(libc::EPERM) => write!(
                f,
                "cannot serve {path}: openat2(2) is forbidden here; allow it in the container's seccomp profile"
            ),
            Some(libc::ENOTDIR) => write!(f, "cannot serve {path}: it is not a folder; name one"),
            Some(libc::ENOENT) => write!(
                f,
                "cannot serve {path}: no such folder; check the path or create it"
            ),
            Some(libc::EACCES) => write!(
                f,
                "cannot serve {path}: permission denied; the server's user needs search permission on it and its parents"
            ),
            _ => write!(f, "cannot open the folder {path}: {}", self.source),
        }
    }
}

impl std::error::Error for RootError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
