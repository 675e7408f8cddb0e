//! Applies a plan, and reverts it.

use std::fmt;
use std::io;

use super::key::Key;
use super::plan::{Plan, Verdict};
use super::settings::Settings;
use super::snapshot::{SnapshotError, State};
use super::value::same;

/// What became of one setting that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reads back as written.
    Set,
    /// The kernel took the value and made this of it.
    Altered(String),
    /// The kernel refused it, and the profile says that this is no failure.
    PassedOver(String),
}

/// A setting that was written.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The setting's name.
    pub key: Key,
    /// Its value before, as the plan read it.
    pub was: String,
    /// The value that was asked of the kernel.
    pub asked: String,
    /// What the kernel made of it.
    pub outcome: Outcome,
}

/// What to do about settings of the whole host that can't be set from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfReach {
    /// Set the others.
    LeaveOut,
    /// Change nothing.
    Stop,
}

/// Writes what `plan` would change: all of it or, if the kernel refuses one value, nothing.
/// What the settings were is in `state` before the first is written.
///
/// # Errors
/// A plan with an obstacle, a snapshot that can't be kept, a value that was refused; in each
/// case with everything as it was, or with what could not be taken back.
pub fn apply(
    plan: &Plan,
    settings: &mut impl Settings,
    state: &State,
    out_of_reach: OutOfReach,
) -> Result<Vec<Applied>, ApplyError> {
    let obstacles: Vec<Obstacle> = plan
        .rows
        .iter()
        .filter(|row| {
            let stops = out_of_reach == OutOfReach::Stop && !row.setting.optional;
            row.is_obstacle() || stops && row.is_out_of_reach()
        })
        .map(|row| Obstacle {
            key: row.setting.key.clone(),
            line: row.setting.line,
            verdict: row.verdict.clone(),
        })
        .collect();
    if !obstacles.is_empty() {
        return Err(ApplyError::Obstacles {
            profile: plan.profile.name.clone(),
            obstacles,
        });
    }
    if plan.changes().next().is_none() {
        return Ok(Vec::new());
    }
    let _lock = state.lock()?;
    let before = state.load()?;
    let mut snapshot = before
        .clone()
        .unwrap_or_else(|| state.empty(&plan.profile.name));
    snapshot.profile.clone_from(&plan.profile.name);
    for (setting, now, value) in plan.changes() {
        snapshot.add(&setting.key, now, value);
    }
    state.store(&snapshot)?;
    let mut done: Vec<Applied> = Vec::new();
    for (setting, now, value) in plan.changes() {
        let outcome = match write(settings, &setting.key, value) {
            Ok(read) if same(&read, value) => Outcome::Set,
            Ok(read) => Outcome::Altered(read),
            Err(error) if setting.optional => Outcome::PassedOver(told(&error)),
            Err(error) => {
                let stuck = undo(settings, &done);
                if stuck.is_empty() {
                    match &before {
                        Some(before) => state.store(before)?,
                        None => state.remove()?,
                    }
                }
                return Err(ApplyError::Refused {
                    key: setting.key.clone(),
                    value: value.to_owned(),
                    error: told(&error),
                    stuck,
                });
            }
        };
        done.push(Applied {
            key: setting.key.clone(),
            was: now.to_owned(),
            asked: value.to_owned(),
            outcome,
        });
    }
    Ok(done)
}

/// Puts back what was written, last first; gives the keys that stayed changed.
fn undo(settings: &mut impl Settings, done: &[Applied]) -> Vec<Key> {
    let written = done
        .iter()
        .rev()
        .filter(|one| !matches!(one.outcome, Outcome::PassedOver(_)));
    written
        .filter(|one| !restored(settings, &one.key, &one.was))
        .map(|one| one.key.clone())
        .collect()
}

/// Writes a value and reads it back.
fn write(settings: &mut impl Settings, key: &Key, value: &str) -> io::Result<String> {
    settings.write(key, value)?;
    settings.read(key)
}

fn restored(settings: &mut impl Settings, key: &Key, was: &str) -> bool {
    write(settings, key, was).is_ok_and(|read| same(&read, was))
}

/// What the kernel's refusals mean for a setting (proc_sys(5) and net/sysctl handlers).
fn told(error: &io::Error) -> String {
    let meaning = match error.kind() {
        io::ErrorKind::InvalidInput => "out of range, or not of its form (EINVAL)",
        io::ErrorKind::PermissionDenied => "not permitted here (EACCES or EPERM)",
        io::ErrorKind::NotFound => "the kernel does not have what it names (ENOENT)",
        io::ErrorKind::ReadOnlyFilesystem => "/proc/sys is mounted read-only here (EROFS)",
        _ => return error.to_string(),
    };
    meaning.to_owned()
}

/// A setting that keeps a plan from being carried out whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The setting's name.
    pub key: Key,
    /// Its line in the profile, from 1.
    pub line: usize,
    /// Why it can't be set: `Refused`, `Missing` or `NotPermitted`.
    pub verdict: Verdict,
}

/// Why nothing was applied.
#[derive(Debug)]
pub enum ApplyError {
    /// Settings of the plan can't be set; none was written.
    Obstacles {
        /// The profile's name.
        profile: String,
        /// These settings, in the profile's order.
        obstacles: Vec<Obstacle>,
    },
    /// The old values can't be kept, or what was kept can't be read.
    Snapshot(SnapshotError),
    /// A value could not be written or read back; earlier ones were put back, except `stuck`.
    Refused {
        /// The setting's name.
        key: Key,
        /// The value that was asked of the kernel.
        value: String,
        /// What the kernel's error means.
        error: String,
        /// Those that could not be put back; the snapshot is still there for `revert`.
        stuck: Vec<Key>,
    },
}

impl From<SnapshotError> for ApplyError {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error)
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstacles { profile, obstacles } => {
                write!(f, "nothing was changed, as not all of {profile} can be: ")?;
                for (index, one) in obstacles.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "; " };
                    write!(f, "{comma}{} (line {}) is ", one.key, one.line)?;
                    match one.verdict {
                        Verdict::Refused(reason) => write!(f, "refused: {reason}")?,
                        _ => f.write_str(one.verdict.words())?,
                    }
                }
                let denied = |one: &Obstacle| one.verdict == Verdict::NotPermitted;
                if obstacles.iter().all(denied) && !nix::unistd::geteuid().is_root() {
                    return write!(f, "; run it as root: sudo headwater sysctl ...");
                }
                write!(
                    f,
                    "; remove these lines in a copy of the profile, or write a - before those that may fail"
                )
            }
            Self::Snapshot(error) => error.fmt(f),
            Self::Refused {
                key,
                value,
                error,
                stuck,
            } => {
                write!(f, "{key} = {value} was refused: {error}; ")?;
                if stuck.is_empty() {
                    return write!(f, "what had been changed before it was put back");
                }
                let keys: Vec<String> = stuck.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "and {} could not be put back: run headwater sysctl revert",
                    keys.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for ApplyError {}

/// A setting that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// The setting's name.
    pub key: Key,
    /// The value of the snapshot, to which it goes back.
    pub was: String,
    /// What it was before (in a dry run: is now), or why it was not put back.
    pub outcome: Result<BackFrom, String>,
}

/// What a setting was put back from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackFrom {
    /// It was as it had been all along.
    Unchanged,
    /// It had the value that was asked for; this is it.
    Ours(String),
    /// Neither the old value nor the applied one: another program changed it since, or the
    /// kernel altered it.
    Other(String),
}

/// What a revert did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// There was no snapshot.
    Nothing,
    /// The snapshot was of an earlier boot; it is removed.
    EarlierBoot,
    /// The settings of the snapshot, last first.
    Back(Vec<Back>),
}

/// Puts every setting of the snapshot back, last first, and removes the snapshot once all read
/// back as they were. May be run again after it was interrupted, or after an apply was. With
/// `dry_run` it only reports what it would do.
///
/// # Errors
/// A snapshot that is damaged or can't be read.
pub fn revert(
    settings: &mut impl Settings,
    state: &State,
    dry_run: bool,
) -> Result<Reverted, SnapshotError> {
    if !state.exists() {
        return Ok(Reverted::Nothing);
    }
    let _lock = state.lock()?;
    let Some(snapshot) = state.load()? else {
        if !dry_run {
            state.remove()?;
        }
        return Ok(Reverted::EarlierBoot);
    };
    let mut back = Vec::new();
    for entry in snapshot.entries.iter().rev() {
        let outcome = match settings.read(&entry.key) {
            Ok(now) if same(&now, &entry.was) => Ok(BackFrom::Unchanged),
            Ok(now) => {
                let from = match same(&now, &entry.set) {
                    true => BackFrom::Ours(now),
                    false => BackFrom::Other(now),
                };
                if dry_run {
                    Ok(from)
                } else {
                    match write(settings, &entry.key, &entry.was) {
                        Ok(read) if same(&read, &entry.was) => Ok(from),
                        Ok(read) => Err(format!("the kernel made it {read}")),
                        Err(error) => Err(told(&error)),
                    }
                }
            }
            Err(error) => Err(told(&error)),
        };
        back.push(Back {
            key: entry.key.clone(),
            was: entry.was.clone(),
            outcome,
        });
    }
    if !dry_run && back.iter().all(|one| one.outcome.is_ok()) {
        state.remove()?;
    }
    Ok(Reverted::Back(back))
}
