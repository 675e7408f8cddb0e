//! The CPU time that cgroups allow (`cpu.max`).

use super::finding::count;
use super::{Finding, Host, Severity};

const AREA: &str = "CPU quota";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let shards = host.asked.cpus.len();
    let Some((cpus, place)) = quota(host) else {
        return vec![Finding::fine(AREA, "none")];
    };
    if cpus + f64::EPSILON >= shards as f64 {
        let what = format!("{cpus:.1} CPUs' time for {}", count(shards, "shard"));
        return vec![Finding::fine(AREA, what)];
    }
    let whole = (cpus.floor() as usize).max(1);
    let throttled = throttled(host, &place);
    let seen = match throttled {
        Some(periods) if periods > 0 => format!("; stopped so far: {periods} times"),
        _ => String::new(),
    };
    vec![
        Finding::new(
            Severity::Warning,
            AREA,
            format!("{cpus:.1} CPUs' time for {}", count(shards, "shard")),
        )
        .cost(format!(
            "once it is used up, every shard stops until the next period, up to 100 ms{seen}"
        ))
        .fix(format!(
            "start with --cores {}, or give CPUs instead of time (docker: --cpuset-cpus)",
            list(&host.asked.cpus[..whole.min(shards)])
        )),
    ]
}

fn list(cpus: &[usize]) -> String {
    let words: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    words.join(",")
}

/// The smallest quota of this process's cgroup and its ancestors, in CPUs, and the folder of that
/// cgroup.
fn quota(host: &Host) -> Option<(f64, String)> {
    let groups = host.text("/proc/self/cgroup")?;
    let mut smallest: Option<(f64, String)> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let mounts: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            _ if controllers.split(',').any(|one| one == "cpu") => {
                &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
            }
            _ => continue,
        };
        for mount in mounts {
            // A container may see a path that exists only on the host: its own cgroup is the root
            // then.
            let mut path = path.trim_end_matches('/');
            loop {
                let folder = format!("{mount}{path}");
                let here = of_folder(host, &folder);
                if let Some(cpus) = here
                    && smallest.as_ref().is_none_or(|(least, _)| cpus < *least)
                {
                    smallest = Some((cpus, folder));
                }
                match path.rsplit_once('/') {
                    Some((above, _)) => path = above,
                    None => break,
                }
            }
        }
    }
    smallest
}

fn of_folder(host: &Host, folder: &str) -> Option<f64> {
    let (quota, period) = match host.text(&format!("{folder}/cpu.max")) {
        Some(text) => {
            let (quota, period) = text.split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        }
        None => (
            host.text(&format!("{folder}/cpu.cfs_quota_us"))?
                .parse::<f64>()
                .ok()?,
            host.text(&format!("{folder}/cpu.cfs_period_us"))?
                .parse::<f64>()
                .ok()?,
        ),
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn throttled(host: &Host, folder: &str) -> Option<u64> {
    let stat = host.text(&format!("{folder}/cpu.stat"))?;
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("nr_throttled "))?;
    line.parse().ok()
}
