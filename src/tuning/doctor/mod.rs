//! Checks of the host for what slows a server down or limits it: one for each area. Findings are
//! sorted, worst first.
//!
//! A check is a function of a [`Host`]: a tree with `/proc` and `/sys` in it, and the few facts
//! that only a system call reports. It changes nothing.

mod backlog;
mod clock;
mod congestion;
mod cpu;
mod finding;
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

pub use finding::{Finding, Severity};
pub use host::{Asked, Host, Nic};

/// The profile with which settings are compared by default.
pub const PROFILE: &str = "file-server";

type Check = fn(&Host) -> Vec<Finding>;

/// The checks that a starting server runs. Each reads a few files and covers what no other start-up
/// message reports.
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

/// The findings that a starting server reports: few, and only bad ones.
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
