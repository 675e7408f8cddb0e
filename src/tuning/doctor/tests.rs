//! Checks on trees that look like `/proc` and `/sys`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::runtime::Feature;
use crate::sys::ethtool::Channels;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a temporary folder"));
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    /// A network card with so many queues, as `virtio7`.
    fn card(&self, name: &str, receive: usize, transmit: usize) {
        for (kind, file, count) in [("rx", "rps_cpus", receive), ("tx", "xps_cpus", transmit)] {
            for queue in 0..count {
                self.write(
                    &format!("sys/class/net/{name}/queues/{kind}-{queue}/{file}"),
                    "00",
                );
            }
        }
        let device = self.0.path().join("sys/devices/virtio7");
        fs::create_dir_all(&device).unwrap();
        let link = self.0.path().join(format!("sys/class/net/{name}/device"));
        symlink(Path::new("../../../devices/virtio7"), link).unwrap();
    }

    fn host(&self, shards: usize) -> Host {
        Host::tree(
            self.0.path(),
            Asked {
                cpus: (0..shards).collect(),
                backlog: 65_535,
                connections: 1_000_000,
                profile: "container".to_owned(),
            },
        )
    }
}

/// The only finding of a check that is not fine.
#[track_caller]
fn only(found: Vec<Finding>) -> Finding {
    let bad: Vec<_> = found
        .into_iter()
        .filter(|finding| finding.severity != Severity::Fine)
        .collect();
    assert_eq!(bad.len(), 1, "{bad:#?}");
    let finding = bad.into_iter().next().unwrap();
    assert!(
        !finding.cost.is_empty() && finding.fix.is_some(),
        "{finding:?}"
    );
    finding
}

#[track_caller]
fn all_fine(found: Vec<Finding>) {
    assert!(
        found.iter().all(|f| f.severity == Severity::Fine),
        "{found:#?}"
    );
}

#[test]
fn an_empty_tree_is_no_reason_to_panic() {
    let tree = Tree::new(&[]);
    let found = examine(&tree.host(4));
    assert!(
        found
            .iter()
            .all(|finding| finding.severity >= Severity::Note),
        "{found:#?}"
    );
}

#[test]
fn a_quota_of_less_than_the_shards_is_found() {
    let v2 = Tree::new(&[
        ("proc/self/cgroup", "0::/a/b"),
        ("sys/fs/cgroup/a/cpu.max", "150000 100000"),
        (
            "sys/fs/cgroup/a/cpu.stat",
            "usage_usec 1\nnr_periods 9\nnr_throttled 7",
        ),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000"),
    ]);
    let finding = only(quota::check(&v2.host(64)));
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.what, "1.5 CPUs' time for 64 shards");
    assert!(finding.cost.contains("7 times"), "{}", finding.cost);
    assert!(finding.fix.unwrap().contains("--cores 0,"));
    all_fine(quota::check(&v2.host(1)));

    let v1 = Tree::new(&[
        ("proc/self/cgroup", "3:cpu,cpuacct:/\n0::/"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
    ]);
    assert!(only(quota::check(&v1.host(2))).what.starts_with("0.5 CPUs"));

    let none = Tree::new(&[
        ("proc/self/cgroup", "1:cpu:/"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
    ]);
    all_fine(quota::check(&none.host(2)));
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
Max locked memory         65536                65536                bytes     \n\
Max open files            1024                 4096                 files     ";

#[test]
fn few_descriptors_and_little_locked_memory_are_found() {
    let tree = Tree::new(&[
        ("proc/self/limits", LIMITS),
        ("proc/sys/fs/pipe-max-size", "65536"),
    ]);
    let found = limits::check(&tree.host(1));
    let severities: Vec<_> = found.iter().map(|finding| finding.severity).collect();
    assert_eq!(
        severities,
        [Severity::Warning, Severity::Warning, Severity::Note]
    );
    assert!(
        found[1]
            .what
            .starts_with("64 KiB of locked memory; the rings of 1 shards need 344 KiB"),
        "{found:?}"
    );
    assert!(
        found[0].what.contains("4096") && found[0].cost.contains("3584"),
        "{found:?}"
    );
    tree.write(
        "proc/self/limits",
        "Max open files            1024                 unlimited            files",
    );
    tree.write("proc/sys/fs/pipe-max-size", "1048576");
    all_fine(limits::check(&tree.host(1)));
}

#[test]
fn a_short_queue_and_its_victims_are_found() {
    let tree = Tree::new(&[
        ("proc/sys/net/core/somaxconn", "4096"),
        (
            "proc/net/netstat",
            "TcpExt: A ListenOverflows B\nTcpExt: 1 17 3\nIpExt: X\nIpExt: 1",
        ),
    ]);
    let found = backlog::check(&tree.host(1));
    assert_eq!(found.len(), 2);
    assert!(found[0].fix.as_ref().unwrap().contains("somaxconn=65535"));
    assert!(found[1].what.ends_with("started: 17"));
    tree.write("proc/sys/net/core/somaxconn", "65535");
    tree.write("proc/net/netstat", "TcpExt: A ListenOverflows\nTcpExt: 1 0");
    all_fine(backlog::check(&tree.host(1)));
}

#[test]
fn one_queue_for_many_shards_is_found_unless_rps_spreads_it() {
    let tree = Tree::new(&[]);
    tree.card("eth0", 1, 1);
    let mut host = tree.host(4);
    let finding = only(nic::check(&host));
    assert_eq!(
        finding.what,
        "eth0 has 1 receive queue for 4 shards, and RPS is off"
    );
    assert!(finding.fix.unwrap().contains("echo f > $q/rps_cpus"));
    host.nics.push(Nic {
        name: "eth0".to_owned(),
        channels: Some(Channels { used: 1, max: 8 }),
        ..Nic::default()
    });
    assert_eq!(
        only(nic::check(&host)).fix.unwrap(),
        "ethtool -L eth0 combined 4"
    );
    tree.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "0f");
    all_fine(nic::check(&tree.host(4)));
}

#[test]
fn interrupts_on_one_cpu_are_found() {
    let tree = Tree::new(&[
        (
            "proc/interrupts",
            "           CPU0       CPU1\n 41:   1   2  PCI-MSIX 1-edge  virtio7-input.0\n \
             42:   1   2  PCI-MSIX 2-edge  virtio7-input.1\n 43:  1  2  PCI-MSIX virtio70-input.0",
        ),
        ("proc/irq/41/effective_affinity_list", "1"),
        ("proc/irq/42/effective_affinity_list", "1"),
        ("proc/irq/43/effective_affinity_list", "0"),
    ]);
    tree.card("eth0", 2, 1);
    let finding = only(nic::check(&tree.host(2)));
    assert_eq!(
        finding.what,
        "every interrupt of eth0 (2 of them) goes to CPU 1"
    );
    tree.write("proc/irq/42/effective_affinity_list", "0");
    all_fine(nic::check(&tree.host(2)));
}

#[test]
fn dropped_packets_and_squeezes_are_found() {
    let tree = Tree::new(&[(
        "proc/net/softnet_stat",
        "000003e8 0000000a 00000001 0\n000003e8 0 0 0",
    )]);
    let found = nic::check(&tree.host(1));
    let bad: Vec<_> = found
        .iter()
        .filter(|f| f.severity == Severity::Note)
        .collect();
    assert_eq!(bad.len(), 2, "{found:?}");
    assert!(bad[0].what.ends_with("saw them: 10"));
}

#[test]
fn offloads_that_are_off_and_those_unknown_are_told_apart() {
    let tree = Tree::new(&[]);
    let mut host = tree.host(1);
    host.nics.push(Nic {
        name: "eth0".to_owned(),
        ..Nic::default()
    });
    assert!(offload::check(&host)[0].what.contains("could not be read"));
    host.nics[0].switches = vec![("tso", false), ("gro", true)];
    assert!(
        only(offload::check(&host))
            .fix
            .unwrap()
            .starts_with("ethtool -K eth0 tso on")
    );
    host.nics[0].switches = vec![("tso", true)];
    host.nics[0].gso_max_bytes = Some(65_536);
    host.nics[0].tso_max_bytes = Some(524_280);
    all_fine(offload::check(&host));
    tree.write("sys/class/net/eth0/speed", "100000");
    assert!(only(offload::check(&host)).what.contains("BIG TCP is off"));
    host.nics[0].gso_max_bytes = Some(185_000);
    all_fine(offload::check(&host));
}

#[test]
fn a_slow_clock_is_found() {
    let tree = Tree::new(&[
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/available_clocksource",
            "tsc hpet",
        ),
    ]);
    assert!(
        only(clock::check(&tree.host(1)))
            .fix
            .unwrap()
            .starts_with("echo tsc > ")
    );
    tree.write(
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc",
    );
    all_fine(clock::check(&tree.host(1)));
}

#[test]
fn nodes_governors_and_huge_pages_are_looked_at() {
    let tree = Tree::new(&[
        ("sys/devices/system/node/node0/cpulist", "0-1"),
        ("sys/devices/system/node/node1/cpulist", "2-3"),
        ("proc/sys/kernel/numa_balancing", "1"),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "powersave",
        ),
        (
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
            "performance",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
        ),
    ]);
    tree.card("eth0", 4, 1);
    tree.write("sys/devices/virtio7/numa_node", "0");
    let found = numa::check(&tree.host(4));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].what.starts_with("2 shards on another node"));
    assert!(
        only(cpu::check(&tree.host(2)))
            .what
            .contains("powersave on 1")
    );
    assert!(
        only(memory::check(&tree.host(1)))
            .fix
            .unwrap()
            .contains("madvise")
    );
    tree.write(
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never",
    );
    all_fine(memory::check(&tree.host(1)));
}

#[test]
fn bbr_wants_fq() {
    let tree = Tree::new(&[("proc/sys/net/ipv4/tcp_congestion_control", "bbr")]);
    let mut host = tree.host(1);
    all_fine(congestion::check(&host));
    host.nics.push(Nic {
        name: "eth0".to_owned(),
        qdisc: Some("pfifo_fast".to_owned()),
        ..Nic::default()
    });
    assert!(
        only(congestion::check(&host))
            .fix
            .unwrap()
            .contains("root fq")
    );
    tree.write("proc/sys/net/ipv4/tcp_congestion_control", "cubic");
    tree.write(
        "proc/sys/net/ipv4/tcp_available_congestion_control",
        "reno cubic",
    );
    assert!(
        only(congestion::check(&host))
            .fix
            .unwrap()
            .contains("modprobe tcp_bbr")
    );
}

#[test]
fn settings_are_compared_and_unsafe_ones_are_critical() {
    let tree = Tree::new(&[
        ("proc/meminfo", "MemTotal:       16384000 kB"),
        ("proc/stat", "cpu  1\ncpu0 1\ncpu1 1"),
        ("proc/sys/net/core/somaxconn", "128"),
        ("proc/sys/net/ipv4/tcp_sack", "0"),
    ]);
    let host = tree.host(1);
    let finding = only(sysctls::check_profile(&host));
    assert!(
        finding
            .what
            .contains("net.core.somaxconn is 128, not 65535"),
        "{}",
        finding.what
    );
    let finding = only(sysctls::check_unsafe(&host));
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(
        finding.fix.as_deref(),
        Some("sysctl -w net.ipv4.tcp_sack=1")
    );
    let first = &examine(&host)[0];
    assert_eq!((first.severity, first.area), (Severity::Critical, "sysctl"));
    let at_start = examine_at_start(&host);
    assert_eq!(at_start.len(), 1);
    assert!(
        at_start[0]
            .sentence()
            .ends_with("; sysctl -w net.ipv4.tcp_sack=1")
    );
}

#[test]
fn no_ring_is_a_warning_and_lacking_features_are_notes() {
    let tree = Tree::new(&[
        ("proc/sys/kernel/osrelease", "6.0.9"),
        ("proc/sys/kernel/io_uring_disabled", "2"),
    ]);
    let mut host = tree.host(1);
    host.ring = Some(Err("io_uring is switched off on this host".to_owned()));
    let found = ring::check(&host);
    assert_eq!(found[0].severity, Severity::Warning);
    assert_eq!(found[1].severity, Severity::Warning);
    assert_eq!(
        found[1].fix.as_deref(),
        Some("sysctl -w kernel.io_uring_disabled=0")
    );
    tree.write("proc/sys/kernel/osrelease", "6.1.0");
    host.ring = Some(Ok(vec![
        Feature {
            name: "splice",
            since: "5.7",
            use_: "cold files",
            works: Ok(None),
        },
        Feature {
            name: "bundles",
            since: "6.10",
            use_: "fewer completions",
            works: Err("EINVAL".to_owned()),
        },
    ]));
    let finding = only(ring::check(&host));
    assert_eq!(finding.what, "no bundles: EINVAL");
}

#[test]
fn this_host_can_be_examined() {
    let asked = Tree::new(&[]).host(1).asked;
    let found = examine(&Host::here(asked));
    assert!(found.iter().any(|finding| finding.area == "io_uring"));
    assert!(found.is_sorted_by_key(|finding| finding.severity));
}
