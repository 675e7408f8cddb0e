//! NUMA: automatic balancing, and whether shards run on the network card's node.

use super::finding::count;
use super::{Finding, Host, Severity};
use crate::sys::cpu::parse_list;

const AREA: &str = "NUMA";
const FOLDER: &str = "/sys/devices/system/node";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let is_node = |name: &String| {
        let number = name.strip_prefix("node");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let nodes: Vec<String> = host.names(FOLDER).into_iter().filter(is_node).collect();
    if nodes.len() < 2 {
        return vec![Finding::fine(AREA, "one node")];
    }
    let mut found = Vec::new();
    if host
        .number("/proc/sys/kernel/numa_balancing")
        .is_some_and(|on| on > 0)
    {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                "the kernel moves memory between nodes by itself",
            )
            .cost("page faults on shards, which are pinned and already use memory of their node")
            .fix("sysctl -w kernel.numa_balancing=0"),
        );
    }
    for card in host.cards() {
        let home = host.number(&format!("/sys/class/net/{card}/device/numa_node"));
        let Some(node) = home else { continue };
        let list = host.text(&format!("{FOLDER}/node{node}/cpulist"));
        let near = list
            .and_then(|list| parse_list(&list).ok())
            .unwrap_or_default();
        let far = host
            .asked
            .cpus
            .iter()
            .filter(|cpu| !near.contains(cpu))
            .count();
        if far > 0 && !near.is_empty() {
            let list: Vec<String> = near.iter().map(ToString::to_string).collect();
            found.push(
                Finding::new(
                    Severity::Note,
                    AREA,
                    format!(
                        "{} on another node than {card} (node {node})",
                        count(far, "shard")
                    ),
                )
                .cost("each of their packets crosses the link between the nodes")
                .fix(format!(
                    "start with --cores {}, if these CPUs suffice",
                    list.join(",")
                )),
            );
        }
    }
    if found.is_empty() {
        found.push(Finding::fine(AREA, format!("{} nodes", nodes.len())));
    }
    found
}
