//! Rooms: many subscribers over WebSocket, and publishers whose messages each of them is to get.
//!
//! A message carries a mark (`src/load/mark.rs`) with its number and its moments, so that a
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
pub use run::{RoomsLoad, RoomsProgress, start};
pub use summary::{RoomsSecond, RoomsSummary};
