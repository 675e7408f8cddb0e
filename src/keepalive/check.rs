//! Finds contradictions within a policy, with advice.

use super::{Policy, Probes, shown};
use crate::limits::{NAT_MEMORY_S, PROBE_RADIO_S};

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Good to know.
    Note,
    /// A likely mistake.
    Warning,
}

/// A consequence of a policy that is not obvious from its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its weight.
    pub weight: Weight,
    /// A whole sentence, with advice where there is some.
    pub sentence: String,
}

/// Checks a policy; warnings come first.
pub fn findings(policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(probes) = &policy.probes {
        found.extend(against_application(probes, policy.http_idle_ms));
        found.extend(against_nat(probes, policy.http_idle_ms));
        found.extend(against_user_timeout(probes, policy.user_timeout_ms));
    } else {
        found.push(note(
            "without probes a peer that vanishes while its answer is being made is never noticed; \
             only connections that wait for a request, or are sent to, have a time-out"
                .to_owned(),
        ));
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    found
}

/// The HTTP idle time-out ends a connection whether or not its peer lives.
fn against_application(probes: &Probes, http_idle_ms: u64) -> Option<Finding> {
    let (first_ms, last_ms) = (probes.idle_s * 1000, probes.span_ms());
    let (idle, span) = (shown(http_idle_ms), shown(last_ms));
    if first_ms >= http_idle_ms {
        return Some(note(format!(
            "a connection that waits for a request is closed after {idle} of silence, before its first \
             probe at {}: the probes watch over connections whose answer takes longer",
            shown(first_ms)
        )));
    }
    (last_ms > http_idle_ms).then(|| {
        warning(format!(
            "the probes need {span} (idle + interval x probes) to find a peer dead, but the idle \
             time-out closes it after {idle} whether dead or not: they cost packets and decide \
             nothing; keep the sum within the idle time-out, or the first probe beyond it"
        ))
    })
}

/// NATs and load balancers drop a silent connection without telling either end.
fn against_nat(probes: &Probes, http_idle_ms: u64) -> Option<Finding> {
    let nat = shown(NAT_MEMORY_S * 1000);
    let idle = shown(probes.idle_s * 1000);
    if probes.idle_s < PROBE_RADIO_S {
        return Some(note(format!(
            "an idle time of {idle} is shorter than a NAT's usual memory ({nat} and more) by far: \
             each probe wakes a phone's radio; where clients are mobile, {} to {nat} do as well",
            shown(PROBE_RADIO_S * 1000)
        )));
    }
    if probes.idle_s <= NAT_MEMORY_S {
        return None;
    }
    if http_idle_ms <= NAT_MEMORY_S * 1000 {
        return Some(note(format!(
            "an idle time of {idle} is longer than some NATs remember a silent connection ({nat}): \
             an answer that takes longer than that may not reach its client"
        )));
    }
    Some(warning(format!(
        "many NATs forget a silent connection after {nat}, before the first probe at {idle} could \
         keep it: its client is cut off without a word; keep the idle time below {nat}, or the HTTP \
         idle time-out ({})",
        shown(http_idle_ms)
    )))
}

/// tcp(7): with SO_KEEPALIVE, TCP_USER_TIMEOUT overrides keepalive in deciding when to close;
/// `tcp_keepalive_timer` in net/ipv4/tcp_timer.c doesn't count probes then.
fn against_user_timeout(probes: &Probes, user_timeout_ms: u64) -> Option<Finding> {
    if user_timeout_ms == 0 || probes.deciding(user_timeout_ms) == probes.count {
        return None;
    }
    let decides = probes.deciding(user_timeout_ms);
    Some(warning(format!(
        "the user time-out of {} overrides the number of probes: a silent peer is dead after {decides} \
         unanswered, at {}, not after {}, at {}; set it to {} (idle + interval x probes) or to 0",
        shown(user_timeout_ms),
        shown(probes.dead_after_ms(user_timeout_ms)),
        probes.count,
        shown(probes.span_ms()),
        shown(probes.span_ms()),
    )))
}

fn note(sentence: String) -> Finding {
    Finding {
        weight: Weight::Note,
        sentence,
    }
}

fn warning(sentence: String) -> Finding {
    Finding {
        weight: Weight::Warning,
        sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalive::Preset;

    fn policy(idle_s: u64, interval_s: u64, count: u64) -> Policy {
        Policy {
            probes: Some(Probes {
                idle_s,
                interval_s,
                count,
            }),
            user_timeout_ms: 0,
            http_idle_ms: 75_000,
        }
    }

    #[track_caller]
    fn says(policy: &Policy, weight: Weight, words: &str) {
        let found = findings(policy);
        let matching = |f: &&Finding| f.weight == weight && f.sentence.contains(words);
        assert!(found.iter().find(matching).is_some(), "{words}: {found:?}");
    }

    #[test]
    fn probes_that_decide_nothing_are_named() {
        says(&policy(60, 30, 3), Weight::Warning, "need 150 s");
        says(
            &policy(600, 60, 3),
            Weight::Note,
            "before its first probe at 600 s",
        );
        assert_eq!(findings(&policy(60, 5, 3)), []);
    }

    #[test]
    fn a_nat_that_forgets_first_is_named() {
        let patient = Policy {
            http_idle_ms: 3_600_000,
            ..policy(600, 60, 3)
        };
        says(
            &patient,
            Weight::Warning,
            "forget a silent connection after 240 s",
        );
        says(
            &policy(600, 60, 3),
            Weight::Note,
            "longer than some NATs remember",
        );
        says(&policy(5, 5, 3), Weight::Note, "wakes a phone's radio");
    }

    #[test]
    fn a_user_timeout_that_overrides_the_probes_is_named() {
        for (user_timeout_ms, words) in [
            (
                30_000,
                "dead after 1 unanswered, at 65 s, not after 3, at 75 s",
            ),
            (300_000, "dead after 48 unanswered, at 300 s, not after 3"),
        ] {
            let policy = Policy {
                user_timeout_ms,
                ..policy(60, 5, 3)
            };
            says(&policy, Weight::Warning, words);
        }
        let agreeing = Policy {
            user_timeout_ms: 75_000,
            ..policy(60, 5, 3)
        };
        assert_eq!(findings(&agreeing), []);
    }

    #[test]
    fn no_probes_at_all_are_noted_once() {
        says(&Preset::Off.policy(), Weight::Note, "without probes");
        assert_eq!(findings(&Preset::Off.policy()).len(), 1);
    }

    #[test]
    fn warnings_come_first() {
        let both = Policy {
            user_timeout_ms: 1000,
            ..policy(5, 50, 3)
        };
        let weights: Vec<_> = findings(&both).iter().map(|f| f.weight).collect();
        assert_eq!(weights, [Weight::Warning, Weight::Warning, Weight::Note]);
    }
}
