//! The page of two loads over each other.

use std::fmt::{self, Display};

use super::facts;
use super::page::{Document, Escaped, Table};
use super::plots::{self, Run};
use crate::load::compare::Comparison;

/// The page of a comparison.
pub struct ComparisonReport<'a>(pub &'a Comparison<'a>);

impl Display for ComparisonReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = self.0;
        let title = format!(
            "headwater load compare: {} and {}",
            comparison.a.0, comparison.b.0
        );
        let document = Document {
            title: &title,
            body: Body(comparison),
        };
        document.fmt(f)
    }
}

struct Body<'a>(&'a Comparison<'a>);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { a, b, rows } = self.0;
        let runs = [("A", a.1), ("B", b.1)].map(|(name, summary)| Run { name, summary });
        f.write_str("<header>\n<p class=\"kind\">headwater load compare</p>\n<h1>Two runs</h1>\n")?;
        for (class, letter, (name, run)) in [("c1", "A", a), ("c2", "B", b)] {
            writeln!(
                f,
                "<p class=\"setup\"><strong class=\"{class}\">{letter}</strong> {}: {}, {}, {:.1} s, {}</p>",
                Escaped(name),
                Escaped(&run.targets(1)),
                Escaped(&run.set_up()),
                run.seconds,
                run.verdict
            )?;
        }
        f.write_str("</header>\n<main>\n")?;
        let rows = rows.iter().map(|row| {
            let words = [row.change(), row.judgement.to_string()];
            let [a, b] = [&row.a, &row.b]
                .map(|figure| row.shown(figure).replace("us", "µs").replace("+-", "±"));
            let cells = [row.name.to_owned(), a, b].into_iter().chain(words);
            cells.collect()
        });
        let table = Table {
            class: "numbers loose",
            caption: "Each figure with how its seconds differ (standard deviation)",
            head: &["", "A", "B", "B to A", ""],
            rows: rows.collect(),
        };
        writeln!(f, "<section class=\"plotted\">{table}")?;
        for note in self.0.notes() {
            writeln!(f, "<p>{}</p>", Escaped(&note))?;
        }
        f.write_str("</section>\n<section class=\"plotted\"><h2>Over each other</h2>\n<p>Response times, or service times of a \
             closed loop, where both are one.</p>\n<div class=\"pair\">\n")?;
        let plots = [
            plots::percentiles(&runs),
            plots::rate(&runs),
            plots::p99(&runs),
        ];
        for plot in plots.into_iter().flatten() {
            writeln!(
                f,
                "<figure><h3>{}</h3>{plot}</figure>",
                Escaped(&plot.title)
            )?;
        }
        f.write_str("</div></section>\n<section><h2>The runs</h2>\n<div class=\"pair\">\n")?;
        for run in runs {
            writeln!(
                f,
                "<div><h3>{}</h3>{}{}{}{}{}</div>",
                run.name,
                facts::times(run.summary),
                facts::answers(run.summary),
                facts::generator(run.summary),
                facts::run(run.summary),
                facts::host(&run.summary.host)
            )?;
        }
        f.write_str("</div></section>\n</main>\n")
    }
}
