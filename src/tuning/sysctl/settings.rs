//! Reading and writing settings below a `/proc/sys`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::key::Key;
use crate::limits;

/// A source of settings.
pub trait Settings {
    /// The value, without the line end. An error of kind `NotFound` where there is no such setting.
    fn read(&self, key: &Key) -> io::Result<String>;
    /// Whether this process may change the setting.
    fn may_write(&self, key: &Key) -> bool;
    /// Writes the value with one write(2), as proc_sys(5) requires.
    fn write(&mut self, key: &Key, value: &str) -> io::Result<()>;
}

/// `/proc/sys`, or a folder that looks like it.
#[derive(Clone, Debug)]
pub struct ProcSys(PathBuf);

impl ProcSys {
    /// The kernel's path.
    pub const ROOT: &'static str = "/proc/sys";

    /// Settings below `root`; on a host that is [`ROOT`](Self::ROOT).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder that contains the settings.
    pub fn root(&self) -> &Path {
        &self.0
    }
}

impl Settings for ProcSys {
    fn read(&self, key: &Key) -> io::Result<String> {
        let path = self.0.join(key.path());
        let mut text = String::new();
        let file = File::open(&path)?;
        file.take(limits::SYSCTL_VALUE_BYTES_MAX)
            .read_to_string(&mut text)?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        if value.contains('\n') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it has several lines",
            ));
        }
        Ok(value.to_owned())
    }

    fn may_write(&self, key: &Key) -> bool {
        // Tested by opening the file, which changes nothing and applies the kernel's rules.
        OpenOptions::new()
            .write(true)
            .open(self.0.join(key.path()))
            .is_ok()
    }

    fn write(&mut self, key: &Key, value: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.0.join(key.path()))?;
        file.write_all(format!("{value}\n").as_bytes())
    }
}
