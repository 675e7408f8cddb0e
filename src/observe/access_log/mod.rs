//! The access log: one line for each request.
//!
//! A shard copies what a line contains into a batch ([`ShardLog`]); it takes no lock and makes no
//! system call for it. Full batches, and after at most two ticks others, go to one thread for all
//! shards, which formats, escapes and redacts them and writes whole lines (`writer`). Each shard
//! has `limits::ACCESS_LOG_BATCHES` batches and no more: while the writer has all of them,
//! because the disk is full or no process reads a FIFO, records are counted and dropped
//! (docs/decisions/070-access-log-records.md).
//!
//! - `record`: what is noted of a request;
//! - `format`, `render`: what a line is made of, and how one is made;
//! - `text`, `redact`, `moment`: escaping, secrets in URLs, times and numbers;
//! - `log_file`: opening, reopening, rotation;
//! - `log`: the whole, from its start to its end.

mod format;
mod log;
mod log_file;
mod moment;
mod record;
mod redact;
mod render;
mod shard_log;
mod shared;
mod text;
mod writer;

#[cfg(test)]
mod tests;

pub use format::{Format, FormatError};
pub use log::{AccessLog, OpenError, Options, Stats};
pub use log_file::{Destination, Rotation};
pub use record::{Cut, Record, Unfinished};
pub use redact::QueryRule;
pub use shard_log::{ShardLog, TakenBack};
pub use shared::Report;
