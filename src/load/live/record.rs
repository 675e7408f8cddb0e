//! A shard's record of live readers between two reports.

use hdrhistogram::Histogram;

use super::super::error::ErrorClass;
use super::super::intervals::Recorded;
use super::super::record::histogram;

/// Counts of one shard, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Readers that have sent a request.
    pub joined: u64,
    /// Whole pieces, each read by one reader.
    pub pieces: u64,
    /// Pieces that were skipped.
    pub gap: u64,
    /// Pieces that were received again.
    pub repeated: u64,
    /// Pieces that were truncated or altered.
    pub damaged: u64,
    /// Pieces of other runs.
    pub foreign: u64,
    /// Bytes received, heads included.
    pub bytes: u64,
    pub requests: u64,
    /// Answers without new bytes (416).
    pub nothing_new: u64,
    /// Connections made, and those of them by readers that had one before.
    pub connects: u64,
    pub reconnects: u64,
    pub stalls: u64,
    pub stalled_ns: u64,
    pub errors: [u64; ErrorClass::ALL.len()],
}

impl Tally {
    pub(crate) fn error(&mut self, class: ErrorClass) {
        self.errors[class as usize] += 1;
    }

    /// All errors that are known before the end of the load.
    pub(crate) fn wrong(&self) -> u64 {
        let of_tags = self.gap + self.repeated + self.damaged + self.foreign;
        of_tags + self.errors.iter().sum::<u64>()
    }

    fn add(&mut self, other: &Self) {
        self.joined += other.joined;
        self.pieces += other.pieces;
        self.gap += other.gap;
        self.repeated += other.repeated;
        self.damaged += other.damaged;
        self.foreign += other.foreign;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.nothing_new += other.nothing_new;
        self.connects += other.connects;
        self.reconnects += other.reconnects;
        self.stalls += other.stalls;
        self.stalled_ns += other.stalled_ns;
        for (to, from) in self.errors.iter_mut().zip(other.errors) {
            *to += from;
        }
    }
}

/// Histograms and counts.
pub(super) struct Record {
    pub tally: Tally,
    /// From when a piece was due to when a reader had all of it.
    pub due: Histogram<u64>,
    /// From when it was written.
    pub written: Histogram<u64>,
    /// From a reader's first request to its first whole piece.
    pub startup: Histogram<u64>,
    pub connect: Histogram<u64>,
    /// How late readers sent their requests.
    pub lag: Histogram<u64>,
}

impl Recorded for Record {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            due: histogram(),
            written: histogram(),
            startup: histogram(),
            connect: histogram(),
            lag: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.due += &other.due;
        self.written += &other.written;
        self.startup += &other.startup;
        self.connect += &other.connect;
        self.lag += &other.lag;
    }
}

/// The figures that a shard reports once, at its end.
pub(super) struct ShardEnd {
    pub start_ns: u64,
    /// When it read the last piece.
    pub last_ns: u64,
    /// Share of the time for which its thread was busy.
    pub busy: f64,
    pub unread: u64,
    pub without_piece: u64,
}
