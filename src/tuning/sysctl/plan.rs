//! What a profile would change, key by key.

use std::io;

use super::Key;
use super::known::{self, Scope};
use super::profile::{Profile, Setting};
use super::settings::Settings;
use super::value::{Decision, decide};

/// What comes of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as wanted.
    Same,
    /// It is better than wanted, and stays.
    Better,
    /// It would become this.
    Change(String),
    /// This kernel doesn't have it, or this network namespace doesn't show it.
    Missing,
    /// This process may not read or not write it.
    NotPermitted,
    /// The profile should not ask for this, for the reason given.
    Refused(&'static str),
}

impl Verdict {
    /// In a few words.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better than wanted",
            Self::Change(_) => "would change",
            Self::Missing => "not on this kernel",
            Self::NotPermitted => "not permitted",
            Self::Refused(_) => "refused",
        }
    }
}

/// One setting of a plan.
#[derive(Clone, Debug)]
pub struct Row {
    /// The setting as the profile has it.
    pub setting: Setting,
    /// `None` where it can't be read.
    pub now: Option<String>,
    /// What comes of it.
    pub verdict: Verdict,
}

impl Row {
    /// The value that is in effect once the plan is carried out, if that is known.
    pub fn outcome(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Change(value) => Some(value),
            _ => self.now.as_deref(),
        }
    }

    /// More than the verdict's words where there is more to say.
    pub fn remark(&self) -> Option<&'static str> {
        let in_namespaces = self.setting.key.as_str().starts_with("net.");
        match (&self.verdict, self.setting.scope) {
            (Verdict::Refused(reason), _) => Some(reason),
            (Verdict::Missing, Some(Scope::Global)) if in_namespaces => {
                Some("a network namespace of one's own does not show the host's key")
            }
            (Verdict::NotPermitted, Some(Scope::Global)) if in_namespaces => {
                Some("only root of the host's network namespace may set it")
            }
            _ => None,
        }
    }

    /// Whether it is a setting of the whole host that can't be set from here: a network namespace
    /// does not show it, or a container may not write it. Its scope is known from the built-in
    /// profiles, so it is not a mistyped key.
    pub fn is_out_of_reach(&self) -> bool {
        let unreachable = matches!(self.verdict, Verdict::Missing | Verdict::NotPermitted);
        unreachable && self.setting.scope == Some(Scope::Global)
    }

    /// Whether it keeps the rest of the plan from being carried out.
    pub fn is_obstacle(&self) -> bool {
        match self.verdict {
            Verdict::Refused(_) => true,
            Verdict::Missing | Verdict::NotPermitted => {
                !self.setting.optional && !self.is_out_of_reach()
            }
            _ => false,
        }
    }
}

/// A profile beside what the kernel has.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The profile, its values computed for this host.
    pub profile: Profile,
    /// One row for each setting, in the profile's order.
    pub rows: Vec<Row>,
}

impl Plan {
    /// Compares `profile` with `settings`. With `allow_lower` a value that is better than the
    /// profile's is changed as well.
    pub fn new(profile: Profile, settings: &impl Settings, allow_lower: bool) -> Self {
        let rows = profile.settings.iter();
        let rows = rows
            .map(|setting| row(setting, settings, allow_lower))
            .collect();
        Self { profile, rows }
    }

    /// Settings that apply leaves out because they can't be set from here.
    pub fn left_out(&self) -> impl Iterator<Item = &Row> {
        let rows = self.rows.iter();
        rows.filter(|row| row.is_out_of_reach() && !row.setting.optional)
    }

    /// The rows that would be written.
    pub fn changes(&self) -> impl Iterator<Item = (&Setting, &str, &str)> {
        self.rows
            .iter()
            .filter_map(|row| match (&row.verdict, &row.now) {
                (Verdict::Change(value), Some(now)) => {
                    Some((&row.setting, now.as_str(), value.as_str()))
                }
                _ => None,
            })
    }
}

fn row(setting: &Setting, settings: &impl Settings, allow_lower: bool) -> Row {
    let refused = known::refused(setting.key.as_str(), &setting.value);
    let (now, verdict) = match settings.read(&setting.key) {
        Ok(now) => {
            let verdict = match decide(&now, &setting.value, setting.better, allow_lower) {
                Decision::Same => Verdict::Same,
                Decision::Better => Verdict::Better,
                Decision::Change(_) if !settings.may_write(&setting.key) => Verdict::NotPermitted,
                Decision::Change(value) => Verdict::Change(value),
            };
            (Some(now), verdict)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => (None, Verdict::Missing),
        Err(_) => (None, Verdict::NotPermitted),
    };
    Row {
        setting: setting.clone(),
        now,
        verdict: refused.map_or(verdict, Verdict::Refused),
    }
}

/// A value that the host has and should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsafe {
    /// The setting's name.
    pub key: &'static str,
    /// Its value on this host.
    pub now: String,
    /// The kernel's default.
    pub default: &'static str,
    /// Why that value is unsafe.
    pub reason: &'static str,
}

/// The settings that have an unsafe value just now, whatever a profile says.
pub fn unsafe_now(settings: &impl Settings) -> Vec<Unsafe> {
    let mut found: Vec<Unsafe> = known::with_unsafe_values()
        .filter_map(|name| {
            let now = settings.read(&Key::parse(name)?).ok()?;
            let reason = known::refused(name, now.trim())?;
            Some(Unsafe {
                key: name,
                now,
                default: known::safe_value(name),
                reason,
            })
        })
        .collect();
    found.dedup();
    found
}
