//! Which plots a load has, alone or beside another.

use super::page::time;
use super::plot::{Axis, Mark, Plot};
use super::scale::Scale;
use super::timeline::{Span, spans};
use crate::limits;
use crate::load::table::Row;
use crate::load::{Summary, Times, grouped};

/// Ticks of an axis, or a few more.
const TICKS: usize = 6;

/// A load in a plot.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// Empty where there is but one.
    pub name: &'static str,
    pub summary: &'a Summary,
}

impl Run<'_> {
    fn open(&self) -> bool {
        self.summary.asked_rate_per_s.is_some()
    }

    /// Of two runs one time each is enough.
    fn shows_service(&self) -> bool {
        self.name.is_empty() || !self.open()
    }

    /// Colours of response and service time: two of one run, or one of each of two runs.
    fn classes(&self) -> (&'static str, &'static str) {
        match self.name {
            "" => ("c1", "c2 fine"),
            "A" => ("c1", "c1"),
            _ => ("c2", "c2"),
        }
    }

    /// A line's name: of one run what it shows, of two which it is.
    fn named(&self, what: &str) -> String {
        let name = if self.name.is_empty() {
            what
        } else {
            self.name
        };
        name.to_owned()
    }

    /// What its names are called in a description.
    fn of(&self) -> String {
        match self.name {
            "" => String::new(),
            name => format!(" of {name}"),
        }
    }
}

/// Places of percentiles: each nine takes as much room as the one before.
pub(super) struct Nines {
    end: f64,
}

impl Nines {
    /// With room for these percentiles, the first of each point, of so many values.
    pub fn of(points: &[(f64, f64, f64)], count: u64) -> Self {
        let places = points.iter().map(|point| Self::place(point.0));
        // The slowest of N is what one in N is.
        let most = (count.max(1) as f64).log10();
        Self {
            end: places.filter(|x| x.is_finite()).fold(most, f64::max),
        }
    }

    fn place(percentile: f64) -> f64 {
        -(1.0 - percentile / 100.0).log10()
    }

    pub fn x(&self, percentile: f64) -> f64 {
        match Self::place(percentile) {
            x if x.is_finite() => x,
            _ => self.end,
        }
    }

    pub fn axis(&self) -> Axis {
        let mut ticks = vec![(0.0, "0".to_owned()), (2_f64.log10(), "50".to_owned())];
        for nines in 1..=self.end as usize {
            let label = match nines {
                1 => "90".to_owned(),
                2 => "99".to_owned(),
                more => format!("99.{}", "9".repeat(more - 2)),
            };
            ticks.push((nines as f64, label));
        }
        Axis {
            label: "percentile".to_owned(),
            scale: Scale::up_to(self.end),
            ticks,
        }
    }
}

/// Latency by percentile, ever closer to 100.
pub(super) fn percentiles(runs: &[Run<'_>]) -> Option<Plot> {
    let mut marks = Vec::new();
    let (mut all, mut x_end) = (Vec::new(), Nines { end: 0.0 });
    let mut says = Vec::new();
    for run in runs {
        let points = &run.summary.percentiles;
        let nines = Nines::of(points, run.summary.response_time_us.count);
        let x = |percentile: f64| nines.x(percentile);
        x_end.end = x_end.end.max(nines.end);
        all.extend(points.iter().flat_map(|point| [point.1, point.2]));
        let (response, service) = run.classes();
        if run.open() && run.name.is_empty() {
            let band = points
                .iter()
                .map(|point| (x(point.0), Some((point.2, point.1))));
            marks.push(Mark::Band {
                class: "c1",
                points: band.collect(),
            });
        }
        if run.shows_service() {
            marks.push(Mark::Line {
                class: if run.open() { service } else { response },
                name: run.named("service"),
                points: points
                    .iter()
                    .map(|point| (x(point.0), some(point.2)))
                    .collect(),
            });
            says.push(told(
                &format!("Service time{}", run.of()),
                &run.summary.service_time_us,
            ));
        }
        if run.open() {
            marks.push(Mark::Line {
                class: response,
                name: run.named("response"),
                points: points
                    .iter()
                    .map(|point| (x(point.0), some(point.1)))
                    .collect(),
            });
            says.push(told(
                &format!("Response time{}", run.of()),
                &run.summary.response_time_us,
            ));
        }
    }
    if all.is_empty() {
        return None;
    }
    Some(Plot {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        says: says.join(" "),
        x: x_end.axis(),
        y: time_axis("time, log scale", all.into_iter()),
        marks,
    })
}

/// What was asked for and what was answered, second by second.
pub(super) fn rate(runs: &[Run<'_>]) -> Option<Plot> {
    let timelines = timelines(runs);
    let alone = runs.len() == 1;
    let (mut marks, mut most, mut says) = (Vec::new(), 0.0_f64, Vec::new());
    for (run, spans) in runs.iter().zip(&timelines) {
        let rates = spans.iter().map(|span| span.rate_per_s);
        let asked = spans.iter().filter_map(|span| span.asked_rate_per_s);
        most = rates.chain(asked).fold(most, f64::max);
        if alone && run.open() {
            marks.push(Mark::Line {
                class: "asked",
                name: "asked".to_owned(),
                points: steps(spans, |span| span.asked_rate_per_s),
            });
        }
        marks.push(Mark::Line {
            class: run.classes().0,
            name: run.named("answered"),
            points: steps(spans, |span| Some(span.rate_per_s)),
        });
        let errors = run.summary.errors_total;
        says.push(format!(
            "Answers{}: {} a second on average, {} errors.",
            run.of(),
            grouped(run.summary.rate_per_s.round() as u64),
            grouped(errors)
        ));
        if alone {
            marks.extend(flags(spans));
            marks.extend(spans.iter().map(hint));
        }
    }
    let y = Scale::from_zero(most);
    Some(Plot {
        id: "rate",
        title: "Rate over time".to_owned(),
        says: says.join(" "),
        x: seconds_axis(&timelines)?,
        y: Axis {
            label: "requests a second".to_owned(),
            scale: y,
            ticks: ticked(y, count_tick),
        },
        marks,
    })
}

/// The P99 of every second.
pub(super) fn p99(runs: &[Run<'_>]) -> Option<Plot> {
    let timelines = timelines(runs);
    let alone = runs.len() == 1;
    let (mut marks, mut all, mut says) = (Vec::new(), Vec::new(), Vec::new());
    for (run, spans) in runs.iter().zip(&timelines) {
        let times = |span: &Span| [span.response_p99_us, span.service_p99_us];
        all.extend(spans.iter().flat_map(times));
        let (response, service) = run.classes();
        if alone && run.open() {
            let ends = |span: &Span| {
                some(span.response_p99_us).map(|high| (span.service_p99_us.min(high), high))
            };
            let band = spans
                .iter()
                .flat_map(|span| [(span.from_s, ends(span)), (span.to_s, ends(span))]);
            marks.push(Mark::Band {
                class: "c1",
                points: band.collect(),
            });
        }
        if run.shows_service() {
            marks.push(Mark::Line {
                class: if run.open() { service } else { response },
                name: run.named("service"),
                points: steps(spans, |span| some(span.service_p99_us)),
            });
        }
        if run.open() {
            marks.push(Mark::Line {
                class: response,
                name: run.named("response"),
                points: steps(spans, |span| some(span.response_p99_us)),
            });
        }
        let p99s = || spans.iter().filter_map(|span| some(span.response_p99_us));
        says.push(format!(
            "P99{} from {} to {}.",
            run.of(),
            time(p99s().reduce(f64::min).unwrap_or(0.0)),
            time(p99s().reduce(f64::max).unwrap_or(0.0))
        ));
        if alone {
            marks.extend(spans.iter().map(hint));
        }
    }
    Some(Plot {
        id: "p99",
        title: "P99 over time".to_owned(),
        says: says.join(" "),
        x: seconds_axis(&timelines)?,
        y: time_axis("P99, log scale", all.into_iter()),
        marks,
    })
}

/// Response time against service time, of each percentile: what lies above the line has waited to be sent.
pub(super) fn gap(summary: &Summary) -> Option<Plot> {
    if summary.asked_rate_per_s.is_none() || summary.percentiles.is_empty() {
        return None;
    }
    let points = &summary.percentiles;
    let all = || points.iter().flat_map(|point| [point.1, point.2]);
    let scale = Scale::log(all());
    let ends = all()
        .filter_map(some)
        .fold((f64::MAX, 0.0_f64), |(min, max), us| {
            (min.min(us), max.max(us))
        });
    let mut marks = vec![
        Mark::Line {
            class: "asked",
            name: "no wait".to_owned(),
            points: vec![(ends.0, Some(ends.0)), (ends.1, Some(ends.1))],
        },
        Mark::Line {
            class: "c1",
            name: String::new(),
            points: points
                .iter()
                .map(|point| (point.2, some(point.1)))
                .collect(),
        },
    ];
    let (response, service) = (&summary.response_time_us, &summary.service_time_us);
    for (name, of) in POINTS {
        marks.push(Mark::Dot {
            class: "c1",
            name: name.to_owned(),
            at: (of(service), of(response)),
            below: false,
            open: false,
            hint: format!(
                "{name}: response {}, service {}",
                time(of(response)),
                time(of(service))
            ),
        });
    }
    Some(Plot {
        id: "gap",
        title: "Response time against service time".to_owned(),
        says: format!(
            "At P99 {} of response time to {} of service time.",
            time(response.p99),
            time(service.p99)
        ),
        x: Axis {
            label: "service time, log scale".to_owned(),
            scale,
            ticks: ticked(scale, time_tick),
        },
        y: Axis {
            label: "response time, log scale".to_owned(),
            scale,
            ticks: ticked(scale, time_tick),
        },
        marks,
    })
}

/// Percentiles that have names.
pub(super) const POINTS: [Row; 6] = [
    ("P50", |t| t.p50),
    ("P90", |t| t.p90),
    ("P99", |t| t.p99),
    ("P99.9", |t| t.p999),
    ("P99.99", |t| t.p9999),
    ("max", |t| t.max),
];

/// The rates that were tried for the knee.
pub(super) fn knee(summary: &Summary) -> Option<Plot> {
    let steps = &summary.knee_steps;
    if steps.is_empty() {
        return None;
    }
    let good = steps.iter().filter(|step| step.good);
    let knee = good.map(|step| step.asked_rate_per_s).reduce(f64::max);
    let rates = Scale::log(steps.iter().map(|step| step.asked_rate_per_s));
    let times = steps.iter().map(|step| step.response_p99_us);
    let mut marks = Vec::new();
    if let Some(limit) = summary.knee_p99_limit_us {
        marks.push(Mark::Level {
            class: "bad",
            name: "limit".to_owned(),
            y: limit,
        });
    }
    let mut by_rate: Vec<_> = steps.iter().collect();
    by_rate.sort_by(|a, b| a.asked_rate_per_s.total_cmp(&b.asked_rate_per_s));
    marks.push(Mark::Line {
        class: "asked",
        name: String::new(),
        points: by_rate
            .iter()
            .map(|step| (step.asked_rate_per_s, some(step.response_p99_us)))
            .collect(),
    });
    marks.extend(by_rate.iter().map(|step| Mark::Dot {
        class: if step.good { "c1" } else { "bad" },
        name: match knee {
            Some(knee) if step.good && step.asked_rate_per_s == knee => {
                format!("{}/s", grouped(knee.round() as u64))
            }
            _ => String::new(),
        },
        at: (step.asked_rate_per_s, step.response_p99_us),
        below: true,
        open: !step.good,
        hint: format!(
            "{}/s asked, {}/s answered, P99 {}: {}",
            grouped(step.asked_rate_per_s.round() as u64),
            grouped(step.rate_per_s.round() as u64),
            time(step.response_p99_us),
            if step.good { "good" } else { "too much" }
        ),
    }));
    Some(Plot {
        id: "knee",
        title: "The knee".to_owned(),
        says: match knee {
            Some(knee) => format!(
                "{} rates were tried; the highest that was good is {} a second.",
                steps.len(),
                grouped(knee.round() as u64)
            ),
            None => format!("{} rates were tried, and none was good.", steps.len()),
        },
        x: Axis {
            label: "requests a second asked for, log scale".to_owned(),
            scale: rates,
            ticks: ticked(rates, count_tick),
        },
        y: time_axis(
            "P99 of the response time, log scale",
            times.chain(summary.knee_p99_limit_us),
        ),
        marks,
    })
}

fn timelines(runs: &[Run<'_>]) -> Vec<Vec<Span>> {
    let points = limits::LOAD_REPORT_POINTS_MAX;
    runs.iter()
        .map(|run| spans(&run.summary.timeline, points))
        .collect()
}

/// A time of 0 is that of no answer, and has no place on a logarithmic axis.
pub(super) fn some(us: f64) -> Option<f64> {
    (us > 0.0).then_some(us)
}

/// A value that holds from the beginning of a span to its end.
pub(super) fn steps(spans: &[Span], of: fn(&Span) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let both = |span: &Span| [(span.from_s, of(span)), (span.to_s, of(span))];
    spans.iter().flat_map(both).collect()
}

/// Marks spans with errors.
pub(super) fn flags(spans: &[Span]) -> impl Iterator<Item = Mark> {
    let failed = spans.iter().filter(|span| span.errors > 0);
    failed.map(|span| Mark::Flag {
        x: (span.from_s + span.to_s) / 2.0,
    })
}

pub(super) fn hint(span: &Span) -> Mark {
    let asked = span.asked_rate_per_s.map_or_else(String::new, |asked| {
        format!(" of {}/s asked", grouped(asked.round() as u64))
    });
    let errors = match span.errors {
        0 => String::new(),
        errors => format!(", {} errors", grouped(errors)),
    };
    Mark::Hint {
        from: span.from_s,
        to: span.to_s,
        text: format!(
            "{:.0} to {:.0} s: {}/s{asked}, P50 {}, P99 {}, max {}{errors}",
            span.from_s,
            span.to_s,
            grouped(span.rate_per_s.round() as u64),
            time(span.response_p50_us),
            time(span.response_p99_us),
            time(span.response_max_us)
        ),
    }
}

pub(super) fn told(what: &str, times: &Times) -> String {
    format!(
        "{what}: P50 {}, P99 {}, at most {}.",
        time(times.p50),
        time(times.p99),
        time(times.max)
    )
}

pub(super) fn ticked(scale: Scale, label: fn(f64) -> String) -> Vec<(f64, String)> {
    let ticks = scale.ticks(TICKS).into_iter();
    ticks.map(|value| (value, label(value))).collect()
}

pub(super) fn time_axis(label: &str, values: impl Iterator<Item = f64>) -> Axis {
    let scale = Scale::log(values);
    Axis {
        label: label.to_owned(),
        scale,
        ticks: ticked(scale, time_tick),
    }
}

/// `None` where no run has a second.
pub(super) fn seconds_axis(timelines: &[impl AsRef<[Span]>]) -> Option<Axis> {
    let ends = timelines.iter().filter_map(|spans| spans.as_ref().last());
    let end_s = ends.map(|span| span.to_s).reduce(f64::max)?;
    let (unit, unit_s) = match end_s {
        s if s <= 180.0 => ("s", 1.0),
        s if s <= 10_800.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    let ticks = Scale::up_to(end_s / unit_s).ticks(TICKS).into_iter();
    Some(Axis {
        label: format!("time, {unit}"),
        scale: Scale::up_to(end_s),
        ticks: ticks.map(|tick| (tick * unit_s, short(tick))).collect(),
    })
}

/// A round number of microseconds with the unit that suits it.
fn time_tick(us: f64) -> String {
    match us {
        us if us < 999.0 => format!("{} µs", short(us)),
        us if us < 999_000.0 => format!("{} ms", short(us / 1e3)),
        us => format!("{} s", short(us / 1e6)),
    }
}

pub(super) fn count_tick(count: f64) -> String {
    match count {
        count if count < 999.0 => short(count),
        count if count < 999_000.0 => format!("{}k", short(count / 1e3)),
        count => format!("{}M", short(count / 1e6)),
    }
}

/// A number without the digits that came of reckoning with it.
fn short(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        assert_eq!(time_tick(0.5), "0.5 µs");
        assert_eq!(time_tick(2e3), "2 ms");
        assert_eq!(time_tick(5e5), "500 ms");
        assert_eq!(time_tick(1e6), "1 s");
        assert_eq!(count_tick(0.0), "0");
        assert_eq!(count_tick(1_500.0), "1.5k");
        assert_eq!(count_tick(0.1 + 0.2), "0.3");
        assert_eq!(count_tick(2e6), "2M");
    }
}
