//! Facts about the host, for a summary.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::sys;

/// The host that a load was run on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Host name (`kernel.hostname`).
    pub name: String,
    /// Kernel release (`kernel.osrelease`).
    pub kernel: String,
    /// The first `model name` of /proc/cpuinfo; empty if there is none.
    pub cpu_model: String,
    /// CPUs that the process could run on.
    pub cpus: usize,
    /// RLIMIT_NOFILE.
    pub open_files_max: u64,
    /// net.ipv4.ip_local_port_range
    pub local_ports: String,
    /// TCP congestion control of new connections (`net.ipv4.tcp_congestion_control`).
    pub congestion_control: String,
}

/// The local ports that connections get (`net.ipv4.ip_local_port_range`).
pub(super) fn port_range() -> Option<(u16, u16)> {
    let text = sysctl("net/ipv4/ip_local_port_range")?;
    let (first, last) = text.split_once(char::is_whitespace)?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

fn sysctl(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    Some(text.trim().to_owned())
}

/// Facts of this host.
pub(super) fn facts() -> Host {
    let cpu_model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    Host {
        name: sysctl("kernel/hostname").unwrap_or_default(),
        kernel: sysctl("kernel/osrelease").unwrap_or_default(),
        cpu_model: cpu_model.unwrap_or_default(),
        cpus: sys::cpu::allowed().map_or(0, |cpus| cpus.len()),
        open_files_max: sys::rlimit::raise_open_files().map_or(0, |(_, now)| now),
        local_ports: port_range().map_or_else(String::new, |(a, b)| format!("{a} {b}")),
        congestion_control: sysctl("net/ipv4/tcp_congestion_control").unwrap_or_default(),
    }
}
