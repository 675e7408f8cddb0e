//! Makes the summary of a load of requests from its shards' records.

use super::error::{ErrorClass, PORTS_ADVICE};
use super::plan::Plan;
use super::record::{PlayerRecord, Record, UrlRecord};
use super::shards::Finished;
use super::summary::{ByUrl, Players, Second, Summary};
use super::times::{Times, percentiles};
use super::{Spacing, host};
use crate::load::limits;

/// The figures that a shard reports once, at its end.
#[derive(Clone, Default)]
pub(super) struct ShardEnd {
    pub seconds: f64,
    /// Share of the time for which its thread was busy.
    pub busy: f64,
    pub by_url: Vec<UrlRecord>,
    /// The players' record, if the connections are players.
    pub players: Option<PlayerRecord>,
}

impl Summary {
    /// The summary of a load of requests; the caller adds the facts of the command line.
    pub(super) fn of(
        plan: &Plan,
        (total, timeline): (&Record, Vec<Second>),
        finished: &Finished<ShardEnd>,
    ) -> Self {
        let Finished { ends, cpu, .. } = finished;
        let Record {
            tally,
            response,
            service,
            lag,
            connect,
            in_flight_max,
        } = total;
        let seconds = ends.iter().map(|end| end.seconds).fold(0.0, f64::max);
        let per_request = |ns: u64| ns as f64 / 1e3 / tally.requests.max(1) as f64;
        let errors =
            ErrorClass::ALL.map(|class| (class.key().to_owned(), tally.errors[class as usize]));
        let status = (1..=5).map(|class| (format!("{class}xx"), tally.status[class]));
        let mut summary = Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_s: finished.started_unix_s,
            model: model(plan).to_owned(),
            rate: plan.rate.as_ref().map(|(rate, _)| rate.to_string()),
            seed: plan.seed,
            connections: plan.connections,
            threads: plan.threads,
            pipeline: plan.pipeline,
            connection_per_request: plan.connection_per_request,
            warmup_s: plan.warmup_ns as f64 / 1e9,
            timeout_s: plan.timeout_ms as f64 / 1e3,
            requests: tally.requests,
            seconds,
            rate_per_s: tally.requests as f64 / seconds.max(1e-9),
            asked_rate_per_s: plan.asked_mean_per_s(),
            bytes: tally.bytes,
            errors: errors.into(),
            errors_total: tally.errors_total(),
            status: status.collect(),
            unanswered: tally.unanswered,
            unsent: tally.unsent,
            response_time_us: Times::of(response),
            service_time_us: Times::of(service),
            generator_lag_us: plan.is_open().then(|| Times::of(lag)),
            connect_time_us: Times::of(connect),
            connects: tally.connects,
            in_flight_max: *in_flight_max,
            client_cpu_us_per_request: per_request(cpu.client_ns),
            server_cpu_us_per_request: cpu.server_ns.map(per_request),
            client_busy: ends.iter().map(|end| end.busy).fold(0.0, f64::max),
            interrupted: finished.stopped,
            urls: plan.urls.clone(),
            urls_total: plan.requests.len(),
            ranges: plan.ranges.as_ref().map(|ranges| ranges.spec.to_string()),
            by_url: by_url(plan, ends),
            players: players(plan, ends),
            host: host::facts(),
            percentiles: percentiles(response, service),
            timeline,
            ..Summary::default()
        };
        summary.finish(plan, tally.unchecked);
        summary
    }

    /// Adds the verdict and the notes, which are derived from the figures.
    fn finish(&mut self, plan: &Plan, unchecked: u64) {
        self.notes.clone_from(&plan.notes);
        if unchecked > 0 {
            self.notes.push(format!(
                "{} bodies were not compared: each thread remembers {} to compare with",
                unchecked,
                limits::BODIES_MAX
            ));
        }
        let spacing = plan.rate.as_ref().map(|(_, spacing)| *spacing);
        self.judge(spacing.unwrap_or(Spacing::Constant));
        notes(self);
    }
}

/// The arrival model, in words.
fn model(plan: &Plan) -> &'static str {
    match &plan.rate {
        None if plan.moments_ns().is_some() => "open loop, at the log's own times",
        None if plan.players().is_some() => "video players",
        None => "closed loop",
        Some((_, Spacing::Constant)) => "open loop, constant arrivals",
        Some((_, Spacing::Poisson)) => "open loop, Poisson arrivals",
    }
}

/// The results by request, merged from all shards.
fn by_url(plan: &Plan, ends: &[ShardEnd]) -> Vec<ByUrl> {
    let Some(mut all) = UrlRecord::of(plan.requests.len()) else {
        return Vec::new();
    };
    for end in ends {
        for (all, one) in all.iter_mut().zip(&end.by_url) {
            all.add(one);
        }
    }
    let row = |(at, record): (usize, &UrlRecord)| {
        let times = Times::of(&record.response);
        ByUrl {
            url: plan.urls.get(at).cloned(),
            requests: record.requests,
            errors: record.errors,
            response_p50_us: times.p50,
            response_p99_us: times.p99,
            response_max_us: times.max,
        }
    };
    all.iter().enumerate().map(row).collect()
}

/// The players' records, merged from all shards.
fn players(plan: &Plan, ends: &[ShardEnd]) -> Option<Players> {
    plan.players()?;
    let mut all = PlayerRecord::new();
    for end in ends.iter().filter_map(|end| end.players.as_ref()) {
        all.add(end);
    }
    let seconds = |ns: u64| ns as f64 / 1e9;
    let watched_ns = all.played_ns + all.stalled_ns;
    Some(Players {
        opened: all.opened,
        started: all.startup.len(),
        startup_time_us: Times::of(&all.startup),
        seeks: all.seeks,
        seek_time_us: Times::of(&all.seek),
        stalls: all.stalls,
        stalled_s: seconds(all.stalled_ns),
        played_s: seconds(all.played_ns),
        stalled_share: all.stalled_ns as f64 / watched_ns.max(1) as f64,
        ended: all.ended,
        without_moov: all.without_moov,
    })
}

/// Notes that explain errors.
fn notes(summary: &mut Summary) {
    let count = |class: ErrorClass| summary.errors.get(class.key()).copied().unwrap_or(0);
    let mut notes = Vec::new();
    if count(ErrorClass::NoPorts) > 0 {
        notes.push(format!(
            "no local port was left for more connections: {PORTS_ADVICE}"
        ));
    }
    if count(ErrorClass::NoDescriptors) > 0 {
        notes.push("no descriptor was left for more connections: raise ulimit -n".to_owned());
    }
    if count(ErrorClass::BadRange) > 0 {
        notes.push(
            "answers were not the range that was asked for, by status, Content-Range or length"
                .to_owned(),
        );
    }
    if let Some(players) = &summary.players
        && players.without_moov > 0
    {
        notes.push(format!(
            "{} of the files that were opened have no movie box (moov): they were played at {} Mbit/s \
             unless --player-bitrate says otherwise",
            players.without_moov,
            limits::PLAYER_BITS_PER_S as f64 / 1e6
        ));
    }
    if count(ErrorClass::Timeout) > 0 {
        notes.push(format!(
            "requests had no whole answer after {} s and were given up (--timeout)",
            summary.timeout_s
        ));
    }
    let redirected = summary.status.get("3xx").copied().unwrap_or(0);
    if redirected > 0 && redirected * 2 >= summary.requests {
        notes.push(
            "most answers are redirects or \"not modified\" (3xx), which are not followed: \
             ask for what they point to"
                .to_owned(),
        );
    }
    if summary.unanswered > 0 {
        notes.push(format!(
            "{} requests had no answer when it ended, at most {} s after the last one was due",
            summary.unanswered,
            limits::GRACE_MS as f64 / 1e3
        ));
    }
    summary.notes.extend(notes);
}
