//! The results of a load of requests, from which table, page and JSON are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::arrivals::Spacing;
use super::host::Host;
use super::knee::KneeStep;
use super::times::Times;
use super::verdict::{self, Verdict, VerdictInput};

/// The summary of a load of requests; `--json` writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The command line, as given.
    pub command: String,
    /// Version of headwater that ran the load.
    pub version: String,
    /// When it was started, in seconds since the epoch.
    pub started_unix_s: u64,
    /// The first URLs of the load.
    pub urls: Vec<String>,
    /// How many URLs the load has.
    #[serde(default)]
    pub urls_total: usize,
    /// `closed loop`, or `open loop` with its spacing.
    pub model: String,
    /// The rate as written, with ramps and steps.
    pub rate: Option<String>,
    /// Seed of Poisson arrivals, of the order of requests and pieces, and of players' seeks.
    pub seed: u64,
    /// Connections that could be open at once, over all threads.
    pub connections: usize,
    /// Threads that shared the connections.
    pub threads: usize,
    /// Requests that could be in flight at once on one connection.
    pub pipeline: usize,
    /// Each request was sent on a new connection.
    pub connection_per_request: bool,
    /// The pattern of the requested ranges.
    #[serde(default)]
    pub ranges: Option<String>,
    /// Seconds before the measured time, whose requests do not count.
    pub warmup_s: f64,
    /// Time-out in seconds of a connection, and of a request from the send to its whole answer.
    pub timeout_s: f64,

    /// Requests that were answered, whatever their status.
    pub requests: u64,
    /// From the beginning of the measured time to its end, or to the last answer if that was later.
    pub seconds: f64,
    /// Requests answered per second: `requests` / `seconds`.
    pub rate_per_s: f64,
    /// The mean of the requested rate; `null` in a closed loop.
    pub asked_rate_per_s: Option<f64>,
    /// Bytes received, heads included.
    pub bytes: u64,
    /// Errors by class, including classes with a count of zero.
    pub errors: BTreeMap<String, u64>,
    /// Errors of all classes.
    pub errors_total: u64,
    /// Answers by class of status: `2xx` and so on.
    pub status: BTreeMap<String, u64>,
    /// Requests in flight when the load ended. The response times include the time that they had
    /// waited.
    pub unanswered: u64,
    /// Requests that were due and never sent. The response times include the time that they had
    /// waited.
    pub unsent: u64,
    /// From when a request was due to its whole answer, or how long one without an answer has waited.
    pub response_time_us: Times,
    /// From when a request was sent to its whole answer, or how long one without an answer has waited.
    pub service_time_us: Times,
    /// How late the generator itself was; open loop only.
    pub generator_lag_us: Option<Times>,
    /// Time to make each connection, including those before the measured time; failed attempts are
    /// left out.
    pub connect_time_us: Times,
    /// Connections made.
    pub connects: u64,
    /// The most requests that were in flight at once, added up over the threads.
    pub in_flight_max: u64,
    /// CPU time of this process, in user and kernel mode.
    pub client_cpu_us_per_request: f64,
    /// CPU time of the processes named by `--pid` and their children.
    pub server_cpu_us_per_request: Option<f64>,
    /// Share of the time for which the busiest thread was busy, from 0 to 1.
    pub client_busy: f64,
    /// The load was stopped early.
    pub interrupted: bool,
    /// Whether requests were answered at the requested rate, and whether the generator was the
    /// limit.
    pub verdict: Verdict,
    /// Notes that are needed to interpret the figures.
    pub notes: Vec<String>,
    /// The generator's host.
    pub host: Host,
    /// The bound on the P99 for the search for the knee.
    pub knee_p99_limit_us: Option<f64>,
    /// The rates that were tried in search of the knee; this is the summary of the chosen one.
    pub knee_steps: Vec<KneeStep>,
    /// The results by URL, if there are several: the first ones, and all others in the last row.
    #[serde(default)]
    pub by_url: Vec<ByUrl>,
    /// The results of video players, if the connections were players.
    #[serde(default)]
    pub players: Option<Players>,
    /// Figures of each second; the last may be shorter, and a rest below 0.25 s has no entry.
    pub timeline: Vec<Second>,
    /// (percentile, response time in us, service time in us), for plots.
    pub percentiles: Vec<(f64, f64, f64)>,
}

/// The requests that are due at a constant rate within `seconds`; the first is due at once.
pub(super) fn due_in(rate_per_s: f64, seconds: f64) -> u64 {
    // Rounding may make a product that should be whole a little larger.
    (rate_per_s * seconds - 1e-6).ceil().max(1.0) as u64
}

impl Summary {
    /// The requests that are due in the measured time at the requested rate.
    pub fn due(&self) -> Option<u64> {
        Some(due_in(self.asked_rate_per_s?, self.seconds))
    }

    /// Whether nothing was due.
    fn is_idle(&self) -> bool {
        self.asked_rate_per_s.is_some() && self.requests + self.unanswered + self.unsent == 0
    }

    /// Sets the verdict from the figures, and adds the notes that explain it.
    pub(super) fn judge(&mut self, spacing: Spacing) {
        let asked = self.asked_rate_per_s.filter(|_| !self.interrupted);
        let judged = VerdictInput {
            busy: self.client_busy,
            lag: self.generator_lag_us,
            p99_us: self.response_time_us.p99,
            failed: self.errors_total > 0 || self.requests == 0 && !self.is_idle(),
            rate_per_s: self.rate_per_s,
            asked_rate_per_s: asked
                .map(|rate| verdict::least_due_per_s(rate, self.seconds, spacing)),
        };
        self.verdict = judged.verdict();
        self.notes.extend(judged.notes());
        if self.is_idle() && self.verdict == Verdict::Good {
            self.verdict = Verdict::RateNotReached;
            self.notes
                .push("no request was due in that time: use a longer --duration".to_owned());
        }
        if judged.is_short() {
            let backlog = match self.unsent {
                0 => String::new(),
                unsent => format!("{unsent} requests were due and never sent; "),
            };
            self.notes.push(format!(
                "the rate was not reached: {backlog}all {} connections were waiting for answers; \
                 the server is slower than that, or needs more connections (-c)",
                self.connections
            ));
        }
    }
}

/// The results of one of several URLs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByUrl {
    /// `None`: all URLs without a separate line.
    pub url: Option<String>,
    /// Requests that were answered, whatever their status.
    pub requests: u64,
    /// Errors of these requests, of all classes.
    pub errors: u64,
    /// Median response time of the answered ones, in microseconds, to two digits.
    pub response_p50_us: f64,
    /// P99 of the same.
    pub response_p99_us: f64,
    /// The longest of the same.
    pub response_max_us: f64,
}

/// The results of a load of video players.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Players {
    /// Files that players opened.
    pub opened: u64,
    /// Opened files that began to play.
    pub started: u64,
    /// From opening a file until it plays.
    pub startup_time_us: Times,
    /// Seeks, each to a random piece.
    pub seeks: u64,
    /// From a seek until it plays again.
    pub seek_time_us: Times,
    /// How often a buffer ran dry in mid-play.
    pub stalls: u64,
    /// Time in stalls, of all players together.
    pub stalled_s: f64,
    /// Time in which players played, of all together.
    pub played_s: f64,
    /// The share of `stalled_s` in `stalled_s` and `played_s` together, from 0 to 1.
    pub stalled_share: f64,
    /// Files played to their end.
    pub ended: u64,
    /// Opened files that have no movie box.
    pub without_moov: u64,
}

/// A second of a load; the last one may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// From the beginning of the measured time to this second's end.
    pub at_s: f64,
    /// Requests answered per second.
    pub rate_per_s: f64,
    /// The requested rate in this second; `None` in a closed loop.
    pub asked_rate_per_s: Option<f64>,
    /// Errors of all classes.
    pub errors: u64,
    /// Median response time, in microseconds.
    pub response_p50_us: f64,
    /// P99 of the response time, in microseconds.
    pub response_p99_us: f64,
    /// Longest response time, in microseconds.
    pub response_max_us: f64,
    /// P99 of the service time, in microseconds.
    pub service_p99_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut Summary)) -> Summary {
        let mut summary = Summary {
            requests: 1000,
            rate_per_s: 1000.0,
            asked_rate_per_s: Some(1000.0),
            client_busy: 0.5,
            ..Summary::default()
        };
        change(&mut summary);
        summary.judge(Spacing::Constant);
        summary
    }

    fn lag(p99: f64) -> Option<Times> {
        Some(Times {
            p99,
            ..Times::default()
        })
    }

    #[test]
    fn good_figures_need_no_note() {
        let summary = judged(|_| {});
        assert_eq!((summary.verdict, summary.notes.len()), (Verdict::Good, 0));
    }

    #[test]
    fn the_bottleneck_is_named() {
        assert_eq!(
            judged(|s| s.client_busy = 0.99).verdict,
            Verdict::SaturatedClient
        );
        assert_eq!(
            judged(|s| s.generator_lag_us = lag(2000.0)).verdict,
            Verdict::SaturatedClient
        );
        // The generator is late, but little compared with the measured times.
        let slow = judged(|s| {
            s.generator_lag_us = lag(2000.0);
            s.response_time_us.p99 = 50_000.0;
        });
        assert_eq!(slow.verdict, Verdict::Good);
        let short = judged(|s| {
            s.rate_per_s = 990.0;
            s.unsent = 10;
        });
        assert_eq!(short.verdict, Verdict::RateNotReached);
        assert!(
            short.notes[0].contains("10 requests were due"),
            "{:?}",
            short.notes
        );
        assert_eq!(judged(|s| s.rate_per_s = 996.0).verdict, Verdict::Good);
        let interrupted = judged(|s| {
            s.rate_per_s = 500.0;
            s.interrupted = true;
        });
        assert_eq!(interrupted.verdict, Verdict::Good);
    }

    #[test]
    fn errors_are_told_before_a_rate() {
        assert_eq!(judged(|s| s.errors_total = 1).verdict, Verdict::Errors);
        let unanswered = |s: &mut Summary| (s.requests, s.unanswered) = (0, 1);
        assert_eq!(judged(unanswered).verdict, Verdict::Errors);
        let closed = |s: &mut Summary| (s.requests, s.asked_rate_per_s) = (0, None);
        assert_eq!(judged(closed).verdict, Verdict::Errors);
    }

    #[test]
    fn a_load_in_which_nothing_was_due_is_not_good() {
        let idle = judged(|s| s.requests = 0);
        assert_eq!(idle.verdict, Verdict::RateNotReached);
        assert!(idle.notes[0].contains("no request was due"), "{idle}");
    }

    #[test]
    fn chance_is_no_shortfall_of_the_server() {
        let after_10_s = |rate_per_s, spacing| {
            let mut summary = Summary {
                requests: 10_000,
                seconds: 10.0,
                rate_per_s,
                asked_rate_per_s: Some(1000.0),
                ..Summary::default()
            };
            summary.judge(spacing);
            summary.verdict
        };
        // Three standard deviations of 10,000 events are 3%.
        for (rate, constant, poisson) in [
            (990.0, Verdict::RateNotReached, Verdict::Good),
            (960.0, Verdict::RateNotReached, Verdict::RateNotReached),
        ] {
            assert_eq!(after_10_s(rate, Spacing::Constant), constant);
            assert_eq!(after_10_s(rate, Spacing::Poisson), poisson);
        }
    }
}
