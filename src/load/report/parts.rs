//! The sections that pages of all kinds of load share.

use std::fmt::{self, Display};

use super::page::{Document, Escaped, Table};
use super::plot::Plot;
use super::plots::Named;
use super::{facts, plots};
use crate::load::limits;
use crate::load::{Host, Second, Verdict};

/// A URL that may be wrapped after each of its parts.
fn breakable(url: &str) -> String {
    Escaped(url)
        .to_string()
        .replace('/', "/<wbr/>")
        .replace("/<wbr/>/<wbr/>", "//<wbr/>")
}

/// The page of one load, of any kind: the frame that each kind fills in.
pub(super) struct RunPage<'a, S> {
    /// What was loaded, for the title.
    pub target: &'a str,
    pub header: Header<'a>,
    pub verdict: VerdictSection<'a>,
    /// The main figures, shown large at the top.
    pub figures: Vec<Figure>,
    /// Writes the sections between the main figures and the facts.
    pub sections: S,
    /// The facts: results and generator, then the run.
    pub facts: [Table<'static>; 3],
}

impl<S: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> RunPage<'_, S> {
    pub(super) fn write(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!(
            "{} {}: {}",
            self.header.kind, self.target, self.verdict.verdict
        );
        Document {
            title: &title,
            body: Body(self),
        }
        .fmt(f)
    }
}

struct Body<'a, S>(RunPage<'a, S>);

impl<S: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Body<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = &self.0;
        write!(f, "{}<main>\n{}", page.header, page.verdict)?;
        figures(f, &page.figures)?;
        (page.sections)(f)?;
        let ([results, generator, run], host) = (&page.facts, facts::host(page.header.host));
        writeln!(
            f,
            "<section><h2>The run</h2>\n<div class=\"pair\">\n<div>{results}{generator}</div>\n\
             <div>{run}{host}</div></div></section>\n</main>"
        )
    }
}

/// The header: what was loaded, how, when and where.
pub(super) struct Header<'a> {
    /// The command.
    pub kind: &'a str,
    pub url: &'a str,
    /// Lines below the URL.
    pub more: Vec<String>,
    pub set_up: String,
    pub started_unix_s: u64,
    pub host: &'a Host,
}

impl Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<header>\n<p class=\"kind\">{}</p>\n<h1>{}</h1>",
            self.kind,
            breakable(self.url)
        )?;
        for line in &self.more {
            writeln!(f, "<p class=\"more\">{}</p>", Escaped(line))?;
        }
        writeln!(
            f,
            "<p class=\"setup\">{}<br/>{}</p>\n</header>",
            Escaped(&self.set_up),
            facts::when_and_where(self.started_unix_s, self.host)
        )
    }
}

/// The verdict with its meaning, and the notes that explain it.
pub(super) struct VerdictSection<'a> {
    pub verdict: Verdict,
    /// A rate was requested.
    pub has_rate: bool,
    pub interrupted: bool,
    pub notes: &'a [String],
}

impl Display for VerdictSection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = class(self.verdict);
        let early = if self.interrupted {
            " It was stopped before its time."
        } else {
            ""
        };
        writeln!(
            f,
            "<section class=\"verdict {class}\">\n<p><strong>{}</strong> {}{early}</p>",
            self.verdict,
            self.verdict.meaning(self.has_rate)
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
