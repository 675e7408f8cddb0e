//! Reported changes to single files: the file watches of one shard.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::watches::{FileChange, Folder};
use crate::sys::file::{Stamp, WriteWatch};
use crate::sys::inotify::WatchId;

/// What is known of changes to one file since just before it was opened. Kept by what is cached
/// of the file and by the open file itself, for as long as that is sent.
pub(crate) struct FileWatch {
    id: u64,
    path: CString,
    folder: Option<Arc<Folder>>,
    /// Device and inode, once it is open.
    file: Cell<Option<(u64, u64)>>,
    has_changed: Cell<bool>,
    was_written: Cell<bool>,
    were_attributes_set: Cell<bool>,
    /// Writes may go unreported: events were lost, the file has further names elsewhere, or its
    /// name leads to another file by now.
    is_blind: Cell<bool>,
    all: Rc<FileWatches>,
}

type ByName = HashMap<Box<[u8]>, Vec<Weak<FileWatch>>>;

/// All file watches of a shard: the watched by what events name them by, the others in the order
/// they were made.
/// What is found in it is held while it is used, since a drop changes the tables.
#[derive(Default)]
pub(crate) struct FileWatches {
    by_folder: RefCell<HashMap<WatchId, ByName>>,
    unwatched: RefCell<BTreeMap<u64, Weak<FileWatch>>>,
    next_id: Cell<u64>,
}

impl FileWatch {
    /// The file's path below the root.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Notes which file was opened.
    pub(crate) fn note_opened(&self, stamp: &Stamp) {
        self.file.set(Some((stamp.dev, stamp.ino)));
        self.is_blind.set(self.is_blind.get() || stamp.links > 1);
    }

    /// Whether it is not the file that was opened.
    pub(crate) fn is_other(&self, stamp: &Stamp) -> bool {
        self.file.get() != Some((stamp.dev, stamp.ino))
    }

    /// Whether a change was reported since before the file was opened.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed.get()
    }

    /// Whether changes are reported.
    pub(crate) fn is_watched(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| !folder.is_over())
    }

    /// Notes that a change was reported.
    pub(crate) fn note_change(&self, change: FileChange) {
        self.has_changed.set(true);
        match change {
            FileChange::Written => self.was_written.set(true),
            FileChange::Attributes => self.were_attributes_set.set(true),
            FileChange::Name => self.is_blind.set(true),
        }
    }

    /// Notes that writes may go unreported.
    pub(crate) fn note_loss(&self) {
        self.note_change(FileChange::Name);
    }

    /// Its place in the order in which file watches were made.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn name(&self) -> &[u8] {
        name_of(self.path.to_bytes())
    }
}

/// The last segment of a path.
fn name_of(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    slash.map_or(path, |slash| &path[slash + 1..])
}

impl WriteWatch for FileWatch {
    /// Nothing at all is reported of a write through a mapping, so only a report of something
    /// else says that there was none.
    fn was_written(&self) -> Option<bool> {
        let reports_writes = self.is_watched() && !self.is_blind.get();
        match self.was_written.get() {
            true => Some(true),
            false => (reports_writes && self.were_attributes_set.get()).then_some(false),
        }
    }
}

impl fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch")
            .field("path", &self.path)
            .field("is_watched", &self.is_watched())
            .finish_non_exhaustive()
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else {
            self.all.unwatched.borrow_mut().remove(&self.id);
            return;
        };
        let mut by_folder = self.all.by_folder.borrow_mut();
        let Some(by_name) = by_folder.get_mut(&folder.watch) else {
            return;
        };
        if let Some(watches) = by_name.get_mut(self.name()) {
            watches.retain(|watch| watch.strong_count() > 0);
            if watches.is_empty() {
                by_name.remove(self.name());
            }
        }
        if by_name.is_empty() {
            by_folder.remove(&folder.watch);
        }
    }
}

impl FileWatches {
    /// Watches the file at `path`, which is in this folder; `None`: nothing is reported of it.
    pub(crate) fn watch(
        all: &Rc<FileWatches>,
        path: &CStr,
        folder: Option<Arc<Folder>>,
    ) -> Rc<FileWatch> {
        let id = all.next_id.get();
        all.next_id.set(id + 1);
        let watch = Rc::new(FileWatch {
            id,
            path: CString::from(path),
            folder,
            file: Cell::new(None),
            has_changed: Cell::new(false),
            was_written: Cell::new(false),
            were_attributes_set: Cell::new(false),
            is_blind: Cell::new(false),
            all: Rc::clone(all),
        });
        let weak = Rc::downgrade(&watch);
        match &watch.folder {
            Some(folder) => {
                let mut by_folder = all.by_folder.borrow_mut();
                let by_name = by_folder.entry(folder.watch).or_default();
                by_name.entry(watch.name().into()).or_default().push(weak);
            }
            None => {
                all.unwatched.borrow_mut().insert(id, weak);
            }
        }
        watch
    }

    /// Those of the files of this name in a watched folder.
    pub(crate) fn of_name(&self, folder: WatchId, name: &[u8]) -> Vec<Rc<FileWatch>> {
        let by_folder = self.by_folder.borrow();
        let watches = by_folder.get(&folder).and_then(|by_name| by_name.get(name));
        watches
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Those of all files in a watched folder.
    pub(crate) fn of_folder(&self, folder: WatchId) -> Vec<Rc<FileWatch>> {
        let by_folder = self.by_folder.borrow();
        let by_name = by_folder.get(&folder).into_iter().flatten();
        by_name
            .flat_map(|(_, watches)| watches)
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Those of all watched files.
    pub(crate) fn watched(&self) -> Vec<Rc<FileWatch>> {
        let by_folder = self.by_folder.borrow();
        by_folder
            .values()
            .flat_map(HashMap::values)
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Up to `count` of files that are not watched, made after that with the id `after`.
    pub(crate) fn unwatched(&self, after: Option<u64>, count: usize) -> Vec<Rc<FileWatch>> {
        let from = after.map_or(0, |id| id + 1);
        let unwatched = self.unwatched.borrow();
        unwatched
            .range(from..)
            .filter_map(|(_, watch)| watch.upgrade())
            .take(count)
            .collect()
    }
}
