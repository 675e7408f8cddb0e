//! Transparent huge pages.

use super::{Finding, Host, Severity};

const AREA: &str = "memory";
const THP: &str = "/sys/kernel/mm/transparent_hugepage";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let Some(choice) = host.text(&format!("{THP}/enabled")) else {
        return Vec::new();
    };
    let chosen = choice
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let chosen = chosen.map_or(choice.as_str(), |(chosen, _)| chosen);
    if chosen != "always" {
        return vec![Finding::fine(
            AREA,
            format!("transparent huge pages: {chosen}"),
        )];
    }
    vec![
        Finding::new(Severity::Note, AREA, "transparent huge pages: always")
            .cost("buffers of a few KB may occupy 2 MB, and a page fault may wait while memory is compacted")
            .fix(format!("echo madvise > {THP}/enabled")),
    ]
}
