//! Plots that overlay several loads.

use super::plot::{Axis, Plot, Shape};
use super::plots::{Nines, count_tick, describe, seconds_axis, some, steps, ticked, time_axis};
use super::scale::Scale;
use super::timeline::{Span, spans};
use crate::load::{AnySummary, grouped, limits, timed};

/// The number of line colours; further runs reuse them with dashed lines.
const CLASSES: [&str; 12] = [
    "c1", "c2", "c3", "c4", "c5", "c6", "c1 fine", "c2 fine", "c3 fine", "c4 fine", "c5 fine",
    "c6 fine",
];

/// The colour of a run.
pub(super) fn class(run: usize) -> &'static str {
    CLASSES[run % CLASSES.len()]
}

/// A run in a plot.
pub(super) struct Series<'a> {
    pub name: String,
    pub class: &'static str,
    pub run: &'a AnySummary,
    spans: Vec<Span>,
}

impl<'a> Series<'a> {
    pub(crate) fn new(name: String, class: &'static str, run: &'a AnySummary) -> Self {
        Self {
            name,
            class,
            run,
            spans: spans(&run.timeline(), limits::REPORT_POINTS_MAX),
        }
    }

    fn line(&self, points: Vec<(f64, Option<f64>)>) -> Shape {
        Shape::Line {
            class: self.class,
            name: self.name.clone(),
            points,
        }
    }
}

/// Latency by percentile; `None` if no run has times.
pub(super) fn percentiles(series: &[Series<'_>]) -> Option<Plot> {
    let nines: Vec<Nines> = series
        .iter()
        .map(|one| Nines::of(one.run.percentiles(), one.run.times().count))
        .collect();
    let widest = nines.iter().max_by(|a, b| a.end().total_cmp(&b.end()))?;
    let all = || series.iter().flat_map(|one| one.run.percentiles());
    all().next()?;
    let line = |(one, nines): (&Series<'_>, &Nines)| {
        let points = one.run.percentiles().iter();
        one.line(
            points
                .map(|point| (nines.x(point.0), some(point.1)))
                .collect(),
        )
    };
    let says: Vec<String> = series
        .iter()
        .map(|one| describe(&one.name, one.run.times()))
        .collect();
    Some(Plot {
        id: "percentiles",
        title: "Latency by percentile".to_owned(),
        says: says.join(" "),
        x: widest.axis(),
        y: time_axis("time, log scale", all().map(|point| point.1)),
        shapes: series.iter().zip(&nines).map(line).collect(),
    })
}

/// The rate of every second: of requests, deliveries or pieces.
pub(super) fn rate(series: &[Series<'_>]) -> Option<Plot> {
    let rates = |one: &Series<'_>| one.spans.iter().map(|span| span.rate_per_s).collect();
    let all: Vec<Vec<f64>> = series.iter().map(rates).collect();
    let y = Scale::from_zero(all.iter().flatten().copied().fold(0.0, f64::max));
    let says = series.iter().zip(&all).map(|(one, rates)| {
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        format!(
            "{}: {} a second on average.",
            one.name,
            grouped(mean.round() as u64)
        )
    });
    let line = |one: &Series<'_>| one.line(steps(&one.spans, |span| Some(span.rate_per_s)));
    Some(Plot {
        id: "rate",
        title: "Rate over time".to_owned(),
        says: says.collect::<Vec<_>>().join(" "),
        x: axis(series)?,
        y: Axis {
            label: "a second".to_owned(),
            scale: y,
            ticks: ticked(y, count_tick),
        },
        shapes: series.iter().map(line).collect(),
    })
}

/// The P99 of every second.
pub(super) fn p99(series: &[Series<'_>]) -> Option<Plot> {
    let p99s = |one: &Series<'_>| -> Vec<f64> {
        let spans = one.spans.iter();
        spans
            .filter_map(|span| some(span.response_p99_us))
            .collect()
    };
    let all: Vec<Vec<f64>> = series.iter().map(p99s).collect();
    let says = series.iter().zip(&all).map(|(one, p99s)| {
        format!(
            "P99 of {} from {} to {}.",
            one.name,
            timed(p99s.iter().copied().reduce(f64::min).unwrap_or(0.0)),
            timed(p99s.iter().copied().reduce(f64::max).unwrap_or(0.0))
        )
    });
    let line = |one: &Series<'_>| one.line(steps(&one.spans, |span| some(span.response_p99_us)));
    Some(Plot {
        id: "p99",
        title: "P99 over time".to_owned(),
        says: says.collect::<Vec<_>>().join(" "),
        x: axis(series)?,
        y: time_axis("P99, log scale", all.iter().flatten().copied()),
        shapes: series.iter().map(line).collect(),
    })
}

fn axis(series: &[Series<'_>]) -> Option<Axis> {
    let timelines: Vec<&[Span]> = series.iter().map(|one| &one.spans[..]).collect();
    seconds_axis(&timelines)
}
