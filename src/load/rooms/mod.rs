//! Loads of chat rooms: publishers, and subscribers over WebSocket that should get every message.
//!
//! A message carries a tag (`src/load/message_tag.rs`) with its number and its moments, so that a
//! subscriber knows what it got, what it did not get, and how long that took, whatever the server
//! wraps around it. Messages are due at their time, whatever the server does.

mod engine;
mod plan;
mod publisher;
mod record;
mod run;
mod socket;
mod subscriber;
mod summary;
mod table;
mod track;

pub use plan::{PublishBy, RoomsPlan, Route};
pub use run::start;
pub use summary::{RoomsSecond, RoomsSummary};
