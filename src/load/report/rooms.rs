//! The page of a load of rooms.

use std::fmt::{self, Display};

use super::page::Table;
use super::parts::{Figure, Latency, RunPage, over_time};
use super::plots::{Named, RateNames};
use super::timeline::spans;
use super::{facts, plots};
use crate::load::limits;
use crate::load::rooms::RoomsSummary;
use crate::load::table::sized;
use crate::load::{Second, grouped, per_second, timed};

/// The page of one load of rooms.
pub struct RoomsReport<'a>(pub &'a RoomsSummary);

impl Display for RoomsReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        RunPage {
            command: "headwater load rooms",
            target: &summary.sub_url,
            url: &summary.sub_url,
            more: vec![format!("from {} {}", summary.pub_method, summary.pub_url)],
            has_rate: true,
            facts: summary.into(),
            figures: figures(summary),
            sections: |f: &mut fmt::Formatter<'_>| {
                latency(summary).write(f)?;
                seconds(f, summary)
            },
            tables: [deliveries(summary), generator(summary), run(summary)],
        }
        .write(f)
    }
}

fn latency(summary: &RoomsSummary) -> Latency<'_> {
    Latency {
        title: "Latency",
        text: "The delivery time runs from when a message was due to when a subscriber had it, the transit time \
               from when it was sent: the shaded area is what messages have waited for their publisher.",
        none: "No message was delivered",
        points: &summary.percentiles,
        outer: Named {
            line: "delivery",
            says: "Delivery time",
            times: &summary.delivery_time_us,
        },
        inner: Some(Named {
            line: "transit",
            says: "Transit time",
            times: &summary.transit_time_us,
        }),
        table: times(summary),
    }
}

/// CPU time of a delivery, to a thousandth: it is short where the server gathers messages.
pub(super) fn cpu(us: f64) -> String {
    format!("{us:.3} µs")
}

/// The main figures, shown large at the top.
fn figures(summary: &RoomsSummary) -> Vec<Figure> {
    let times = &summary.delivery_time_us;
    let mut figures = vec![
        (
            "delivered",
            per_second(summary.delivery_rate_per_s),
            format!(
                "{} of {}",
                grouped(summary.deliveries),
                grouped(summary.expected_deliveries)
            ),
        ),
        (
            "published",
            per_second(summary.publish_rate_per_s),
            format!("of {} asked", per_second(summary.asked_publish_rate_per_s)),
        ),
    ];
    if times.count > 0 {
        let what = || "delivery time".to_owned();
        figures.push(("P50", timed(times.p50), what()));
        figures.push(("P99", timed(times.p99), what()));
        figures.push(("slowest", timed(times.max), what()));
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

pub(super) fn times(summary: &RoomsSummary) -> Table<'static> {
    let mut columns = vec![&summary.delivery_time_us, &summary.transit_time_us];
    let mut head: &[&str] = &["", "delivery", "transit", "sent late", "connect"];
    if let Some(publish) = &summary.publish_time_us {
        columns.push(publish);
        head = &["", "delivery", "transit", "publish", "sent late", "connect"];
    }
    columns.extend([&summary.generator_lag_us, &summary.connect_time_us]);
    facts::distributions(head, &columns)
}

const DELIVERIES: RateNames = RateNames {
    id: "deliveries",
    title: "Deliveries over time",
    line: "delivered",
    things: "deliveries",
};

const PUBLISHED: RateNames = RateNames {
    id: "published",
    title: "Messages published over time",
    line: "published",
    things: "messages",
};

fn seconds(f: &mut fmt::Formatter<'_>, summary: &RoomsSummary) -> fmt::Result {
    let delivered = summary.deliveries_by_second();
    let published = summary.published_by_second();
    let drawn = spans(&delivered, limits::REPORT_POINTS_MAX);
    let plots = [
        plots::rate(DELIVERIES, &drawn),
        plots::rate(PUBLISHED, &spans(&published, limits::REPORT_POINTS_MAX)),
        plots::p99(&drawn, "delivery", None),
    ];
    let rows = |seconds: &[Second]| spans(seconds, limits::REPORT_ROWS_MAX);
    let rows = rows(&published).into_iter().zip(rows(&delivered));
    let rows = rows.map(|(published, span)| {
        vec![
            format!("{:.0} s", span.to_s),
            grouped(published.rate_per_s.round() as u64),
            grouped(span.rate_per_s.round() as u64),
            grouped(span.errors),
            timed(span.response_p50_us),
            timed(span.response_p99_us),
            timed(span.response_max_us),
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
    over_time(f, &delivered, &plots, &table)
}

pub(super) fn deliveries(summary: &RoomsSummary) -> Table<'static> {
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
        ("tags of other runs", grouped(summary.foreign)),
        ("messages without a tag", grouped(summary.untagged)),
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

pub(super) fn generator(summary: &RoomsSummary) -> Table<'static> {
    let client = cpu(summary.client_cpu_us_per_delivery);
    let server = summary.server_cpu_us_per_delivery.map(cpu);
    let mut rows = facts::cpu_rows(client, server, "delivery", summary.client_busy);
    rows.push(("connections", format!("{} made", grouped(summary.connects))));
    facts::push_times(&mut rows, "sent late", &summary.generator_lag_us);
    facts::list("The generator", rows)
}

pub(super) fn run(summary: &RoomsSummary) -> Table<'static> {
    let rows = vec![
        ("command", summary.command.clone()),
        ("model", summary.model.clone()),
        ("rate", facts::rate(&summary.rate)),
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
