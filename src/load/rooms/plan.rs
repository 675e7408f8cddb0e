//! The plan of a load of rooms.

use super::super::address::Address;
use super::super::arrivals::{Rate, Spacing};
use super::super::target::Target;

/// A server and path.
#[derive(Clone, Debug)]
pub struct Route {
    /// Addresses of the server, tried in this order.
    pub addresses: Vec<Address>,
    /// `{room}` in its path is replaced by a room's number.
    pub target: Target,
}

impl Route {
    /// The target of a room.
    pub(super) fn of_room(&self, room: usize) -> Target {
        Target {
            path: self.target.path.replace("{room}", &room.to_string()),
            ..self.target.clone()
        }
    }
}

/// How messages are sent to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishBy {
    /// As the body of a request with this method; the next message follows the answer.
    Request(String),
    /// As text messages over WebSocket.
    WebSocket,
}

/// A load of rooms, ready to run.
#[derive(Clone, Debug)]
pub struct RoomsPlan {
    /// Where subscribers connect to, over WebSocket.
    pub subscribe: Route,
    /// Where publishers connect to.
    pub publish: Route,
    /// How publishers send their messages.
    pub publish_by: PublishBy,
    /// Header lines for every request, as curl's `-H`.
    pub headers: Vec<String>,
    /// Subscribers of all rooms together.
    pub subscribers: usize,
    /// At least as many as rooms.
    pub publishers: usize,
    /// Rooms, numbered from 0; subscribers and publishers are spread over them evenly.
    pub rooms: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages a second of all publishers.
    pub rate: Rate,
    /// How messages are spaced at that rate.
    pub spacing: Spacing,
    /// Shards, which share subscribers and publishers.
    pub threads: usize,
    /// CPUs to pin the shards to, one each; `None` leaves that to the kernel.
    pub cpus: Option<Vec<usize>>,
    /// Length of the measured time, after the warm-up, in nanoseconds.
    pub duration_ns: u64,
    /// Length of the warm-up, whose messages are published but not counted.
    pub warmup_ns: u64,
    /// Time-out of a connection with its handshake, and of the answer to a publisher.
    pub timeout_ms: u64,
    /// How long the load waits for deliveries after the last message is published.
    pub grace_ms: u64,
    /// Seed of the moments at which messages are due, with Poisson spacing.
    pub seed: u64,
}

impl RoomsPlan {
    /// The publishers of a room: every `rooms`-th.
    pub(super) fn publishers_of(&self, room: usize) -> usize {
        self.publishers / self.rooms + usize::from(room < self.publishers % self.rooms)
    }
}
