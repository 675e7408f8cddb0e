//! Replaces a file atomically: after a crash either the whole old or the whole new one exists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes `text` to a new file beside `path`, syncs it to the disk, and renames it over `path`.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let temporary = beside(path);
    let written = write(&temporary, text, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // A partly written temporary file is of no use.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder_of(path)
}

/// Removes `path`, if it exists, durably: it does not reappear after a crash.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    sync_folder_of(path)
}

/// Hidden and not ending in `.conf`, so that sysctl does not read it as a file of settings.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
