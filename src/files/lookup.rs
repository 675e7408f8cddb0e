//! Opening paths below the root: at once where the kernel has them in its dentry cache, by one of
//! its workers where the disk must be read.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::served_root::ServedRoot;
use crate::limits;
use crate::runtime::driver::OpenFlags;
use crate::runtime::{self, Shard};
use crate::sys::link_walk::{LinkStep, read_link};
use crate::sys::open::{OpenHow, open_how_link, openat2};

/// Opens `path` beneath the served folder without making the shard wait.
///
/// Errors: as [`openat2`]; `EAGAIN` when renames kept racing the lookup.
pub(crate) async fn open(
    shard: &Shard,
    served: &ServedRoot,
    path: &CStr,
    how: OpenHow,
) -> io::Result<OwnedFd> {
    let how = served.root.how(how);
    let error = match open_once(shard, served, path, how).await {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    let Some(mut walk) = served.root.link_walk(path, &error) else {
        return Err(error);
    };
    loop {
        match walk.step()? {
            LinkStep::Look(path) => {
                // The lookup that failed has brought the links' targets into memory.
                let found = open_once(shard, served, &path, open_how_link()).await?;
                walk.found(read_link(found.as_fd())?)?;
            }
            LinkStep::Open(path) => return open_once(shard, served, &path, how).await,
        }
    }
}

async fn open_once(
    shard: &Shard,
    served: &ServedRoot,
    path: &CStr,
    how: OpenHow,
) -> io::Result<OwnedFd> {
    match openat2(served.root.as_fd(), path, &how.cached()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        result => return result,
    }
    let path = if path.is_empty() { c"." } else { path };
    let flags = OpenFlags {
        flags: how.flags(),
        resolve: how.resolve(),
    };
    for _ in 0..limits::LOOKUP_ATTEMPTS {
        let handle = Rc::clone(&served.handle);
        match runtime::open(shard, handle, CString::from(path), flags).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN.into())
}
