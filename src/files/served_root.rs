//! The served folder as an open descriptor, which all paths are resolved beneath.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use crate::runtime::driver::Handle;
use crate::sys::file;
use crate::sys::open::Root;

/// The served folder, opened.
pub(crate) struct ServedRoot {
    /// What paths are resolved beneath; shared with threads that list folders.
    pub root: Arc<Root>,
    /// The same folder, for operations of the driver.
    pub handle: Handle,
    device_and_inode: (u64, u64),
}

impl ServedRoot {
    /// The opened folder.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub(crate) fn new(root: Root) -> io::Result<Rc<ServedRoot>> {
        let device_and_inode = identity(root.as_fd())?;
        let root = Arc::new(root);
        Ok(Rc::new(ServedRoot {
            handle: Rc::new(Arc::clone(&root)),
            root,
            device_and_inode,
        }))
    }

    /// Device and inode number, which identify the folder when its path is looked up again.
    pub(crate) fn device_and_inode(&self) -> (u64, u64) {
        self.device_and_inode
    }
}

/// Device and inode number of an open folder.
pub(crate) fn identity(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let (_, stamp) = file::stamp(fd)?;
    Ok((stamp.dev, stamp.ino))
}
