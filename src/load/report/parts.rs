//! The sections that pages of all kinds of load share.

use std::fmt::{self, Display};

use super::page::{Document, Escaped, Table};
use super::plot::Plot;
use super::plots::Named;
use super::{facts, plots};
use crate::load::limits;
use crate::load::live::LiveSummary;
use crate::load::rooms::RoomsSummary;
use crate::load::{Host, Second, Summary, Verdict};

/// A URL that may be wrapped after each of its parts.
fn breakable(url: &str) -> String {
    Escaped(url)
        .to_string()
        .replace('/', "/<wbr/>")
        .replace("/<wbr/>/<wbr/>", "//<wbr/>")
}

/// The facts that the frame of a page takes from a summary of any kind.
pub(super) struct RunFacts<'a> {
    set_up: String,
    started_unix_s: u64,
    host: &'a Host,
    verdict: Verdict,
    interrupted: bool,
    notes: &'a [String],
}

macro_rules! run_facts {
    ($($summary:ty),*) => {$(
        impl<'a> From<&'a $summary> for RunFacts<'a> {
            fn from(summary: &'a $summary) -> Self {
                Self {
                    set_up: summary.set_up(),
                    started_unix_s: summary.started_unix_s,
                    host: &summary.host,
                    verdict: summary.verdict,
                    interrupted: summary.interrupted,
                    notes: &summary.notes,
                }
            }
        }
    )*};
}

run_facts!(Summary, RoomsSummary, LiveSummary);

/// The page of one load, of any kind: the frame that each kind fills in.
pub(super) struct RunPage<'a, S> {
    /// The command, such as `headwater load rooms`.
    pub command: &'static str,
    /// What was loaded, for the title.
    pub target: &'a str,
    pub url: &'a str,
    /// Lines below the URL.
    pub more: Vec<String>,
    /// A rate was requested.
    pub has_rate: bool,
    pub facts: RunFacts<'a>,
    /// The main figures, shown large at the top.
    pub figures: Vec<Figure>,
    /// Writes the sections between the main figures and the tables.
    pub sections: S,
    /// The tables of results, of the generator, and of the run.
    pub tables: [Table<'static>; 3],
}

impl<S: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> RunPage<'_, S> {
    pub(super) fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{} {}: {}", self.command, self.target, self.facts.verdict);
        Document {
            title: &title,
            body: Body(self),
        }
        .fmt(f)
    }

    /// What was loaded, how, when and where.
    fn header(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<header>\n<p class=\"kind\">{}</p>\n<h1>{}</h1>",
            self.command,
            breakable(self.url)
        )?;
        for line in &self.more {
            writeln!(f, "<p class=\"more\">{}</p>", Escaped(line))?;
        }
        let facts = &self.facts;
        writeln!(
            f,
            "<p class=\"setup\">{}<br/>{}</p>\n</header>",
            Escaped(&facts.set_up),
            facts::when_and_where(facts.started_unix_s, facts.host)
        )
    }

    /// The verdict with its meaning, and the notes that explain it.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.facts.verdict;
        let early = match self.facts.interrupted {
            true => " It was stopped before its time.",
            false => "",
        };
        writeln!(
            f,
            "<section class=\"verdict {}\">\n<p><strong>{verdict}</strong> {}{early}</p>",
            class(verdict),
            verdict.meaning(self.has_rate)
        )?;
        if !self.facts.notes.is_empty() {
            f.write_str("<ul>\n")?;
            for note in self.facts.notes {
                writeln!(f, "<li>{}</li>", Escaped(note))?;
            }
            f.write_str("</ul>\n")?;
        }
        f.write_str("</section>\n")
    }
}

struct Body<'a, S>(RunPage<'a, S>);

impl<S: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Body<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = &self.0;
        page.header(f)?;
        f.write_str("<main>\n")?;
        page.verdict(f)?;
        figures(f, &page.figures)?;
        (page.sections)(f)?;
        let ([results, generator, run], host) = (&page.tables, facts::host(page.facts.host));
        writeln!(
            f,
            "<section><h2>The run</h2>\n<div class=\"pair\">\n<div>{results}{generator}</div>\n\
             <div>{run}{host}</div></div></section>\n</main>"
        )
    }
}

/// The style of a verdict. A saturated client is neither good nor bad: it shows nothing about the
/// server.
pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::SaturatedClient => "unsure",
        Verdict::Errors | Verdict::RateNotReached => "bad",
    }
}

/// A main figure: its name, its value, and what to compare it with.
pub(super) type Figure = (&'static str, String, String);

fn figures(f: &mut fmt::Formatter<'_>, figures: &[Figure]) -> fmt::Result {
    f.write_str("<dl class=\"figures\">\n")?;
    for (name, value, beside) in figures {
        writeln!(
            f,
            "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"beside\">{beside}</dd></div>"
        )?;
    }
    f.write_str("</dl>\n")
}

/// Explains the steps of plots over time.
fn steps_caption(timeline: &[Second]) -> String {
    let together = timeline.len().div_ceil(limits::REPORT_POINTS_MAX).max(1);
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
pub(super) fn section(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    text: &str,
    plot: &Plot,
    table: &Table<'_>,
) -> fmt::Result {
    writeln!(
        f,
        "<section class=\"plotted\"><h2>{title}</h2>\n<p>{text}</p>\n<div class=\"pair\">\n<figure>{plot}</figure>\n\
         <div>{table}</div>\n</div></section>"
    )
}

/// The section about the distribution of times: a plot by percentile beside its table.
pub(super) struct Latency<'a> {
    pub title: &'a str,
    /// Explains the plot.
    pub text: &'a str,
    /// The sentence in place of the plot if there are no times: `No request was answered`.
    pub none: &'a str,
    pub points: &'a [(f64, f64, f64)],
    pub outer: Named<'a>,
    /// The part of the outer times that is shown within them.
    pub inner: Option<Named<'a>>,
    pub table: Table<'a>,
}

impl Latency<'_> {
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match plots::percentiles(self.points, &self.outer, self.inner.as_ref()) {
            Some(plot) => section(f, self.title, self.text, &plot, &self.table),
            None => writeln!(
                f,
                "<section><h2>{}</h2>\n<p>{}, so there are no times.</p></section>",
                self.title, self.none
            ),
        }
    }
}

/// Plots over time, with their seconds as a table.
pub(super) fn over_time(
    f: &mut fmt::Formatter<'_>,
    seconds: &[Second],
    plots: &[Option<Plot>],
    table: &Table<'_>,
) -> fmt::Result {
    if plots.iter().all(Option::is_none) {
        return Ok(());
    }
    writeln!(
        f,
        "<section class=\"plotted\"><h2>Over time</h2>\n<p>{}</p>\n<div class=\"pair\">",
        steps_caption(seconds)
    )?;
    for plot in plots.iter().flatten() {
        writeln!(f, "<figure>{plot}</figure>")?;
    }
    writeln!(
        f,
        "</div>\n<details><summary>As a table</summary>\n{table}</details></section>"
    )
}
