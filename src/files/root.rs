//! The folder that is served, and what becomes of it while it is served.
//!
//! A deployment may switch the path to another folder, or delete the folder and
//! make it again. The descriptor would show the old one for ever, so the path
//! is looked at again now and then.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;

use super::lookup;
use super::served_root::{ServedRoot, identity};
use crate::runtime::Shard;
use crate::sys::open::{Root, RootError, open_how_root, openat2};

/// Why a folder can't be served.
#[derive(Debug)]
pub enum FilesError {
    /// It can't be opened.
    Root(RootError),
    /// Its path can't be made absolute, or it can't be looked at.
    Path {
        /// The path as given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesError::Root(source) => source.fmt(f),
            FilesError::Path { path, source } => write!(
                f,
                "cannot serve {}: {source}; name an existing folder by its absolute path",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FilesError::Root(source) => Some(source),
            FilesError::Path { source, .. } => Some(source),
        }
    }
}

/// What a look at the root's path came to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// The path leads to the same folder as before, or nothing can be said.
    Same,
    /// It leads to another folder, or to none: what was cached is void.
    Changed,
}

/// The root's path and the folder that it was last found to lead to.
pub(crate) struct RootWatch {
    path: CString,
    served: RefCell<Rc<ServedRoot>>,
    gone: Cell<bool>,
    checked_ms: Cell<u64>,
    period_ms: u64,
}

impl RootWatch {
    /// Opens the folder at `path` and looks at the path again every `period_ms` at most.
    ///
    /// `follow_links`: also links that lead out of the folder are followed.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub(crate) fn new(
        path: &Path,
        follow_links: bool,
        period_ms: u64,
        now_ms: u64,
    ) -> Result<RootWatch, FilesError> {
        let fail = |source| FilesError::Path {
            path: path.to_owned(),
            source,
        };
        let root = Root::open(path).map_err(FilesError::Root)?;
        let served = ServedRoot::new(root.following_links_out(follow_links)).map_err(fail)?;
        // A later change of the working folder must not move the root.
        let absolute = std::path::absolute(path).map_err(fail)?;
        let path = CString::new(absolute.as_os_str().as_bytes())
            .map_err(|error| fail(io::Error::from(error)))?;
        Ok(RootWatch {
            path,
            served: RefCell::new(served),
            gone: Cell::new(false),
            checked_ms: Cell::new(now_ms),
            period_ms,
        })
    }

    /// Whether it is time to look at the path again.
    #[inline]
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.checked_ms.get()) >= self.period_ms
    }

    /// The folder; `None` while the path leads to none.
    #[inline]
    pub(crate) fn served(&self) -> Option<Rc<ServedRoot>> {
        (!self.gone.get()).then(|| Rc::clone(&self.served.borrow()))
    }

    /// Looks at the path if that needs no waiting; `None` if it does.
    pub(crate) fn look_now(&self, now_ms: u64) -> Option<Look> {
        let how = open_how_root().cached();
        let found = openat2(self.served.borrow().root.as_fd(), &self.path, &how);
        match found {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            found => Some(self.note(found, now_ms)),
        }
    }

    /// Looks at the path, waiting for the disk if it must.
    pub(crate) async fn look(&self, shard: &Shard, now_ms: u64) -> Look {
        let served = Rc::clone(&self.served.borrow());
        let found = lookup::open(shard, &served, &self.path, open_how_root()).await;
        self.note(found, now_ms)
    }

    fn note(&self, found: io::Result<OwnedFd>, now_ms: u64) -> Look {
        self.checked_ms.set(now_ms);
        match found.and_then(|fd| self.replacement(fd)) {
            Ok(None) => {
                self.gone.set(false);
                Look::Same
            }
            Ok(Some(new)) => {
                self.served.replace(new);
                self.gone.set(false);
                Look::Changed
            }
            Err(error) if is_absence(&error) => {
                self.gone.set(true);
                Look::Changed
            }
            // Short of descriptors, say: what is open still serves.
            Err(_) => Look::Same,
        }
    }

    /// What was found, unless it is the folder that is served already.
    fn replacement(&self, found: OwnedFd) -> io::Result<Option<Rc<ServedRoot>>> {
        let old = self.served.borrow();
        if identity(found.as_fd())? == old.device_and_inode() {
            return Ok(None);
        }
        ServedRoot::new(old.root.replacement(found)).map(Some)
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
    )
}
