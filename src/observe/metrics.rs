//! Metrics as text, in OpenMetrics 1.0 or in Prometheus' own older format.
//!
//! A scrape gathers plain [`Family`]s and writes them; no state is kept between two scrapes. Names
//! follow prometheus.io/docs/practices/naming: a unit at the end (added here), `_total` for what
//! only grows (added by the encoder).

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Total;
use crate::limits;

/// A metric family: one name, with a value for each set of labels.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Whole(u64),
    Real(f64),
    /// Of nanoseconds, written in seconds.
    Times(Box<Total>),
    /// Of plain numbers.
    Numbers(Box<Total>),
}

impl Family {
    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            unit: None,
            kind,
            samples: Vec::new(),
        }
    }

    /// A counter, which only grows; the name gets the suffix `_total`.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Counter)
    }

    /// A gauge, which goes up and down.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Gauge)
    }

    /// A histogram, in buckets of [`limits::METRIC_BUCKETS_S`] or [`limits::METRIC_BUCKETS`].
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Histogram)
    }

    /// Sets the unit to seconds; the name gets the suffix `_seconds`.
    pub fn seconds(mut self) -> Self {
        self.unit = Some(Unit::Seconds);
        self
    }

    /// Sets the unit to bytes; the name gets the suffix `_bytes`.
    pub fn bytes(mut self) -> Self {
        self.unit = Some(Unit::Bytes);
        self
    }

    fn with(mut self, labels: &[(&'static str, &dyn fmt::Display)], value: Value) -> Self {
        let labels = labels.iter().map(|(name, text)| (*name, text.to_string()));
        self.samples.push((labels.collect(), value));
        self
    }

    /// Adds the value for these labels.
    pub fn value(self, labels: &[(&'static str, &dyn fmt::Display)], value: u64) -> Self {
        self.with(labels, Value::Whole(value))
    }

    /// As [`value`](Self::value), for a real number.
    pub fn real(self, labels: &[(&'static str, &dyn fmt::Display)], value: f64) -> Self {
        self.with(labels, Value::Real(value))
    }

    /// Adds a distribution of nanoseconds; the family should be in seconds.
    pub fn times(self, labels: &[(&'static str, &dyn fmt::Display)], total: Total) -> Self {
        self.with(labels, Value::Times(Box::new(total)))
    }

    /// Adds a distribution of plain numbers.
    pub fn numbers(self, labels: &[(&'static str, &dyn fmt::Display)], total: Total) -> Self {
        self.with(labels, Value::Numbers(Box::new(total)))
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // In a counter's name the unit precedes `_total`.
        let unit = self.unit.as_ref();
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit, self.kind)?;
        for (labels, value) in &self.samples {
            match labels.is_empty() {
                true => self.encode_value(&mut metric, value)?,
                false => self.encode_value(&mut metric.encode_family(labels)?, value)?,
            }
        }
        Ok(())
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
        let counts = matches!(self.kind, MetricType::Counter);
        match value {
            Value::Whole(n) if counts => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
            Value::Real(x) if counts => metric.encode_counter::<NoLabelSet, _, f64>(x, None),
            Value::Whole(n) => metric.encode_gauge(n),
            Value::Real(x) => metric.encode_gauge(x),
            Value::Times(total) => encode_buckets(metric, total, &limits::METRIC_BUCKETS_S, 1e9),
            Value::Numbers(total) => encode_buckets(metric, total, &limits::METRIC_BUCKETS, 1.0),
        }
    }
}

/// `bounds` are in the unit of the metric, which is `scale` times the unit of the recorded values.
fn encode_buckets(
    metric: &mut MetricEncoder<'_>,
    total: &Total,
    bounds: &[f64],
    scale: f64,
) -> fmt::Result {
    let mut below = 0;
    let mut buckets = Vec::with_capacity(bounds.len() + 1);
    for &bound in bounds {
        // Each bucket counts only the values above the previous bound: the encoder adds them up.
        let count = total.count_up_to((bound * scale) as u64);
        buckets.push((bound, count - below));
        below = count;
    }
    buckets.push((f64::INFINITY, total.count() - below));
    metric.encode_histogram::<NoLabelSet>(total.sum as f64 / scale, total.count(), &buckets, None)
}

#[derive(Debug)]
struct Gathered(Vec<Family>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

/// The text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl Exposition {
    /// The format that a scraper requests in its `Accept` field.
    pub fn accepted(accept: &[u8]) -> Self {
        const NAME: &[u8] = b"application/openmetrics-text";
        match accept
            .windows(NAME.len())
            .any(|part| part.eq_ignore_ascii_case(NAME))
        {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Writes metrics in this format.
    pub fn write(self, families: Vec<Family>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Gathered(families)));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            Self::OpenMetrics => text::encode(&mut out, &registry),
            Self::Prometheus => prometheus_text::encode(&mut out, &registry),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Histogram;

    fn families() -> Vec<Family> {
        let histogram = Histogram::default();
        for ns in [500, 3_000, 3_000, 20_000_000_000] {
            histogram.record(ns);
        }
        vec![
            Family::counter("x_seen", "What was seen").value(&[("who", &"a \"b\"\\\n")], 3),
            Family::counter("x_busy", "Time").seconds().real(&[], 1.5),
            Family::gauge("x_kept", "Memory").bytes().value(&[], 7),
            Family::histogram("x_wait", "Waits")
                .seconds()
                .times(&[], Total::of([&histogram])),
        ]
    }

    #[test]
    fn names_units_labels_and_buckets_have_their_form() {
        let text = Exposition::Prometheus.write(families());
        for line in [
            "# TYPE x_seen_total counter",
            r#"x_seen_total{who="a \"b\"\\\n"} 3"#,
            "x_busy_seconds_total 1.5",
            "x_kept_bytes 7",
            "# TYPE x_wait_seconds histogram",
            r#"x_wait_seconds_bucket{le="1e-06"} 1"#,
            r#"x_wait_seconds_bucket{le="4e-06"} 3"#,
            r#"x_wait_seconds_bucket{le="10"} 3"#,
            r#"x_wait_seconds_bucket{le="+Inf"} 4"#,
            "x_wait_seconds_sum 20.0000065",
            "x_wait_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let text = Exposition::OpenMetrics.write(families());
        for line in [
            "# TYPE x_busy_seconds counter",
            "# UNIT x_busy_seconds seconds",
            "x_busy_seconds_total 1.5",
            r#"x_wait_seconds_bucket{le="+Inf"} 4"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_scraper_gets_what_it_asks_for() {
        let open = b"application/OpenMetrics-Text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(Exposition::accepted(open), Exposition::OpenMetrics);
        for other in [
            &b""[..],
            b"*/*",
            b"text/plain;version=0.0.4",
            b"application/openmetrics",
        ] {
            assert_eq!(Exposition::accepted(other), Exposition::Prometheus);
        }
    }
}
