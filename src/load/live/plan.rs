//! The plan of a load of live readers.

use std::path::PathBuf;

use super::super::rooms::Route;

/// Where the object is written.
#[derive(Clone, Debug)]
pub enum WriteTo {
    /// Appended to this file, which a server serves.
    File(PathBuf),
    /// Sent as the chunked body of one request that lasts as long as the load.
    Upload {
        /// The server and path of the request.
        route: Route,
        /// Its method, such as `PUT`.
        method: String,
    },
}

/// A load of live readers, ready to run.
#[derive(Clone, Debug)]
pub struct LivePlan {
    /// The server and path from which readers request the object.
    pub read: Route,
    /// Where the writer writes the object.
    pub write_to: WriteTo,
    /// Header lines for every request, as curl's `-H`.
    pub headers: Vec<String>,
    /// Readers, each with its own connection.
    pub readers: usize,
    /// Bytes of a piece; one is due every `interval_ns`.
    pub piece_bytes: usize,
    /// Time from when one piece is due to when the next is, in nanoseconds.
    pub interval_ns: u64,
    /// How often a reader requests new bytes.
    pub poll_ns: u64,
    /// Each reader sends one request, and the answer grows with the object.
    pub follow: bool,
    /// Readers begin at the object's beginning, not at its end.
    pub from_start: bool,
    /// Readers join within this time, evenly or at random.
    pub join_ns: u64,
    /// Each reader joins at a random moment of that time; otherwise they are evenly spaced.
    pub join_at_random: bool,
    /// Seed of those random moments.
    pub seed: u64,
    /// A reader that gets nothing new for longer than this has a stall.
    pub stall_ns: u64,
    /// Shards, which share the readers.
    pub threads: usize,
    /// CPUs to pin the shards to, one each; `None` leaves that to the kernel.
    pub cpus: Option<Vec<usize>>,
    /// Length of the load from when the first piece is due, in nanoseconds; `grace_ms` follows.
    pub duration_ns: u64,
    /// Time-out of a connection, and of an answer; of a growing answer, its head.
    pub timeout_ms: u64,
    /// How long readers may take to read the rest after the last piece is written.
    pub grace_ms: u64,
}

impl LivePlan {
    /// Pieces that are due in the load's duration.
    pub(super) fn pieces(&self) -> u64 {
        self.duration_ns.div_ceil(self.interval_ns)
    }
}
