//! Loads of chat rooms: publishers, and subscribers over WebSocket that should get every message.
//!
//! A message carries a tag (`src/load/message_tag.rs`) with its number, the moment at which it was
//! due and the one at which it was sent. So a subscriber recognises messages in whatever format the
//! server wraps them, counts missing ones, and measures how long each took. Messages are due at
//! fixed times, however fast the server is.

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
