//! Congestion control and packet scheduling.

use super::{Finding, Host, Severity};

const AREA: &str = "congestion";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let Some(control) = host.text("/proc/sys/net/ipv4/tcp_congestion_control") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let known = host.text("/proc/sys/net/ipv4/tcp_available_congestion_control");
    let has_bbr = known.is_some_and(|known| known.split_whitespace().any(|one| one == "bbr"));
    if control == "bbr" {
        // "mq" has a qdisc of the default kind for each queue.
        let fq = |qdisc: &str| matches!(qdisc, "fq" | "mq" | "noqueue");
        let without = host.nics.iter().filter_map(|nic| {
            let qdisc = nic.qdisc.as_deref().filter(|qdisc| !fq(qdisc))?;
            Some((nic.name.as_str(), qdisc))
        });
        for (name, qdisc) in without {
            found.push(
                Finding::new(Severity::Note, AREA, format!("bbr with {qdisc} on {name}"))
                    .cost(
                        "TCP paces with a timer for each connection, which costs more CPU than fq",
                    )
                    .fix(format!(
                        "tc qdisc replace dev {name} root fq, where the kernel has it"
                    )),
            );
        }
    } else if !has_bbr {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("{control}, and bbr is not loaded"),
            )
            .cost("far clients on lossy paths get less than they could")
            .fix("modprobe tcp_bbr, then headwater serve --congestion bbr"),
        );
    }
    if found.is_empty() {
        found.push(Finding::fine(AREA, control));
    }
    found
}
