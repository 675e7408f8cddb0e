//! Other processes, as `/proc` shows them.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// CPU time in nanoseconds, user and system, of a process, all its threads and all its descendants
/// that are alive; a process that has ended counts as 0. In steps of a clock tick, usually 10 ms.
pub fn cpu_ns_with_children(pid: u32) -> u64 {
    let children = children(pid).into_iter().map(cpu_ns_with_children);
    cpu_ns(pid).unwrap_or(0) + children.sum::<u64>()
}

/// Whether a process of this number exists.
pub fn exists(pid: u32) -> bool {
    cpu_ns(pid).is_some()
}

/// By `/proc/PID/stat`, fields 14 and 15 (proc_pid_stat(5)).
fn cpu_ns(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may have any byte in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    let ticks_per_s = sysconf(SysconfVar::CLK_TCK).ok()??.max(1);
    Some((user + system) * (1_000_000_000 / ticks_per_s.unsigned_abs()))
}

/// By `/proc/PID/task/TID/children` (proc_tid_children(5)); none where the kernel lacks it.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("children")));
    lists
        .flatten()
        .flat_map(|list| {
            list.split(' ')
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_cpu_time_and_children() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(children(own).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let begin = cpu_ns_with_children(own);
        while cpu_ns_with_children(own) == begin {
            std::hint::spin_loop();
        }
        assert!(exists(own) && !exists(u32::MAX));
        assert_eq!(cpu_ns_with_children(u32::MAX), 0);
    }
}
