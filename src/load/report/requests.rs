//! The page of one load of requests.

use std::fmt::{self, Display};

use super::parts::{Figure, Latency, RunPage, over_time, section};
use super::plots::{Named, RateNames};
use super::timeline::spans;
use super::{facts, plots};
use crate::load::limits;
use crate::load::table::counted;
use crate::load::{Summary, grouped, per_second, timed};

/// The page of one load.
pub struct Report<'a>(pub &'a Summary);

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        RunPage {
            command: "headwater load",
            target: &summary.targets(1),
            url: summary.urls.first().map_or("a load", String::as_str),
            more: other_urls(summary),
            has_rate: summary.asked_rate_per_s.is_some(),
            facts: summary.into(),
            figures: figures(summary),
            sections: |f: &mut fmt::Formatter<'_>| sections(f, summary),
            tables: [
                facts::answers(summary),
                facts::generator(summary),
                facts::run(summary),
            ],
        }
        .write(f)
    }
}

fn sections(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    if summary.players.is_some() {
        let table = facts::players(summary);
        writeln!(f, "<section><h2>What viewers saw</h2>\n{table}</section>")?;
    }
    if let Some(plot) = plots::knee(summary) {
        let limit = summary.knee_p99_limit_us.map_or_else(String::new, |limit| {
            format!(", to keep the P99 within {}", timed(limit))
        });
        let text = format!(
            "Rates that were tried{limit}. All other figures are of the load at {}.",
            per_second(summary.asked_rate_per_s.unwrap_or(0.0))
        );
        section(f, "The knee", &text, &plot, &facts::knee(summary))?;
    }
    latency(summary).write(f)?;
    let spans = spans(&summary.timeline, limits::REPORT_POINTS_MAX);
    let plots = [
        plots::rate(RATE, &spans),
        match summary.asked_rate_per_s {
            Some(_) => plots::p99(&spans, "response", Some("service")),
            None => plots::p99(&spans, "service", None),
        },
    ];
    over_time(f, &summary.timeline, &plots, &facts::seconds(summary))?;
    if let Some(plot) = plots::gap(summary) {
        let text = "The response time runs from when a request was due, the service time from when it \
                    was sent. On the dashed line the server keeps up; what lies above it has waited for a \
                    connection that was free.";
        let table = facts::gap(summary);
        section(f, "Response against service", text, &plot, &table)?;
    }
    if !summary.by_url.is_empty() {
        let table = facts::by_url(summary);
        writeln!(f, "<section><h2>By URL</h2>\n{table}</section>")?;
    }
    Ok(())
}

const RATE: RateNames = RateNames {
    id: "rate",
    title: "Rate over time",
    line: "answered",
    things: "requests",
};

fn other_urls(summary: &Summary) -> Vec<String> {
    let others = summary.urls.iter().skip(1).take(limits::REPORT_LIST_MAX);
    let mut more: Vec<String> = others.cloned().collect();
    let left = summary.urls_total.max(summary.urls.len())
        - summary.urls.len().min(limits::REPORT_LIST_MAX + 1);
    if left > 0 {
        more.push(format!("and {} more", grouped(left as u64)));
    }
    more
}

/// The main figures, shown large at the top.
fn figures(summary: &Summary) -> Vec<Figure> {
    let times = &summary.response_time_us;
    let mut figures = Vec::new();
    if let Some(players) = &summary.players {
        let files = format!("of {}", counted(players.opened, "file"));
        figures.push((
            "start-up P50",
            timed(players.startup_time_us.p50),
            files.clone(),
        ));
        figures.push(("start-up P99", timed(players.startup_time_us.p99), files));
        figures.push((
            "stalls",
            grouped(players.stalls),
            format!("{:.2}% of the time", players.stalled_share * 100.0),
        ));
    }
    figures.push((
        "answered",
        per_second(summary.rate_per_s),
        match summary.asked_rate_per_s {
            Some(asked) => format!("of {} asked", per_second(asked)),
            None => counted(summary.requests, "request"),
        },
    ));
    if times.count > 0 {
        let what = match summary.asked_rate_per_s {
            Some(_) => "response time",
            None => "service time",
        };
        figures.push(("P50", timed(times.p50), what.to_owned()));
        figures.push(("P99", timed(times.p99), what.to_owned()));
        figures.push(("slowest", timed(times.max), what.to_owned()));
    }
    figures.push((
        "errors",
        grouped(summary.errors_total),
        format!("of {}", counted(summary.requests, "answer")),
    ));
    let (cpu, whose) = match summary.server_cpu_us_per_request {
        Some(server) => (server, "the server's, a request"),
        None => (summary.client_cpu_us_per_request, "the client's, a request"),
    };
    figures.push(("CPU", timed(cpu), whose.to_owned()));
    figures
}

fn latency(summary: &Summary) -> Latency<'_> {
    let service = Named {
        line: "service",
        says: "Service time",
        times: &summary.service_time_us,
    };
    let response = Named {
        line: "response",
        says: "Response time",
        times: &summary.response_time_us,
    };
    let (outer, inner, text) = match summary.asked_rate_per_s {
        Some(_) => (
            response,
            Some(service),
            "The shaded area is what requests have waited before they were sent, beyond what the server took.",
        ),
        None => (
            service,
            None,
            "In a closed loop a request is due when its connection is free: response and service time are one.",
        ),
    };
    Latency {
        title: "Latency",
        text,
        none: "No request was answered",
        points: &summary.percentiles,
        outer,
        inner,
        table: facts::times(summary),
    }
}
