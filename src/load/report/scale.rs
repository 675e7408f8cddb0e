//! Maps values to positions on an axis, with ticks at round numbers.

/// The leading digits of round numbers.
const ROUND: [f64; 3] = [1.0, 2.0, 5.0];
/// Bounds of a logarithmic scale, whatever its values.
const LOG_MIN: f64 = 1e-6;
const LOG_MAX: f64 = 1e15;

/// An axis from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A scale from 0 to the next round number from `max` on.
    pub(crate) fn from_zero(max: f64) -> Self {
        let exact = Self::up_to(max);
        let step = exact.step(5);
        Self {
            to: (exact.to / step - 1e-9).ceil() * step,
            ..exact
        }
    }

    /// A scale from 0 to `max`; to 1 if that is 0.
    pub(crate) fn up_to(max: f64) -> Self {
        let some = max.is_finite() && max > f64::MIN_POSITIVE;
        Self {
            from: 0.0,
            to: if some { max } else { 1.0 },
            log: false,
        }
    }

    /// A logarithmic scale between round numbers around `values`; ignores those that are not above
    /// 0.
    pub(crate) fn log(values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (min, max) = values.fold((f64::MAX, 0.0_f64), |(min, max), value| {
            (min.min(value), max.max(value))
        });
        let (min, max) = if max == 0.0 { (1.0, 1e3) } else { (min, max) };
        let (mut from, mut to) = (
            round_below(min.clamp(LOG_MIN, LOG_MAX)),
            round_above(max.clamp(LOG_MIN, LOG_MAX)),
        );
        // A single value is in the middle.
        if to / from < 4.0 {
            (from, to) = (round_below(from * 0.99), round_above(to * 1.01));
        }
        Self {
            from,
            to,
            log: true,
        }
    }

    /// The position of `value` between the ends, from 0 to 1; values beyond are put at the end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.max(self.from) / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        };
        // Also if the value is NaN.
        if share > 0.0 { share.min(1.0) } else { 0.0 }
    }

    /// Round numbers between the ends, at most `max` of them or a few more.
    pub(crate) fn ticks(&self, max: usize) -> Vec<f64> {
        match self.log {
            true => self.log_ticks(max),
            false => {
                let step = self.step(max);
                let count = (self.to / step + 1e-9).floor() as usize;
                (0..=count).map(|index| index as f64 * step).collect()
            }
        }
    }

    fn step(&self, max: usize) -> f64 {
        round_above((self.to - self.from) / max.max(1) as f64)
    }

    fn log_ticks(&self, max: usize) -> Vec<f64> {
        let first = self.from.log10().floor() as i32;
        let last = self.to.log10().ceil() as i32;
        let within = |value: &f64| *value >= self.from * 0.999 && *value <= self.to * 1.001;
        let all: Vec<f64> = (first..=last)
            .flat_map(|exponent| ROUND.map(|digit| digit * 10_f64.powi(exponent)))
            .filter(within)
            .collect();
        if all.len() <= max {
            return all;
        }
        let decades: Vec<f64> = (first..=last)
            .map(|exponent| 10_f64.powi(exponent))
            .filter(within)
            .collect();
        let every = decades.len().div_ceil(max.max(1)).max(1);
        decades.into_iter().step_by(every).collect()
    }
}

/// The largest round number that is not above `value`.
fn round_below(value: f64) -> f64 {
    let decade = 10_f64.powi(value.log10().floor() as i32);
    let fits = |digit: &&f64| **digit * decade <= value * (1.0 + 1e-9);
    // A logarithm may come out a little too high.
    ROUND
        .iter()
        .rev()
        .find(fits)
        .map_or(decade / 2.0, |digit| digit * decade)
}

/// The smallest round number that is not below `value`.
fn round_above(value: f64) -> f64 {
    let decade = 10_f64.powi(value.log10().floor() as i32);
    let fits = |digit: &&f64| **digit * decade >= value * (1.0 - 1e-9);
    ROUND
        .iter()
        .find(fits)
        .map_or(decade * 10.0, |digit| digit * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round() {
        for (value, below, above) in [
            (1.0, 1.0, 1.0),
            (1.5, 1.0, 2.0),
            (3.0, 2.0, 5.0),
            (7.0, 5.0, 10.0),
            (1000.0, 1000.0, 1000.0),
            (0.03, 0.02, 0.05),
        ] {
            assert!((round_below(value) / below - 1.0).abs() < 1e-9, "{value}");
            assert!((round_above(value) / above - 1.0).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_tick() {
        let scale = Scale::from_zero(83_000.0);
        assert_eq!(
            scale.ticks(5),
            [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]
        );
        assert_eq!(scale.share(50_000.0), 0.5);
        let exact = Scale::up_to(30.5);
        assert_eq!(exact.ticks(4), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(exact.share(30.5), 1.0);
    }

    #[test]
    fn a_logarithmic_axis_has_decades_or_less() {
        let wide = Scale::log([40.0, 1.3e6].into_iter());
        assert_eq!(wide.ticks(6), [1e2, 1e3, 1e4, 1e5, 1e6]);
        let narrow = Scale::log([120.0, 900.0].into_iter());
        assert_eq!(narrow.ticks(6), [100.0, 200.0, 500.0, 1000.0]);
        assert!((narrow.share(316.228) - 0.5).abs() < 1e-4);
        assert!(Scale::log([1e-6, 1e15].into_iter()).ticks(6).len() <= 6);
    }

    #[test]
    fn whatever_it_is_given_a_place_is_a_number() {
        let odd = [
            0.0,
            -1.0,
            1e-300,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for a in odd {
            for b in odd {
                let scales = [
                    Scale::from_zero(a),
                    Scale::up_to(a),
                    Scale::log([a, b].into_iter()),
                    Scale::log(std::iter::empty()),
                ];
                for scale in scales {
                    for value in odd.into_iter().chain(scale.ticks(6)) {
                        let share = scale.share(value);
                        assert!((0.0..=1.0).contains(&share), "{scale:?} {value}: {share}");
                    }
                    let ticks = scale.ticks(6).len();
                    assert!((1..20).contains(&ticks), "{scale:?}: {ticks}");
                }
            }
        }
    }
}
