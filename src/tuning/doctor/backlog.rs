//! The accept backlog: its limit, and connections that were dropped because it was full.

use super::{Finding, Host, Severity};

const AREA: &str = "backlog";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mut found = Vec::new();
    let backlog = u64::from(host.asked.backlog);
    match host.number("/proc/sys/net/core/somaxconn") {
        None => {}
        Some(most) if most < backlog => found.push(
            Finding::new(
                Severity::Warning,
                AREA,
                format!("net.core.somaxconn = {most} cuts the server's backlog of {backlog}"),
            )
            .cost("when more clients than that connect at once, their SYNs are dropped and they wait a second")
            .fix(format!("sysctl -w net.core.somaxconn={backlog}, then restart the server")),
        ),
        Some(most) => found.push(Finding::fine(AREA, format!("net.core.somaxconn = {most}"))),
    }
    let netstat = host.text("/proc/net/netstat").unwrap_or_default();
    if let Some(dropped) = counter(&netstat, "ListenOverflows").filter(|&count| count > 0) {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("connections that found a full backlog since the host started: {dropped}"),
            )
            .cost("each waited a second or more, or gave up; nstat -az TcpExtListenOverflows shows whether it continues")
            .fix("a larger backlog, more shards, or a faster server"),
        );
    }
    found
}

/// A counter of `TcpExt` in `/proc/net/netstat`: names in one line, numbers in the next.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|one| one == name)?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}
