//! Watches on folders (inotify(7)), and what they report of single files.

mod file_watch;
mod watches;

pub(crate) use file_watch::{FileWatch, FileWatches};
pub(crate) use watches::{Change, FileChange, Folder, News, Subscriber, Watches};
