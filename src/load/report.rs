//! Pages of HTML made from summaries: of one load, of requests or of rooms, of two beside each
//! other, of a folder of them.
//!
//! A page stands by itself: it fetches nothing and runs no script, so it can be mailed, archived and
//! printed. Its plots are SVG of our own rather than of a plotting crate, which would write colours and
//! sizes into the drawing: here they are the style sheet's, and so one drawing serves light and dark
//! screens, phones and paper, and its words are text that can be read aloud and found.
//!
//! Pages are well-formed as XML too, which is how they are tested.

use std::fmt::{self, Display};

use super::summary::{Second, Summary};
use super::table::{counted, grouped, sized};
use super::verdict::Verdict;
use crate::limits;
use page::{Document, Escaped, Table, time};
use plots::Run;

mod compared;
mod facts;
mod index;
mod page;
mod plot;
mod plots;
mod rooms;
mod scale;
mod timeline;

pub use compared::ComparisonReport;
pub use index::{Entry, Index, Loaded};
pub use rooms::RoomsReport;

/// The page of one load.
pub struct Report<'a>(pub &'a Summary);

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let title = format!("headwater load {}: {}", summary.targets(1), summary.verdict);
        let document = Document {
            title: &title,
            body: Body(summary),
        };
        document.fmt(f)
    }
}

struct Body<'a>(&'a Summary);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let run = [Run { name: "", summary }];
        let verdict = VerdictOf {
            verdict: summary.verdict,
            interrupted: summary.interrupted,
            notes: &summary.notes,
        };
        write!(f, "{}<main>\n{verdict}", Head(summary))?;
        figures(f, &large(summary))?;
        if let Some(plot) = plots::knee(summary) {
            let limit = summary.knee_p99_limit_us.map_or_else(String::new, |limit| {
                format!(", to keep the P99 within {}", time(limit))
            });
            let text = format!(
                "Rates that were tried{limit}. All other figures are of the load at {}/s.",
                grouped(summary.asked_rate_per_s.unwrap_or(0.0).round() as u64)
            );
            section(f, "The knee", &text, &plot, &facts::knee(summary))?;
        }
        latency(f, summary, &run)?;
        over_time(f, summary, &run)?;
        if let Some(plot) = plots::gap(summary) {
            let text = "The response time runs from when a request was due, the service time from when it \
                        was sent. On the dashed line the server keeps up; what lies above it has waited for a \
                        connection that was free.";
            section(
                f,
                "Response against service",
                text,
                &plot,
                &facts::gap(summary),
            )?;
        }
        if !summary.by_url.is_empty() {
            let table = facts::by_url(summary);
            writeln!(f, "<section><h2>By URL</h2>\n{table}</section>")?;
        }
        if summary.players.is_some() {
            let table = facts::players(summary);
            writeln!(f, "<section><h2>What viewers saw</h2>\n{table}</section>")?;
        }
        f.write_str("<section><h2>The run</h2>\n<div class=\"pair\">\n<div>")?;
        write!(
            f,
            "{}{}",
            facts::answers(summary),
            facts::generator(summary)
        )?;
        write!(
            f,
            "</div>\n<div>{}{}</div>",
            facts::run(summary),
            facts::host(&summary.host)
        )?;
        f.write_str("</div></section>\n</main>\n")
    }
}

/// What was loaded, and how.
struct Head<'a>(&'a Summary);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let mut urls = summary.urls.iter();
        writeln!(
            f,
            "<header>\n<p class=\"kind\">headwater load</p>\n<h1>{}</h1>",
            breakable(urls.next().map_or("a load", String::as_str))
        )?;
        for url in urls.take(limits::LOAD_REPORT_LIST_MAX) {
            writeln!(f, "<p class=\"more\">{}</p>", Escaped(url))?;
        }
        let more = summary.urls_total.max(summary.urls.len())
            - summary.urls.len().min(limits::LOAD_REPORT_LIST_MAX + 1);
        if more > 0 {
            writeln!(f, "<p class=\"more\">and {} more</p>", grouped(more as u64))?;
        }
        writeln!(
            f,
            "<p class=\"setup\">{}<br/>{}</p>\n</header>",
            Escaped(&summary.set_up()),
            facts::when_and_where(summary.started_unix_s, &summary.host)
        )
    }
}

/// A URL that may go on in the next line after each of its parts.
fn breakable(url: &str) -> String {
    Escaped(url)
        .to_string()
        .replace('/', "/<wbr/>")
        .replace("/<wbr/>/<wbr/>", "//<wbr/>")
}

struct VerdictOf<'a> {
    verdict: Verdict,
    interrupted: bool,
    notes: &'a [String],
}

impl Display for VerdictOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.verdict {
            Verdict::Good => "good",
            _ => "bad",
        };
        let early = if self.interrupted {
            " It was stopped before its time."
        } else {
            ""
        };
        writeln!(
            f,
            "<section class=\"verdict {class}\">\n<p><strong>{}</strong> {}{early}</p>",
            self.verdict,
            self.verdict.meaning()
        )?;
        if !self.notes.is_empty() {
            f.write_str("<ul>\n")?;
            for note in self.notes {
                writeln!(f, "<li>{}</li>", Escaped(note))?;
            }
            f.write_str("</ul>\n")?;
        }
        f.write_str("</section>\n")
    }
}

/// What is looked for first, large.
fn large(summary: &Summary) -> Vec<(&'static str, String, String)> {
    let times = &summary.response_time_us;
    let mut figures = vec![(
        "answered",
        format!("{}/s", grouped(summary.rate_per_s.round() as u64)),
        match summary.asked_rate_per_s {
            Some(asked) => format!("of {}/s asked", grouped(asked.round() as u64)),
            None => counted(summary.requests, "request"),
        },
    )];
    if times.count > 0 {
        let what = match summary.asked_rate_per_s {
            Some(_) => "response time",
            None => "service time",
        };
        figures.push(("P50", time(times.p50), what.to_owned()));
        figures.push(("P99", time(times.p99), what.to_owned()));
        figures.push(("slowest", time(times.max), what.to_owned()));
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
    figures.push(("CPU", time(cpu), whose.to_owned()));
    figures
}

/// Each with its name and what it is to be seen beside.
fn figures(f: &mut fmt::Formatter<'_>, figures: &[(&'static str, String, String)]) -> fmt::Result {
    f.write_str("<dl class=\"figures\">\n")?;
    for (name, value, beside) in figures {
        writeln!(
            f,
            "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"beside\">{beside}</dd></div>"
        )?;
    }
    f.write_str("</dl>\n")
}

fn latency(f: &mut fmt::Formatter<'_>, summary: &Summary, run: &[Run<'_>]) -> fmt::Result {
    let Some(plot) = plots::percentiles(run) else {
        return f.write_str("<section><h2>Latency</h2>\n<p>No request was answered, so there are no times.</p></section>\n");
    };
    let text = match summary.asked_rate_per_s {
        Some(_) => {
            "The shaded area is what requests have waited before they were sent, beyond what the server took."
        }
        None => {
            "In a closed loop a request is due when its connection is free: response and service time are one."
        }
    };
    section(f, "Latency", text, &plot, &facts::times(summary))
}

fn over_time(f: &mut fmt::Formatter<'_>, summary: &Summary, run: &[Run<'_>]) -> fmt::Result {
    let (Some(rate), Some(p99)) = (plots::rate(run), plots::p99(run)) else {
        return Ok(());
    };
    let text = steps_told(&summary.timeline);
    writeln!(
        f,
        "<section class=\"plotted\"><h2>Over time</h2>\n<p>{text}</p>\n<div class=\"pair\">\n\
         <figure>{rate}</figure>\n<figure>{p99}</figure>\n</div>\n\
         <details><summary>As a table</summary>\n{}</details></section>",
        facts::seconds(summary)
    )
}

/// What the steps of plots over time are.
fn steps_told(timeline: &[Second]) -> String {
    let together = timeline
        .len()
        .div_ceil(limits::LOAD_REPORT_POINTS_MAX)
        .max(1);
    let mut text = match together {
        1 => "Each step is a second.".to_owned(),
        more => format!("Each step is {more} s: their mean rate, and the worst second's P99."),
    };
    if timeline.iter().any(|second| second.errors > 0) {
        text += " Triangles mark steps with errors.";
    }
    text
}

/// A plot beside its table.
fn section(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    text: &str,
    plot: &plot::Plot,
    table: &Table<'_>,
) -> fmt::Result {
    writeln!(
        f,
        "<section class=\"plotted\"><h2>{title}</h2>\n<p>{text}</p>\n<div class=\"pair\">\n<figure>{plot}</figure>\n\
         <div>{table}</div>\n</div></section>"
    )
}

/// Bytes and their rate.
fn received(summary: &Summary) -> String {
    let per_s = summary.bytes as f64 / summary.seconds.max(1e-9);
    format!("{}, {}/s", sized(summary.bytes as f64), sized(per_s))
}
