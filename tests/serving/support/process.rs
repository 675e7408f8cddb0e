//! Facts of a process from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors");
    open.count()
}

/// The numbers of its open descriptors.
pub(crate) fn descriptor_numbers(pid: u32) -> Vec<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors");
    let names = open.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str().and_then(|name| name.parse().ok()))
        .collect()
}

/// Resident memory that is the process's own (RssAnon).
pub(crate) fn memory_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the status");
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).expect("kB");
    kib.trim().parse::<u64>().expect("a number") * 1024
}

/// CPU time used so far, in user and in kernel mode.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the stat line");
    // The name, in parentheses, may hold anything.
    let behind = &stat[stat.rfind(')').expect("a name") + 2..];
    let fields: Vec<&str> = behind.split(' ').collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("ticks");
    // Linux shows these to programs in hundredths of a second on every architecture.
    Duration::from_millis((ticks(14) + ticks(15)) * 10)
}
