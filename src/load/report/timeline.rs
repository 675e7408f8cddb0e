//! The seconds of a load, merged into spans where there are more than a plot can show.

use crate::load::Second;

/// One second, or several consecutive ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub from_s: f64,
    pub to_s: f64,
    /// The mean rate.
    pub rate_per_s: f64,
    pub asked_rate_per_s: Option<f64>,
    pub errors: u64,
    /// The worst of its seconds.
    pub response_p50_us: f64,
    pub response_p99_us: f64,
    pub response_max_us: f64,
    pub service_p99_us: f64,
}

/// At most `max` spans of equally many seconds.
pub(super) fn spans(timeline: &[Second], max: usize) -> Vec<Span> {
    let together = timeline.len().div_ceil(max.max(1)).max(1);
    let mut from_s = 0.0;
    let mut spans = Vec::with_capacity(timeline.len().div_ceil(together));
    for seconds in timeline.chunks(together) {
        let mut span = Span {
            from_s,
            to_s: from_s,
            ..Span::default()
        };
        let (mut answered, mut asked) = (0.0, None);
        for second in seconds {
            let length_s = (second.at_s - span.to_s).max(0.0);
            answered += second.rate_per_s * length_s;
            if let Some(rate) = second.asked_rate_per_s {
                asked = Some(asked.unwrap_or(0.0) + rate * length_s);
            }
            span.errors += second.errors;
            span.response_p50_us = span.response_p50_us.max(second.response_p50_us);
            span.response_p99_us = span.response_p99_us.max(second.response_p99_us);
            span.response_max_us = span.response_max_us.max(second.response_max_us);
            span.service_p99_us = span.service_p99_us.max(second.service_p99_us);
            span.to_s = span.to_s.max(second.at_s);
        }
        let length_s = (span.to_s - span.from_s).max(1e-9);
        span.rate_per_s = answered / length_s;
        span.asked_rate_per_s = asked.map(|asked| asked / length_s);
        from_s = span.to_s;
        spans.push(span);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_fits_and_hides_no_bad_second() {
        let second = |index: u32| Second {
            at_s: f64::from(index + 1),
            rate_per_s: f64::from(index % 2) * 100.0,
            asked_rate_per_s: Some(50.0),
            errors: u64::from(index == 40_000),
            response_p99_us: if index == 50_000 { 9e6 } else { 100.0 },
            ..Second::default()
        };
        let day: Vec<Second> = (0..86_400).map(second).collect();
        let spans = spans(&day, 240);
        assert_eq!(spans.len(), 240);
        assert_eq!(spans.iter().map(|span| span.errors).sum::<u64>(), 1);
        let worst = spans.iter().filter(|span| span.response_p99_us == 9e6);
        assert_eq!(worst.count(), 1);
        for span in &spans {
            assert!((span.rate_per_s - 50.0).abs() < 1e-6, "{span:?}");
            assert!((span.asked_rate_per_s.unwrap() - 50.0).abs() < 1e-6);
        }
        assert_eq!(spans[0].to_s, spans[1].from_s);
        assert_eq!(spans[239].to_s, 86_400.0);
    }

    #[test]
    fn a_few_seconds_stay_as_they_are() {
        let second = Second {
            at_s: 1.0,
            rate_per_s: 7.0,
            ..Second::default()
        };
        let one = spans(&[second], 240);
        assert_eq!((one.len(), one[0].rate_per_s, one[0].to_s), (1, 7.0, 1.0));
        assert!(spans(&[], 240).is_empty());
    }
}
