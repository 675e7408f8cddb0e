//! The limits of this process: descriptors, locked memory, pipes.

use super::{Finding, Host, Severity};
use crate::limits::{DESCRIPTORS_RESERVED, RING_LOCKED_BYTES};

const AREA: &str = "limits";
/// A lower hard limit on descriptors is a distribution's default rather than a choice.
const DESCRIPTORS_FEW: u64 = 65_536;
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
                "some {} connections fit; further clients are answered 503",
                most.saturating_sub(DESCRIPTORS_RESERVED as u64)
                    .max(most / 2)
            ))
            .fix("LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576 as root"),
        ),
        Some(u64::MAX) => found.push(Finding::fine(AREA, "descriptors without limit")),
        Some(most) => found.push(Finding::fine(AREA, format!("{most} descriptors"))),
    }
    if let Some(most) = hard(&table, "Max locked memory") {
        found.extend(locked_memory(most, host.asked.cpus.len() as u64));
    }
    let pipe = host.number("/proc/sys/fs/pipe-max-size");
    if let Some(most) = pipe.filter(|&most| most < PIPE_BYTES_LITTLE) {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("pipes of at most {most} bytes"),
            )
            .cost("files that are sent through a pipe are sent in smaller pieces")
            .fix(format!("sysctl -w fs.pipe-max-size={PIPE_BYTES_LITTLE}")),
        );
    }
    found
}

/// The finding about a limit of `most` bytes of locked memory for `shards` shards. It should be
/// twice of what they need, since a restarted server overlaps with the old one.
fn locked_memory(most: u64, shards: u64) -> Option<Finding> {
    let needed = shards * RING_LOCKED_BYTES;
    if most >= 2 * needed {
        return None;
    }
    let (severity, cost) = match most < needed {
        true => (
            Severity::Warning,
            "without CAP_IPC_LOCK, the server does not start",
        ),
        false => (
            Severity::Note,
            "a server that is started while the old one ends, or another of this user, may not start",
        ),
    };
    let sentence = format!(
        "{} KiB of locked memory; the rings of {shards} shards need {} KiB, counted for all \
         processes of the user together",
        most / 1024,
        needed / 1024
    );
    let finding = Finding::new(severity, AREA, sentence).cost(cost);
    Some(finding.fix("LimitMEMLOCK=infinity in the unit, or ulimit -Hl unlimited as root"))
}

/// The hard limit in a line of proc_pid_limits(5); `u64::MAX` for none.
fn hard(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
