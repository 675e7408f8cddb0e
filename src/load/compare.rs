//! Compares several loads with the first one: which differences are larger than the noise?

use std::fmt;

use super::any_summary::AnySummary;
use super::limits;
use super::summary::{Second, Summary};
use super::table::{grouped, per_second, timed};
use super::verdict::Verdict;

/// Seconds that two runs must have for their spread to be meaningful.
const SECONDS_MIN: usize = 5;
/// A difference of more standard errors than this counts as real: by chance, about one comparison
/// in 20 exceeds it.
const STANDARD_ERRORS: f64 = 2.0;

/// A figure of all runs.
#[derive(Clone, Debug)]
pub struct Row {
    /// The figure's name, such as `response P99`.
    pub name: &'static str,
    /// One for each run, in their order; `None` where a run has none.
    pub figures: Vec<Option<Figure>>,
    /// Whether the difference of each later run to the first is larger than the noise.
    pub judgements: Vec<Judgement>,
    show: fn(f64) -> String,
}

/// A figure, and how much it varies between the seconds of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// In the unit of its row: per second, microseconds, a share from 0 to 1, or a count.
    pub value: f64,
    /// Standard deviation over the seconds of the run; `None` if the seconds don't have this
    /// figure.
    pub spread: Option<f64>,
}

/// Whether a difference is larger than the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Larger than the variation between the seconds of the runs.
    Different,
    /// Not larger than the variation between the seconds of the runs.
    WithinNoise,
    /// Each side has one figure only, so the noise is unknown.
    NoSpread,
}

/// Runs of one kind and their figures.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// Each with its name; the others are compared with the first.
    pub(super) runs: Vec<(&'a str, &'a AnySummary)>,
    /// The figures that at least one run has.
    pub rows: Vec<Row>,
}

/// Why runs can't be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareError {
    /// There are fewer than two runs, or more than `limits::COMPARED_RUNS_MAX`.
    Number(usize),
    /// They are loads of different kinds.
    Kinds {
        /// Kind of the first run, as [`AnySummary::kind`] names it.
        first: &'static str,
        /// Kind of the first run that is of another kind.
        other: &'static str,
        /// Name of that run.
        name: String,
    },
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(runs) => write!(
                f,
                "{runs} runs cannot be compared; name two to {}",
                limits::COMPARED_RUNS_MAX
            ),
            Self::Kinds { first, other, name } => write!(
                f,
                "\"{name}\" is a load of {other} and the first run one of {first}; compare runs of one kind"
            ),
        }
    }
}

impl std::error::Error for CompareError {}

/// A figure of one run: its name, its value if the run has it, its value of one second, and its
/// format.
struct Measure {
    name: &'static str,
    value: Option<f64>,
    second: Option<fn(&Second) -> f64>,
    show: fn(f64) -> String,
}

impl Measure {
    fn over(
        name: &'static str,
        show: fn(f64) -> String,
        value: f64,
        second: fn(&Second) -> f64,
    ) -> Self {
        Self {
            name,
            value: Some(value),
            second: Some(second),
            show,
        }
    }

    fn once(name: &'static str, show: fn(f64) -> String, value: impl Into<Option<f64>>) -> Self {
        Self {
            name,
            value: value.into(),
            second: None,
            show,
        }
    }
}

fn micros(us: f64) -> String {
    format!("{us:.2} µs")
}

fn count(count: f64) -> String {
    grouped(count as u64)
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn of_requests(summary: &Summary) -> Vec<Measure> {
    let (response, service) = (&summary.response_time_us, &summary.service_time_us);
    let players = summary.players.as_ref();
    vec![
        Measure::once(
            "start-up P50",
            timed,
            players.map(|p| p.startup_time_us.p50),
        ),
        Measure::once(
            "start-up P99",
            timed,
            players.map(|p| p.startup_time_us.p99),
        ),
        Measure::once("stalled", percent, players.map(|p| p.stalled_share)),
        Measure::over("rate", per_second, summary.rate_per_s, |s| s.rate_per_s),
        Measure::over("response P50", timed, response.p50, |s| s.response_p50_us),
        Measure::over("response P99", timed, response.p99, |s| s.response_p99_us),
        Measure::over("response max", timed, response.max, |s| s.response_max_us),
        Measure::over("service P99", timed, service.p99, |s| s.service_p99_us),
        Measure::once("response P99.9", timed, response.p999),
        Measure::once("client CPU", micros, summary.client_cpu_us_per_request),
        Measure::once("server CPU", micros, summary.server_cpu_us_per_request),
        Measure::once("errors", count, summary.errors_total as f64),
    ]
}

fn measures(run: &AnySummary) -> Vec<Measure> {
    let times = run.times();
    match run {
        AnySummary::Requests(summary) => of_requests(summary),
        AnySummary::Rooms(summary) => vec![
            Measure::over("deliveries", per_second, summary.delivery_rate_per_s, |s| {
                s.rate_per_s
            }),
            Measure::once("published", per_second, summary.publish_rate_per_s),
            Measure::over("delivery P50", timed, times.p50, |s| s.response_p50_us),
            Measure::over("delivery P99", timed, times.p99, |s| s.response_p99_us),
            Measure::over("delivery max", timed, times.max, |s| s.response_max_us),
            Measure::once("transit P99", timed, summary.transit_time_us.p99),
            Measure::once("client CPU", micros, summary.client_cpu_us_per_delivery),
            Measure::once("server CPU", micros, summary.server_cpu_us_per_delivery),
            Measure::once("lost", count, summary.lost as f64),
            Measure::once("wrong", count, summary.wrong() as f64),
        ],
        AnySummary::Live(summary) => vec![
            Measure::once("start-up P50", timed, summary.startup_us.p50),
            Measure::once("start-up P99", timed, summary.startup_us.p99),
            Measure::once("stalls", count, summary.stalls as f64),
            Measure::over("pieces", per_second, summary.piece_rate_per_s, |s| {
                s.rate_per_s
            }),
            Measure::over("behind P50", timed, times.p50, |s| s.response_p50_us),
            Measure::over("behind P99", timed, times.p99, |s| s.response_p99_us),
            Measure::over("behind max", timed, times.max, |s| s.response_max_us),
            Measure::once("client CPU", micros, summary.client_cpu_us_per_piece),
            Measure::once("server CPU", micros, summary.server_cpu_us_per_piece),
            Measure::once("errors", count, summary.errors_total as f64),
        ],
    }
}

/// Compares runs of one kind, each with its name, with the first.
///
/// # Errors
/// When there are too few or too many runs, or runs of several kinds.
pub fn compare<'a>(runs: Vec<(&'a str, &'a AnySummary)>) -> Result<Comparison<'a>, CompareError> {
    if !(2..=limits::COMPARED_RUNS_MAX).contains(&runs.len()) {
        return Err(CompareError::Number(runs.len()));
    }
    let first = runs[0].1.kind();
    if let Some((name, other)) = runs.iter().find(|(_, run)| run.kind() != first) {
        return Err(CompareError::Kinds {
            first,
            other: other.kind(),
            name: (*name).to_owned(),
        });
    }
    let timelines: Vec<Vec<Second>> = runs.iter().map(|(_, run)| run.timeline()).collect();
    let of_runs: Vec<Vec<Measure>> = runs.iter().map(|(_, run)| measures(run)).collect();
    let names = of_runs[0].iter().enumerate();
    let rows = names.filter_map(|(at, measure)| {
        let column = || of_runs.iter().map(|of_run| &of_run[at]);
        if column().all(|measure| measure.value.is_none()) {
            return None;
        }
        let sampled: Vec<Option<Sampled>> = timelines
            .iter()
            .map(|timeline| measure.second.map(|second| sample(timeline, second)))
            .collect();
        let figures = column().zip(&sampled).map(|(measure, sampled)| {
            measure.value.map(|value| Figure {
                value,
                spread: sampled.and_then(|sampled| sampled.spread()),
            })
        });
        Some(Row {
            name: measure.name,
            figures: figures.collect(),
            judgements: sampled.iter().map(|run| judge(sampled[0], *run)).collect(),
            show: measure.show,
        })
    });
    let rows = rows.collect();
    Ok(Comparison { runs, rows })
}

/// The seconds of a run, as a sample.
#[derive(Clone, Copy)]
struct Sampled {
    mean: f64,
    variance: f64,
    count: usize,
}

impl Sampled {
    fn spread(&self) -> Option<f64> {
        (self.count > 1).then(|| self.variance.sqrt())
    }
}

fn sample(timeline: &[Second], second: fn(&Second) -> f64) -> Sampled {
    let count = timeline.len();
    let mean = timeline.iter().map(second).sum::<f64>() / count.max(1) as f64;
    let squares: f64 = timeline.iter().map(|s| (second(s) - mean).powi(2)).sum();
    Sampled {
        mean,
        variance: squares / count.saturating_sub(1).max(1) as f64,
        count,
    }
}

/// By Welch's test on the seconds of both runs.
fn judge(a: Option<Sampled>, b: Option<Sampled>) -> Judgement {
    let (Some(a), Some(b)) = (a, b) else {
        return Judgement::NoSpread;
    };
    if a.count < SECONDS_MIN || b.count < SECONDS_MIN {
        return Judgement::NoSpread;
    }
    let of_means = a.variance / a.count as f64 + b.variance / b.count as f64;
    match (a.mean - b.mean).abs() > STANDARD_ERRORS * of_means.sqrt() {
        true => Judgement::Different,
        false => Judgement::WithinNoise,
    }
}

/// The letter of a run: A for the first.
pub(super) fn letter(run: usize) -> char {
    char::from(b'A' + (run % 26) as u8)
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, run)) in self.runs.iter().enumerate() {
            writeln!(
                f,
                "{}  {name}: {}\n   {}, {:.1} s, {}",
                letter(at),
                run.target(),
                run.set_up(),
                run.seconds(),
                run.verdict()
            )?;
        }
        for row in &self.rows {
            writeln!(f)?;
            for (at, figure) in row.figures.iter().enumerate() {
                let name = if at == 0 { row.name } else { "" };
                let shown = row.shown(figure.as_ref());
                let line = match at {
                    0 => format!("  {name:16}{}{shown:>26}", letter(at)),
                    _ => format!(
                        "  {name:16}{}{shown:>26}{:>10}  {}",
                        letter(at),
                        row.change(at),
                        row.judgements[at]
                    ),
                };
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        for note in self.notes() {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Different => "larger than the noise",
            Self::WithinNoise => "within the noise",
            Self::NoSpread => "",
        })
    }
}

impl Comparison<'_> {
    /// Notes that a reader should know before trusting the differences.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (at, (_, run)) in self.runs.iter().enumerate() {
            if run.verdict() == Verdict::SaturatedClient {
                notes.push(format!(
                    "the generator was the bottleneck of {}: its figures are the generator's, so a \
                     difference to it is not one of the servers",
                    letter(at)
                ));
            }
        }
        let asked: Vec<_> = self.runs.iter().map(|(_, run)| asked(run)).collect();
        for (at, (name, first)) in asked[0].iter().enumerate() {
            if asked.iter().any(|other| other[at].1 != *first) {
                let values: Vec<&str> = asked.iter().map(|run| run[at].1.as_str()).collect();
                notes.push(format!(
                    "the runs differ in what was asked of the server: {name} {}",
                    values.join(", ")
                ));
            }
        }
        let host = &self.runs[0].1.host().name;
        if self.runs.iter().any(|(_, run)| run.host().name != *host) {
            notes.push("the runs were made on different hosts".to_owned());
        }
        let is_short = |run: &AnySummary| run.timeline().len() < SECONDS_MIN;
        if self.runs.iter().any(|(_, run)| is_short(run)) {
            notes.push(format!(
                "a run of less than {SECONDS_MIN} s does not show its noise; measure longer"
            ));
        }
        notes
    }
}

/// The settings of a run, by name, that a comparison notes when they differ; the server's address
/// is left out.
fn asked(run: &AnySummary) -> Vec<(&'static str, String)> {
    match run {
        AnySummary::Requests(run) => vec![
            ("model", run.model.clone()),
            (
                "rate",
                run.rate.clone().unwrap_or_else(|| "none".to_owned()),
            ),
            ("connections", run.connections.to_string()),
            ("pipeline", run.pipeline.to_string()),
            (
                "ranges",
                run.ranges.clone().unwrap_or_else(|| "none".to_owned()),
            ),
            (
                "what is asked for:",
                run.urls
                    .iter()
                    .map(|url| path(url))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
        ],
        AnySummary::Rooms(run) => vec![
            ("model", run.model.clone()),
            ("rate", run.rate.clone()),
            ("subscribers", run.subscribers.to_string()),
            ("publishers", run.publishers.to_string()),
            ("rooms", run.rooms.to_string()),
            ("bytes of a message", run.size.to_string()),
        ],
        AnySummary::Live(run) => vec![
            ("readers", run.readers.to_string()),
            ("bytes of a piece", run.piece_bytes.to_string()),
            ("interval", timed(run.interval_s * 1e6)),
            (
                "poll",
                run.poll_s
                    .map_or_else(|| "none".to_owned(), |s| timed(s * 1e6)),
            ),
        ],
    }
}

/// A URL with its method and without the server's address.
fn path(url: &str) -> String {
    let Some((before, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let method = before.rsplit_once(' ').map_or("", |(method, _)| method);
    let path = rest.find('/').map_or("/", |slash| &rest[slash..]);
    format!("{method} {path}").trim_start().to_owned()
}

impl Row {
    /// The relative difference of a run's figure to the first run's.
    pub(super) fn change(&self, run: usize) -> String {
        match (self.figures[0], self.figures[run]) {
            (Some(first), Some(figure)) if first.value != 0.0 => {
                format!("{:+.1}%", (figure.value / first.value - 1.0) * 100.0)
            }
            _ => String::new(),
        }
    }

    /// A figure with its spread, as text.
    pub(super) fn shown(&self, figure: Option<&Figure>) -> String {
        match figure {
            None => "–".to_owned(),
            Some(Figure {
                value,
                spread: Some(spread),
            }) => format!("{} ± {}", (self.show)(*value), (self.show)(*spread)),
            Some(figure) => (self.show)(figure.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(rates: &[f64]) -> Summary {
        let second = |&rate_per_s: &f64| Second {
            rate_per_s,
            ..Second::default()
        };
        Summary {
            rate_per_s: rates.iter().sum::<f64>() / rates.len() as f64,
            timeline: rates.iter().map(second).collect(),
            ..Summary::default()
        }
    }

    fn run(rates: &[f64]) -> AnySummary {
        AnySummary::Requests(Box::new(summary(rates)))
    }

    fn judged(a: &[f64], b: &[f64]) -> Judgement {
        let (a, b) = (run(a), run(b));
        compare(vec![("a", &a), ("b", &b)]).unwrap().rows[0].judgements[1]
    }

    fn text(runs: &[Summary]) -> String {
        let runs: Vec<_> = runs
            .iter()
            .map(|run| AnySummary::Requests(Box::new(run.clone())))
            .collect();
        let named = runs.iter().map(|run| ("run.json", run)).collect();
        compare(named).unwrap().to_string()
    }

    #[test]
    fn a_difference_must_be_larger_than_the_spread() {
        let quiet = [100.0, 101.0, 99.0, 100.0, 101.0, 99.0];
        let better = quiet.map(|rate| rate + 3.0);
        assert_eq!(judged(&quiet, &better), Judgement::Different);
        assert_eq!(judged(&quiet, &quiet), Judgement::WithinNoise);
        let noisy = [90.0, 115.0, 95.0, 118.0, 85.0, 115.0];
        assert_eq!(judged(&quiet, &noisy), Judgement::WithinNoise);
        assert_eq!(judged(&quiet[..4], &better[..4]), Judgement::NoSpread);
    }

    #[test]
    fn what_differs_in_the_set_up_is_named() {
        let (a, mut b) = (summary(&[1.0; 6]), summary(&[2.0; 6]));
        b.connections = 7;
        let text = text(&[a, b]);
        assert!(
            text.contains("differ in what was asked of the server: connections 0, 7"),
            "{text}"
        );
        assert!(text.contains("+100.0%  larger than the noise"), "{text}");
        assert!(text.contains("1.00/s ± 0/s"), "{text}");
    }

    #[test]
    fn another_address_is_the_same_question() {
        let at = |url: &str| {
            let mut run = summary(&[1.0; 6]);
            run.urls = vec![url.to_owned()];
            run
        };
        let a = at("http://localhost:8080/a?b");
        let same = text(&[a.clone(), at("http://other:81/a?b")]);
        assert!(!same.contains("differ"), "{same}");
        for other in ["http://localhost:8080/b", "HEAD http://localhost:8080/a?b"] {
            let text = text(&[a.clone(), at(other)]);
            assert!(text.contains("differ in what was asked"), "{text}");
        }
    }

    #[test]
    fn a_saturated_client_is_named() {
        let (a, mut b) = (summary(&[1.0; 6]), summary(&[2.0; 6]));
        b.verdict = Verdict::SaturatedClient;
        let text = text(&[a.clone(), b, a]);
        assert!(
            text.contains("the generator was the bottleneck of B"),
            "{text}"
        );
        assert!(text.contains("C  run.json"), "{text}");
    }

    #[test]
    fn kinds_are_not_mixed() {
        let (a, b) = (run(&[1.0]), AnySummary::Rooms(Box::default()));
        let error = compare(vec![("a", &a), ("b", &b)]).unwrap_err();
        assert!(
            error.to_string().contains("\"b\" is a load of rooms"),
            "{error}"
        );
        assert_eq!(
            compare(vec![("a", &a)]).unwrap_err(),
            CompareError::Number(1)
        );
    }
}
