//! io_uring: whether a ring can be created, and which of its features work.

use super::{Finding, Host, Severity};
use crate::sys::probe::KernelVersion;

const AREA: &str = "io_uring";
const NEEDED: KernelVersion = KernelVersion { major: 6, minor: 1 };

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mut found = Vec::new();
    let release = host.text("/proc/sys/kernel/osrelease");
    let old = release
        .as_deref()
        .filter(|release| KernelVersion::parse(release).is_some_and(|version| version < NEEDED));
    if let Some(release) = old {
        found.push(
            Finding::new(Severity::Warning, AREA, format!("the kernel is {release}"))
                .cost(format!("headwater is made for Linux {NEEDED} and newer"))
                .fix("install a newer kernel"),
        );
    }
    match &host.ring {
        None => found.push(Finding::new(
            Severity::Note,
            AREA,
            "not tried on a copied tree",
        )),
        Some(Err(why)) => {
            let disabled = host.number("/proc/sys/kernel/io_uring_disabled");
            let fix = match disabled {
                Some(1..) => "sysctl -w kernel.io_uring_disabled=0",
                _ => "follow the advice in that sentence",
            };
            found.push(
                Finding::new(Severity::Warning, AREA, why)
                    .cost("headwater uses epoll instead, which costs more CPU for each request")
                    .fix(fix),
            );
        }
        Some(Ok(features)) => {
            let worked = features.iter().filter(|feature| feature.works.is_ok());
            let names: Vec<String> = worked
                .map(|feature| match &feature.works {
                    Ok(Some(remark)) => format!("{} ({remark})", feature.name),
                    _ => feature.name.to_owned(),
                })
                .collect();
            found.push(Finding::fine(
                AREA,
                format!(
                    "the driver that would be used, as a ring was built and its preflight passed; \
                     works: {}",
                    names.join(", ")
                ),
            ));
            for feature in features {
                if let Err(why) = &feature.works {
                    found.push(
                        Finding::new(Severity::Note, AREA, format!("no {}: {why}", feature.name))
                            .cost(format!("without it: {}", feature.use_))
                            .fix(format!("Linux {} or newer has it", feature.since)),
                    );
                }
            }
        }
    }
    found
}
