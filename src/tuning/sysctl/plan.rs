//! What a profile would change, key by key.

use std::io;

use super::Key;
use super::known::{self, Scope};
use super::profile::{Profile, Setting};
use super::settings::Settings;
use super::value::{Decision, decide};

/// The verdict on a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the wanted value.
    Same,
    /// Its value is better than the wanted one, and stays.
    Better,
    /// It would be set to this value.
    Change(String),
    /// This kernel doesn't have it, or this network namespace doesn't show it.
    Missing,
    /// This process may not read it, or may not write it.
    NotPermitted,
    /// The profile should not ask for this, for the reason given.
    Refused(&'static str),
}

impl Verdict {
    /// The verdict in a few words.
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
    /// The setting from the profile.
    pub setting: Setting,
    /// The present value; `None` if it can't be read.
    pub now: Option<String>,
    /// The verdict on it.
    pub verdict: Verdict,
}

impl Row {
    /// The value that will be in effect once the plan has been applied, if known.
    pub fn outcome(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Change(value) => Some(value),
            _ => self.now.as_deref(),
        }
    }

    /// A remark that adds to the verdict's words, if there is one.
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

    /// Whether it prevents the plan from being applied.
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

/// A profile compared with the kernel's present values.
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

/// An unsafe value that the host has.
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

/// The settings that have an unsafe value at present, whatever the profile.
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
