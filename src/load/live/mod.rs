//! Live readers: many of one object that grows, and how far they are behind its writer.
//!
//! The load has its own writer: its pieces are message tags (`src/load/message_tag.rs`) with their number and moments,
//! due at their time whatever the server does. So a reader knows of every piece how old it is, and
//! whether one is missing, comes again or is damaged.

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
