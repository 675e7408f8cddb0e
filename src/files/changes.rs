//! Changes to cached files as the kernel reports them (inotify(7)).
//!
//! One inotify instance serves all shards. It watches the folders of what is cached; a
//! [`FileWatch`] is made before a file is opened, so that no change after that goes unseen. Every
//! shard waits on the instance, the first to run reads the events and passes them on to the
//! others, so a busy shard does not delay another. An event drops the file from the shard's cache,
//! and with it the descriptor. A request that hits the cache pays nothing for this.
//!
//! What the kernel does not report (writes through a mapping, renames of folders further up,
//! changes on other hosts) is found by the timed look at what is cached, which goes on as if there
//! were no watches; it is also all that there is for folders that are not watched
//! (docs/decisions/056-file-changes.md).

use std::ffi::CStr;
use std::rc::Rc;
use std::sync::Arc;

use super::cache::Cache;
use super::codings;
use super::watch::{Change, FileChange, FileWatch, FileWatches, Folder, Subscriber, Watches};
use crate::sys::inotify::WatchId;

mod follow;

pub(crate) use follow::{follow, sweep};

/// The changes of one shard's files.
pub(crate) struct Changes {
    pub(super) watches: Arc<Watches>,
    pub(super) subscriber: Arc<Subscriber>,
    cache: Rc<Cache>,
    files: Rc<FileWatches>,
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.watches.unsubscribe(&self.subscriber);
    }
}

impl Changes {
    /// Of the files in this cache.
    pub(crate) fn new(watches: &Arc<Watches>, cache: &Rc<Cache>) -> Changes {
        Changes {
            watches: Arc::clone(watches),
            subscriber: watches.subscribe(),
            cache: Rc::clone(cache),
            files: Rc::default(),
        }
    }

    /// The watches of all shards.
    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Watches for changes of the file at `path`, in this folder if it is watched.
    pub(crate) fn watch(&self, path: &CStr, folder: Option<Arc<Folder>>) -> Rc<FileWatch> {
        if folder.is_none() {
            self.watches.note_unwatched();
        }
        FileWatches::watch(&self.files, path, folder)
    }

    /// Drops from the cache what these changes concern. Costs as much as there are changes and
    /// files that they name; a loss of events, once, as much as all files.
    pub(crate) fn apply(&self, changes: &[Change]) {
        if changes.contains(&Change::Everything) {
            self.cache.recheck();
            // One of them may have been removed.
            self.cache.close_all();
            self.files.watched().iter().for_each(|w| w.note_loss());
        }
        for change in changes {
            match change {
                Change::File {
                    folder,
                    name,
                    change,
                } => self.file_changed(*folder, name, *change),
                Change::Folder(folder) => {
                    for watch in self.files.of_folder(*folder) {
                        watch.note_change(FileChange::Name);
                        self.cache.forget(watch.path().to_bytes());
                    }
                }
                Change::Paths => self.cache.recheck(),
                Change::Everything => {}
            }
        }
    }

    fn file_changed(&self, folder: WatchId, name: &[u8], change: FileChange) {
        for watch in self.files.of_name(folder, name) {
            watch.note_change(change);
            self.cache.forget(watch.path().to_bytes());
        }
        // A coded form beside a cached file came, changed or went.
        if let Some((plain, coding)) = codings::sibling_of(name) {
            for watch in self.files.of_name(folder, plain) {
                self.cache.forget_sibling(watch.path().to_bytes(), coding);
            }
        }
    }
}
