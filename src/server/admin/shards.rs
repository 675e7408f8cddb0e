//! `/debug/shards`: the counters of each shard's loop, and the causes of its stalls.

use std::fmt::Write;
use std::time::Duration;

use super::Sources;
use crate::runtime::ShardHandle;

/// One line or more for each shard, then the figures of the whole server.
pub(super) fn text(sources: &Sources) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for shard in &sources.shards {
        let _ = write_shard(&mut out, shard);
    }
    let shared = &sources.shared;
    let _ = writeln!(
        out,
        "connections {} idle-timeout-ms {} idle-closed-early {}",
        shared.connections(),
        shared.idle_timeout_now_ms(),
        shared.sheds()
    );
    out
}

fn write_shard(out: &mut String, shard: &ShardHandle) -> std::fmt::Result {
    let s = shard.stats();
    let (stalls, _) = shard.stalled();
    writeln!(
        out,
        "shard {} enters {} submissions {} completions {} overflows {} polls {} panics {} tasks {} stalls {stalls}",
        shard.index(),
        s.enters,
        s.submissions,
        s.completions,
        s.overflows,
        s.polls,
        s.panics,
        s.tasks,
    )?;
    write!(out, "  turns")?;
    for (quantile, ns) in shard.turns().quantiles() {
        write!(out, " p{} {:?}", 100.0 * quantile, Duration::from_nanos(ns))?;
    }
    writeln!(out)?;
    for cause in shard.stalls() {
        writeln!(
            out,
            "  stalled {} times by {}, {}; the longest {:?}",
            cause.count, cause.task, cause.doing, cause.longest
        )?;
    }
    Ok(())
}
