//! The memory in use, without what the kernel can reclaim from caches.
//!
//! A file server fills its memory with the page cache, so `memory.current` always equals
//! `memory.max`, and pressure stalls (PSI) come from reading cold files: neither shows that memory
//! is short. The memory that the kernel can't reclaim shows it.

use std::fs;
use std::path::{Path, PathBuf};

/// The mount points of cgroups: the unified hierarchy, and the memory controller's hierarchy of
/// version 1, which older hosts still have (cgroups(7), "Cgroups version 1").
const UNIFIED: &str = "/sys/fs/cgroup";
const OWN: &str = "/sys/fs/cgroup/memory";
/// Version 1 expresses "no bound" as a number beyond all memory, rounded to a page.
const BOUND_BYTES_MAX: u64 = 1 << 62;

/// The files of a group that has a bound on memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The bound in bytes: `memory.max`, or `memory.limit_in_bytes` of version 1.
    pub max: PathBuf,
    /// Used bytes, caches included: `memory.current`, or `memory.usage_in_bytes` of version 1.
    pub current: PathBuf,
    /// Used bytes by kind: `memory.stat`.
    pub stat: PathBuf,
}

/// Used memory of the host, in thousandths: what `/proc/meminfo` counts as not available
/// (MemAvailable: the kernel's own estimate, with the caches taken off). `None` where the text is
/// not that of `/proc/meminfo`.
pub fn host_used_permille(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| value_after(meminfo, name);
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    Some(total.saturating_sub(available) * 1000 / total.max(1))
}

/// Used memory of a group, in thousandths of its bound: its use without reclaimable file pages and
/// slabs, divided by the bound. `None` where it has no bound.
pub fn group_used_permille(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max = bound(max)?;
    let current: u64 = current.trim().parse().ok()?;
    // Version 1 has the sums over the child groups under names that begin with `total_`.
    let bytes = |name: &str| {
        let total = value_after(stat, &format!("total_{name}"));
        total.or_else(|| value_after(stat, name)).unwrap_or(0)
    };
    let reclaimable = bytes("active_file") + bytes("inactive_file") + bytes("slab_reclaimable");
    Some(current.saturating_sub(reclaimable) * 1000 / max.max(1))
}

/// This process's cgroup and its ancestors, those that have a bound on memory.
pub fn bounded_groups() -> Vec<Group> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = groups_of(&own, Path::new(UNIFIED), Path::new(OWN));
    groups.retain(|group| {
        let max = fs::read_to_string(&group.max);
        max.is_ok_and(|max| bound(&max).is_some())
    });
    groups
}

/// The groups that the text of `/proc/self/cgroup` names, and all their ancestors.
fn groups_of(own: &str, unified: &Path, old: &Path) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, max, current) = match controllers {
            "" => (unified, "memory.max", "memory.current"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (old, "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        let folder = root.join(path.trim_start_matches('/'));
        let with_those_above = folder.ancestors().take_while(|one| one.starts_with(root));
        groups.extend(with_those_above.map(|folder| Group {
            max: folder.join(max),
            current: folder.join(current),
            stat: folder.join("memory.stat"),
        }));
    }
    groups
}

/// A group's bound in bytes, if the text is one.
fn bound(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < BOUND_BYTES_MAX).then_some(bytes)
}

/// The number behind a name at the beginning of a line.
fn value_after(text: &str, name: &str) -> Option<u64> {
    let found = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(name)).then(|| words.next())
    });
    found.flatten()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_counts_what_is_not_available() {
        let text = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(host_used_permille(text), Some(750));
        assert_eq!(host_used_permille("MemTotal: 1000 kB\n"), None);
        let here = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(host_used_permille(&here).is_some_and(|used| used <= 1000));
    }

    #[test]
    fn a_group_full_of_file_pages_is_not_short_of_memory() {
        let stat = "anon 100\nfile 850\ninactive_file 600\nactive_file 200\nslab_reclaimable 50\n";
        assert_eq!(group_used_permille("1000\n", "1000\n", stat), Some(150));
        assert_eq!(group_used_permille("max\n", "1000\n", stat), None);
        let anonymous = "anon 960\ninactive_file 20\nactive_file 0\n";
        assert_eq!(group_used_permille("1000\n", "980\n", anonymous), Some(960));
    }

    #[test]
    fn the_old_hierarchy_counts_the_groups_below_too() {
        let stat = "cache 900\nactive_file 1\ninactive_file 2\n\
                    total_active_file 300\ntotal_inactive_file 200\n";
        assert_eq!(group_used_permille("1000\n", "900\n", stat), Some(400));
        let none = "9223372036854771712\n";
        assert_eq!(group_used_permille(none, "900\n", stat), None);
    }

    #[test]
    fn groups_of_both_hierarchies_are_found_up_to_their_roots() {
        let own = "4:memory:/a/b\n3:cpuset:/x\n2:cpu,cpuacct:/y\n0::/u\nno line\n";
        let groups = groups_of(own, Path::new("/c"), Path::new("/c/memory"));
        let stats: Vec<_> = groups.iter().map(|group| group.stat.display()).collect();
        let stats: Vec<_> = stats.iter().map(ToString::to_string).collect();
        assert_eq!(
            stats,
            [
                "/c/memory/a/b/memory.stat",
                "/c/memory/a/memory.stat",
                "/c/memory/memory.stat",
                "/c/u/memory.stat",
                "/c/memory.stat",
            ]
        );
        let first = &groups[0];
        assert!(
            first.max.ends_with("a/b/memory.limit_in_bytes"),
            "{first:?}"
        );
        assert!(groups[3].current.ends_with("u/memory.current"));
    }
}
