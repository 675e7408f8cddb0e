//! What a server that stops had to cut: connections that were not done at the end of the drain.

use std::fmt;

/// What a connection is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between two requests.
    Idle,
    /// Receiving a request's head, or the rest of a body.
    Receiving,
    /// Waiting for its service.
    Answering,
    /// Sending an answer.
    Sending,
    /// Waiting for the client's end after the last answer.
    Closing,
    /// Over, without having been cut.
    Closed,
}

impl Phase {
    /// How many phases there are in which a connection can be cut: all but the last.
    pub(crate) const OPEN: usize = Self::Closed as usize;
}

/// Connections that were cut, by what they were in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutConnections {
    /// Between two requests.
    pub idle: u64,
    /// While a request was being received.
    pub receiving: u64,
    /// While their service made an answer.
    pub answering: u64,
    /// While an answer was being sent.
    pub sending: u64,
    /// After the last answer, before the client had closed.
    pub closing: u64,
}

impl CutConnections {
    pub(super) fn new(count: impl Fn(Phase) -> u64) -> Self {
        Self {
            idle: count(Phase::Idle),
            receiving: count(Phase::Receiving),
            answering: count(Phase::Answering),
            sending: count(Phase::Sending),
            closing: count(Phase::Closing),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            idle: self.idle + other.idle,
            receiving: self.receiving + other.receiving,
            answering: self.answering + other.answering,
            sending: self.sending + other.sending,
            closing: self.closing + other.closing,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.idle + self.receiving + self.answering + self.sending + self.closing
    }
}

impl fmt::Display for CutConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total() {
            1 => write!(f, "cut 1 connection")?,
            total => write!(f, "cut {total} connections")?,
        }
        let kinds = [
            (self.receiving, "receiving a request"),
            (self.answering, "waiting for an answer to be made"),
            (self.sending, "sending an answer"),
            (self.closing, "closing"),
            (self.idle, "idle"),
        ];
        let mut before = ": ";
        for (count, kind) in kinds.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{before}{count} {kind}")?;
            before = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_is_said_by_kind() {
        let cut = CutConnections {
            answering: 1,
            sending: 2,
            ..CutConnections::default()
        };
        assert_eq!(
            cut.to_string(),
            "cut 3 connections: 1 waiting for an answer to be made, 2 sending an answer"
        );
    }
}
