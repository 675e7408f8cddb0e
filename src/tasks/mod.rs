//! A work-stealing pool, modelled on Go's scheduler, that keeps CPU work off the shards.
//!
//! The module uses no ring and no socket. A [`Pool`] has workers; a [`Class`] is a kind of work with
//! a priority and a bound; a [`Task`] is the handle of a spawned task, and its result can be awaited
//! on a shard, in the pool or on any executor.
//!
//! ```
//! use headwater::tasks::{ClassOptions, Options, Pool, TaskError};
//! use std::time::Duration;
//!
//! let pool = Pool::start(Options { workers: 2, ..Options::default() })?;
//! let sums = pool.handle().class(ClassOptions {
//!     name: "sums".to_owned(),
//!     queue_limit: 1000,
//!     ..ClassOptions::default()
//! })?;
//!
//! let sum = sums.run(|| (1..=100_u64).sum::<u64>())?;
//! assert_eq!(sum.join(), Ok(5050));
//!
//! // A panic is an error for the caller, and nothing else.
//! let lost = sums.run(|| panic!("no sum"))?.join();
//! assert_eq!(lost, Err::<(), _>(TaskError::Panicked("no sum".to_owned())));
//!
//! let report = pool.stop(Duration::from_secs(1));
//! assert!(report.is_clean(), "{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! docs/tasks.md explains how it works, and what happens to work that misbehaves.

mod arena;
mod block_in_place;
mod cell;
mod class;
mod closure_future;
mod context;
mod global_queue;
mod handoff;
mod idle;
mod join;
mod meta;
#[cfg(all(test, headwater_loom))]
mod models;
mod monitor;
mod options;
mod pool;
mod processors;
mod queue;
mod registry;
mod schedtrace;
mod shared;
mod snapshot;
mod stats;
mod task;
mod task_id;
mod worker;

pub use class::Class;
pub use context::{block_in_place, checkpoint, run, spawn, yield_now};
pub use join::join;
pub use options::{ClassOptions, Options, PoolError, Priority, Saturated, Scheduling};
pub use pool::{Handle, Pool, StopReport};
pub use schedtrace::SchedTrace;
pub use shared::WorkerState;
pub use snapshot::{ClassSnapshot, LiveTasks, Snapshot, TaskSnapshot, TaskState, WorkerSnapshot};
pub use stats::Distributions;
pub use task::{Task, TaskError};
