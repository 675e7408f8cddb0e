//! The plan of a load of requests.

use std::sync::Arc;

use super::address::Address;
use super::arrivals::{Arrivals, Rate, Share, Spacing};
use super::error::LoadError;
use super::ranges::{RangePattern, Ranges};
use super::request::Prepared;
use crate::load::limits;
use crate::sys;

/// A load, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Addresses of the one server, tried in this order.
    pub addresses: Vec<Address>,
    /// The requests, each with its weight.
    pub requests: Vec<(Prepared, f64)>,
    /// Connections that may be open at once, over all shards.
    pub connections: usize,
    /// Shards; never more than connections.
    pub threads: usize,
    /// CPUs to pin the shards to, one each; `None` leaves that to the kernel.
    pub cpus: Option<Vec<usize>>,
    /// Requests that may be in flight on one connection.
    pub pipeline: usize,
    /// Sends each request on a new connection.
    pub connection_per_request: bool,
    /// `None`: until `requests_max` or until stopped.
    pub duration_ns: Option<u64>,
    /// Length of the warm-up, whose requests are sent but not counted.
    pub warmup_ns: u64,
    /// Requests to send in all, the warm-up's included; `None`: until `duration_ns` or until stopped.
    pub requests_max: Option<u64>,
    /// Time-out of a request, from the send to the whole answer.
    pub timeout_ms: u64,
    /// `None`: a closed loop, in which a connection sends its next request when it has the answer.
    pub rate: Option<(Rate, Spacing)>,
    /// The order of a log, instead of a choice by weight.
    pub replay: Option<Replay>,
    /// Requests pieces of objects; the requests have no body. Players set their own pace: with them
    /// there is no rate, no pipelining, and no connection per request.
    pub ranges: Option<Ranges>,
    /// Seed of Poisson arrivals, of the order of requests and pieces, and of players' seeks.
    pub seed: u64,
    /// Compares each body, by length and CRC-32, with the first one that the same request got with
    /// the same status.
    pub check: bool,
    /// The URLs of the first requests, for a report.
    pub urls: Vec<String>,
    /// Notes for the report on how the plan was made.
    pub notes: Vec<String>,
}

/// Requests in the order of a log.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Indices of [`Plan::requests`]; after the last one the load starts again with the first.
    pub requests: Arc<[u32]>,
    /// When each is due, in ascending nanoseconds from the start; `None` leaves that to the rate.
    pub moments_ns: Option<Arc<[u64]>>,
}

impl Plan {
    /// A closed loop of GETs: one thread, ten connections, ten seconds.
    pub fn new(addresses: Vec<Address>, requests: Vec<(Prepared, f64)>) -> Self {
        Self {
            addresses,
            requests,
            connections: 10,
            threads: 1,
            cpus: None,
            pipeline: 1,
            connection_per_request: false,
            duration_ns: Some(10_000_000_000),
            warmup_ns: 0,
            requests_max: None,
            timeout_ms: limits::TIMEOUT_MS,
            rate: None,
            replay: None,
            ranges: None,
            seed: 0,
            check: false,
            urls: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The ranges that players request, if the connections are players.
    pub(super) fn players(&self) -> Option<&Ranges> {
        let ranges = self.ranges.as_ref()?;
        (ranges.spec.pattern == RangePattern::Player).then_some(ranges)
    }

    /// Whether requests are due at set moments (an open loop).
    pub fn is_open(&self) -> bool {
        self.rate.is_some() || self.moments_ns().is_some()
    }

    /// A share of the arrivals of an open loop that begins at `start_ns`, at most `requests_max`;
    /// `None` in a closed loop.
    pub(super) fn arrivals(
        &self,
        start_ns: u64,
        share: Share,
        requests_max: Option<u64>,
    ) -> Option<Arrivals> {
        let duration_ns = self.duration_ns.map(|ns| ns + self.warmup_ns);
        let listed = self.replay.as_ref().and_then(|r| r.moments_ns.as_ref());
        match (listed, &self.rate) {
            (Some(moments_ns), _) => Some(Arrivals::at_moments(
                moments_ns,
                duration_ns,
                start_ns,
                share,
                requests_max,
            )),
            (None, Some((rate, spacing))) => {
                let seconds = duration_ns.map(|ns| ns as f64 / 1e9);
                let rate = (rate, *spacing);
                Some(Arrivals::at_rate(
                    rate,
                    seconds,
                    start_ns,
                    share,
                    self.seed,
                    requests_max,
                ))
            }
            (None, None) => None,
        }
    }

    /// The moments of a log that is replayed at its recorded times.
    pub(super) fn moments_ns(&self) -> Option<&[u64]> {
        self.replay.as_ref()?.moments_ns.as_deref()
    }

    /// The mean requested rate from one moment to another, in seconds of the measured time.
    pub(super) fn asked_per_s(&self, begin_s: f64, end_s: f64) -> Option<f64> {
        let warmup_s = self.warmup_ns as f64 / 1e9;
        if let Some(moments_ns) = self.moments_ns() {
            let before =
                |s: f64| moments_ns.partition_point(|&ns| (ns as f64) < (warmup_s + s) * 1e9);
            let due = before(end_s) - before(begin_s);
            return Some(due as f64 / (end_s - begin_s).max(1e-9));
        }
        let (rate, _) = self.rate.as_ref()?;
        let Some(ns) = self.duration_ns else {
            return Some(rate.at(0.0));
        };
        // No requests are due after the duration, while the load waits for answers.
        let duration_s = ns as f64 / 1e9;
        let due_to_s = end_s.min(duration_s).max(begin_s);
        let share = (warmup_s + (begin_s + due_to_s) / 2.0) / (warmup_s + duration_s);
        let part = (due_to_s - begin_s) / (end_s - begin_s).max(1e-9);
        Some(rate.at(share) * part.clamp(0.0, 1.0))
    }

    /// The seconds in which all requests fall due, where their number and not a duration ends the load.
    pub(super) fn asked_s(&self) -> Option<f64> {
        let count = self.requests_max?;
        match (self.moments_ns(), &self.rate) {
            (Some(moments_ns), _) => {
                let next_ns = moments_ns.get(count as usize).or(moments_ns.last())?;
                Some(*next_ns as f64 / 1e9)
            }
            (None, Some((rate, _))) => rate.seconds_of(count, None),
            (None, None) => None,
        }
    }

    /// The mean requested rate of the whole load.
    pub(super) fn asked_mean_per_s(&self) -> Option<f64> {
        let Some(moments_ns) = self.moments_ns() else {
            return self.rate.as_ref().map(|(rate, _)| rate.mean_per_s());
        };
        // If the number of requests ends the load, it ends when the next one would be due.
        let count = self.requests_max.unwrap_or(u64::MAX) as usize;
        let cut_ns = moments_ns.get(count).copied().unwrap_or(u64::MAX);
        let ns = self.duration_ns.unwrap_or(u64::MAX).min(cut_ns);
        self.asked_per_s(0.0, ns as f64 / 1e9)
    }
}

/// Whether this process may open that many connections to one of these addresses; raises its limit of
/// descriptors.
///
/// # Errors
/// Names the limit that prevents it.
pub(super) fn allow_connections(
    connections: usize,
    addresses: &[Address],
) -> Result<(), LoadError> {
    let ports = match addresses.iter().any(Address::takes_ports) {
        true => super::host::port_range(),
        false => None,
    };
    match sys::rlimit::raise_open_files() {
        Ok((_, now)) => allow(connections, now, ports),
        Err(error) => Err(LoadError::Io {
            what: "asking for the limit of open files",
            error,
        }),
    }
}

/// Whether that many connections fit into these limits.
fn allow(connections: usize, limit: u64, ports: Option<(u16, u16)>) -> Result<(), LoadError> {
    let needed = (connections + limits::DESCRIPTORS_RESERVED) as u64;
    if limit < needed {
        return Err(LoadError::Descriptors { needed, limit });
    }
    // All connections go to one address.
    match ports {
        Some((first, last)) if connections > usize::from(last.saturating_sub(first)) + 1 => {
            Err(LoadError::Ports {
                connections,
                first,
                last,
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_in_the_way_is_named() {
        let ports = Some((32_768, 60_999));
        assert!(allow(28_232, 100_000, ports).is_ok());
        let said = allow(28_233, 100_000, ports).unwrap_err().to_string();
        assert!(
            said.contains("net.ipv4.ip_local_port_range has 32768 to 60999"),
            "{said}"
        );
        assert!(allow(28_233, 100_000, None).is_ok());
        let said = allow(1000, 1024, ports).unwrap_err().to_string();
        assert!(
            said.contains("1032 descriptors are needed and 1024 are allowed"),
            "{said}"
        );
    }
}
