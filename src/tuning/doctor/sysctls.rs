//! The kernel's settings, compared with a profile.

use super::{Finding, Host, Severity};
use crate::tuning::sysctl::{Machine, Plan, ProcSys, Profile, Verdict, unsafe_now};

const AREA: &str = "sysctl";

/// Values that are unsafe under every profile.
pub(super) fn check_unsafe(host: &Host) -> Vec<Finding> {
    let settings = ProcSys::new(host.path("/proc/sys"));
    unsafe_now(&settings)
        .into_iter()
        .map(|one| {
            Finding::new(
                Severity::Critical,
                AREA,
                format!("{} = {}", one.key, one.now),
            )
            .cost(one.reason)
            .fix(format!("sysctl -w {}={}", one.key, one.default))
        })
        .collect()
}

pub(super) fn check_profile(host: &Host) -> Vec<Finding> {
    let name = &host.asked.profile;
    let Ok(machine) = Machine::read(&host.path("/proc")) else {
        return Vec::new();
    };
    let profile = match Profile::load(name, machine) {
        Ok(profile) => profile,
        Err(error) => return vec![Finding::new(Severity::Critical, AREA, error.to_string())],
    };
    let plan = Plan::new(profile, &ProcSys::new(host.path("/proc/sys")), false);
    let off: Vec<String> = plan
        .rows
        .iter()
        .filter_map(|row| match (&row.verdict, &row.now) {
            (Verdict::Change(wanted), Some(now)) => {
                let now: Vec<&str> = now.split_whitespace().collect();
                Some(format!(
                    "{} is {}, not {wanted}",
                    row.setting.key,
                    now.join(" ")
                ))
            }
            _ => None,
        })
        .collect();
    if off.is_empty() {
        return vec![Finding::fine(AREA, format!("as in the profile {name}"))];
    }
    vec![
        Finding::new(
            Severity::Note,
            AREA,
            format!(
                "{} settings differ from the profile {name}: {}",
                off.len(),
                off.join("; ")
            ),
        )
        .cost(format!(
            "headwater sysctl show {name} explains each; docs/tuning.md has measurements"
        ))
        .fix(format!(
            "headwater sysctl apply {name} --yes (and headwater sysctl revert)"
        )),
    ]
}
