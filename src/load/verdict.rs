//! Whether the figures are what was asked for, and whose they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::summary::Summary;

/// A thread that works for this share of the time has no time left to be exact.
const BUSY_MAX: f64 = 0.95;
/// The generator was late for at least this long…
const LAG_P99_US_MAX: f64 = 1000.0;
/// …and that is this share of what was measured.
const LAG_SHARE_MAX: f64 = 0.1;
/// What a rate may fall short of what was asked.
const RATE_SHARE_MIN: f64 = 0.995;

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

/// Sets the verdict of `summary` from its figures, and the notes that explain it.
pub(super) fn judge(summary: &mut Summary) {
    let late = summary.generator_lag_us.filter(|lag| {
        lag.p99 >= LAG_P99_US_MAX && lag.p99 >= LAG_SHARE_MAX * summary.response_time_us.p99
    });
    let busy = summary.client_busy >= BUSY_MAX;
    let short = match summary.asked_rate_per_s {
        Some(asked) => summary.rate_per_s < RATE_SHARE_MIN * asked && !summary.interrupted,
        None => false,
    };
    let failed = summary.errors_total > 0 || summary.requests == 0;
    summary.verdict = if busy || late.is_some() {
        Verdict::SaturatedClient
    } else if failed {
        Verdict::Errors
    } else if short {
        Verdict::RateNotReached
    } else {
        Verdict::Good
    };
    let mut note = |text: String| summary.notes.push(text);
    if busy {
        note(format!(
            "a thread of the generator worked {:.0}% of the time: these are the generator's figures, \
             not the server's; give it more threads and cores (-t, --cores) or ask for less",
            summary.client_busy * 100.0
        ));
    }
    if let Some(lag) = late {
        note(format!(
            "the generator sent late what was due (P99 {:.1} ms): the machine has no CPU left for it; \
             ask for less or run it elsewhere",
            lag.p99 / 1e3
        ));
    }
    if short && !busy {
        let backlog = match summary.unsent {
            0 => String::new(),
            unsent => format!("{unsent} requests were due and never sent; "),
        };
        note(format!(
            "the rate was not reached: {backlog}all {} connections were waiting for answers; \
             the server is slower than that, or needs more connections (-c)",
            summary.connections
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Times;

    fn judged(change: impl FnOnce(&mut Summary)) -> Summary {
        let mut summary = Summary {
            requests: 1000,
            rate_per_s: 1000.0,
            asked_rate_per_s: Some(1000.0),
            client_busy: 0.5,
            ..Summary::default()
        };
        change(&mut summary);
        judge(&mut summary);
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
}
