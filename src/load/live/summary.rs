//! The results of a load of live readers, from which table, page and JSON are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::error::ErrorClass;
use super::super::host::{self, Host};
use super::super::shards::Finished;
use super::super::summary::Second;
use super::super::times::{Times, percentiles};
use super::super::verdict::{self, Verdict};
use super::plan::{LivePlan, WriteTo};
use super::record::{Record, ShardEnd};
use super::writer::Written;

/// The summary of a load of live readers; `--json` writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveSummary {
    /// The command line, as given.
    pub command: String,
    /// Version of headwater that ran the load.
    pub version: String,
    /// When it was started, in seconds since the epoch.
    pub started_unix_s: u64,
    /// URL that readers requested, as given.
    pub url: String,
    /// A file's path, or an upload's method and URL.
    pub written_to: String,
    /// Readers read one growing answer instead of polling for new bytes.
    pub follow: bool,
    /// Readers began at the object's beginning, not at its end.
    pub from_start: bool,
    /// Seed of the moments at which readers joined, with `--join-at-random`.
    pub seed: u64,
    /// Readers of the plan, each with its own connection.
    pub readers: usize,
    /// Threads that shared the readers; the writer had another.
    pub threads: usize,
    /// Bytes of a piece.
    pub piece_bytes: usize,
    /// Seconds from when one piece was due to when the next was.
    pub interval_s: f64,
    /// Seconds from one of a reader's requests to its next; `null` with `follow`.
    pub poll_s: Option<f64>,
    /// Seconds within which readers were to join.
    pub join_s: f64,
    /// Seconds without a new piece, although one was written, from which on a reader has a stall.
    pub stall_s: f64,
    /// Time-out in seconds of a connection, and of an answer or, with `follow`, its head.
    pub timeout_s: f64,
    /// Seconds that readers had to read the rest after the last piece was written.
    pub grace_s: f64,

    /// From when the first piece was due to the end of the duration, or to the last piece read if
    /// that was later.
    pub seconds: f64,
    /// Pieces written, by the one writer.
    pub written: u64,
    /// Pieces written per second, up to the end of the duration or the last write, whichever was
    /// later.
    pub write_rate_per_s: f64,
    /// Pieces due per second: 1 / `interval_s`.
    pub asked_write_rate_per_s: f64,
    /// Bits written per second of the same time.
    pub write_bits_per_s: f64,
    /// Bits due per second: 8 * `piece_bytes` / `interval_s`.
    pub asked_write_bits_per_s: f64,
    /// Pieces that were due and not written.
    pub unwritten: u64,
    /// Whole pieces, each read by one reader.
    pub pieces: u64,
    /// Pieces read per second by all readers together: `pieces` / `seconds`.
    pub piece_rate_per_s: f64,
    /// Bytes received, heads included.
    pub bytes: u64,
    /// Bytes received per second by all readers together: `bytes` / `seconds`.
    pub bytes_per_s: f64,
    /// Requests that readers sent, those that failed included.
    pub requests: u64,
    /// Answers without new bytes (416).
    pub nothing_new: u64,
    /// Readers that sent a request.
    pub readers_joined: u64,
    /// Readers that sent a request and never got a whole piece.
    pub readers_without_piece: u64,
    /// How often a reader got no new piece for longer than `stall_s` although one had been written.
    pub stalls: u64,
    /// Time in stalls, of all readers together.
    pub stalled_s: f64,
    /// Connections that readers made.
    pub connects: u64,
    /// Connections made by readers that had one before.
    pub reconnects: u64,
    /// Errors by class, including classes with a count of zero; `gap`, `repeated`, `damaged`,
    /// `foreign` and `unread` count pieces.
    pub errors: BTreeMap<String, u64>,
    /// Errors of all classes, those of pieces included.
    pub errors_total: u64,
    /// From when a piece was due to when a reader had all of it.
    pub behind_us: Times,
    /// From when it was written.
    pub behind_written_us: Times,
    /// From a reader's first request to its first whole piece.
    pub startup_us: Times,
    /// The time that writing a piece took.
    pub write_us: Times,
    /// How late the writer was, where the server did not delay it.
    pub writer_lag_us: Times,
    /// How late readers sent their requests.
    pub reader_lag_us: Times,
    /// Time to make each connection; failed attempts are left out.
    pub connect_time_us: Times,
    /// CPU time of this process, kernel's and writer's included, for each whole piece read.
    pub client_cpu_us_per_piece: f64,
    /// The same CPU time for each second of a reader.
    pub client_cpu_us_per_reader_s: f64,
    /// CPU time of the processes named by `--pid` and their children, for each whole piece read.
    pub server_cpu_us_per_piece: Option<f64>,
    /// CPU time of the same processes for each second of a reader.
    pub server_cpu_us_per_reader_s: Option<f64>,
    /// Share of the time for which the busiest thread of readers was busy, from 0 to 1.
    pub client_busy: f64,
    /// The load was stopped early.
    pub interrupted: bool,
    /// Whether readers got all pieces at the requested rate, and whether the generator was the
    /// limit.
    pub verdict: Verdict,
    /// Notes that are needed to interpret the figures.
    pub notes: Vec<String>,
    /// The generator's host.
    pub host: Host,
    /// Figures of each second; the last may be shorter, and a rest below 0.25 s has no entry.
    pub timeline: Vec<LiveSecond>,
    /// Percentile, time behind from due and from written, in microseconds.
    #[serde(default)]
    pub percentiles: Vec<(f64, f64, f64)>,
}

/// A second of a load of live readers; the last one may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveSecond {
    /// From the beginning to this second's end.
    pub at_s: f64,
    /// Whole pieces read per second, by all readers together.
    pub pieces_per_s: f64,
    /// Bytes received per second, heads and all.
    pub bytes_per_s: f64,
    /// Stalls that ended in this second, with a piece or with the load.
    pub stalls: u64,
    /// Readers' errors in this second, and pieces that were passed over, repeated, damaged or foreign.
    pub errors: u64,
    /// Median time from when a piece was due to when a reader had all of it, in microseconds.
    pub behind_p50_us: f64,
    /// P99 of the same.
    pub behind_p99_us: f64,
    /// The longest of the same.
    pub behind_max_us: f64,
}

impl LiveSummary {
    pub(super) fn of(
        plan: &LivePlan,
        (total, written): (&Record, &Written),
        timeline: Vec<LiveSecond>,
        finished: &Finished<ShardEnd>,
    ) -> Self {
        let ends = &finished.ends;
        let sum = |part: fn(&ShardEnd) -> u64| ends.iter().map(part).sum::<u64>();
        let start_ns = ends.iter().map(|end| end.start_ns).max().unwrap_or(0);
        let end_ns = match finished.stopped {
            true => written.last_ns,
            false => start_ns + plan.duration_ns,
        };
        let last_ns = ends.iter().map(|end| end.last_ns).fold(end_ns, u64::max);
        let since = |ns: u64| ns.saturating_sub(start_ns) as f64 / 1e9;
        let seconds = since(last_ns);
        let tally = &total.tally;
        let per_s = |count: u64| count as f64 / seconds.max(1e-9);
        let per_piece = |ns: u64| ns as f64 / 1e3 / tally.pieces.max(1) as f64;
        let reader_s = (tally.joined as f64 * seconds).max(1e-9);
        let per_reader_s = |ns: u64| ns as f64 / 1e3 / reader_s;
        let errors = errors_by_kind(total, written, ends);
        let wrote_s = since(end_ns.max(written.last_ns)).max(1e-9);
        let asked_write_rate_per_s = 1e9 / plan.interval_ns as f64;
        let piece_bits = plan.piece_bytes as f64 * 8.0;
        let mut summary = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_s: finished.started_unix_s,
            seconds,
            written: written.pieces,
            write_rate_per_s: written.pieces as f64 / wrote_s,
            asked_write_rate_per_s,
            write_bits_per_s: written.bytes as f64 * 8.0 / wrote_s,
            asked_write_bits_per_s: asked_write_rate_per_s * piece_bits,
            unwritten: unwritten(plan, written, finished.stopped),
            pieces: tally.pieces,
            piece_rate_per_s: per_s(tally.pieces),
            bytes: tally.bytes,
            bytes_per_s: per_s(tally.bytes),
            requests: tally.requests,
            nothing_new: tally.nothing_new,
            readers_joined: tally.joined,
            readers_without_piece: sum(|end| end.without_piece),
            stalls: tally.stalls,
            stalled_s: tally.stalled_ns as f64 / 1e9,
            connects: tally.connects,
            reconnects: tally.reconnects,
            errors_total: errors.values().sum(),
            errors,
            behind_us: Times::of(&total.due),
            behind_written_us: Times::of(&total.written),
            startup_us: Times::of(&total.startup),
            write_us: Times::of(&written.took),
            writer_lag_us: Times::of(&written.lag),
            reader_lag_us: Times::of(&total.lag),
            connect_time_us: Times::of(&total.connect),
            client_cpu_us_per_piece: per_piece(finished.cpu.client_ns),
            client_cpu_us_per_reader_s: per_reader_s(finished.cpu.client_ns),
            server_cpu_us_per_piece: finished.cpu.server_ns.map(per_piece),
            server_cpu_us_per_reader_s: finished.cpu.server_ns.map(per_reader_s),
            client_busy: ends.iter().map(|end| end.busy).fold(0.0, f64::max),
            interrupted: finished.stopped,
            host: host::facts(),
            timeline,
            percentiles: percentiles(&total.due, &total.written),
            ..Self::of_plan(plan)
        };
        summary.judge();
        summary
    }

    /// A summary with the facts from the plan and without figures.
    fn of_plan(plan: &LivePlan) -> Self {
        Self {
            written_to: match &plan.write_to {
                WriteTo::File(path) => path.display().to_string(),
                WriteTo::Upload { route, method } => format!("{method} http://{}", route.target),
            },
            follow: plan.follow,
            from_start: plan.from_start,
            seed: plan.seed,
            readers: plan.readers,
            threads: plan.threads,
            piece_bytes: plan.piece_bytes,
            interval_s: plan.interval_ns as f64 / 1e9,
            poll_s: (!plan.follow).then_some(plan.poll_ns as f64 / 1e9),
            join_s: plan.join_ns as f64 / 1e9,
            stall_s: plan.stall_ns as f64 / 1e9,
            timeout_s: plan.timeout_ms as f64 / 1e3,
            grace_s: plan.grace_ms as f64 / 1e3,
            ..Self::default()
        }
    }

    /// The timeline in the form of a load of requests, with pieces read as its rate.
    pub(in crate::load) fn pieces_by_second(&self) -> Vec<Second> {
        let second = |second: &LiveSecond| Second {
            at_s: second.at_s,
            rate_per_s: second.pieces_per_s,
            errors: second.errors + second.stalls,
            response_p50_us: second.behind_p50_us,
            response_p99_us: second.behind_p99_us,
            response_max_us: second.behind_max_us,
            ..Second::default()
        };
        self.timeline.iter().map(second).collect()
    }

    /// Whether something went wrong.
    fn failed(&self) -> bool {
        self.errors_total > 0
            || self.stalls > 0
            || !self.interrupted && (self.readers_without_piece > 0 || self.pieces == 0)
    }

    fn judge(&mut self) {
        let (writer, reader) = (self.writer_lag_us, self.reader_lag_us);
        let asked = self.asked_write_rate_per_s;
        let judged = verdict::VerdictInput {
            busy: self.client_busy,
            lag: Some(if writer.p99 > reader.p99 {
                writer
            } else {
                reader
            }),
            p99_us: self.behind_us.p99,
            failed: self.failed(),
            rate_per_s: self.write_rate_per_s,
            asked_rate_per_s: Some(asked).filter(|_| !self.interrupted && self.unwritten > 0),
        };
        self.verdict = judged.verdict();
        self.notes = judged.notes();
        if judged.is_short() {
            self.notes.push(format!(
                "{} of the writer's pieces were due and not written: the server took them more slowly",
                self.unwritten
            ));
        }
        let count = |key: &str| self.errors.get(key).copied().unwrap_or(0);
        let mut notes = Vec::new();
        if count("status_4xx") > 0 && self.pieces == 0 {
            notes.push(match self.follow {
                true => "the server refused every reader: is that the URL of the uploaded stream?"
                    .to_owned(),
                false => format!(
                    "the server refused every reader: is \"{}\" what the URL leads to?",
                    self.written_to
                ),
            });
        } else if count("bad_range") > 0 && self.pieces == 0 {
            notes.push(
                "the server does not answer with the ranges it is asked for; \
                 for one whose answer grows there is --follow"
                    .to_owned(),
            );
        }
        if count("foreign") > 0 {
            notes.push(format!(
                "{} pieces were of another run: something between holds old bytes, or two loads write \
                 to one object",
                count("foreign")
            ));
        }
        if count("unread") > 0 {
            notes.push(format!(
                "{} pieces had not been read {} s after the last was written (--grace)",
                count("unread"),
                self.grace_s
            ));
        }
        if self.stalls > 0 {
            notes.push(format!(
                "readers had nothing new for more than {} s (--stall) {} times, {:.1} s in all, though \
                 it was written",
                self.stall_s, self.stalls, self.stalled_s
            ));
        }
        self.notes.append(&mut notes);
    }
}

/// Pieces that were due and not written; none in a run that was stopped early.
fn unwritten(plan: &LivePlan, written: &Written, stopped: bool) -> u64 {
    match stopped {
        true => 0,
        false => plan.pieces().saturating_sub(written.pieces),
    }
}

/// The count of each class of error, of readers and of the writer.
fn errors_by_kind(total: &Record, written: &Written, ends: &[ShardEnd]) -> BTreeMap<String, u64> {
    let tally = &total.tally;
    let mut errors: BTreeMap<String, u64> = ErrorClass::ALL
        .iter()
        .map(|&class| {
            let count = tally.errors[class as usize] + written.errors[class as usize];
            (class.key().to_owned(), count)
        })
        .collect();
    let of_pieces = [
        ("gap", tally.gap),
        ("repeated", tally.repeated),
        ("damaged", tally.damaged),
        ("foreign", tally.foreign),
        ("unread", ends.iter().map(|end| end.unread).sum()),
    ];
    errors.extend(of_pieces.map(|(key, count)| (key.to_owned(), count)));
    errors
}
