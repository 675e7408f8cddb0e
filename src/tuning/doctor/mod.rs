//! What keeps a server on this host from its best: one check for each area, worst first.
//!
//! A check is a function of a [`Host`]: a tree with `/proc` and `/sys` in it, and the few facts
//! that only a system call tells. It changes nothing.

mod backlog;
mod clock;
mod congestion;
mod cpu;
mod host;
mod limits;
mod memory;
mod nic;
mod numa;
mod offload;
mod quota;
mod ring;
mod sysctls;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;

pub use host::{Asked, Host, Nic};

/// The profile that settings are compared with unless another is named.
pub const PROFILE: &str = "file-server";

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server does not start, or is open to harm.
    Critical,
    /// It costs speed or connections.
    Warning,
    /// It may be worth knowing.
    Note,
    /// As it should be.
    Fine,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Fine => "ok",
        })
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub area: &'static str,
    pub what: String,
    /// What it costs; empty where nothing is.
    pub cost: String,
    /// The command that mends it, or what else does.
    pub fix: Option<String>,
}

impl Finding {
    fn new(severity: Severity, area: &'static str, what: impl Into<String>) -> Self {
        Self {
            severity,
            area,
            what: what.into(),
            cost: String::new(),
            fix: None,
        }
    }

    fn fine(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, area, what)
    }

    /// All of it in one line.
    pub fn sentence(&self) -> String {
        let parts = [&self.what, &self.cost].into_iter().chain(&self.fix);
        let parts: Vec<&str> = parts
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("; ")
    }

    fn cost(mut self, cost: impl Into<String>) -> Self {
        self.cost = cost.into();
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

type Check = fn(&Host) -> Vec<Finding>;

/// Those that a starting server has no other words for; each reads a few files.
const AT_START: &[Check] = &[quota::check, clock::check, sysctls::check_unsafe];
const OTHERS: &[Check] = &[
    ring::check,
    limits::check,
    backlog::check,
    nic::check,
    offload::check,
    numa::check,
    cpu::check,
    memory::check,
    congestion::check,
    sysctls::check_profile,
    tls::check,
];

/// All findings about `host`, worst first.
pub fn examine(host: &Host) -> Vec<Finding> {
    findings(host, AT_START.iter().chain(OTHERS))
}

/// What a server that starts should say of its host: little, and only what is bad.
pub fn examine_at_start(host: &Host) -> Vec<Finding> {
    let mut found = findings(host, AT_START.iter());
    found.retain(|finding| finding.severity <= Severity::Warning);
    found
}

fn findings<'a>(host: &Host, checks: impl Iterator<Item = &'a Check>) -> Vec<Finding> {
    let mut found: Vec<Finding> = checks.flat_map(|check| check(host)).collect();
    // Stable: within a severity in the order of the checks.
    found.sort_by_key(|finding| finding.severity);
    found
}
