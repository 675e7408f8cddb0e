//! A shard's record of requests between two reports.

use hdrhistogram::Histogram;

use super::error::ErrorClass;
use super::intervals::Recorded;
use crate::load::limits;

/// A histogram of nanoseconds, exact to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(64, limits::TIME_NS_MAX, 3) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants, which a test has tried"),
    }
}

/// The record of one of several requests. Its times are exact to two digits only, since there may
/// be many such records.
#[derive(Clone)]
pub(super) struct UrlRecord {
    pub requests: u64,
    pub errors: u64,
    pub response: Histogram<u64>,
}

impl UrlRecord {
    /// A record for each of the first requests of a plan, and one for all others; `None` for a plan
    /// with one request, which the main record describes.
    pub(crate) fn of(requests: usize) -> Option<Vec<Self>> {
        let kinds = requests.min(limits::URLS_LISTED_MAX + 1);
        (kinds > 1).then(|| vec![Self::new(); kinds])
    }

    fn new() -> Self {
        let Ok(response) = Histogram::new_with_bounds(64, limits::TIME_NS_MAX, 2) else {
            unreachable!("the bounds are constants, which a test has tried")
        };
        Self {
            requests: 0,
            errors: 0,
            response,
        }
    }

    /// The record of this request.
    pub(crate) fn at(records: &mut [Self], request: u32) -> &mut Self {
        let last = records.len() - 1;
        &mut records[last.min(request as usize)]
    }

    pub(crate) fn answered(&mut self, response_ns: u64) {
        self.requests += 1;
        self.response.saturating_record(response_ns);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.response += &other.response;
    }
}

/// The record of the video players of one shard, or of all.
#[derive(Clone)]
pub(super) struct PlayerRecord {
    /// The warm-up is over, and its records were discarded.
    pub measured: bool,
    /// Files opened, whether or not they began to play.
    pub opened: u64,
    /// From opening a file until it plays.
    pub startup: Histogram<u64>,
    pub seeks: u64,
    /// From a seek until it plays.
    pub seek: Histogram<u64>,
    /// How often the buffer ran dry, and for how long in total.
    pub stalls: u64,
    pub stalled_ns: u64,
    pub played_ns: u64,
    /// Files played to their end.
    pub ended: u64,
    /// Files without a movie box.
    pub without_moov: u64,
}

impl PlayerRecord {
    pub(crate) fn new() -> Self {
        Self {
            measured: false,
            opened: 0,
            startup: histogram(),
            seeks: 0,
            seek: histogram(),
            stalls: 0,
            stalled_ns: 0,
            played_ns: 0,
            ended: 0,
            without_moov: 0,
        }
    }

    pub(crate) fn started(&mut self, waited_ns: u64) {
        self.startup.saturating_record(waited_ns);
    }

    pub(crate) fn found(&mut self, waited_ns: u64) {
        self.seek.saturating_record(waited_ns);
    }

    pub(crate) fn stalled(&mut self, waited_ns: u64) {
        self.stalls += 1;
        self.stalled_ns += waited_ns;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.startup += &other.startup;
        self.seeks += other.seeks;
        self.seek += &other.seek;
        self.stalls += other.stalls;
        self.stalled_ns += other.stalled_ns;
        self.played_ns += other.played_ns;
        self.ended += other.ended;
        self.without_moov += other.without_moov;
    }
}

/// Counts of one shard, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes received, heads included.
    pub bytes: u64,
    /// Answers by the first digit of their status.
    pub status: [u64; 10],
    pub errors: [u64; ErrorClass::ALL.len()],
    /// Connections made.
    pub connects: u64,
    /// Bodies that were not compared, since the limit of remembered ones was reached.
    pub unchecked: u64,
    /// Requests in flight when the load ended.
    pub unanswered: u64,
    /// Requests that were due and had not been sent when the load ended.
    pub unsent: u64,
}

impl Tally {
    pub(crate) fn error(&mut self, class: ErrorClass) {
        self.errors[class as usize] += 1;
    }

    pub(crate) fn errors_total(&self) -> u64 {
        self.errors.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.status, &other.status);
        add(&mut self.errors, &other.errors);
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.connects += other.connects;
        self.unchecked += other.unchecked;
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
    }
}

/// Histograms and counts.
#[derive(Clone)]
pub(super) struct Record {
    pub tally: Tally,
    /// From when a request was due.
    pub response: Histogram<u64>,
    /// From when it was sent.
    pub service: Histogram<u64>,
    /// How late the generator itself sent requests that were due.
    pub lag: Histogram<u64>,
    pub connect: Histogram<u64>,
    pub in_flight_max: u64,
}

impl Record {
    /// A request's two times.
    pub(crate) fn times(&mut self, response_ns: u64, service_ns: u64) {
        self.response.saturating_record(response_ns);
        self.service.saturating_record(service_ns);
    }
}

impl Recorded for Record {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            response: histogram(),
            service: histogram(),
            lag: histogram(),
            connect: histogram(),
            in_flight_max: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        // All histograms have the same bounds, so adding does not fail.
        self.response += &other.response;
        self.service += &other.service;
        self.lag += &other.lag;
        self.connect += &other.connect;
        self.in_flight_max += other.in_flight_max;
    }

    /// The maximum in flight is not a sum over time.
    fn add_later(&mut self, other: &Self) {
        let most = self.in_flight_max.max(other.in_flight_max);
        self.add(other);
        self.in_flight_max = most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_to_a_tenth_of_a_percent() {
        let mut histogram = histogram();
        for ns in [1, 20_000, 1_234_567, limits::TIME_NS_MAX, u64::MAX] {
            histogram.reset();
            histogram.saturating_record(ns);
            let seen = histogram.max().min(limits::TIME_NS_MAX) as f64;
            let wanted = ns.min(limits::TIME_NS_MAX) as f64;
            assert!(
                (seen - wanted).abs() <= 64.0 + wanted / 1000.0,
                "{ns}: {seen}"
            );
        }
    }
}
