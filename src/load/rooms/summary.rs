//! The results of a load of rooms, from which table, page and JSON are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::arrivals::Spacing;
use super::super::error::ErrorClass;
use super::super::host::{self, Host};
use super::super::shards::Finished;
use super::super::summary::Second;
use super::super::times::{Times, percentiles};
use super::super::verdict::{self, Verdict};
use super::plan::{PublishBy, RoomsPlan};
use super::record::{Record, ShardEnd};

/// The summary of a load of rooms; `--json` writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoomsSummary {
    /// The command line, as given.
    pub command: String,
    /// Version of headwater that ran the load.
    pub version: String,
    /// When it was started, in seconds since the epoch.
    pub started_unix_s: u64,
    /// URL that subscribers connected to, as given, with `{room}` for a room's number.
    pub sub_url: String,
    /// URL that publishers connected to, as given, with `{room}` for a room's number.
    pub pub_url: String,
    /// How messages were published: a request's method, or `WebSocket`.
    pub pub_method: String,
    /// `open loop` with its spacing.
    pub model: String,
    /// The rate as written, with ramps and steps.
    pub rate: String,
    /// Seed of the moments at which messages were due, with `--poisson`.
    pub seed: u64,
    /// Subscribers of all rooms together, each with a WebSocket connection.
    pub subscribers: usize,
    /// Publishers of all rooms together, each with a connection.
    pub publishers: usize,
    /// Rooms, over which subscribers and publishers were spread evenly.
    pub rooms: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Threads that shared subscribers and publishers.
    pub threads: usize,
    /// Seconds before the measured time, whose messages do not count.
    pub warmup_s: f64,
    /// Time-out in seconds of a connection, of a handshake, and of publishing a message.
    pub timeout_s: f64,
    /// Seconds for which the load waited for deliveries after the last message.
    pub grace_s: f64,

    /// From the beginning of the measured time to its end, or to the last delivery if that was
    /// later.
    pub seconds: f64,
    /// Messages that the server accepted.
    pub published: u64,
    /// Messages that the server accepted per second: `published` / `seconds`.
    pub publish_rate_per_s: f64,
    /// The mean of the requested rate.
    pub asked_publish_rate_per_s: f64,
    /// Messages that were due and never sent.
    pub unsent: u64,
    /// Messages delivered, each to one subscriber, without duplicates.
    pub deliveries: u64,
    /// Deliveries per second to all subscribers together: `deliveries` / `seconds`.
    pub delivery_rate_per_s: f64,
    /// For each published message, the subscribers of its room.
    pub expected_deliveries: u64,
    /// Expected deliveries that did not arrive.
    pub lost: u64,
    /// Messages that a subscriber received again.
    pub duplicates: u64,
    /// Deliveries that arrived after a later message of the same publisher.
    pub out_of_order: u64,
    /// Messages that were truncated or altered.
    pub damaged: u64,
    /// Messages of other rooms.
    pub misrouted: u64,
    /// Tags of other runs.
    pub foreign: u64,
    /// WebSocket messages received.
    pub websocket_messages: u64,
    /// WebSocket messages received without a tag.
    pub untagged: u64,
    /// `deliveries` for each WebSocket message with a tag: more than one where a server gathers messages.
    pub deliveries_per_websocket_message: f64,
    /// Bytes that subscribers received, frame headers included.
    pub bytes: u64,
    /// Subscribers that never connected; they are left out of the expected deliveries.
    pub subscribers_unconnected: u64,
    /// Subscribers' connections that ended before the load did, and were made again.
    pub connections_lost: u64,
    /// Connections made.
    pub connects: u64,
    /// Errors by class, including classes with a count of zero.
    pub errors: BTreeMap<String, u64>,
    /// Errors of all classes.
    pub errors_total: u64,
    /// From when a message was due to its delivery.
    pub delivery_time_us: Times,
    /// From when it was sent.
    pub transit_time_us: Times,
    /// From when it was sent to the server's answer to its publisher; not over WebSocket.
    pub publish_time_us: Option<Times>,
    /// How late the generator itself was.
    pub generator_lag_us: Times,
    /// WebSocket connections with their handshakes.
    pub connect_time_us: Times,
    /// CPU time of this process, in user and kernel mode, publishers included.
    pub client_cpu_us_per_delivery: f64,
    /// CPU time of the processes named by `--pid` and their children.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// Share of the time for which the busiest thread was busy, from 0 to 1.
    pub client_busy: f64,
    /// The load was stopped early.
    pub interrupted: bool,
    /// Whether each message arrived once, at the requested rate, and whether the generator was the
    /// limit.
    pub verdict: Verdict,
    /// Notes that are needed to interpret the figures.
    pub notes: Vec<String>,
    /// The generator's host.
    pub host: Host,
    /// Figures of each second; the last may be shorter, and a rest below 0.25 s has no entry.
    pub timeline: Vec<RoomsSecond>,
    /// Percentile, delivery time and transit time, in microseconds.
    pub percentiles: Vec<(f64, f64, f64)>,
}

/// A second of a load of rooms; the last one may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoomsSecond {
    /// From the beginning of the measured time to this second's end.
    pub at_s: f64,
    /// Messages that the server accepted per second.
    pub published_per_s: f64,
    /// Deliveries per second to all subscribers together, without duplicates.
    pub deliveries_per_s: f64,
    /// Errors of all classes, and messages doubled, out of order, damaged or misrouted; lost ones
    /// are left out.
    pub errors: u64,
    /// Median delivery time, in microseconds.
    pub delivery_p50_us: f64,
    /// P99 of the delivery time, in microseconds.
    pub delivery_p99_us: f64,
    /// Longest delivery time, in microseconds.
    pub delivery_max_us: f64,
}

impl RoomsSummary {
    /// Makes the summary from all records; the caller adds the facts of the command line.
    pub(super) fn of(
        plan: &RoomsPlan,
        total: &Record,
        timeline: Vec<RoomsSecond>,
        finished: &Finished<ShardEnd>,
    ) -> Self {
        let ends = &finished.ends;
        let sum = |of: fn(&ShardEnd) -> u64| ends.iter().map(of).sum::<u64>();
        let most = |of: fn(&ShardEnd) -> f64| ends.iter().map(of).fold(0.0, f64::max);
        let seconds = most(|end| end.seconds);
        let tally = &total.tally;
        let per_s = |count: u64| count as f64 / seconds.max(1e-9);
        let per_delivery = |ns: u64| ns as f64 / 1e3 / tally.deliveries.max(1) as f64;
        let errors =
            ErrorClass::ALL.map(|class| (class.key().to_owned(), tally.errors[class as usize]));
        let mut summary = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_s: finished.started_unix_s,
            seconds,
            published: tally.published,
            publish_rate_per_s: per_s(tally.published),
            unsent: sum(|end| end.unsent),
            deliveries: tally.deliveries,
            delivery_rate_per_s: per_s(tally.deliveries),
            expected_deliveries: sum(|end| end.expected),
            lost: sum(|end| end.lost),
            duplicates: tally.duplicates,
            out_of_order: tally.out_of_order,
            damaged: tally.damaged,
            misrouted: tally.misrouted,
            foreign: tally.foreign,
            websocket_messages: tally.websocket_messages,
            untagged: tally.untagged,
            deliveries_per_websocket_message: tally.deliveries as f64
                / (tally.websocket_messages - tally.untagged).max(1) as f64,
            bytes: tally.bytes,
            subscribers_unconnected: sum(|end| end.unconnected),
            connections_lost: tally.connections_lost,
            connects: tally.connects,
            errors: errors.into(),
            errors_total: tally.errors_total(),
            delivery_time_us: Times::of(&total.delivery),
            transit_time_us: Times::of(&total.transit),
            publish_time_us: (!total.publish.is_empty()).then(|| Times::of(&total.publish)),
            generator_lag_us: Times::of(&total.lag),
            connect_time_us: Times::of(&total.connect),
            client_cpu_us_per_delivery: per_delivery(finished.cpu.client_ns),
            server_cpu_us_per_delivery: finished.cpu.server_ns.map(per_delivery),
            client_busy: most(|end| end.busy),
            interrupted: finished.stopped,
            host: host::facts(),
            timeline,
            percentiles: percentiles(&total.delivery, &total.transit),
            ..Self::of_plan(plan)
        };
        summary.judge(plan.spacing);
        summary
    }

    /// A summary with the facts from the plan and without figures.
    fn of_plan(plan: &RoomsPlan) -> Self {
        Self {
            pub_method: match &plan.publish_by {
                PublishBy::Request(method) => method.clone(),
                PublishBy::WebSocket => "WebSocket".to_owned(),
            },
            model: match plan.spacing {
                Spacing::Constant => "open loop, constant arrivals",
                Spacing::Poisson => "open loop, Poisson arrivals",
            }
            .to_owned(),
            rate: plan.rate.to_string(),
            seed: plan.seed,
            subscribers: plan.subscribers,
            publishers: plan.publishers,
            rooms: plan.rooms,
            size: plan.size,
            threads: plan.threads,
            warmup_s: plan.warmup_ns as f64 / 1e9,
            timeout_s: plan.timeout_ms as f64 / 1e3,
            grace_s: plan.grace_ms as f64 / 1e3,
            asked_publish_rate_per_s: plan.rate.mean_per_s(),
            ..Self::default()
        }
    }

    /// The timeline in the form of a load of requests, with deliveries as its rate.
    pub(in crate::load) fn deliveries_by_second(&self) -> Vec<Second> {
        self.seconds_of(|second| second.deliveries_per_s)
    }

    /// The timeline in the same form, with published messages as its rate.
    pub(in crate::load) fn published_by_second(&self) -> Vec<Second> {
        let mut seconds = self.seconds_of(|second| second.published_per_s);
        for second in &mut seconds {
            second.asked_rate_per_s = Some(self.asked_publish_rate_per_s);
        }
        seconds
    }

    fn seconds_of(&self, rate: fn(&RoomsSecond) -> f64) -> Vec<Second> {
        let second = |second: &RoomsSecond| Second {
            at_s: second.at_s,
            rate_per_s: rate(second),
            errors: second.errors,
            response_p50_us: second.delivery_p50_us,
            response_p99_us: second.delivery_p99_us,
            response_max_us: second.delivery_max_us,
            ..Second::default()
        };
        self.timeline.iter().map(second).collect()
    }

    /// Deliveries that went wrong, and all other errors.
    pub fn wrong(&self) -> u64 {
        self.lost
            + self.duplicates
            + self.out_of_order
            + self.damaged
            + self.misrouted
            + self.subscribers_unconnected
            + self.errors_total
    }

    fn judge(&mut self, spacing: Spacing) {
        let asked = self.asked_publish_rate_per_s;
        let least = verdict::least_due_per_s(asked, self.seconds, spacing);
        let judged = verdict::VerdictInput {
            busy: self.client_busy,
            lag: Some(self.generator_lag_us),
            p99_us: self.delivery_time_us.p99,
            failed: self.wrong() > 0 || self.deliveries == 0,
            rate_per_s: self.publish_rate_per_s,
            asked_rate_per_s: Some(least).filter(|_| !self.interrupted),
        };
        self.verdict = judged.verdict();
        self.notes = judged.notes();
        let mut note = |text: String| self.notes.push(text);
        if judged.is_short() {
            note(format!(
                "the rate was not reached: {} messages were due and never sent, {} publishers were \
                 waiting for the server; it is slower than that, or needs more of them (--publishers)",
                self.unsent, self.publishers
            ));
        }
        if self.lost > 0 {
            note(format!(
                "{} deliveries had not arrived {} s after the last message was published (--grace)",
                self.lost, self.grace_s
            ));
        }
        if self.subscribers_unconnected > 0 {
            note(format!(
                "{} subscribers never connected and are left out of the expected deliveries",
                self.subscribers_unconnected
            ));
        }
        if self.connections_lost > 0 {
            note(format!(
                "{} connections of subscribers ended early: what was published until they were made \
                 again counts as lost",
                self.connections_lost
            ));
        }
        if self.deliveries == 0 && self.published > 0 {
            note(
                "no published message was delivered: do both URLs lead to the same room?"
                    .to_owned(),
            );
        }
    }
}
