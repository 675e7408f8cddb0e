//! Observability of the running program, at a cost small enough to leave on.
//!
//! - [`access_log`]: a line for each request, written by a dedicated thread;
//! - [`recorder`]: the last events of each thread, and [`trace`], which writes them as a trace;
//! - [`histogram`]: distributions with one writer, merged when they are read;
//! - [`metrics`]: text for Prometheus;
//! - [`call_site`]: source locations and operation names as small numbers.
//!
//! The observed threads do not wait, lock or allocate for any of this.

pub mod access_log;
pub mod call_site;
pub mod histogram;
pub mod metrics;
pub mod recorder;
pub mod trace;

pub use call_site::CallSite;
pub use histogram::Histogram;
pub use recorder::{Event, Recorder, Writer};
