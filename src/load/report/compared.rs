//! The page of a comparison of several loads.

use std::fmt::{self, Display};

use super::overlay::{self, Series};
use super::page::{Document, Escaped, Table};
use super::parts::class;
use super::{facts, live, rooms};
use crate::load::AnySummary;
use crate::load::compare::{Comparison, letter};

/// The page of a comparison.
pub struct ComparisonReport<'a>(pub &'a Comparison<'a>);

impl Display for ComparisonReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.runs.iter().map(|(name, _)| *name).collect();
        let document = Document {
            title: &format!("headwater load compare: {}", names.join(", ")),
            body: Body(self.0),
        };
        document.fmt(f)
    }
}

struct Body<'a>(&'a Comparison<'a>);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { runs, .. } = self.0;
        writeln!(
            f,
            "<header>\n<p class=\"kind\">headwater load compare</p>\n<h1>{} runs</h1>\n</header>\n<main>",
            runs.len()
        )?;
        for (at, (name, run)) in runs.iter().enumerate() {
            let verdict = run.verdict();
            writeln!(
                f,
                "<p class=\"setup\"><strong class=\"{}\">{}</strong> {}: {}, {}, {:.1} s, \
                 <strong class=\"{}\">{verdict}</strong></p>",
                overlay::class(at),
                letter(at),
                Escaped(name),
                Escaped(&run.target()),
                Escaped(&run.set_up()),
                run.seconds(),
                class(verdict)
            )?;
        }
        let notes = self.0.notes();
        if !notes.is_empty() {
            f.write_str("<section class=\"verdict unsure\"><ul>\n")?;
            for note in notes {
                writeln!(f, "<li>{}</li>", Escaped(&note))?;
            }
            f.write_str("</ul></section>\n")?;
        }
        self.table(f)?;
        self.plots(f)?;
        f.write_str("<section><h2>The runs</h2>\n<div class=\"pair\">\n")?;
        for (at, (_, run)) in runs.iter().enumerate() {
            write!(f, "<div><h3>{}</h3>", letter(at))?;
            for table in tables(run) {
                write!(f, "{table}")?;
            }
            f.write_str("</div>\n")?;
        }
        f.write_str("</div></section>\n</main>\n")
    }
}

/// The other facts of a run.
fn tables(run: &AnySummary) -> [Table<'static>; 5] {
    let host = facts::host(run.host());
    match run {
        AnySummary::Requests(run) => [
            facts::times(run),
            facts::answers(run),
            facts::generator(run),
            facts::run(run),
            host,
        ],
        AnySummary::Rooms(run) => [
            rooms::times(run),
            rooms::deliveries(run),
            rooms::generator(run),
            rooms::run(run),
            host,
        ],
        AnySummary::Live(run) => [
            live::times(run),
            live::reading(run),
            live::generator(run),
            live::run(run),
            host,
        ],
    }
}

impl Body<'_> {
    /// A group of rows for each figure, with a row for each run: a table with a column for each run
    /// would not fit on a phone.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "<section class=\"plotted\"><div class=\"wide\"><table class=\"compared\">\n\
             <caption>Each figure with how its seconds differ (standard deviation), and its difference to A</caption>\n\
             <thead><tr><th scope=\"col\"></th><th scope=\"col\"></th><th scope=\"col\">figure</th>\
             <th scope=\"col\">to A</th><th scope=\"col\"></th></tr></thead>\n",
        )?;
        for row in &self.0.rows {
            f.write_str("<tbody>\n")?;
            for (at, figure) in row.figures.iter().enumerate() {
                f.write_str("<tr>")?;
                if at == 0 {
                    let runs = row.figures.len();
                    write!(
                        f,
                        "<th scope=\"rowgroup\" rowspan=\"{runs}\">{}</th>",
                        row.name
                    )?;
                }
                write!(
                    f,
                    "<th scope=\"row\" class=\"{}\">{}</th><td>{}</td>",
                    overlay::class(at),
                    letter(at),
                    Escaped(&row.shown(figure.as_ref()))
                )?;
                match at {
                    0 => f.write_str("<td></td><td></td></tr>\n")?,
                    _ => writeln!(
                        f,
                        "<td>{}</td><td class=\"text\">{}</td></tr>",
                        row.change(at),
                        row.judgements[at]
                    )?,
                }
            }
            f.write_str("</tbody>\n")?;
        }
        f.write_str("</table></div></section>\n")
    }

    fn plots(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.runs.iter().enumerate();
        let series: Vec<Series<'_>> = runs
            .map(|(at, (_, run))| Series::new(letter(at).to_string(), overlay::class(at), run))
            .collect();
        let plots = [
            overlay::percentiles(&series),
            overlay::rate(&series),
            overlay::p99(&series),
        ];
        if plots.iter().all(Option::is_none) {
            return Ok(());
        }
        f.write_str("<section class=\"plotted\"><h2>Over each other</h2>\n<div class=\"pair\">\n")?;
        for plot in plots.into_iter().flatten() {
            writeln!(
                f,
                "<figure><h3>{}</h3>{plot}</figure>",
                Escaped(&plot.title)
            )?;
        }
        f.write_str("</div></section>\n")
    }
}
