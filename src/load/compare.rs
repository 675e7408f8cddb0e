//! Two loads side by side: which differences are larger than the noise?

use std::fmt;

use super::summary::{Second, Summary};
use super::table::{grouped, timed};

/// Seconds that both runs must have for their spread to mean something.
const SECONDS_MIN: usize = 5;
/// A difference of so many standard errors is taken for one: about one in 20 such is chance.
const STANDARD_ERRORS: f64 = 2.0;

/// A figure of both runs.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub a: Figure,
    pub b: Figure,
    pub judgement: Judgement,
    show: fn(f64) -> String,
}

/// A figure, and how its seconds differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    pub value: f64,
    /// Standard deviation over the seconds of the run; `None` where it has none.
    pub spread: Option<f64>,
}

/// What a difference is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Larger than what the seconds of both runs differ by.
    Different,
    WithinNoise,
    /// One figure on each side says nothing of the noise.
    NoSpread,
}

/// Two runs and their figures.
pub struct Comparison<'a> {
    pub(super) a: (&'a str, &'a Summary),
    pub(super) b: (&'a str, &'a Summary),
    pub rows: Vec<Row>,
}

/// Compares run `b` with run `a`; each has a name.
pub fn compare<'a>(a: (&'a str, &'a Summary), b: (&'a str, &'a Summary)) -> Comparison<'a> {
    let over = |name, show, whole: fn(&Summary) -> f64, second: fn(&Second) -> f64| {
        let (a, b) = (figure(a.1, whole, second), figure(b.1, whole, second));
        Row {
            name,
            judgement: judge(a.1, b.1),
            a: a.0,
            b: b.0,
            show,
        }
    };
    let once = |name, show, whole: fn(&Summary) -> f64| Row {
        name,
        a: Figure {
            value: whole(a.1),
            spread: None,
        },
        b: Figure {
            value: whole(b.1),
            spread: None,
        },
        judgement: Judgement::NoSpread,
        show,
    };
    let per_s = |rate: f64| format!("{}/s", grouped(rate.round() as u64));
    let micros = |us: f64| format!("{us:.2} us");
    let count = |count: f64| grouped(count as u64);
    let mut rows = vec![
        over("rate", per_s, |s| s.rate_per_s, |s| s.rate_per_s),
        over(
            "response P50",
            timed,
            |s| s.response_time_us.p50,
            |s| s.response_p50_us,
        ),
        over(
            "response P99",
            timed,
            |s| s.response_time_us.p99,
            |s| s.response_p99_us,
        ),
        over(
            "response max",
            timed,
            |s| s.response_time_us.max,
            |s| s.response_max_us,
        ),
        over(
            "service P99",
            timed,
            |s| s.service_time_us.p99,
            |s| s.service_p99_us,
        ),
        once("response P99.9", timed, |s| s.response_time_us.p999),
        once("client CPU", micros, |s| s.client_cpu_us_per_request),
    ];
    if a.1.server_cpu_us_per_request.is_some() && b.1.server_cpu_us_per_request.is_some() {
        let server = |s: &Summary| s.server_cpu_us_per_request.unwrap_or(0.0);
        rows.push(once("server CPU", micros, server));
    }
    rows.push(once("errors", count, |s| s.errors_total as f64));
    Comparison { a, b, rows }
}

/// Mean and variance of the mean, with the number of seconds they are of.
type Sampled = (f64, f64, usize);

fn figure(
    summary: &Summary,
    whole: fn(&Summary) -> f64,
    second: fn(&Second) -> f64,
) -> (Figure, Sampled) {
    let samples: Vec<f64> = summary.timeline.iter().map(second).collect();
    let count = samples.len();
    let mean = samples.iter().sum::<f64>() / count.max(1) as f64;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    let variance = squares / count.saturating_sub(1).max(1) as f64;
    let figure = Figure {
        value: whole(summary),
        spread: (count > 1).then(|| variance.sqrt()),
    };
    (figure, (mean, variance / count.max(1) as f64, count))
}

/// By Welch's test on the seconds of both runs.
fn judge(a: Sampled, b: Sampled) -> Judgement {
    if a.2 < SECONDS_MIN || b.2 < SECONDS_MIN {
        return Judgement::NoSpread;
    }
    match (a.0 - b.0).abs() > STANDARD_ERRORS * (a.1 + b.1).sqrt() {
        true => Judgement::Different,
        false => Judgement::WithinNoise,
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, (name, run)) in [("A", self.a), ("B", self.b)] {
            writeln!(
                f,
                "{letter}  {name}: {}, {}, {} connections, {:.1} s, {}",
                run.urls.join(" "),
                run.model,
                run.connections,
                run.seconds,
                run.verdict
            )?;
        }
        writeln!(f, "\n  {:16}{:>26}{:>26}{:>10}", "", "A", "B", "B to A")?;
        for row in &self.rows {
            let (a, b, change) = (row.shown(&row.a), row.shown(&row.b), row.change());
            let line = format!(
                "  {:16}{a:>26}{b:>26}{change:>10}  {}",
                row.name, row.judgement
            );
            writeln!(f, "{}", line.trim_end())?;
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
    /// What a reader should know before believing the differences.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (a, b) = (self.a.1, self.b.1);
        let set_up = |s: &Summary| (s.model.clone(), s.rate.clone(), s.connections, s.pipeline);
        if set_up(a) != set_up(b) || a.urls != b.urls {
            notes.push("the runs differ in what was asked of the server".to_owned());
        }
        if a.host.name != b.host.name {
            notes.push("the runs were made on different hosts".to_owned());
        }
        if a.timeline.len() < SECONDS_MIN || b.timeline.len() < SECONDS_MIN {
            notes.push(format!(
                "a run of less than {SECONDS_MIN} s does not show its noise; measure longer"
            ));
        }
        notes
    }
}

impl Row {
    /// By how much the second figure is larger.
    pub(super) fn change(&self) -> String {
        match self.a.value {
            0.0 => String::new(),
            a => format!("{:+.1}%", (self.b.value / a - 1.0) * 100.0),
        }
    }

    pub(super) fn shown(&self, figure: &Figure) -> String {
        match figure.spread {
            Some(spread) => format!("{} +- {}", (self.show)(figure.value), (self.show)(spread)),
            None => (self.show)(figure.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rates: &[f64]) -> Summary {
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

    fn judged(a: &[f64], b: &[f64]) -> Judgement {
        let (a, b) = (run(a), run(b));
        compare(("a", &a), ("b", &b)).rows[0].judgement
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
    fn what_differs_in_the_set_up_is_told() {
        let (a, mut b) = (run(&[1.0; 6]), run(&[2.0; 6]));
        b.connections = 7;
        let text = compare(("before.json", &a), ("after.json", &b)).to_string();
        assert!(text.contains("differ in what was asked"), "{text}");
        assert!(text.contains("+100.0%  larger than the noise"), "{text}");
        assert!(text.contains("1/s +- 0/s"), "{text}");
    }
}
