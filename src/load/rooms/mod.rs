//! Loads of chat rooms: publishers, and subscribers over WebSocket that should get every message.
//!
//! A message carries a tag (`src/load/message_tag.rs`) with its number and its moments, so that a
//! subscriber recognises messages in whatever format the server wraps them, counts those that are
//! missing, and measures how long each took. Messages are due at their time, however fast the
//! server is.

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
