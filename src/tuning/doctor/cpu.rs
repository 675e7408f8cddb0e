//! The CPUs' frequency governors.

use std::collections::BTreeMap;

use super::{Finding, Host, Severity};

const AREA: &str = "CPU";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mut governors: BTreeMap<String, usize> = BTreeMap::new();
    for cpu in &host.asked.cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(governor) = host.text(&path) {
            *governors.entry(governor).or_default() += 1;
        }
    }
    let slow: Vec<String> = governors
        .iter()
        .filter(|(governor, _)| governor.as_str() != "performance")
        .map(|(governor, count)| format!("{governor} on {count}"))
        .collect();
    if governors.is_empty() {
        return vec![Finding::fine(
            AREA,
            "no frequency to choose (a virtual machine's CPUs)",
        )];
    }
    if slow.is_empty() {
        return vec![Finding::fine(AREA, "governor performance")];
    }
    vec![
        Finding::new(
            Severity::Note,
            AREA,
            format!("frequency governor: {}", slow.join(", ")),
        )
        .cost("after an idle period the first requests run on a slow CPU")
        .fix("cpupower frequency-set -g performance"),
    ]
}
