//! Loads of live readers: many clients read one object that grows, and the load measures how far
//! they are behind its writer.
//!
//! The load has its own writer: its pieces are message tags (`src/load/message_tag.rs`) with their
//! number and moments, and each is due at its time, however fast the server is. So a reader can
//! compute the age of every piece, and notices one that is missing, repeated or damaged.

mod engine;
mod plan;
mod reader;
mod record;
mod run;
mod summary;
mod table;
mod viewer;
mod writer;

pub use plan::{LivePlan, WriteTo};
pub use run::start;
pub use summary::{LiveSecond, LiveSummary};
