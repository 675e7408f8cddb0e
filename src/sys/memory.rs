//! How much memory is used that can't be had back by giving up caches.
//!
//! A file server fills what it may with the page cache, so `memory.current` stands at
//! `memory.max` for good and pressure stalls (PSI) tell of cold files: neither says that
//! memory is short. What the kernel can't reclaim does.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the groups of the unified hierarchy are (cgroups(7)).
const GROUPS: &str = "/sys/fs/cgroup";

/// Used memory of the host, in thousandths: what `/proc/meminfo` counts as not available
/// (MemAvailable: the kernel's own estimate, with the caches taken off). `None` where the
/// text isn't one.
pub fn host_used_permille(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| value_after(meminfo, name);
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    Some(total.saturating_sub(available) * 1000 / total.max(1))
}

/// Used memory of a group, in thousandths of its bound: `memory.current` without the file
/// pages and the slabs of `memory.stat` that can be reclaimed, over `memory.max`. `None` where
/// it has no bound.
pub fn group_used_permille(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let bytes = |name: &str| value_after(stat, name).unwrap_or(0);
    let reclaimable = bytes("active_file") + bytes("inactive_file") + bytes("slab_reclaimable");
    Some(current.saturating_sub(reclaimable) * 1000 / max.max(1))
}

/// The folders of this process's group and of those that it is in, as far as they have a bound
/// on memory; none under the old hierarchy.
pub fn bounded_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new(GROUPS);
    let own = root.join(path);
    own.ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter(|folder| {
            let max = fs::read_to_string(folder.join("memory.max"));
            max.is_ok_and(|max| max.trim().parse::<u64>().is_ok())
        })
        .map(Path::to_owned)
        .collect()
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
}
