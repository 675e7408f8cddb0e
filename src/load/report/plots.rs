//! The plots of one load.

use super::plot::{Axis, Plot, Shape};
use super::scale::Scale;
use super::timeline::Span;
use crate::load::table::Row;
use crate::load::{Summary, Times, grouped, per_second, timed};

/// Ticks of an axis, or a few more.
const TICKS: usize = 6;

/// Times in a plot: the name of the line, the name in descriptions, and the distribution.
pub(super) struct Named<'a> {
    pub line: &'static str,
    pub says: &'static str,
    pub times: &'a Times,
}

/// Positions of percentiles: each additional nine takes the same width.
pub(super) struct Nines {
    end: f64,
}

impl Nines {
    /// An axis for every percentile (the first value of each point) and for the slowest of `count`
    /// values.
    pub(crate) fn of(points: &[(f64, f64, f64)], count: u64) -> Self {
        let places = points.iter().map(|point| Self::place(point.0));
        // The slowest of N values is at the percentile of one in N.
        let most = (count.max(1) as f64).log10();
        Self {
            end: places.filter(|x| x.is_finite()).fold(most, f64::max),
        }
    }

    /// The position of the slowest value.
    pub(crate) fn end(&self) -> f64 {
        self.end
    }

    fn place(percentile: f64) -> f64 {
        -(1.0 - percentile / 100.0).log10()
    }

    pub(crate) fn x(&self, percentile: f64) -> f64 {
        match Self::place(percentile) {
            x if x.is_finite() => x,
            _ => self.end,
        }
    }

    pub(crate) fn axis(&self) -> Axis {
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

/// Latency by percentile, ever closer to 100: the first times of `points` and, if given, the second
/// ones, which are parts of them.
pub(super) fn percentiles(
    points: &[(f64, f64, f64)],
    outer: &Named<'_>,
    inner: Option<&Named<'_>>,
) -> Option<Plot> {
    if points.is_empty() {
        return None;
    }
    let nines = Nines::of(points, outer.times.count);
    let line = |class, name: &str, of: fn(&(f64, f64, f64)) -> f64| Shape::Line {
        class,
        name: name.to_owned(),
        points: points
            .iter()
            .map(|point| (nines.x(point.0), some(of(point))))
            .collect(),
    };
    let (mut shapes, mut says) = (Vec::new(), Vec::new());
    if let Some(inner) = inner {
        let band = points
            .iter()
            .map(|point| (nines.x(point.0), Some((point.2, point.1))));
        shapes.push(Shape::Band {
            class: "c1",
            points: band.collect(),
        });
        shapes.push(line("c2 fine", inner.line, |point| point.2));
        says.push(describe(inner.says, inner.times));
    }
    shapes.push(line("c1", outer.line, |point| point.1));
    says.push(describe(outer.says, outer.times));
    Some(Plot {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        says: says.join(" "),
        x: nines.axis(),
        y: time_axis(
            "time, log scale",
            points.iter().flat_map(|point| match inner {
                Some(_) => [point.1, point.2],
                None => [point.1, point.1],
            }),
        ),
        shapes,
    })
}

/// The names in a plot of a rate.
#[derive(Clone, Copy)]
pub(super) struct RateNames {
    /// The id, unique on the page.
    pub id: &'static str,
    pub title: &'static str,
    pub line: &'static str,
    /// What is counted, such as requests.
    pub things: &'static str,
}

/// The rate of every second, and the requested rate if there was one.
pub(super) fn rate(names: RateNames, spans: &[Span]) -> Option<Plot> {
    let x = seconds_axis(&[spans])?;
    let rates = || spans.iter().map(|span| span.rate_per_s);
    let asked = spans.iter().filter_map(|span| span.asked_rate_per_s);
    let y = Scale::from_zero(rates().chain(asked).fold(0.0, f64::max));
    let mut shapes = Vec::new();
    if spans.iter().any(|span| span.asked_rate_per_s.is_some()) {
        shapes.push(Shape::Line {
            class: "asked",
            name: "asked".to_owned(),
            points: steps(spans, |span| span.asked_rate_per_s),
        });
    }
    shapes.push(Shape::Line {
        class: "c1",
        name: names.line.to_owned(),
        points: steps(spans, |span| Some(span.rate_per_s)),
    });
    shapes.extend(flags(spans));
    shapes.extend(spans.iter().map(hint));
    Some(Plot {
        id: names.id,
        title: names.title.to_owned(),
        says: format!(
            "From {} to {} {} a second.",
            grouped(rates().reduce(f64::min).unwrap_or(0.0).round() as u64),
            grouped(rates().fold(0.0, f64::max).round() as u64),
            names.things
        ),
        x,
        y: Axis {
            label: format!("{} a second", names.things),
            scale: y,
            ticks: ticked(y, count_tick),
        },
        shapes,
    })
}

/// The P99 of every second: of the outer times and, if given, of the inner ones, which are parts of
/// them.
pub(super) fn p99(spans: &[Span], outer: &str, inner: Option<&str>) -> Option<Plot> {
    let x = seconds_axis(&[spans])?;
    let p99s = || spans.iter().filter_map(|span| some(span.response_p99_us));
    let inner_p99s = spans.iter().filter_map(|span| some(span.service_p99_us));
    let all = p99s().chain(inner_p99s.filter(|_| inner.is_some()));
    let y = time_axis("P99, log scale", all);
    let mut shapes = Vec::new();
    if let Some(inner) = inner {
        let ends = |span: &Span| {
            some(span.response_p99_us).map(|high| (span.service_p99_us.min(high), high))
        };
        let band = spans
            .iter()
            .flat_map(|span| [(span.from_s, ends(span)), (span.to_s, ends(span))]);
        shapes.push(Shape::Band {
            class: "c1",
            points: band.collect(),
        });
        shapes.push(Shape::Line {
            class: "c2 fine",
            name: inner.to_owned(),
            points: steps(spans, |span| some(span.service_p99_us)),
        });
    }
    shapes.push(Shape::Line {
        class: "c1",
        name: outer.to_owned(),
        points: steps(spans, |span| some(span.response_p99_us)),
    });
    shapes.extend(spans.iter().map(hint));
    Some(Plot {
        id: "p99",
        title: "P99 over time".to_owned(),
        says: format!(
            "P99 of the {outer} time from {} to {}.",
            timed(p99s().reduce(f64::min).unwrap_or(0.0)),
            timed(p99s().reduce(f64::max).unwrap_or(0.0))
        ),
        x,
        y,
        shapes,
    })
}

/// Response time against service time, at each percentile: points above the line show requests that
/// waited to be sent.
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
    let mut shapes = vec![
        Shape::Line {
            class: "asked",
            name: "no wait".to_owned(),
            points: vec![(ends.0, Some(ends.0)), (ends.1, Some(ends.1))],
        },
        Shape::Line {
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
        shapes.push(Shape::Dot {
            class: "c1",
            name: name.to_owned(),
            at: (of(service), of(response)),
            below: false,
            open: false,
            hint: format!(
                "{name}: response {}, service {}",
                timed(of(response)),
                timed(of(service))
            ),
        });
    }
    Some(Plot {
        id: "gap",
        title: "Response time against service time".to_owned(),
        says: format!(
            "At P99 {} of response time to {} of service time.",
            timed(response.p99),
            timed(service.p99)
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
        shapes,
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
    let mut shapes = Vec::new();
    if let Some(limit) = summary.knee_p99_limit_us {
        shapes.push(Shape::Level {
            class: "bad",
            name: "limit".to_owned(),
            y: limit,
        });
    }
    let mut by_rate: Vec<_> = steps.iter().collect();
    by_rate.sort_by(|a, b| a.asked_rate_per_s.total_cmp(&b.asked_rate_per_s));
    shapes.push(Shape::Line {
        class: "asked",
        name: String::new(),
        points: by_rate
            .iter()
            .map(|step| (step.asked_rate_per_s, some(step.response_p99_us)))
            .collect(),
    });
    shapes.extend(by_rate.iter().map(|step| Shape::Dot {
        class: if step.good { "c1" } else { "bad" },
        name: match knee {
            Some(knee) if step.good && step.asked_rate_per_s == knee => per_second(knee),
            _ => String::new(),
        },
        at: (step.asked_rate_per_s, step.response_p99_us),
        below: true,
        open: !step.good,
        hint: format!(
            "{} asked, {} answered, P99 {}: {}",
            per_second(step.asked_rate_per_s),
            per_second(step.rate_per_s),
            timed(step.response_p99_us),
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
        shapes,
    })
}

/// A time of 0 means that there was no answer; it can't be shown on a logarithmic axis.
pub(super) fn some(us: f64) -> Option<f64> {
    (us > 0.0).then_some(us)
}

/// Draws a value as constant from the beginning of a span to its end.
pub(super) fn steps(spans: &[Span], of: fn(&Span) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let both = |span: &Span| [(span.from_s, of(span)), (span.to_s, of(span))];
    spans.iter().flat_map(both).collect()
}

/// Marks spans with errors.
fn flags(spans: &[Span]) -> impl Iterator<Item = Shape> {
    let failed = spans.iter().filter(|span| span.errors > 0);
    failed.map(|span| Shape::Flag {
        x: (span.from_s + span.to_s) / 2.0,
    })
}

fn hint(span: &Span) -> Shape {
    let asked = span.asked_rate_per_s.map_or_else(String::new, |asked| {
        format!(" of {} asked", per_second(asked))
    });
    let errors = match span.errors {
        0 => String::new(),
        errors => format!(", {} errors", grouped(errors)),
    };
    Shape::Hint {
        from: span.from_s,
        to: span.to_s,
        text: format!(
            "{:.0} to {:.0} s: {}{asked}, P50 {}, P99 {}, max {}{errors}",
            span.from_s,
            span.to_s,
            per_second(span.rate_per_s),
            timed(span.response_p50_us),
            timed(span.response_p99_us),
            timed(span.response_max_us)
        ),
    }
}

pub(super) fn describe(what: &str, times: &Times) -> String {
    format!(
        "{what}: P50 {}, P99 {}, at most {}.",
        timed(times.p50),
        timed(times.p99),
        timed(times.max)
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

/// A round number of microseconds in a fitting unit.
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

/// A number without digits from rounding errors.
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
