//! What this process may use: descriptors, locked memory, pipes.

use super::{Finding, Host, Severity};
use crate::limits::DESCRIPTORS_RESERVED;

const AREA: &str = "limits";
/// Below this a hard limit is one that nobody has thought about.
const DESCRIPTORS_FEW: u64 = 65_536;
/// A ring's memory is charged to the cgroup since Linux 5.12; pinned buffers still count here.
const MEMLOCK_LITTLE: u64 = 8 << 20;
const PIPE_BYTES_LITTLE: u64 = 1 << 20;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mut found = Vec::new();
    let table = host.text("/proc/self/limits").unwrap_or_default();
    match hard(&table, "Max open files") {
        None => {}
        Some(most) if most < DESCRIPTORS_FEW.min(host.asked.connections) => found.push(
            Finding::new(
                Severity::Warning,
                AREA,
                format!("at most {most} descriptors, hard limit"),
            )
            .cost(format!(
                "some {} connections fit; further ones wait in the backlog",
                most.saturating_sub(DESCRIPTORS_RESERVED as u64)
                    .max(most / 2)
            ))
            .fix("LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576 as root"),
        ),
        Some(u64::MAX) => found.push(Finding::fine(AREA, "descriptors without limit")),
        Some(most) => found.push(Finding::fine(AREA, format!("{most} descriptors"))),
    }
    if let Some(most) = hard(&table, "Max locked memory").filter(|&most| most < MEMLOCK_LITTLE) {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("{} KiB of locked memory", most / 1024),
            )
            .cost("buffers that are registered with the ring count against it")
            .fix("LimitMEMLOCK=infinity in the unit, or ulimit -Hl unlimited as root"),
        );
    }
    let pipe = host.number("/proc/sys/fs/pipe-max-size");
    if let Some(most) = pipe.filter(|&most| most < PIPE_BYTES_LITTLE) {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("pipes of at most {most} bytes"),
            )
            .cost("files that pass through a pipe do so in smaller pieces")
            .fix(format!("sysctl -w fs.pipe-max-size={PIPE_BYTES_LITTLE}")),
        );
    }
    found
}

/// The hard limit in a line of proc_pid_limits(5); `u64::MAX` for none.
fn hard(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
