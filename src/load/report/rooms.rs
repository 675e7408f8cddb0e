//! The page of a load of rooms.

use std::fmt::{self, Display};

use super::page::{Document, Escaped, Table, time};
use super::plot::{Axis, Mark, Plot};
use super::scale::Scale;
use super::timeline::{Span, spans};
use super::{VerdictOf, breakable, facts, figures, plots, section, steps_told};
use crate::limits;
use crate::load::rooms::{RoomsSecond, RoomsSummary};
use crate::load::table::{grouped, sized};
use crate::load::{Second, Times};

/// The page of one load of rooms.
pub struct RoomsReport<'a>(pub &'a RoomsSummary);

impl Display for RoomsReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let title = format!(
            "headwater load rooms {}: {}",
            summary.sub_url, summary.verdict
        );
        let document = Document {
            title: &title,
            body: Body(summary),
        };
        document.fmt(f)
    }
}

struct Body<'a>(&'a RoomsSummary);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        writeln!(
            f,
            "<header>\n<p class=\"kind\">headwater load rooms</p>\n<h1>{}</h1>\n\
             <p class=\"more\">from {} {}</p>\n<p class=\"setup\">{}<br/>{}</p>\n</header>\n<main>",
            breakable(&summary.sub_url),
            Escaped(&summary.pub_method),
            Escaped(&summary.pub_url),
            Escaped(&summary.set_up()),
            facts::when_and_where(summary.started_unix_s, &summary.host)
        )?;
        let verdict = VerdictOf {
            verdict: summary.verdict,
            interrupted: summary.interrupted,
            notes: &summary.notes,
        };
        verdict.fmt(f)?;
        figures(f, &large(summary))?;
        match percentiles(summary) {
            Some(plot) => section(
                f,
                "Latency",
                "The delivery time runs from when a message was due to when a subscriber had it, the transit time \
                 from when it was sent: the shaded area is what messages have waited for their publisher.",
                &plot,
                &times(summary),
            )?,
            None => f.write_str(
                "<section><h2>Latency</h2>\n<p>No message was delivered, so there are no times.</p></section>\n",
            )?,
        }
        over_time(f, summary)?;
        writeln!(
            f,
            "<section><h2>The run</h2>\n<div class=\"pair\">\n<div>{}{}</div>\n<div>{}{}</div></div></section>\n</main>",
            deliveries(summary),
            generator(summary),
            run(summary),
            facts::host(&summary.host)
        )
    }
}

/// CPU time of a delivery, of which a thousandth counts where messages come gathered.
pub(super) fn cpu(us: f64) -> String {
    format!("{us:.3} µs")
}

fn per_s(rate: f64) -> String {
    format!("{}/s", grouped(rate.round() as u64))
}

/// What is looked for first, large.
fn large(summary: &RoomsSummary) -> Vec<(&'static str, String, String)> {
    let times = &summary.delivery_time_us;
    let mut figures = vec![
        (
            "delivered",
            per_s(summary.delivery_rate_per_s),
            format!(
                "{} of {}",
                grouped(summary.deliveries),
                grouped(summary.expected_deliveries)
            ),
        ),
        (
            "published",
            per_s(summary.publish_rate_per_s),
            format!("of {} asked", per_s(summary.asked_publish_rate_per_s)),
        ),
    ];
    if times.count > 0 {
        let what = || "delivery time".to_owned();
        figures.push(("P50", time(times.p50), what()));
        figures.push(("P99", time(times.p99), what()));
        figures.push(("slowest", time(times.max), what()));
    }
    figures.push((
        "wrong",
        grouped(summary.wrong()),
        format!("{} of them lost", grouped(summary.lost)),
    ));
    let (cpu_us, whose) = match summary.server_cpu_us_per_delivery {
        Some(server) => (server, "the server's, a delivery"),
        None => (
            summary.client_cpu_us_per_delivery,
            "the client's, a delivery",
        ),
    };
    figures.push(("CPU", cpu(cpu_us), whose.to_owned()));
    figures
}

fn times(summary: &RoomsSummary) -> Table<'static> {
    let mut columns = vec![&summary.delivery_time_us, &summary.transit_time_us];
    let mut head: &[&str] = &["", "delivery", "transit", "sent late", "connect"];
    if let Some(publish) = &summary.publish_time_us {
        columns.push(publish);
        head = &["", "delivery", "transit", "publish", "sent late", "connect"];
    }
    columns.extend([&summary.generator_lag_us, &summary.connect_time_us]);
    facts::distributions(head, &columns)
}

fn percentiles(summary: &RoomsSummary) -> Option<Plot> {
    let points = &summary.percentiles;
    if points.is_empty() {
        return None;
    }
    let nines = plots::Nines::of(points, summary.delivery_time_us.count);
    let line = |class, name: &str, of: fn(&(f64, f64, f64)) -> f64| Mark::Line {
        class,
        name: name.to_owned(),
        points: points
            .iter()
            .map(|point| (nines.x(point.0), plots::some(of(point))))
            .collect(),
    };
    let band = points
        .iter()
        .map(|point| (nines.x(point.0), Some((point.2, point.1))));
    Some(Plot {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        says: [
            plots::told("Delivery time", &summary.delivery_time_us),
            plots::told("Transit time", &summary.transit_time_us),
        ]
        .join(" "),
        x: nines.axis(),
        y: plots::time_axis(
            "time, log scale",
            points.iter().flat_map(|point| [point.1, point.2]),
        ),
        marks: vec![
            Mark::Band {
                class: "c1",
                points: band.collect(),
            },
            line("c2 fine", "transit", |point| point.2),
            line("c1", "delivery", |point| point.1),
        ],
    })
}

/// The seconds with one of their rates, for what draws those of any load.
fn seconds(summary: &RoomsSummary, rate: fn(&RoomsSecond) -> f64) -> Vec<Second> {
    let second = |second: &RoomsSecond| Second {
        at_s: second.at_s,
        rate_per_s: rate(second),
        errors: second.errors,
        response_p50_us: second.delivery_p50_us,
        response_p99_us: second.delivery_p99_us,
        response_max_us: second.delivery_max_us,
        ..Second::default()
    };
    summary.timeline.iter().map(second).collect()
}

fn over_time(f: &mut fmt::Formatter<'_>, summary: &RoomsSummary) -> fmt::Result {
    let delivered = seconds(summary, |second| second.deliveries_per_s);
    let published = seconds(summary, |second| second.published_per_s);
    let drawn = |seconds: &[Second]| spans(seconds, limits::LOAD_REPORT_POINTS_MAX);
    let (delivered_spans, published_spans) = (drawn(&delivered), drawn(&published));
    let plots = [
        rate(
            ("deliveries", "Deliveries over time", "delivered"),
            &delivered_spans,
            None,
        ),
        rate(
            ("published", "Messages published over time", "published"),
            &published_spans,
            Some(summary.asked_publish_rate_per_s),
        ),
        p99(&delivered_spans),
    ];
    if plots.iter().all(Option::is_none) {
        return Ok(());
    }
    writeln!(
        f,
        "<section class=\"plotted\"><h2>Over time</h2>\n<p>{}</p>\n<div class=\"pair\">",
        steps_told(&delivered)
    )?;
    for plot in plots.iter().flatten() {
        writeln!(f, "<figure>{plot}</figure>")?;
    }
    let rows = |seconds: &[Second]| spans(seconds, limits::LOAD_REPORT_ROWS_MAX);
    let rows = rows(&published).into_iter().zip(rows(&delivered));
    let rows = rows.map(|(published, span)| {
        vec![
            format!("{:.0} s", span.to_s),
            grouped(published.rate_per_s.round() as u64),
            grouped(span.rate_per_s.round() as u64),
            grouped(span.errors),
            time(span.response_p50_us),
            time(span.response_p99_us),
            time(span.response_max_us),
        ]
    });
    let table = Table {
        class: "numbers",
        caption: "Messages and deliveries a second, and delivery times of the worst second",
        head: &[
            "until",
            "published",
            "delivered",
            "wrong",
            "P50",
            "P99",
            "max",
        ],
        rows: rows.collect(),
    };
    writeln!(
        f,
        "</div>\n<details><summary>As a table</summary>\n{table}</details></section>"
    )
}

/// A rate of every second: its plot's id and title, and the line's name.
fn rate(
    (id, title, name): (&'static str, &str, &str),
    spans: &[Span],
    asked: Option<f64>,
) -> Option<Plot> {
    let x = plots::seconds_axis(&[spans])?;
    let rates = || spans.iter().map(|span| span.rate_per_s);
    let y = Scale::from_zero(rates().chain(asked).fold(0.0, f64::max));
    let mut marks = Vec::new();
    if let Some(asked) = asked {
        marks.push(Mark::Level {
            class: "asked",
            name: "asked".to_owned(),
            y: asked,
        });
    }
    marks.push(Mark::Line {
        class: "c1",
        name: name.to_owned(),
        points: plots::steps(spans, |span| Some(span.rate_per_s)),
    });
    marks.extend(plots::flags(spans));
    marks.extend(spans.iter().map(plots::hint));
    Some(Plot {
        id,
        title: title.to_owned(),
        says: format!(
            "From {} to {} {name} a second.",
            grouped(rates().reduce(f64::min).unwrap_or(0.0).round() as u64),
            grouped(rates().fold(0.0, f64::max).round() as u64)
        ),
        x,
        y: Axis {
            label: format!("{name} a second"),
            scale: y,
            ticks: plots::ticked(y, plots::count_tick),
        },
        marks,
    })
}

fn p99(spans: &[Span]) -> Option<Plot> {
    let p99s = || {
        spans
            .iter()
            .filter_map(|span| plots::some(span.response_p99_us))
    };
    let mut marks = vec![Mark::Line {
        class: "c1",
        name: "delivery".to_owned(),
        points: plots::steps(spans, |span| plots::some(span.response_p99_us)),
    }];
    marks.extend(spans.iter().map(plots::hint));
    Some(Plot {
        id: "p99",
        title: "P99 over time".to_owned(),
        says: format!(
            "P99 of the delivery time from {} to {}.",
            time(p99s().reduce(f64::min).unwrap_or(0.0)),
            time(p99s().reduce(f64::max).unwrap_or(0.0))
        ),
        x: plots::seconds_axis(&[spans])?,
        y: plots::time_axis("P99, log scale", p99s()),
        marks,
    })
}

fn deliveries(summary: &RoomsSummary) -> Table<'static> {
    let mut rows = vec![
        (
            "published",
            format!("{} in {:.2} s", grouped(summary.published), summary.seconds),
        ),
        (
            "delivered",
            format!(
                "{} of {} expected",
                grouped(summary.deliveries),
                grouped(summary.expected_deliveries)
            ),
        ),
        ("lost", grouped(summary.lost)),
        ("duplicates", grouped(summary.duplicates)),
        ("out of order", grouped(summary.out_of_order)),
        ("damaged", grouped(summary.damaged)),
        ("of other rooms", grouped(summary.misrouted)),
        (
            "received",
            format!(
                "{} in {} WebSocket messages, {:.2} deliveries each",
                sized(summary.bytes as f64),
                grouped(summary.websocket_messages),
                summary.deliveries_per_websocket_message
            ),
        ),
        ("marks of other runs", grouped(summary.foreign)),
        ("messages without a mark", grouped(summary.unmarked)),
        ("connections lost", grouped(summary.connections_lost)),
        (
            "never connected",
            format!("{} subscribers", grouped(summary.subscribers_unconnected)),
        ),
        (
            "unsent",
            format!("{} that were due", grouped(summary.unsent)),
        ),
        ("errors", grouped(summary.errors_total)),
    ];
    facts::by_class(&mut rows, &summary.errors);
    facts::list("Deliveries and errors", rows)
}

fn generator(summary: &RoomsSummary) -> Table<'static> {
    let server = match summary.server_cpu_us_per_delivery {
        Some(server) => format!("{} a delivery", cpu(server)),
        None => "not measured (--pid)".to_owned(),
    };
    let mut rows = vec![
        (
            "client CPU",
            format!("{} a delivery", cpu(summary.client_cpu_us_per_delivery)),
        ),
        ("server CPU", server),
        (
            "busiest thread",
            format!("worked {:.0}% of the time", summary.client_busy * 100.0),
        ),
        ("connections", format!("{} made", grouped(summary.connects))),
    ];
    let mut short = |name, times: &Times| {
        if times.count > 0 {
            let (p50, p99, max) = (time(times.p50), time(times.p99), time(times.max));
            rows.push((name, format!("P50 {p50}, P99 {p99}, at most {max}")));
        }
    };
    short("sent late", &summary.generator_lag_us);
    facts::list("The generator", rows)
}

fn run(summary: &RoomsSummary) -> Table<'static> {
    let rows = vec![
        ("command", summary.command.clone()),
        ("model", summary.model.clone()),
        ("rate", facts::rate(Some(&summary.rate))),
        ("seed", summary.seed.to_string()),
        ("subscribers", grouped(summary.subscribers as u64)),
        ("publishers", grouped(summary.publishers as u64)),
        ("rooms", grouped(summary.rooms as u64)),
        ("a message", sized(summary.size as f64)),
        ("threads", summary.threads.to_string()),
        ("warm-up", format!("{} s", summary.warmup_s)),
        ("time-out", format!("{} s", summary.timeout_s)),
        ("grace", format!("{} s", summary.grace_s)),
        ("stopped early", facts::yes(summary.interrupted)),
        ("started", facts::when(summary.started_unix_s)),
        ("headwater", summary.version.clone()),
    ];
    facts::list("What was run", rows)
}
