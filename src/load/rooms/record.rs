//! A shard's record of rooms between two reports.

use hdrhistogram::Histogram;

use super::super::error::ErrorClass;
use super::super::intervals::Recorded;
use super::super::record::histogram;

/// Counts of one shard, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Messages that the server accepted.
    pub published: u64,
    /// Messages delivered, each to one subscriber, for the first time.
    pub deliveries: u64,
    pub duplicates: u64,
    /// Deliveries that arrived after a later message of the same publisher.
    pub out_of_order: u64,
    /// Messages that were truncated or altered.
    pub damaged: u64,
    /// Messages of other rooms.
    pub misrouted: u64,
    /// Tags of other runs.
    pub foreign: u64,
    /// WebSocket messages received, and those without any tag.
    pub websocket_messages: u64,
    pub untagged: u64,
    /// Bytes that subscribers received, frame headers included.
    pub bytes: u64,
    /// Connections made.
    pub connects: u64,
    /// Subscribers' connections that ended before the load did.
    pub connections_lost: u64,
    pub errors: [u64; ErrorClass::ALL.len()],
}

impl Tally {
    pub(crate) fn error(&mut self, class: ErrorClass) {
        self.errors[class as usize] += 1;
    }

    pub(crate) fn errors_total(&self) -> u64 {
        self.errors.iter().sum()
    }

    /// All errors that are known before the end of the load.
    pub(crate) fn wrong(&self) -> u64 {
        self.errors_total() + self.duplicates + self.out_of_order + self.damaged + self.misrouted
    }

    fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.damaged += other.damaged;
        self.misrouted += other.misrouted;
        self.foreign += other.foreign;
        self.websocket_messages += other.websocket_messages;
        self.untagged += other.untagged;
        self.bytes += other.bytes;
        self.connects += other.connects;
        self.connections_lost += other.connections_lost;
        for (to, from) in self.errors.iter_mut().zip(other.errors) {
            *to += from;
        }
    }
}

/// Histograms and counts.
pub(super) struct Record {
    pub tally: Tally,
    /// From when a message was due to its delivery.
    pub delivery: Histogram<u64>,
    /// From when it was sent.
    pub transit: Histogram<u64>,
    /// From when it was sent to the server's answer to the publisher.
    pub publish: Histogram<u64>,
    /// How late a publisher sent messages that were due while it was not waiting for the server.
    pub lag: Histogram<u64>,
    /// Connections with their handshakes.
    pub connect: Histogram<u64>,
}

impl Recorded for Record {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            delivery: histogram(),
            transit: histogram(),
            publish: histogram(),
            lag: histogram(),
            connect: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.delivery += &other.delivery;
        self.transit += &other.transit;
        self.publish += &other.publish;
        self.lag += &other.lag;
        self.connect += &other.connect;
    }
}

/// The figures that a shard reports once, at its end.
pub(super) struct ShardEnd {
    pub seconds: f64,
    /// Share of the time for which its thread was busy.
    pub busy: f64,
    pub expected: u64,
    pub lost: u64,
    pub unsent: u64,
    pub unconnected: u64,
}
