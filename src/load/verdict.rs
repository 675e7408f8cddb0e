//! Whether the figures are what was asked for, and whose they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::arrivals::Spacing;
use super::summary::{Summary, Times};

/// A thread that works for this share of the time has no time left to be exact.
const BUSY_MAX: f64 = 0.95;
/// The generator was late for at least this long…
const LAG_P99_US_MAX: f64 = 1000.0;
/// …and that is this share of what was measured.
const LAG_SHARE_MAX: f64 = 0.1;
/// What a rate may fall short of what was asked.
const RATE_SHARE_MIN: f64 = 0.995;

/// Standard deviations by which chance may keep a rate of independent events below its mean.
const CHANCE_MAX: f64 = 3.0;

/// What to make of a load's figures; the first of these that holds, from below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Every request was answered, at the rate that was asked for.
    #[default]
    #[serde(rename = "OK")]
    Good,
    /// The server, or what lies between, did not keep up.
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
    /// The verdict as a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Good => "Every request was answered, at the rate that was asked for.",
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

/// The figures of which a verdict is made, whatever was loaded.
pub(super) struct Judged {
    /// Share of the time that the busiest thread worked.
    pub busy: f64,
    pub lag: Option<Times>,
    /// Of what was measured, against which the lag matters or not.
    pub p99_us: f64,
    pub failed: bool,
    pub rate_per_s: f64,
    /// `None`: no rate was asked for, or not for the whole time.
    pub asked_rate_per_s: Option<f64>,
}

impl Judged {
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

    /// Whether the rate was not reached, and that not because of the generator.
    pub fn is_short(&self) -> bool {
        self.falls_short() && !self.is_busy()
    }

    pub fn verdict(&self) -> Verdict {
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

    /// What explains SATURATED CLIENT.
    pub fn notes(&self) -> Vec<String> {
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

/// The least that was due of a rate over so many seconds: where requests are due by chance, they may
/// be fewer than on average.
pub(super) fn least_due_per_s(rate_per_s: f64, seconds: f64, spacing: Spacing) -> f64 {
    match spacing {
        Spacing::Constant => rate_per_s,
        Spacing::Poisson => rate_per_s - CHANCE_MAX * (rate_per_s / seconds.max(1e-9)).sqrt(),
    }
}

/// Sets the verdict of `summary` from its figures, and the notes that explain it.
pub(super) fn judge(summary: &mut Summary, spacing: Spacing) {
    let asked = summary.asked_rate_per_s.filter(|_| !summary.interrupted);
    let judged = Judged {
        busy: summary.client_busy,
        lag: summary.generator_lag_us,
        p99_us: summary.response_time_us.p99,
        failed: summary.errors_total > 0 || summary.requests == 0,
        rate_per_s: summary.rate_per_s,
        asked_rate_per_s: asked.map(|rate| least_due_per_s(rate, summary.seconds, spacing)),
    };
    summary.verdict = judged.verdict();
    summary.notes.extend(judged.notes());
    if judged.is_short() {
        let backlog = match summary.unsent {
            0 => String::new(),
            unsent => format!("{unsent} requests were due and never sent; "),
        };
        summary.notes.push(format!(
            "the rate was not reached: {backlog}all {} connections were waiting for answers; \
             the server is slower than that, or needs more connections (-c)",
            summary.connections
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut Summary)) -> Summary {
        let mut summary = Summary {
            requests: 1000,
            rate_per_s: 1000.0,
            asked_rate_per_s: Some(1000.0),
            client_busy: 0.5,
            ..Summary::default()
        };
        change(&mut summary);
        judge(&mut summary, Spacing::Constant);
        summary
    }

    fn lag(p99: f64) -> Option<Times> {
        Some(Times {
            p99,
            ..Times::default()
        })
    }

    #[test]
    fn good_figures_need_no_note() {
        let summary = judged(|_| {});
        assert_eq!((summary.verdict, summary.notes.len()), (Verdict::Good, 0));
    }

    #[test]
    fn the_bottleneck_is_named() {
        assert_eq!(
            judged(|s| s.client_busy = 0.99).verdict,
            Verdict::SaturatedClient
        );
        assert_eq!(
            judged(|s| s.generator_lag_us = lag(2000.0)).verdict,
            Verdict::SaturatedClient
        );
        // Late, but not by what matters beside the times measured.
        let slow = judged(|s| {
            s.generator_lag_us = lag(2000.0);
            s.response_time_us.p99 = 50_000.0;
        });
        assert_eq!(slow.verdict, Verdict::Good);
        let short = judged(|s| {
            s.rate_per_s = 990.0;
            s.unsent = 10;
        });
        assert_eq!(short.verdict, Verdict::RateNotReached);
        assert!(
            short.notes[0].contains("10 requests were due"),
            "{:?}",
            short.notes
        );
        assert_eq!(judged(|s| s.rate_per_s = 996.0).verdict, Verdict::Good);
        let interrupted = judged(|s| {
            s.rate_per_s = 500.0;
            s.interrupted = true;
        });
        assert_eq!(interrupted.verdict, Verdict::Good);
    }

    #[test]
    fn errors_are_told_before_a_rate() {
        assert_eq!(judged(|s| s.errors_total = 1).verdict, Verdict::Errors);
        assert_eq!(judged(|s| s.requests = 0).verdict, Verdict::Errors);
    }

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

    #[test]
    fn chance_is_no_shortfall_of_the_server() {
        let after_10_s = |rate_per_s, spacing| {
            let mut summary = Summary {
                requests: 10_000,
                seconds: 10.0,
                rate_per_s,
                asked_rate_per_s: Some(1000.0),
                ..Summary::default()
            };
            judge(&mut summary, spacing);
            summary.verdict
        };
        // Three standard deviations of 10,000 events are 3%.
        for (rate, constant, poisson) in [
            (990.0, Verdict::RateNotReached, Verdict::Good),
            (960.0, Verdict::RateNotReached, Verdict::RateNotReached),
        ] {
            assert_eq!(after_10_s(rate, Spacing::Constant), constant);
            assert_eq!(after_10_s(rate, Spacing::Poisson), poisson);
        }
    }
}
