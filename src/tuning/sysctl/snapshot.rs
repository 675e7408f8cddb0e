//! The snapshot: the settings' values before headwater changed them. It is on the disk before the
//! first change, and stays until all settings have their old values again.
//!
//! There is one file for each network namespace. A second apply adds to it and keeps its entries,
//! so that a revert goes back to the values before the first apply. It is text that ends with the
//! checksum that cksum(1) computes, so that a shell script can write and check it:
//!
//! ```text
//! headwater-sysctl 1
//! boot 3c0e2a7e-…            which boot the values belong to
//! profile file-server        what was applied last
//! key net.core.somaxconn
//! was 4096
//! set 65535
//! cksum 2382735021 122       of all bytes above this line
//! ```

use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::key::Key;
use crate::limits;
use crate::tuning::atomic_file;

/// The default folder for snapshots.
pub const STATE_DIR: &str = "/var/lib/headwater/sysctl";

const HEADER: &str = "headwater-sysctl 1";

/// One setting of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: Key,
    pub was: String,
    pub set: String,
}

/// The old values, and what they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub boot: String,
    pub profile: String,
    pub entries: Vec<Entry>,
}

impl Snapshot {
    /// Adds a change; keeps the setting's value from before its first change.
    pub(crate) fn add(&mut self, key: &Key, was: &str, set: &str) {
        match self.entries.iter_mut().find(|entry| entry.key == *key) {
            Some(entry) => entry.set = set.to_owned(),
            None => self.entries.push(Entry {
                key: key.clone(),
                was: was.to_owned(),
                set: set.to_owned(),
            }),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{HEADER}\nboot {}\nprofile {}\n", self.boot, self.profile);
        for Entry { key, was, set } in &self.entries {
            // Writing to a String cannot fail.
            let _ = write!(text, "key {key}\nwas {was}\nset {set}\n");
        }
        let sum = cksum(text.as_bytes());
        let _ = writeln!(text, "cksum {sum} {}", text.len());
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('\n')?;
        let (_, last) = body.rsplit_once('\n')?;
        let body = &text[..body.len() - last.len()];
        if last != format!("cksum {} {}", cksum(body.as_bytes()), body.len()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != HEADER {
            return None;
        }
        let boot = lines.next()?.strip_prefix("boot ")?.to_owned();
        let profile = lines.next()?.strip_prefix("profile ")?.to_owned();
        let mut entries = Vec::new();
        while let Some(line) = lines.next() {
            entries.push(Entry {
                key: Key::parse(line.strip_prefix("key ")?)?,
                was: lines.next()?.strip_prefix("was ")?.to_owned(),
                set: lines.next()?.strip_prefix("set ")?.to_owned(),
            });
        }
        Some(Self {
            boot,
            profile,
            entries,
        })
    }
}

/// The checksum of cksum(1) as POSIX has it: CRC-32 with polynomial 0x04C11DB7, the length
/// appended, complemented.
fn cksum(bytes: &[u8]) -> u32 {
    let mut length = bytes.len();
    let mut tail = Vec::new();
    while length > 0 {
        tail.push((length & 0xff) as u8);
        length >>= 8;
    }
    let step = |mut crc: u32, &byte: &u8| {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            let carry = crc & 0x8000_0000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x04C1_1DB7;
            }
        }
        crc
    };
    !bytes.iter().chain(&tail).fold(0, step)
}

/// The folder with the snapshot of this network namespace.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
    file: PathBuf,
    boot: String,
}

/// The lock of the state folder, held while settings are changed, so that two processes don't do so
/// at once.
pub(super) struct Lock(#[allow(unused, reason = "held for its drop")] Flock<File>);

impl State {
    /// The state of this process's network namespace and of this boot, in `folder`.
    ///
    /// # Errors
    /// When `/proc` does not show which namespace and boot these are.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let namespace = fs::read_link("/proc/self/ns/net")?;
        let digits = |c: &char| c.is_ascii_digit();
        let number: String = namespace.to_string_lossy().chars().filter(digits).collect();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            file: folder.join(format!("net-{number}.snapshot")),
            folder,
            boot: boot.trim().to_owned(),
        })
    }

    /// The path of the snapshot, whether or not it exists yet.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Whether there is a snapshot, and therefore possibly a change that a revert would undo.
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    pub(super) fn empty(&self, profile: &str) -> Snapshot {
        Snapshot {
            boot: self.boot.clone(),
            profile: profile.to_owned(),
            entries: Vec::new(),
        }
    }

    pub(super) fn lock(&self) -> Result<Lock, SnapshotError> {
        let fail = |error| SnapshotError::Io {
            path: self.folder.clone(),
            error,
        };
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("lock"))
            .map_err(fail)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(SnapshotError::Busy),
            Err((_, errno)) => Err(fail(errno.into())),
        }
    }

    /// The snapshot of this boot, if there is one. One of an earlier boot does not count: the
    /// settings changed then were lost with that boot.
    pub(super) fn load(&self) -> Result<Option<Snapshot>, SnapshotError> {
        let fail = |error| SnapshotError::Io {
            path: self.file.clone(),
            error,
        };
        match fs::metadata(&self.file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
            Ok(metadata) if metadata.len() > limits::SYSCTL_SNAPSHOT_BYTES_MAX => {
                return Err(SnapshotError::Damaged(self.file.clone()));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&self.file).map_err(fail)?;
        let snapshot = String::from_utf8(bytes)
            .ok()
            .and_then(|text| Snapshot::parse(&text))
            .ok_or_else(|| SnapshotError::Damaged(self.file.clone()))?;
        Ok((snapshot.boot == self.boot).then_some(snapshot))
    }

    pub(super) fn store(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        atomic_file::replace(&self.file, &snapshot.text(), 0o600).map_err(|error| {
            SnapshotError::Io {
                path: self.file.clone(),
                error,
            }
        })
    }

    pub(super) fn remove(&self) -> Result<(), SnapshotError> {
        atomic_file::remove(&self.file).map_err(|error| SnapshotError::Io {
            path: self.file.clone(),
            error,
        })
    }
}

/// Why a snapshot can't be read or written.
#[derive(Debug)]
pub enum SnapshotError {
    /// The state folder or the snapshot in it can't be made, locked, read, written or removed.
    Io {
        /// The folder for its creation and lock, otherwise the snapshot.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The snapshot at this path is too large, or its checksum or form is wrong.
    Damaged(PathBuf),
    /// Another process holds the lock of the state folder (flock(2)).
    Busy,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(
                f,
                "cannot keep what the settings were in \"{}\": {error}; nothing was changed (another \
                 folder: --state-dir)",
                path.display()
            ),
            Self::Damaged(path) => write!(
                f,
                "the snapshot \"{}\" is damaged, its checksum does not fit; nothing was changed; read the \
                 old values in it yourself, set them with sysctl -w, and remove the file",
                path.display()
            ),
            Self::Busy => write!(
                f,
                "another headwater is changing settings just now; try again when it is done"
            ),
        }
    }
}

impl std::error::Error for SnapshotError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot {
            boot: "b".to_owned(),
            profile: "p".to_owned(),
            entries: Vec::new(),
        };
        snapshot.add(&Key::parse("net.core.somaxconn").unwrap(), "4096", "65535");
        snapshot.add(
            &Key::parse("net.ipv4.ip_local_reserved_ports").unwrap(),
            "",
            "80",
        );
        snapshot
    }

    #[test]
    fn text_reads_back() {
        let snapshot = snapshot();
        assert_eq!(Snapshot::parse(&snapshot.text()), Some(snapshot));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let text = snapshot().text();
        for at in 0..text.len() {
            assert_eq!(Snapshot::parse(&text[..at]), None, "cut at {at}");
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let text = String::from_utf8(bytes).expect("ASCII");
                assert_eq!(Snapshot::parse(&text), None, "bit {bit} at {at}");
            }
        }
    }

    #[test]
    fn the_first_old_value_stays() {
        let mut snapshot = snapshot();
        let key = Key::parse("net.core.somaxconn").unwrap();
        snapshot.add(&key, "65535", "70000");
        assert_eq!(snapshot.entries[0].was, "4096");
        assert_eq!(snapshot.entries[0].set, "70000");
        assert_eq!(snapshot.entries.len(), 2);
    }

    #[test]
    fn the_checksum_is_that_of_cksum() {
        // The checksums that coreutils computes.
        assert_eq!(cksum(b""), 4294967295);
        assert_eq!(cksum(b"123456789"), 930766865);
    }
}
