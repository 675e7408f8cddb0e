//! The page of a load of live readers.

use std::fmt::{self, Display};

use super::page::Table;
use super::parts::{Figure, Latency, RunPage, over_time};
use super::plots::{Named, RateNames};
use super::timeline::spans;
use super::{facts, plots};
use crate::load::limits;
use crate::load::live::LiveSummary;
use crate::load::table::{counted, sized};
use crate::load::{grouped, per_second, timed};

/// The page of one load of live readers.
pub struct LiveReport<'a>(pub &'a LiveSummary);

impl Display for LiveReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        RunPage {
            command: "headwater load live",
            target: &summary.url,
            url: &summary.url,
            more: vec![format!("written to {}", summary.written_to)],
            has_rate: true,
            facts: summary.into(),
            figures: figures(summary),
            sections: |f: &mut fmt::Formatter<'_>| {
                behind(summary).write(f)?;
                seconds(f, summary)
            },
            tables: [reading(summary), generator(summary), run(summary)],
        }
        .write(f)
    }
}

fn behind(summary: &LiveSummary) -> Latency<'_> {
    Latency {
        title: "How far readers were behind",
        text: "From when a piece was due, or was written, to when a reader had all of it. The shaded area is \
               what pieces have waited for the writer.",
        none: "No piece was read",
        points: &summary.percentiles,
        outer: Named {
            line: "from due",
            says: "Behind, from when pieces were due",
            times: &summary.behind_us,
        },
        inner: Some(Named {
            line: "from written",
            says: "Behind, from when pieces were written",
            times: &summary.behind_written_us,
        }),
        table: times(summary),
    }
}

/// The main figures, shown large at the top.
fn figures(summary: &LiveSummary) -> Vec<Figure> {
    let mut figures = Vec::new();
    if summary.startup_us.count > 0 {
        let readers = || format!("of {}", counted(summary.readers_joined, "reader"));
        figures.push(("start-up P50", timed(summary.startup_us.p50), readers()));
        figures.push(("start-up P99", timed(summary.startup_us.p99), readers()));
    }
    figures.push((
        "stalls",
        grouped(summary.stalls),
        format!("of more than {}", timed(summary.stall_s * 1e6)),
    ));
    if summary.behind_us.count > 0 {
        let since = || "behind, from due".to_owned();
        figures.push(("P50", timed(summary.behind_us.p50), since()));
        figures.push(("P99", timed(summary.behind_us.p99), since()));
    }
    figures.push((
        "read",
        per_second(summary.piece_rate_per_s),
        counted(summary.pieces, "piece"),
    ));
    figures.push((
        "written",
        format!("{:.3} Mbit/s", summary.write_bits_per_s / 1e6),
        format!("of {:.3} asked", summary.asked_write_bits_per_s / 1e6),
    ));
    figures.push((
        "errors",
        grouped(summary.errors_total),
        format!("of {}", counted(summary.requests, "request")),
    ));
    figures
}

pub(super) fn times(summary: &LiveSummary) -> Table<'static> {
    facts::distributions(
        &["", "due", "written", "start-up", "writing", "connect"],
        &[
            &summary.behind_us,
            &summary.behind_written_us,
            &summary.startup_us,
            &summary.write_us,
            &summary.connect_time_us,
        ],
    )
}

const PIECES: RateNames = RateNames {
    id: "pieces",
    title: "Pieces read over time",
    line: "read",
    things: "pieces",
};

fn seconds(f: &mut fmt::Formatter<'_>, summary: &LiveSummary) -> fmt::Result {
    let pieces = summary.pieces_by_second();
    let drawn = spans(&pieces, limits::REPORT_POINTS_MAX);
    let plots = [
        plots::rate(PIECES, &drawn),
        plots::p99(&drawn, "behind", None),
    ];
    let rows = spans(&pieces, limits::REPORT_ROWS_MAX).into_iter();
    let rows = rows.map(|span| {
        vec![
            format!("{:.0} s", span.to_s),
            grouped(span.rate_per_s.round() as u64),
            grouped(span.errors),
            timed(span.response_p50_us),
            timed(span.response_p99_us),
            timed(span.response_max_us),
        ]
    });
    let table = Table {
        class: "numbers",
        caption: "Pieces read a second, errors and stalls, and how far behind in the worst second",
        head: &["until", "read", "wrong", "P50", "P99", "max"],
        rows: rows.collect(),
    };
    over_time(f, &pieces, &plots, &table)
}

pub(super) fn reading(summary: &LiveSummary) -> Table<'static> {
    let mut rows = vec![
        (
            "written",
            format!(
                "{} in {:.2} s",
                counted(summary.written, "piece"),
                summary.seconds
            ),
        ),
        (
            "unwritten",
            format!("{} that were due", grouped(summary.unwritten)),
        ),
        (
            "read",
            format!(
                "{}, {} received",
                counted(summary.pieces, "piece"),
                sized(summary.bytes as f64)
            ),
        ),
        (
            "asked",
            format!(
                "{}, {} with nothing new",
                counted(summary.requests, "request"),
                grouped(summary.nothing_new)
            ),
        ),
        (
            "readers",
            format!(
                "{} joined, {} without a piece",
                grouped(summary.readers_joined),
                grouped(summary.readers_without_piece)
            ),
        ),
        (
            "stalls",
            format!(
                "{}, {:.1} s in all",
                grouped(summary.stalls),
                summary.stalled_s
            ),
        ),
        ("errors", grouped(summary.errors_total)),
    ];
    facts::by_class(&mut rows, &summary.errors);
    facts::list("Pieces and errors", rows)
}

pub(super) fn generator(summary: &LiveSummary) -> Table<'static> {
    let client = timed(summary.client_cpu_us_per_piece);
    let server = summary.server_cpu_us_per_piece.map(timed);
    let mut rows = facts::cpu_rows(client, server, "piece", summary.client_busy);
    let reader_s = |us: f64| format!("{} a reader and second", timed(us));
    rows.push((
        "client CPU, readers",
        reader_s(summary.client_cpu_us_per_reader_s),
    ));
    if let Some(us) = summary.server_cpu_us_per_reader_s {
        rows.push(("server CPU, readers", reader_s(us)));
    }
    rows.push((
        "connections",
        format!(
            "{} made, {} of them again",
            grouped(summary.connects),
            grouped(summary.reconnects)
        ),
    ));
    facts::push_times(&mut rows, "writer late", &summary.writer_lag_us);
    facts::push_times(&mut rows, "readers late", &summary.reader_lag_us);
    facts::list("The generator", rows)
}

pub(super) fn run(summary: &LiveSummary) -> Table<'static> {
    let poll = summary.poll_s.map_or_else(
        || "one answer that grows".to_owned(),
        |poll_s| format!("every {}", timed(poll_s * 1e6)),
    );
    let from = match summary.from_start {
        true => "the beginning",
        false => "the end",
    };
    let rows = vec![
        ("command", summary.command.clone()),
        ("readers", grouped(summary.readers as u64)),
        ("asking", poll),
        ("beginning at", from.to_owned()),
        ("joining within", format!("{} s", summary.join_s)),
        ("a piece", sized(summary.piece_bytes as f64)),
        ("interval", timed(summary.interval_s * 1e6)),
        ("stall", format!("{} s", summary.stall_s)),
        ("seed", summary.seed.to_string()),
        ("threads", summary.threads.to_string()),
        ("time-out", format!("{} s", summary.timeout_s)),
        ("grace", format!("{} s", summary.grace_s)),
        ("stopped early", facts::yes(summary.interrupted)),
        ("started", facts::when(summary.started_unix_s)),
        ("headwater", summary.version.clone()),
    ];
    facts::list("What was run", rows)
}
