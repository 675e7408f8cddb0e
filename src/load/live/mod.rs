//! Loads of live readers: many clients read one growing object, and the load measures how far they
//! are behind its writer.
//!
//! The load has its own writer. Each piece is a message tag (`src/load/message_tag.rs`) with its
//! number, the moment at which it was due and the one at which it was written; pieces are due at
//! fixed times, however fast the server is. So a reader can compute the age of every piece, and
//! detects missing, repeated and damaged ones.

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
