//! The clock source: whether reading the time is a system call.

use super::{Finding, Host, Severity};

const AREA: &str = "clock";
const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
/// The clock sources that the vDSO reads without a system call.
const CHEAP: [&str; 6] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "riscv_clocksource",
    "timebase",
];

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let Some(current) = host.text(&format!("{FOLDER}/current_clocksource")) else {
        return Vec::new();
    };
    if CHEAP.contains(&current.as_str()) {
        return vec![Finding::fine(AREA, current)];
    }
    let available = host.text(&format!("{FOLDER}/available_clocksource"));
    let available = available.unwrap_or_default();
    let better = available
        .split_whitespace()
        .find(|name| CHEAP.contains(name));
    let finding = Finding::new(Severity::Warning, AREA, format!("the clock source is {current}"))
        .cost("each reading of the clock is a system call that reads a slow register: up to a microsecond a request");
    vec![match better {
        Some(name) => finding.fix(format!("echo {name} > {FOLDER}/current_clocksource")),
        None => finding.fix("see why the kernel rejected tsc: dmesg | grep -i tsc"),
    }]
}
