//! Kernel TLS.

use super::{Finding, Host, Severity};

const AREA: &str = "kTLS";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let loaded = host.text("/proc/sys/net/ipv4/tcp_available_ulp");
    if loaded.is_some_and(|list| list.split_whitespace().any(|one| one == "tls")) {
        return vec![Finding::fine(AREA, "loaded")];
    }
    vec![
        Finding::new(Severity::Note, AREA, "kernel TLS (the module tls) is not loaded")
            .cost("nothing yet: headwater leaves TLS to a proxy; one that has kTLS sends files without copying them")
            .fix("modprobe tls, where the kernel has it"),
    ]
}
