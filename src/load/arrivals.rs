//! Arrivals: a rate over time, and the moments at which its requests are due.
//!
//! Each moment is computed from the number of its request, not by adding up gaps, so rounding
//! errors do not accumulate; and it does not depend on the server. Requests that are due and not
//! sent need no memory: they are those between the next moment and the current time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::load::limits;

/// How requests are spread over time at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// As independent events: exponential gaps (a Poisson process).
    Poisson,
}

/// A rate as written: `1000`, `100..1000` (a ramp), `100,200,400` (steps of equal length).
#[derive(Clone, Debug, PartialEq)]
pub struct Rate(Vec<(f64, f64)>);

impl Rate {
    /// A constant rate.
    pub fn constant(per_s: f64) -> Self {
        Self(vec![(per_s, per_s)])
    }

    /// Its steps, each with the rates per second at its beginning and at its end.
    pub fn steps(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// The rate at a moment, which is given as a share of the load's duration from 0 to 1.
    pub fn at(&self, share: f64) -> f64 {
        let place = share.clamp(0.0, 1.0) * self.0.len() as f64;
        let step = (place as usize).min(self.0.len() - 1);
        let (from, to) = self.0[step];
        from + (to - from) * (place - step as f64)
    }

    /// The mean rate over the load's duration.
    pub fn mean_per_s(&self) -> f64 {
        let sum: f64 = self.0.iter().map(|(from, to)| (from + to) / 2.0).sum();
        sum / self.0.len() as f64
    }
}

/// Why a text is not a rate; the message continues after the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateError;

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "is not a rate; write requests per second such as 1000, 0.5 or 20k, \
             a ramp as 100..1000, at most {} steps as 100,200,400",
            limits::STEPS_MAX
        )
    }
}

impl std::error::Error for RateError {}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let steps = text
            .split(',')
            .map(|step| match step.split_once("..") {
                Some((from, to)) => Ok((number(from)?, number(to)?)),
                None => number(step).map(|rate| (rate, rate)),
            })
            .collect::<Result<Vec<_>, RateError>>()?;
        if steps.len() > limits::STEPS_MAX || steps.iter().any(|(from, to)| from + to <= 0.0) {
            return Err(RateError);
        }
        Ok(Self(steps))
    }
}

fn number(text: &str) -> Result<f64, RateError> {
    let text = text.trim();
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rate: f64 = digits.parse().map_err(|_| RateError)?;
    let rate = rate * factor;
    (plain && rate <= 1e9).then_some(rate).ok_or(RateError)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match from == to {
                true => write!(f, "{comma}{from}")?,
                false => write!(f, "{comma}{from}..{to}")?,
            }
        }
        Ok(())
    }
}

/// A rate over a time: the integral of the rate, and its inverse.
#[derive(Clone, Debug)]
struct Profile {
    segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Requests due before the step begins.
    before: f64,
    start_s: f64,
    length_s: f64,
    from_per_s: f64,
    /// Change of the rate, in requests per second, per second.
    slope: f64,
}

impl Segment {
    fn due(&self) -> f64 {
        (self.from_per_s + self.slope * self.length_s / 2.0) * self.length_s
    }
}

impl Profile {
    /// Steps of equal length over `duration_s`; without a duration the last one has no end.
    fn new(rate: &Rate, duration_s: Option<f64>) -> Self {
        let length_s = duration_s.map_or(f64::INFINITY, |all| all / rate.0.len() as f64);
        let mut segments = Vec::with_capacity(rate.0.len());
        let (mut before, mut start_s) = (0.0, 0.0);
        for &(from, to) in &rate.0 {
            let segment = Segment {
                before,
                start_s,
                length_s,
                from_per_s: from,
                slope: if from == to {
                    0.0
                } else {
                    (to - from) / length_s
                },
            };
            before += segment.due();
            start_s += length_s;
            segments.push(segment);
        }
        Self { segments }
    }

    /// The moment, in seconds, at which `count` requests are due; `None` when fewer are ever due.
    fn moment(&self, at: &mut usize, count: f64) -> Option<f64> {
        loop {
            let segment = self.segments.get(*at)?;
            let into = count - segment.before;
            if into >= segment.due() {
                *at += 1;
                continue;
            }
            let rate = segment.from_per_s;
            let seconds = if segment.slope == 0.0 {
                into / rate
            } else {
                // Solves rate*t + slope*t^2/2 = into by the form of the root that is exact for
                // small slopes too.
                let root = (rate * rate + 2.0 * segment.slope * into).max(0.0).sqrt();
                2.0 * into / (rate + root).max(f64::MIN_POSITIVE)
            };
            return Some(segment.start_s + seconds.min(segment.length_s));
        }
    }
}

/// The moments at which one shard's requests are due, in ascending order.
pub(super) struct Arrivals {
    source: Source,
    start_ns: u64,
    left: Option<u64>,
    next_ns: Option<u64>,
}

enum Source {
    Rate(Paced),
    /// Every `step`-th of a list of moments, in nanoseconds from the start.
    Listed {
        moments_ns: Arc<[u64]>,
        at: usize,
        end: usize,
        step: usize,
    },
}

/// Moments computed from a rate.
struct Paced {
    profile: Profile,
    segment: usize,
    spacing: Spacing,
    random: fastrand::Rng,
    /// Requests of all shards that are due up to and including this shard's next one.
    count: f64,
    step: f64,
}

impl Paced {
    fn gap(&mut self) -> f64 {
        match self.spacing {
            Spacing::Constant => self.step,
            Spacing::Poisson => -(1.0 - self.random.f64()).ln() * self.step,
        }
    }
}

/// A shard's share of all arrivals: every `of`-th, starting with number `index`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub index: usize,
    pub of: usize,
}

impl Share {
    /// This share of a number that is divided among all shards.
    pub(super) fn part_of(self, all: u64) -> u64 {
        let (index, of) = (self.index as u64, self.of as u64);
        all / of + u64::from(index < all % of)
    }
}

impl Rate {
    /// The seconds after which `count` requests have been due, at the rate of a load that lasts
    /// `duration_s`, or without end if `None`.
    pub(super) fn seconds_of(&self, count: u64, duration_s: Option<f64>) -> Option<f64> {
        let seconds = Profile::new(self, duration_s).moment(&mut 0, count as f64);
        seconds.filter(|seconds| seconds.is_finite())
    }
}

impl Arrivals {
    /// A share of the arrivals at a rate, for `seconds` or without end, with at most `requests_max`
    /// requests.
    pub(crate) fn at_rate(
        (rate, spacing): (&Rate, Spacing),
        seconds: Option<f64>,
        start_ns: u64,
        share: Share,
        seed: u64,
        requests_max: Option<u64>,
    ) -> Self {
        let source = Source::rate(rate, spacing, seconds, share, seed);
        Self::new(source, start_ns, requests_max)
    }

    /// A share of listed moments, in nanoseconds after `start_ns`, up to `duration_ns`.
    pub(crate) fn at_moments(
        moments_ns: &Arc<[u64]>,
        duration_ns: Option<u64>,
        start_ns: u64,
        share: Share,
        requests_max: Option<u64>,
    ) -> Self {
        let source = Source::listed(moments_ns, duration_ns, share);
        Self::new(source, start_ns, requests_max)
    }

    fn new(source: Source, start_ns: u64, requests_max: Option<u64>) -> Self {
        let mut arrivals = Self {
            source,
            start_ns,
            left: requests_max,
            next_ns: None,
        };
        arrivals.next_ns = arrivals.find();
        arrivals
    }

    /// The next moment, in nanoseconds of the clock of `start_ns`; `None` when all are over.
    pub(crate) fn peek(&self) -> Option<u64> {
        self.next_ns
    }

    /// Takes the next moment if it is at or before `now_ns`.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.next_ns.filter(|&next| next <= now_ns)?;
        match &mut self.source {
            Source::Rate(paced) => paced.count += paced.gap(),
            Source::Listed { at, step, .. } => *at += *step,
        }
        self.next_ns = self.find();
        Some(due)
    }

    /// Whether it has ended because of the number of requests, not the time.
    pub(crate) fn are_counted_out(&self) -> bool {
        self.next_ns.is_none() && self.left == Some(0)
    }

    /// Takes all moments up to `now_ns` and returns how many there were.
    pub(crate) fn drain_due(&mut self, now_ns: u64, mut each: impl FnMut(u64)) {
        while let Some(due) = self.take_due(now_ns) {
            each(due);
        }
    }

    fn find(&mut self) -> Option<u64> {
        match &mut self.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        let offset_ns = match &mut self.source {
            Source::Rate(paced) => {
                let seconds = paced.profile.moment(&mut paced.segment, paced.count)?;
                (seconds * 1e9) as u64
            }
            Source::Listed {
                moments_ns,
                at,
                end,
                ..
            } => *moments_ns.get(..*end)?.get(*at)?,
        };
        Some(self.start_ns + offset_ns)
    }
}

impl Source {
    fn rate(
        rate: &Rate,
        spacing: Spacing,
        duration_s: Option<f64>,
        share: Share,
        seed: u64,
    ) -> Self {
        let mut paced = Paced {
            profile: Profile::new(rate, duration_s),
            segment: 0,
            spacing,
            random: fastrand::Rng::with_seed(seed ^ (share.index as u64) << 48),
            count: 0.0,
            step: share.of as f64,
        };
        paced.count = match spacing {
            Spacing::Constant => share.index as f64,
            Spacing::Poisson => paced.gap(),
        };
        Self::Rate(paced)
    }

    fn listed(moments_ns: &Arc<[u64]>, duration_ns: Option<u64>, share: Share) -> Self {
        let end_ns = duration_ns.unwrap_or(u64::MAX);
        Self::Listed {
            moments_ns: Arc::clone(moments_ns),
            at: share.index,
            end: moments_ns.partition_point(|&ns| ns < end_ns),
            step: share.of,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Share = Share { index: 0, of: 1 };

    fn all(rate: &str, spacing: Spacing, seconds: f64, share: Share, seed: u64) -> Vec<u64> {
        let rate = rate.parse().unwrap();
        let source = Source::rate(&rate, spacing, Some(seconds), share, seed);
        let mut arrivals = Arrivals::new(source, 7, None);
        let mut moments = Vec::new();
        arrivals.drain_due(u64::MAX, |moment| moments.push(moment));
        moments
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let moments = all("3", Spacing::Constant, 1000.0, ALL, 0);
        assert_eq!(moments.len(), 3000);
        for (k, moment) in moments.iter().enumerate() {
            let wanted = 7 + k as u64 * 1_000_000_000 / 3;
            assert!(moment.abs_diff(wanted) <= 1000, "{k}: {moment}");
        }
    }

    #[test]
    fn shards_take_turns() {
        let mut both = all("1000", Spacing::Constant, 2.0, Share { index: 0, of: 2 }, 0);
        both.extend(all(
            "1000",
            Spacing::Constant,
            2.0,
            Share { index: 1, of: 2 },
            0,
        ));
        both.sort_unstable();
        assert_eq!(both, all("1000", Spacing::Constant, 2.0, ALL, 0));
    }

    #[test]
    fn a_ramp_and_steps_have_their_areas() {
        let moments = all("0..200", Spacing::Constant, 10.0, ALL, 0);
        assert!(moments.len().abs_diff(1000) <= 1, "{}", moments.len());
        // A quarter of the area lies in the first half.
        let early = moments.iter().filter(|m| **m < 5_000_000_007).count();
        assert!(early.abs_diff(250) <= 1, "{early}");
        let moments = all("100,300", Spacing::Constant, 2.0, ALL, 0);
        let early = moments.iter().filter(|m| **m < 1_000_000_007).count();
        assert_eq!((early, moments.len()), (100, 400));
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let moments = all("1000", Spacing::Poisson, 100.0, ALL, 1);
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|w| (w[1] - w[0]) as f64 / 1e6)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // 100,000 gaps: a standard error of 0.3%, and the seed is fixed.
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() - 1.0).abs() < 0.02, "{variance}");
        assert_eq!(moments, all("1000", Spacing::Poisson, 100.0, ALL, 1));
        assert_ne!(moments, all("1000", Spacing::Poisson, 100.0, ALL, 2));
    }

    #[test]
    fn a_number_of_requests_ends_it() {
        let rate = Rate::constant(10.0);
        let source = Source::rate(&rate, Spacing::Constant, None, ALL, 0);
        let mut arrivals = Arrivals::new(source, 0, Some(3));
        let mut moments = Vec::new();
        arrivals.drain_due(u64::MAX, |moment| moments.push(moment));
        assert_eq!(moments, [0, 100_000_000, 200_000_000]);
    }

    #[test]
    fn only_what_is_due_is_taken() {
        let rate = Rate::constant(10.0);
        let source = Source::rate(&rate, Spacing::Constant, Some(1.0), ALL, 0);
        let mut arrivals = Arrivals::new(source, 50, None);
        assert_eq!(arrivals.take_due(49), None);
        assert_eq!(arrivals.take_due(50), Some(50));
        assert_eq!(arrivals.peek(), Some(100_000_050));
        assert_eq!(arrivals.take_due(100_000_000), None);
    }

    #[test]
    fn listed_moments_are_shared_in_turn_and_cut_at_the_end() {
        let moments: Arc<[u64]> = [0, 5, 5, 9, 10].into();
        let part = |index, duration_ns| {
            let source = Source::listed(&moments, duration_ns, Share { index, of: 2 });
            let mut arrivals = Arrivals::new(source, 100, None);
            let mut found = Vec::new();
            arrivals.drain_due(u64::MAX, |moment| found.push(moment));
            found
        };
        assert_eq!(part(0, None), [100, 105, 110]);
        assert_eq!(part(1, None), [105, 109]);
        assert_eq!(
            (part(0, Some(9)), part(1, Some(9))),
            (vec![100, 105], vec![105])
        );
    }

    #[test]
    fn a_rate_at_a_moment() {
        let rate: Rate = "100,200..400".parse().unwrap();
        for (share, wanted) in [(0.0, 100.0), (0.4, 100.0), (0.75, 300.0), (1.0, 400.0)] {
            assert_eq!(rate.at(share), wanted, "{share}");
        }
        assert_eq!(rate.mean_per_s(), 200.0);
    }

    #[test]
    fn rates_as_written() {
        for (text, steps) in [
            ("1000", vec![(1000.0, 1000.0)]),
            ("0.5", vec![(0.5, 0.5)]),
            ("20k", vec![(20_000.0, 20_000.0)]),
            ("0..1M", vec![(0.0, 1e6)]),
            ("1,2..3", vec![(1.0, 1.0), (2.0, 3.0)]),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.steps(), steps, "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for text in [
            "", "0", "-1", "x", "1e3", "inf", "nan", "1..", "1,,2", "0..0", "2000M", "k",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn moments_ascend_within_the_time(
            from in 0.0..500.0f64, to in 0.1..500.0f64, seconds in 0.1..5.0f64, poisson: bool,
        ) {
            let spacing = if poisson { Spacing::Poisson } else { Spacing::Constant };
            let rate = format!("{from:.3}..{to:.3},{to:.3}");
            let moments = all(&rate, spacing, seconds, ALL, 3);
            prop_assert!(moments.is_sorted());
            let end = 7 + (seconds * 1e9) as u64;
            prop_assert!(moments.iter().all(|&m| (7..=end + 1).contains(&m)));
        }
    }
}
