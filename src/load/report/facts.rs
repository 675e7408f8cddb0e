//! The tables of a report, with all figures of a summary.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::page::{Escaped, Table};
use super::plots::POINTS;
use super::timeline::spans;
use crate::load::limits;
use crate::load::table::{Row, counted, short, sized};
use crate::load::{Host, Summary, Times, grouped, per_second, timed};

/// The last second that an HTTP date can express.
const LATEST_UNIX_S: u64 = 253_402_300_799;

/// A moment, in UTC.
pub(super) fn when(unix_s: u64) -> String {
    let since_epoch = Duration::from_secs(unix_s.min(LATEST_UNIX_S));
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch)
}

/// When and on which host a load ran, escaped.
pub(super) fn when_and_where(unix_s: u64, host: &Host) -> String {
    let when = when(unix_s);
    match host.name.as_str() {
        "" => when,
        name => format!("{when}, on {}", Escaped(name)),
    }
}

/// All distributions side by side.
pub(super) fn times(summary: &Summary) -> Table<'static> {
    let open = summary.asked_rate_per_s.is_some();
    let lag = summary.generator_lag_us.unwrap_or_default();
    let mut columns = vec![&summary.service_time_us, &summary.connect_time_us];
    let mut head: &'static [&'static str] = &["", "service", "connect"];
    if open {
        columns.insert(0, &summary.response_time_us);
        columns.insert(2, &lag);
        head = &["", "response", "service", "sent late", "connect"];
    }
    distributions(head, &columns)
}

pub(super) fn distributions(head: &'static [&'static str], columns: &[&Times]) -> Table<'static> {
    let rows: [Row; 10] = [
        ("min", |t| t.min),
        ("P50", |t| t.p50),
        ("P75", |t| t.p75),
        ("P90", |t| t.p90),
        ("P99", |t| t.p99),
        ("P99.9", |t| t.p999),
        ("P99.99", |t| t.p9999),
        ("max", |t| t.max),
        ("mean", |t| t.mean),
        ("std. dev.", |t| t.stdev),
    ];
    let cell = |times: &Times, of: fn(&Times) -> f64| match times.count {
        0 => "–".to_owned(),
        _ => timed(of(times)),
    };
    let row = |(name, of): Row| {
        let cells = columns.iter().map(|times| cell(times, of));
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(row).collect();
    let counts = columns.iter().map(|times| grouped(times.count));
    rows.push(std::iter::once("count".to_owned()).chain(counts).collect());
    Table {
        class: "numbers",
        caption: "Times",
        head,
        rows,
    }
}

pub(super) fn gap(summary: &Summary) -> Table<'static> {
    let (response, service) = (&summary.response_time_us, &summary.service_time_us);
    let row = |(name, of): Row| {
        let (response, service) = (of(response), of(service));
        let gap = (response - service).max(0.0);
        vec![name.to_owned(), timed(response), timed(service), timed(gap)]
    };
    Table {
        class: "numbers",
        caption: "The gap",
        head: &["", "response", "service", "gap"],
        rows: POINTS.into_iter().map(row).collect(),
    }
}

pub(super) fn knee(summary: &Summary) -> Table<'static> {
    let rows = summary.knee_steps.iter().map(|step| {
        vec![
            per_second(step.asked_rate_per_s),
            per_second(step.rate_per_s),
            timed(step.response_p99_us),
            if step.good { "good" } else { "too much" }.to_owned(),
        ]
    });
    Table {
        class: "numbers",
        caption: "Rates that were tried, in this order",
        head: &["asked", "answered", "P99", ""],
        rows: rows.collect(),
    }
}

pub(super) fn seconds(summary: &Summary) -> Table<'static> {
    let rate = |rate: f64| grouped(rate.round() as u64);
    let spans = spans(&summary.timeline, limits::REPORT_ROWS_MAX);
    let rows = spans.iter().map(|span| {
        let mut row = vec![
            format!("{:.0} s", span.to_s),
            span.asked_rate_per_s.map_or_else(|| "–".to_owned(), rate),
            rate(span.rate_per_s),
            grouped(span.errors),
            timed(span.response_p50_us),
            timed(span.response_p99_us),
            timed(span.response_max_us),
        ];
        // In a closed loop response and service times are the same.
        if summary.asked_rate_per_s.is_some() {
            row.push(timed(span.service_p99_us));
        }
        row
    });
    let head: &[&str] = &[
        "until",
        "asked",
        "answered",
        "errors",
        "P50",
        "P99",
        "max",
        "service P99",
    ];
    Table {
        class: "numbers",
        caption: "Requests a second, and times of the worst second",
        head: match summary.asked_rate_per_s {
            Some(_) => head,
            None => &head[..7],
        },
        rows: rows.collect(),
    }
}

pub(super) fn by_url(summary: &Summary) -> Table<'static> {
    let rows = summary.by_url.iter().map(|row| {
        vec![
            row.url.clone().unwrap_or_else(|| "all others".to_owned()),
            grouped(row.requests),
            grouped(row.errors),
            timed(row.response_p50_us),
            timed(row.response_p99_us),
            timed(row.response_max_us),
        ]
    });
    Table {
        class: "numbers loose",
        caption: "Response times",
        head: &["", "requests", "errors", "P50", "P99", "max"],
        rows: rows.collect(),
    }
}

/// A table of names and values.
pub(super) fn list(caption: &'static str, rows: Vec<(&str, String)>) -> Table<'static> {
    let rows = rows.into_iter();
    Table {
        class: "facts",
        caption,
        head: &[],
        rows: rows
            .map(|(name, text)| vec![name.to_owned(), text])
            .collect(),
    }
}

pub(super) fn players(summary: &Summary) -> Table<'static> {
    list("Video players", summary.player_rows())
}

/// Bytes and their rate.
fn received(summary: &Summary) -> String {
    let per_s = summary.bytes as f64 / summary.seconds.max(1e-9);
    format!("{}, {}/s", sized(summary.bytes as f64), sized(per_s))
}

pub(super) fn answers(summary: &Summary) -> Table<'static> {
    let mut rows = vec![
        (
            "answered",
            format!(
                "{} in {:.2} s",
                counted(summary.requests, "request"),
                summary.seconds
            ),
        ),
        ("received", received(summary)),
    ];
    for (class, count) in &summary.status {
        if *count > 0 {
            rows.push((class, grouped(*count)));
        }
    }
    rows.push(("errors", grouped(summary.errors_total)));
    by_class(&mut rows, &summary.errors);
    rows.push((
        "unanswered",
        format!("{} when the load ended", grouped(summary.unanswered)),
    ));
    rows.push((
        "unsent",
        format!("{} that were due", grouped(summary.unsent)),
    ));
    list("Answers and errors", rows)
}

/// The classes with errors, with counts, and the names of the classes without.
pub(super) fn by_class<'a>(rows: &mut Vec<(&'a str, String)>, errors: &'a BTreeMap<String, u64>) {
    let (some, none): (Vec<_>, Vec<_>) = errors.iter().partition(|(_, count)| **count > 0);
    for (class, count) in some {
        rows.push((class, grouped(*count)));
    }
    if !none.is_empty() {
        let names: Vec<&str> = none.into_iter().map(|(class, _)| class.as_str()).collect();
        rows.push(("none of", names.join(", ")));
    }
}

pub(super) fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// The CPU time of client and server for each `thing`, and how busy the client was.
pub(super) fn cpu_rows(
    client: String,
    server: Option<String>,
    thing: &str,
    busy: f64,
) -> Vec<(&'static str, String)> {
    let server = match server {
        Some(server) => format!("{server} a {thing}"),
        None => "not measured (--pid)".to_owned(),
    };
    vec![
        ("client CPU", format!("{client} a {thing}")),
        ("server CPU", server),
        (
            "busiest thread",
            format!("worked {:.0}% of the time", busy * 100.0),
        ),
    ]
}

/// Adds a row for a distribution, if it is not empty.
pub(super) fn push_times(
    rows: &mut Vec<(&'static str, String)>,
    name: &'static str,
    times: &Times,
) {
    if times.count > 0 {
        rows.push((name, short(times)));
    }
}

pub(super) fn generator(summary: &Summary) -> Table<'static> {
    let client = timed(summary.client_cpu_us_per_request);
    let server = summary.server_cpu_us_per_request.map(timed);
    let mut rows = cpu_rows(client, server, "request", summary.client_busy);
    if let Some(lag) = &summary.generator_lag_us {
        push_times(&mut rows, "sent late", lag);
    }
    rows.push(("connections", format!("{} made", grouped(summary.connects))));
    rows.push((
        "in flight",
        format!("{} requests at most", grouped(summary.in_flight_max)),
    ));
    list("The generator", rows)
}

pub(super) fn run(summary: &Summary) -> Table<'static> {
    let mut rows = vec![
        ("command", summary.command.clone()),
        ("model", summary.model.clone()),
    ];
    if let Some(asked) = &summary.rate {
        rows.push(("rate asked for", rate(asked)));
    }
    rows.extend([
        ("seed", summary.seed.to_string()),
        ("connections", grouped(summary.connections as u64)),
        ("threads", summary.threads.to_string()),
        ("pipeline", counted(summary.pipeline as u64, "request")),
        (
            "a connection per request",
            yes(summary.connection_per_request),
        ),
        ("warm-up", format!("{} s", summary.warmup_s)),
        ("time-out", format!("{} s", summary.timeout_s)),
        ("stopped early", yes(summary.interrupted)),
        ("started", when(summary.started_unix_s)),
        ("headwater", summary.version.clone()),
    ]);
    list("What was run", rows)
}

/// A rate as written; what the knee was looked for with is not round.
pub(super) fn rate(asked: &str) -> String {
    match asked.parse::<f64>() {
        Ok(rate) if rate >= 100.0 => per_second(rate),
        _ => format!("{asked}/s"),
    }
}

pub(super) fn host(host: &Host) -> Table<'static> {
    list(
        "Where it ran",
        vec![
            ("host", host.name.clone()),
            ("kernel", host.kernel.clone()),
            ("CPU", host.cpu_model.clone()),
            ("CPUs it could use", host.cpus.to_string()),
            (
                "open files",
                format!("{} at most", grouped(host.open_files_max)),
            ),
            ("local ports", host.local_ports.replace(' ', " to ")),
            ("congestion control", host.congestion_control.clone()),
        ],
    )
}
