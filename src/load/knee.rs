//! The search for the knee: the highest rate at which the response time stays within a bound.

use serde::{Deserialize, Serialize};

/// The search ends when the lowest rate that is too high is at most this times the highest good
/// one.
const EXACT: f64 = 1.05;
/// The range of rates that is searched.
const RATE_MIN: f64 = 1.0;
const RATE_MAX: f64 = 1e8;

/// A load at one rate, and whether it stayed within the bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KneeStep {
    /// The rate that was tried, in requests per second.
    pub asked_rate_per_s: f64,
    /// Requests answered per second.
    pub rate_per_s: f64,
    /// P99 of the response time, in microseconds.
    pub response_p99_us: f64,
    /// The verdict was `OK`, and the P99 was within the bound.
    pub good: bool,
}

/// Doubles or halves the rate until one is good and one is too high, then bisects.
#[derive(Clone, Debug)]
pub struct KneeSearch {
    next: f64,
    good: Option<f64>,
    bad: Option<f64>,
}

impl KneeSearch {
    /// Begins the search at a rate.
    pub fn from(rate_per_s: f64) -> Self {
        Self {
            next: rate_per_s,
            good: None,
            bad: None,
        }
    }

    /// The rate to try next; `None` when the knee is found, or is outside the range.
    pub fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (Some(good), Some(bad)) if bad <= good * EXACT => None,
            _ => Some(self.next).filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate)),
        }
    }

    /// Takes the result at the rate of [`next`](Self::next).
    pub fn record(&mut self, good: bool) {
        match good {
            true => self.good = Some(self.next),
            false => self.bad = Some(self.next),
        }
        self.next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => plain((good * bad).sqrt()),
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that was good.
    pub fn knee(&self) -> Option<f64> {
        self.good
    }
}

/// Rounds a rate to three digits, so that it can be typed.
fn plain(rate: f64) -> f64 {
    let digits = 2 - rate.log10().floor() as i32;
    let scale = 10f64.powi(digits.abs());
    match digits > 0 {
        true => (rate * scale).round() / scale,
        false => (rate / scale).round() * scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(from: f64, knee: f64) -> (Option<f64>, usize) {
        let mut search = KneeSearch::from(from);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            steps += 1;
            assert!(steps < 60, "it does not end");
            search.record(rate <= knee);
        }
        (search.knee(), steps)
    }

    #[test]
    fn the_knee_is_found_from_below_and_from_above() {
        for (from, knee) in [
            (1000.0, 105_000.0),
            (1000.0, 7.0),
            (1000.0, 1000.0),
            (64.0, 100.0),
        ] {
            let (found, steps) = search(from, knee);
            let found = found.unwrap();
            assert!(found <= knee && knee <= found * EXACT, "{knee}: {found}");
            assert!(steps <= 20, "{steps}");
        }
    }

    #[test]
    fn rates_can_be_typed() {
        for (rate, text) in [
            (145_764.945, "146000"),
            (1.23456, "1.23"),
            (99.96, "100"),
            (1024.0, "1020"),
            (70.71, "70.7"),
        ] {
            assert_eq!(plain(rate).to_string(), text);
        }
    }

    #[test]
    fn a_server_that_is_never_good_or_always_ends_it_too() {
        assert_eq!(search(1000.0, 0.0).0, None);
        assert!(search(1000.0, f64::INFINITY).0.unwrap() > RATE_MAX / 2.0);
    }
}
