//! The one form of a load's results, from which all output is made.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::knee::Step;
use super::verdict::Verdict;

/// What a load has found. Its JSON is what `--json` writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The command line, as given.
    pub command: String,
    pub version: String,
    /// When it was started, in seconds since the epoch.
    pub started_unix_s: u64,
    /// The first of what was asked for…
    pub urls: Vec<String>,
    /// …and how many there are.
    #[serde(default)]
    pub urls_total: usize,
    /// `closed loop`, or `open loop` with its spacing.
    pub model: String,
    /// The rate as written, with ramps and steps.
    pub rate: Option<String>,
    pub seed: u64,
    pub connections: usize,
    pub threads: usize,
    pub pipeline: usize,
    pub connection_per_request: bool,
    /// The pattern of ranges that were asked for.
    #[serde(default)]
    pub ranges: Option<String>,
    pub warmup_s: f64,
    pub timeout_s: f64,

    /// Requests that were answered, whatever their status.
    pub requests: u64,
    /// From the beginning of the measured time to its end, or to the last answer where that came later.
    pub seconds: f64,
    pub rate_per_s: f64,
    /// The mean of what was asked for; `null` in a closed loop.
    pub asked_rate_per_s: Option<f64>,
    /// Bytes received, heads and all.
    pub bytes: u64,
    /// By class, each with its count, also where that is zero.
    pub errors: BTreeMap<String, u64>,
    pub errors_total: u64,
    /// Answers by class of status: `2xx` and so on.
    pub status: BTreeMap<String, u64>,
    /// Requests under way when the load ended…
    pub unanswered: u64,
    /// …and such as were due and not sent. Both are in the response times, with what they had waited.
    pub unsent: u64,
    pub response_time_us: Times,
    pub service_time_us: Times,
    /// By how much the generator itself was late; open loop only.
    pub generator_lag_us: Option<Times>,
    pub connect_time_us: Times,
    /// Connections made.
    pub connects: u64,
    /// The most requests that were under way at once, added up over the threads.
    pub in_flight_max: u64,
    /// CPU time of this process, kernel's included.
    pub client_cpu_us_per_request: f64,
    /// CPU time of the processes named by `--pid` and their children.
    pub server_cpu_us_per_request: Option<f64>,
    /// Share of the time that the busiest thread worked, from 0 to 1.
    pub client_busy: f64,
    /// It was stopped before its time.
    pub interrupted: bool,
    pub verdict: Verdict,
    /// What a reader should know before believing the figures.
    pub notes: Vec<String>,
    pub host: Host,
    /// The P99 that the knee was to keep.
    pub knee_p99_limit_us: Option<f64>,
    /// The rates that were tried for the knee, of which this is a summary.
    pub knee_steps: Vec<Step>,
    /// What came of each of several URLs: of the first ones, and of all others in the last line.
    #[serde(default)]
    pub by_url: Vec<ByUrl>,
    /// What video players have met with, if that is what the connections were.
    #[serde(default)]
    pub players: Option<Players>,
    pub timeline: Vec<Second>,
    /// (percentile, response time in us, service time in us), for plots.
    pub percentiles: Vec<(f64, f64, f64)>,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub stdev: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

impl Times {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: micros(histogram.min()),
            mean: histogram.mean() / 1e3,
            stdev: histogram.stdev() / 1e3,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
        }
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Percentiles at which plots have points: ever closer together towards 100.
pub(super) fn percentiles(
    response: &Histogram<u64>,
    service: &Histogram<u64>,
) -> Vec<(f64, f64, f64)> {
    let mut points = Vec::new();
    if response.is_empty() {
        return points;
    }
    // Half-way to 100 each time, five points on the way, as HdrHistogram's own tables have it.
    let (mut from, mut half) = (0.0, 0.5);
    while half * response.len() as f64 >= 0.5 {
        for step in 0..5 {
            let quantile = from + half * f64::from(step) / 5.0;
            points.push((
                quantile * 100.0,
                micros(response.value_at_quantile(quantile)),
                micros(service.value_at_quantile(quantile)),
            ));
        }
        from += half;
        half /= 2.0;
    }
    points.push((100.0, micros(response.max()), micros(service.max())));
    points
}

/// What came of one of several URLs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByUrl {
    /// `None`: all that have no line of their own.
    pub url: Option<String>,
    pub requests: u64,
    pub errors: u64,
    pub response_p50_us: f64,
    pub response_p99_us: f64,
    pub response_max_us: f64,
}

/// What viewers would have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Players {
    /// Files that were opened…
    pub opened: u64,
    /// …and such as began to play.
    pub started: u64,
    /// From opening a file until it plays.
    pub startup_time_us: Times,
    pub seeks: u64,
    /// From a seek until it plays again.
    pub seek_time_us: Times,
    /// How often a buffer ran dry in mid-play.
    pub stalls: u64,
    /// For how long that was, of all players together…
    pub stalled_s: f64,
    /// …beside the time in which they played.
    pub played_s: f64,
    /// The share of `stalled_s` in both, from 0 to 1.
    pub stalled_share: f64,
    /// Files played to their end.
    pub ended: u64,
    /// Opened files that have no movie box.
    pub without_moov: u64,
}

/// The host that a load was run on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub kernel: String,
    pub cpu_model: String,
    /// CPUs that the process could run on.
    pub cpus: usize,
    /// RLIMIT_NOFILE.
    pub open_files_max: u64,
    /// net.ipv4.ip_local_port_range
    pub local_ports: String,
    pub congestion_control: String,
}

/// A second of a load, or what was left of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// From the beginning of the measured time to this one's end.
    pub at_s: f64,
    pub rate_per_s: f64,
    pub asked_rate_per_s: Option<f64>,
    pub errors: u64,
    pub response_p50_us: f64,
    pub response_p99_us: f64,
    pub response_max_us: f64,
    pub service_p99_us: f64,
}
