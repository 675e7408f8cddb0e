//! Which CPUs work for the network cards: queues, interrupts, RPS and XPS
//! (Documentation/networking/scaling.rst).

use std::collections::BTreeSet;

use super::finding::count;
use super::host::{cpus_of_mask, mask_of};
use super::{Finding, Host, Severity};
use crate::sys::cpu::parse_list;

const AREA: &str = "network card";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let cards = host.cards();
    let mut found: Vec<Finding> = cards.iter().flat_map(|name| card(host, name)).collect();
    if cards.is_empty() {
        found.push(Finding::fine(
            AREA,
            "none of hardware in this network namespace",
        ));
    }
    found.extend(softnet(host));
    found
}

fn card(host: &Host, name: &str) -> Vec<Finding> {
    let queues = host.names(&format!("/sys/class/net/{name}/queues"));
    let of_kind = |kind: &str| -> Vec<&String> {
        queues
            .iter()
            .filter(|queue| queue.starts_with(kind))
            .collect()
    };
    let (receive, transmit) = (of_kind("rx-"), of_kind("tx-"));
    let mut found = vec![receive_queues(host, name, &receive)];
    found.extend(transmit_queues(host, name, &transmit));
    found.extend(interrupts(host, name, receive.len()));
    found
}

/// Whether there is a receive queue, or RPS, for each shard.
fn receive_queues(host: &Host, name: &str, queues: &[&String]) -> Finding {
    let folder = format!("/sys/class/net/{name}/queues");
    let shards = host.asked.cpus.len();
    let steered = queues.iter().any(|queue| {
        let mask = host.text(&format!("{folder}/{queue}/rps_cpus"));
        mask.is_some_and(|mask| !cpus_of_mask(&mask).is_empty())
    });
    let counts = format!(
        "{} for {}",
        count(queues.len(), "receive queue"),
        count(shards, "shard")
    );
    if queues.len() >= shards || steered {
        let how = if steered { ", spread by RPS" } else { "" };
        return Finding::fine(AREA, format!("{name}: {counts}{how}"));
    }
    let nic = host.nics.iter().find(|nic| nic.name == name);
    let most = nic.and_then(|nic| nic.channels);
    let want = shards.min(most.map_or(0, |channels| channels.max as usize));
    let fix = match want > queues.len() {
        true => format!("ethtool -L {name} combined {want}"),
        false => format!(
            "for q in {folder}/rx-*; do echo {} > $q/rps_cpus; done",
            mask_of(&host.asked.cpus)
        ),
    };
    let what = format!("{name} has {counts}, and RPS is off");
    Finding::new(Severity::Warning, AREA, what)
        .cost("only as many CPUs as there are queues process packets, for all shards")
        .fix(fix)
}

/// Whether transmit queues are assigned to CPUs (XPS) where there are several.
fn transmit_queues(host: &Host, name: &str, queues: &[&String]) -> Option<Finding> {
    let folder = format!("/sys/class/net/{name}/queues");
    let unbound = queues.iter().filter(|queue| {
        let mask = host.text(&format!("{folder}/{queue}/xps_cpus"));
        mask.is_some_and(|mask| cpus_of_mask(&mask).is_empty())
    });
    let unbound = unbound.count();
    (queues.len() > 1 && unbound > 0).then(|| {
        let what = format!(
            "{name}: XPS is off for {unbound} of {} transmit queues",
            queues.len()
        );
        Finding::new(Severity::Note, AREA, what)
            .cost("shards contend for the queues' locks")
            .fix(format!(
                "echo MASK > {folder}/tx-N/xps_cpus, queue by queue"
            ))
    })
}

/// Whether the interrupts of a card with several queues all go to one CPU.
fn interrupts(host: &Host, name: &str, queues: usize) -> Option<Finding> {
    let device = host.target(&format!("/sys/class/net/{name}/device"))?;
    let table = host.text("/proc/interrupts")?;
    let is_of_card = |line: &&str| {
        let last = line.split_whitespace().last().unwrap_or("");
        [name, device.as_str()].iter().any(|owner| {
            let rest = last.strip_prefix(owner);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let numbers: Vec<&str> = table
        .lines()
        .filter(is_of_card)
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    let cpus: BTreeSet<usize> = numbers
        .iter()
        .filter_map(|irq| host.text(&format!("/proc/irq/{irq}/effective_affinity_list")))
        .filter_map(|list| parse_list(&list).ok())
        .flatten()
        .collect();
    let only = match (cpus.len(), cpus.first()) {
        (1, Some(cpu)) if queues > 1 => cpu,
        _ => return None,
    };
    Some(
        Finding::new(
            Severity::Warning,
            AREA,
            format!(
                "every interrupt of {name} ({} of them) goes to CPU {only}",
                numbers.len()
            ),
        )
        .cost("one CPU does the work of all queues")
        .fix(format!(
            "systemctl start irqbalance, or echo CPU > /proc/irq/N/smp_affinity_list for N in {}",
            numbers.join(" ")
        )),
    )
}

/// Packets that a CPU dropped or postponed, for lack of room or time (softnet_stat: a line for each
/// CPU, in hex).
fn softnet(host: &Host) -> Vec<Finding> {
    let table = host.text("/proc/net/softnet_stat").unwrap_or_default();
    let sum = |column: usize| -> u64 {
        let cells = table
            .lines()
            .filter_map(|line| line.split_whitespace().nth(column));
        cells
            .filter_map(|cell| u64::from_str_radix(cell, 16).ok())
            .sum()
    };
    let (packets, dropped, squeezed) = (sum(0), sum(1), sum(2));
    let mut found = Vec::new();
    if dropped > 0 {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("packets dropped before the network stack saw them: {dropped}"),
            )
            .cost("each is sent again after a time-out")
            .fix("sysctl -w net.core.netdev_max_backlog=16384"),
        );
    }
    // Occasional squeezes are normal: the budget works that way.
    if squeezed > 0 && squeezed.saturating_mul(10_000) > packets {
        found.push(
            Finding::new(
                Severity::Note,
                AREA,
                format!("times that a CPU's turn of network work was cut short: {squeezed}"),
            )
            .cost("packets wait for the next turn")
            .fix("sysctl -w net.core.netdev_budget=600 net.core.netdev_budget_usecs=8000"),
        );
    }
    found
}
