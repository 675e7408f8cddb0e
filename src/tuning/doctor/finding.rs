//! What a check reports: how bad it is, what it costs and how to fix it.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server does not start, or the host is open to attacks.
    Critical,
    /// It costs speed or connections.
    Warning,
    /// It may be worth knowing.
    Note,
    /// It is as it should be.
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

/// A finding of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// The check that found it, such as `network card` or `sysctl`.
    pub area: &'static str,
    /// What the check found, such as `governor performance`.
    pub what: String,
    /// What the server loses by it; empty if nothing.
    pub cost: String,
    /// The command that fixes it, or other advice.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, area: &'static str, what: impl Into<String>) -> Self {
        Self {
            severity,
            area,
            what: what.into(),
            cost: String::new(),
            fix: None,
        }
    }

    pub(super) fn fine(area: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, area, what)
    }

    /// The finding in one line.
    pub fn sentence(&self) -> String {
        let parts = [&self.what, &self.cost].into_iter().chain(&self.fix);
        let parts: Vec<&str> = parts
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join("; ")
    }

    pub(super) fn cost(mut self, cost: impl Into<String>) -> Self {
        self.cost = cost.into();
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// A number of things, in the singular for one: `1 receive queue`, `4 receive queues`.
pub(super) fn count(number: usize, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}
