//! Distributions of times, for summaries.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// How many times were recorded; if none, all other fields are 0.
    pub count: u64,
    /// The shortest time.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The median.
    pub p50: f64,
    /// The 75th percentile.
    pub p75: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The 99.99th percentile.
    pub p9999: f64,
    /// The longest time.
    pub max: f64,
}

impl Times {
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: micros(histogram.min()),
            mean: histogram.mean() / 1e3,
            stdev: histogram.stdev() / 1e3,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
        }
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// Percentiles at which plots have points, ever closer together towards 100.
pub(super) fn percentiles(
    response: &Histogram<u64>,
    service: &Histogram<u64>,
) -> Vec<(f64, f64, f64)> {
    let mut points = Vec::new();
    if response.is_empty() {
        return points;
    }
    // Each step goes half the way to 100, with five points, as in HdrHistogram's tables.
    let (mut from, mut half) = (0.0, 0.5);
    while half * response.len() as f64 >= 0.5 {
        for step in 0..5 {
            let quantile = from + half * f64::from(step) / 5.0;
            points.push((
                quantile * 100.0,
                micros(response.value_at_quantile(quantile)),
                micros(service.value_at_quantile(quantile)),
            ));
        }
        from += half;
        half /= 2.0;
    }
    points.push((100.0, micros(response.max()), micros(service.max())));
    points
}
