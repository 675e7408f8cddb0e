//! The page of a folder of loads.

use std::fmt::{self, Display};

use super::page::{Document, Escaped};
use super::parts::class;
use super::rooms;
use crate::load::{AnySummary, Times, grouped, per_second, timed};

/// A load in a folder.
pub struct IndexedRun {
    /// The name of its files, without extension.
    pub name: String,
    /// Its summary, read from its JSON.
    pub load: AnySummary,
    /// The extensions of its files, such as `html`.
    pub files: Vec<String>,
}

/// The content of a folder of loads.
pub struct Index {
    /// Title of the page: the folder's name.
    pub title: String,
    /// The loads of the folder, each a row of its kind's table.
    pub entries: Vec<IndexedRun>,
    /// Other files, with the content of text files.
    pub others: Vec<(String, Option<String>)>,
}

impl Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = Document {
            title: &self.title,
            body: Body(self),
        };
        document.fmt(f)
    }
}

struct Body<'a>(&'a Index);

impl Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.0;
        write!(
            f,
            "<header>\n<p class=\"kind\">headwater load</p>\n<h1>{}</h1>\n</header>\n<main>\n",
            Escaped(&index.title)
        )?;
        let of = |wanted: fn(&AnySummary) -> bool| -> Vec<&IndexedRun> {
            let entries = index.entries.iter();
            entries.filter(|entry| wanted(&entry.load)).collect()
        };
        table(
            f,
            &COLUMNS,
            &of(|load| matches!(load, AnySummary::Requests(_))),
            "Times are response times; CPU is a request's.",
        )?;
        table(
            f,
            &COLUMNS_OF_ROOMS,
            &of(|load| matches!(load, AnySummary::Rooms(_))),
            "Rooms: times are delivery times; CPU is a delivery's.",
        )?;
        table(
            f,
            &COLUMNS_OF_LIVE,
            &of(|load| matches!(load, AnySummary::Live(_))),
            "Live readers: times are how far they were behind; CPU is a piece's.",
        )?;
        let texts = index
            .others
            .iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)));
        for (name, text) in texts {
            writeln!(f, "<section><h2>{}</h2>", Link(name, name))?;
            match name.ends_with(".tsv") {
                true => columns(f, text)?,
                false => writeln!(f, "<pre>{}</pre>", Escaped(text))?,
            }
            f.write_str("</section>\n")?;
        }
        let files = index.others.iter().filter(|(_, text)| text.is_none());
        let mut files = files.peekable();
        if files.peek().is_some() {
            f.write_str("<section><h2>Other files</h2>\n<ul>\n")?;
            for (name, _) in files {
                writeln!(f, "<li>{}</li>", Link(name, name))?;
            }
            f.write_str("</ul></section>\n")?;
        }
        f.write_str("</main>\n")
    }
}

const COLUMNS: [(&str, &str); 12] = [
    ("", "load"),
    ("text", "verdict"),
    ("", "answered"),
    ("", "asked"),
    ("", "P50"),
    ("", "P99"),
    ("", "P99.9"),
    ("", "max"),
    ("", "errors"),
    ("", "client CPU"),
    ("", "server CPU"),
    ("text", "files"),
];

const COLUMNS_OF_ROOMS: [(&str, &str); 14] = [
    ("", "load"),
    ("text", "verdict"),
    ("", "delivered"),
    ("", "published"),
    ("", "asked"),
    ("", "P50"),
    ("", "P99"),
    ("", "P99.9"),
    ("", "max"),
    ("", "lost"),
    ("", "wrong"),
    ("", "client CPU"),
    ("", "server CPU"),
    ("text", "files"),
];

const COLUMNS_OF_LIVE: [(&str, &str); 12] = [
    ("", "load"),
    ("text", "verdict"),
    ("", "pieces"),
    ("", "start-up P99"),
    ("", "stalls"),
    ("", "P50"),
    ("", "P99"),
    ("", "max"),
    ("", "errors"),
    ("", "client CPU"),
    ("", "server CPU"),
    ("text", "files"),
];

/// The table of the loads of one kind, if there are any.
fn table(
    f: &mut fmt::Formatter<'_>,
    columns: &[(&str, &str)],
    entries: &[&IndexedRun],
    text: &str,
) -> fmt::Result {
    if entries.is_empty() {
        return Ok(());
    }
    f.write_str("<section><div class=\"wide\"><table class=\"numbers\">\n<thead><tr>")?;
    for (class, name) in columns {
        write!(f, "<th scope=\"col\" class=\"{class}\">{name}</th>")?;
    }
    f.write_str("</tr></thead>\n<tbody>\n")?;
    for entry in entries {
        row(f, entry)?;
    }
    writeln!(f, "</tbody></table></div>\n<p>{text}</p></section>")
}

/// The cells between the verdict and the files.
fn cells(load: &AnySummary) -> Vec<String> {
    let none = || "–".to_owned();
    let times = |times: &Times| [times.p50, times.p99, times.p999, times.max].map(timed);
    let mut cells = Vec::new();
    match load {
        AnySummary::Requests(summary) => {
            cells.push(per_second(summary.rate_per_s));
            cells.push(summary.asked_rate_per_s.map_or_else(none, per_second));
            cells.extend(times(&summary.response_time_us));
            cells.push(grouped(summary.errors_total));
            cells.push(timed(summary.client_cpu_us_per_request));
            cells.push(summary.server_cpu_us_per_request.map_or_else(none, timed));
        }
        AnySummary::Rooms(summary) => {
            cells.push(per_second(summary.delivery_rate_per_s));
            cells.push(per_second(summary.publish_rate_per_s));
            cells.push(per_second(summary.asked_publish_rate_per_s));
            cells.extend(times(&summary.delivery_time_us));
            cells.push(grouped(summary.lost));
            cells.push(grouped(summary.wrong()));
            cells.push(rooms::cpu(summary.client_cpu_us_per_delivery));
            let server = summary.server_cpu_us_per_delivery;
            cells.push(server.map_or_else(none, rooms::cpu));
        }
        AnySummary::Live(summary) => {
            let behind = &summary.behind_us;
            cells.push(per_second(summary.piece_rate_per_s));
            cells.push(timed(summary.startup_us.p99));
            cells.push(grouped(summary.stalls));
            cells.extend([behind.p50, behind.p99, behind.max].map(timed));
            cells.push(grouped(summary.errors_total));
            cells.push(timed(summary.client_cpu_us_per_piece));
            cells.push(summary.server_cpu_us_per_piece.map_or_else(none, timed));
        }
    }
    cells
}

fn row(f: &mut fmt::Formatter<'_>, entry: &IndexedRun) -> fmt::Result {
    let verdict = entry.load.verdict();
    let class = class(verdict);
    f.write_str("<tr><th scope=\"row\">")?;
    match entry.files.iter().any(|ending| ending == "html") {
        true => write!(f, "{}", Link(&format!("{}.html", entry.name), &entry.name))?,
        false => write!(f, "{}", Escaped(&entry.name))?,
    }
    write!(f, "</th><td class=\"text {class}\">{verdict}</td>")?;
    for cell in cells(&entry.load) {
        write!(f, "<td>{cell}</td>")?;
    }
    f.write_str("<td class=\"text\">")?;
    for (index, ending) in entry
        .files
        .iter()
        .filter(|ending| *ending != "html")
        .enumerate()
    {
        let space = if index == 0 { "" } else { " " };
        write!(
            f,
            "{space}{}",
            Link(&format!("{}.{ending}", entry.name), ending)
        )?;
    }
    f.write_str("</td></tr>\n")
}

/// Values in columns. Each number has a bar whose length is its share of the column's largest
/// value.
fn columns(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut lines = text
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    let rows: Vec<_> = lines.collect();
    f.write_str("<div class=\"wide\"><table class=\"numbers\">\n<thead><tr>")?;
    for name in &head {
        write!(f, "<th scope=\"col\">{}</th>", Escaped(name))?;
    }
    f.write_str("</tr></thead>\n<tbody>\n")?;
    let number = |cell: &str| cell.parse().ok().filter(|number: &f64| number.is_finite());
    for row in &rows {
        f.write_str("<tr>")?;
        for (index, cell) in row.iter().enumerate() {
            if index == 0 {
                write!(f, "<th scope=\"row\">{}</th>", Escaped(cell))?;
                continue;
            }
            write!(f, "<td>{}", Escaped(cell))?;
            let column = rows.iter().filter_map(|row| number(row.get(index)?));
            let most = column.fold(0.0_f64, f64::max);
            if let Some(value) = number(cell).filter(|value| *value >= 0.0 && most > 0.0) {
                write!(
                    f,
                    "<svg class=\"bar\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
                     <rect width=\"{:.1}\" height=\"4\"/></svg>",
                    value / most * 100.0
                )?;
            }
            f.write_str("</td>")?;
        }
        f.write_str("</tr>\n")?;
    }
    f.write_str("</tbody></table></div>\n")
}

/// A link to a file of the same folder, with its text.
struct Link<'a>(&'a str, &'a str);

impl Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With `./`, so that a name with a colon is not parsed as a scheme.
        let name =
            percent_encoding::utf8_percent_encode(self.0, percent_encoding::NON_ALPHANUMERIC);
        write!(f, "<a href=\"./{name}\">{}</a>", Escaped(self.1))
    }
}
