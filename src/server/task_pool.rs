//! The pool that runs the CPU work of a server, so that it does not hold up a shard.

use super::error::ServeError;
use crate::config::{SCHEDULING_BATCH, SCHEDULING_IDLE, Tasks};
use crate::limits;
use crate::observe::Recorder;
use crate::tasks::{Options, Pool, Scheduling};

/// Starts the pool on these CPUs.
///
/// By default its threads are scheduled as `SCHED_IDLE`: shards are pinned to the same CPUs, and
/// a shard that is woken must not wait for the end of a worker's time slice
/// (docs/measurements/2026-11-24-cpu-bursts.md).
pub(super) fn start_pool(
    config: &Tasks,
    cpus: &[usize],
    recorder: &Recorder,
) -> Result<Pool, ServeError> {
    let workers = match config.workers {
        0 => cpus.len().clamp(1, limits::TASK_WORKERS_MAX),
        workers => workers,
    };
    let options = Options {
        workers,
        cpus: cpus.to_vec(),
        recorder: recorder.clone(),
        scheduling: match config.scheduling.as_deref() {
            Some(SCHEDULING_IDLE) => Scheduling::Idle,
            Some(SCHEDULING_BATCH) => Scheduling::Batch,
            _ => Scheduling::Normal,
        },
        ..Options::default()
    };
    Ok(Pool::start(options)?)
}
