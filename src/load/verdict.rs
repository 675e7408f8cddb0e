//! The verdict on a load: was the rate reached without errors, and was the server or the generator
//! the bottleneck?

use std::fmt;

use serde::{Deserialize, Serialize};

use super::arrivals::Spacing;
use super::times::Times;

/// A thread that is busy for this share of the time can't keep exact times.
const BUSY_MAX: f64 = 0.95;
/// P99 of the generator's lag, in microseconds, from which the generator counts as late.
const LAG_P99_US_MAX: f64 = 1000.0;
/// Share of the measured P99 that the lag's P99 must reach as well.
const LAG_SHARE_MAX: f64 = 0.1;
/// The share of the requested rate that must be reached.
const RATE_SHARE_MIN: f64 = 0.995;

/// Standard deviations by which chance may keep a rate of independent events below its mean.
const CHANCE_MAX: f64 = 3.0;

/// The verdict on a load: the last of these that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Every request was answered, at the requested rate.
    #[default]
    #[serde(rename = "OK")]
    Good,
    /// The server, or the network between, did not keep up.
    #[serde(rename = "RATE NOT REACHED")]
    RateNotReached,
    /// Requests failed, or were refused with 4xx or 5xx.
    #[serde(rename = "ERRORS")]
    Errors,
    /// The generator was the bottleneck: the figures are its own, not the server's.
    #[serde(rename = "SATURATED CLIENT")]
    SaturatedClient,
}

impl Verdict {
    /// The verdict as a sentence; `has_rate`: a rate was requested.
    pub fn meaning(self, has_rate: bool) -> &'static str {
        match self {
            Self::Good if has_rate => {
                "Nothing failed, and the rate that was asked for was reached."
            }
            Self::Good => "Nothing failed.",
            Self::RateNotReached => {
                "The server did not keep up with the rate, or had too few connections to be asked on."
            }
            Self::Errors => "Requests failed, or were answered with 4xx or 5xx.",
            Self::SaturatedClient => {
                "The generator was the bottleneck: the figures are its own, not the server's."
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "OK",
            Self::RateNotReached => "RATE NOT REACHED",
            Self::Errors => "ERRORS",
            Self::SaturatedClient => "SATURATED CLIENT",
        })
    }
}

/// The figures from which the verdict is made, for any kind of load.
pub(super) struct VerdictInput {
    /// Share of the time for which the busiest thread was busy.
    pub busy: f64,
    pub lag: Option<Times>,
    /// The measured times, with which the lag is compared.
    pub p99_us: f64,
    pub failed: bool,
    pub rate_per_s: f64,
    /// `None`: no rate was requested, or not for the whole time.
    pub asked_rate_per_s: Option<f64>,
}

impl VerdictInput {
    fn late(&self) -> Option<Times> {
        let limit = LAG_P99_US_MAX.max(LAG_SHARE_MAX * self.p99_us);
        self.lag.filter(|lag| lag.p99 >= limit)
    }

    fn is_busy(&self) -> bool {
        self.busy >= BUSY_MAX
    }

    fn falls_short(&self) -> bool {
        let asked = self.asked_rate_per_s;
        asked.is_some_and(|asked| self.rate_per_s < RATE_SHARE_MIN * asked)
    }

    /// Whether the rate was not reached for another reason than the generator.
    pub(crate) fn is_short(&self) -> bool {
        self.falls_short() && !self.is_busy()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.is_busy() || self.late().is_some() {
            Verdict::SaturatedClient
        } else if self.failed {
            Verdict::Errors
        } else if self.falls_short() {
            Verdict::RateNotReached
        } else {
            Verdict::Good
        }
    }

    /// The note that explains SATURATED CLIENT.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_busy() {
            notes.push(format!(
                "a thread of the generator worked {:.0}% of the time: these are the generator's figures, \
                 not the server's; give it more threads and cores (-t, --cores) or ask for less",
                self.busy * 100.0
            ));
        }
        if let Some(lag) = self.late() {
            notes.push(format!(
                "the generator sent late what was due (P99 {:.1} ms): the machine has no CPU left for it; \
                 ask for less or run it elsewhere",
                lag.p99 / 1e3
            ));
        }
        notes
    }
}

/// The least rate that was due over `seconds`: with Poisson arrivals fewer requests may be due than on
/// average.
pub(super) fn least_due_per_s(rate_per_s: f64, seconds: f64, spacing: Spacing) -> f64 {
    match spacing {
        Spacing::Constant => rate_per_s,
        Spacing::Poisson => rate_per_s - CHANCE_MAX * (rate_per_s / seconds.max(1e-9)).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_words_of_the_report() {
        let all = [
            Verdict::Good,
            Verdict::RateNotReached,
            Verdict::Errors,
            Verdict::SaturatedClient,
        ];
        for verdict in all {
            let json = serde_json::to_string(&verdict).unwrap();
            assert_eq!(json, format!("\"{verdict}\""));
        }
    }
}
