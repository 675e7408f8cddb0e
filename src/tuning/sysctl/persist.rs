//! Makes a profile's settings persist over a restart of the host.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::plan::{Plan, Verdict};
use crate::tuning::atomic_file;

/// The default path, where systemd-sysctl(8) and `sysctl --system` read it after the distribution's
/// files.
pub const PERSIST_PATH: &str = "/etc/sysctl.d/60-headwater.conf";

/// The first line of a file that headwater has written, by which it is recognised.
const MARK: &str = "# Written by headwater sysctl persist";

/// The text that [`persist`] would write to `path`: the plan's profile with the values that will be
/// in effect once it is applied, computed for this host, and never worse than the host's present
/// ones.
///
/// # Errors
/// A setting that is refused; an existing file that headwater did not write.
pub fn persisted(plan: &Plan, path: &Path) -> Result<String, PersistError> {
    for row in &plan.rows {
        if let Verdict::Refused(reason) = row.verdict {
            return Err(PersistError::Refused {
                key: row.setting.key.to_string(),
                reason,
            });
        }
    }
    ours_or_none(path)?;
    let values = plan.profile.with_values(|setting| {
        let row = plan.rows.iter().find(|row| row.setting.key == setting.key);
        let outcome = row.and_then(|row| row.outcome());
        let words = outcome.unwrap_or(&setting.value).split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    });
    let name = &plan.profile.name;
    Ok(format!(
        "{MARK}: the profile {name}, with this host's values.\n\
         # Take it back with: headwater sysctl persist --remove\n\n{values}"
    ))
}

/// Writes the plan's profile to `path`.
///
/// # Errors
/// Those of [`persisted`]; a failure to write.
pub fn persist(plan: &Plan, path: &Path) -> Result<(), PersistError> {
    let text = persisted(plan, path)?;
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        atomic_file::replace(path, &text, 0o644)
    };
    write().map_err(|error| PersistError::Io {
        path: path.to_owned(),
        error,
    })
}

/// Removes the file that [`persist`] wrote. Returns whether there was one.
///
/// # Errors
/// A file that headwater did not write; a failure to remove it.
pub fn unpersist(path: &Path) -> Result<bool, PersistError> {
    if !ours_or_none(path)? {
        return Ok(false);
    }
    atomic_file::remove(path).map_err(|error| PersistError::Io {
        path: path.to_owned(),
        error,
    })?;
    Ok(true)
}

fn ours_or_none(path: &Path) -> Result<bool, PersistError> {
    match fs::read_to_string(path) {
        Ok(text) if text.starts_with(MARK) => Ok(true),
        Ok(_) => Err(PersistError::NotOurs(path.to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(PersistError::Io {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Why nothing was written.
#[derive(Debug)]
pub enum PersistError {
    /// The profile has a setting that it should not ask for.
    Refused {
        /// The setting's name.
        key: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The file at this path was not written by headwater.
    NotOurs(PathBuf),
    /// The file can't be read, written or removed.
    Io {
        /// The file's path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { key, reason } => {
                write!(f, "{key} is refused: {reason}; remove its line")
            }
            Self::NotOurs(path) => write!(
                f,
                "\"{}\" was not written by headwater; name another file with --output",
                path.display()
            ),
            Self::Io { path, error } => write!(
                f,
                "cannot write \"{}\": {error}; run as root, or name another file with --output",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PersistError {}
