//! What a shard records of rooms between two reports.

use hdrhistogram::Histogram;

use super::super::error::ErrorClass;
use super::super::intervals::Recorded;
use super::super::record::histogram;

/// Counts of one shard, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Messages that the server took.
    pub published: u64,
    /// Messages delivered, each to one subscriber, for the first time.
    pub deliveries: u64,
    pub duplicates: u64,
    /// Deliveries before which came a later one of the same publisher.
    pub out_of_order: u64,
    /// Messages that were cut off or changed.
    pub damaged: u64,
    /// Messages of other rooms.
    pub misrouted: u64,
    /// Tags that this run has not made.
    pub foreign: u64,
    /// WebSocket messages that came, and those of them without any tag.
    pub websocket_messages: u64,
    pub untagged: u64,
    /// Bytes that subscribers received, frame headers and all.
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

    /// All that went wrong and is known before the end.
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
    /// By how much a publisher was late to send what was due while it had nothing else to do.
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

/// What a shard states at its end.
pub(super) struct ShardEnd {
    pub seconds: f64,
    /// Share of the time that its thread worked.
    pub busy: f64,
    pub expected: u64,
    pub lost: u64,
    pub unsent: u64,
    pub unconnected: u64,
}
