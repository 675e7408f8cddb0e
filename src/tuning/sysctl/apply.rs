//! Applies a plan, and reverts it.

use std::fmt;
use std::io;

use super::key::Key;
use super::plan::{Plan, Verdict};
use super::settings::Settings;
use super::snapshot::{SnapshotError, State};
use super::value::same;

/// The outcome of writing one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It reads back as written.
    Set,
    /// The kernel accepted the value but changed it to this one.
    Altered(String),
    /// The kernel refused it, and the profile marks it as optional.
    PassedOver(String),
}

/// A setting that was written.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The setting's name.
    pub key: Key,
    /// Its value before, as the plan read it.
    pub was: String,
    /// The value that was written.
    pub asked: String,
    /// The outcome.
    pub outcome: Outcome,
}

/// How to treat settings of the whole host that can't be set from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfReach {
    /// Set the others.
    LeaveOut,
    /// Change nothing.
    Stop,
}

/// Writes the changes of `plan`: all of them or, if the kernel refuses one value, none. Saves the
/// old values in `state` before the first write.
///
/// # Errors
/// A plan with an obstacle, a snapshot that can't be saved, a value that was refused. In each case
/// all settings have their old values, except those that the error lists.
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
            Err(error) if setting.optional => Outcome::PassedOver(explained(&error)),
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
                    error: explained(&error),
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

/// Restores what was written, last first; returns the keys that could not be restored.
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

/// What the kernel's error means for a setting (proc_sys(5) and the handlers of net/sysctl).
fn explained(error: &io::Error) -> String {
    let meaning = match error.kind() {
        io::ErrorKind::InvalidInput => "out of range, or not of its form (EINVAL)",
        io::ErrorKind::PermissionDenied => "not permitted here (EACCES or EPERM)",
        io::ErrorKind::NotFound => "the kernel does not have what it names (ENOENT)",
        io::ErrorKind::ReadOnlyFilesystem => "/proc/sys is mounted read-only here (EROFS)",
        _ => return error.to_string(),
    };
    meaning.to_owned()
}

/// A setting that prevents a plan from being applied as a whole.
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
    /// The snapshot of the old values can't be written or read.
    Snapshot(SnapshotError),
    /// A value could not be written or read back; earlier ones were restored, except `stuck`.
    Refused {
        /// The setting's name.
        key: Key,
        /// The value that was written.
        value: String,
        /// The meaning of the kernel's error.
        error: String,
        /// The settings that could not be restored; the snapshot is kept for `revert`.
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

/// A setting that a revert restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// The setting's name.
    pub key: Key,
    /// The value of the snapshot, which is restored.
    pub was: String,
    /// The value that was replaced (in a dry run: that would be), or why it was not restored.
    pub outcome: Result<BackFrom, String>,
}

/// The value from which a setting was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackFrom {
    /// It already had its old value.
    Unchanged,
    /// It had this value, which headwater had written.
    Ours(String),
    /// Neither the old value nor the applied one: another program has changed it since, or the
    /// kernel altered the written value.
    Other(String),
}

/// The outcome of a revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// There was no snapshot.
    Nothing,
    /// The snapshot was of an earlier boot; it is removed.
    EarlierBoot,
    /// The settings of the snapshot, last first.
    Back(Vec<Back>),
}

/// Restores every setting of the snapshot, last first, and removes the snapshot once all read back
/// as restored. It may be run again after an interrupted revert or apply. With `dry_run` it only
/// reports what it would do.
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
                        Err(error) => Err(explained(&error)),
                    }
                }
            }
            Err(error) => Err(explained(&error)),
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
