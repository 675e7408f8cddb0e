//! Computes when a dead peer is noticed, by which timer, and what the probes cost.
//!
//! The kernel's part follows `tcp_keepalive_timer`, `tcp_write_timeout` and
//! `tcp_model_timeout` of net/ipv4/tcp_timer.c and Documentation/networking/ip-sysctl.rst.

use super::{Policy, Probes, shown};

/// The kernel's least retransmission time-out (TCP_RTO_MIN).
const RTO_MIN_MS: u64 = 200;
/// IPv4 and TCP headers with timestamps; a probe and its answer carry nothing else.
const PROBE_BYTES: u64 = 20 + 20 + 12;

/// The kernel's settings that affect detection besides the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `net.ipv4.tcp_retries2`.
    pub retries2: u64,
    /// `net.ipv4.tcp_rto_max_ms` (Linux 6.15), 120 s before.
    pub rto_max_ms: u64,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            retries2: 15,
            rto_max_ms: 120_000,
        }
    }
}

/// The server's own time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// The time-out for a whole request head.
    pub header_ms: u64,
    /// Length of one measurement of the send rate.
    pub send_period_ms: u64,
}

/// What a connection is doing when its peer vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// It waits for the next request.
    Idle,
    /// It waits for its first request.
    BeforeFirstByte,
    /// An answer is on its way.
    MidTransfer,
    /// An answer is being made, and nothing is on its way.
    AnswerPending,
}

/// A timer that notices a dead peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Its name.
    pub by: &'static str,
    /// When it notices, counted from the last sign of life; `None`: never.
    pub after_ms: Option<u64>,
    /// How that time is computed.
    pub formula: String,
}

/// A situation, and the timers that notice a dead peer in it, the earliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The situation.
    pub situation: Situation,
    /// The timers that run in it.
    pub clocks: Vec<Clock>,
}

impl Situation {
    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::BeforeFirstByte => "before the first byte",
            Self::MidTransfer => "mid-transfer",
            Self::AnswerPending => "answer pending",
        }
    }

    /// What the connection is doing.
    pub fn about(self) -> &'static str {
        match self {
            Self::Idle => "kept open for the next request",
            Self::BeforeFirstByte => "connected, no request yet",
            Self::MidTransfer => "bytes sent and not acknowledged",
            Self::AnswerPending => "the answer is being made, nothing is on its way",
        }
    }
}

impl Probes {
    /// The number of unanswered probes after which a TCP_USER_TIMEOUT ends a connection: the timer
    /// checks when a probe's wait is over, and compares only the time (`tcp_keepalive_timer`).
    pub fn deciding(&self, user_timeout_ms: u64) -> u64 {
        if user_timeout_ms == 0 {
            return self.count;
        }
        let beyond_idle_ms = user_timeout_ms.saturating_sub(self.idle_s * 1000);
        beyond_idle_ms
            .div_ceil(self.interval_s.max(1) * 1000)
            .max(1)
    }

    /// From the last sign of life until a silent peer is dead.
    pub fn dead_after_ms(&self, user_timeout_ms: u64) -> u64 {
        let waits = self.deciding(user_timeout_ms);
        (self.idle_s + waits.saturating_mul(self.interval_s)).saturating_mul(1000)
    }
}

impl Kernel {
    /// How long unacknowledged bytes are sent again, with a retransmission time-out that begins at
    /// its minimum: `tcp_model_timeout`. It takes longer on a slower line.
    pub fn retransmitting_ms(&self) -> u64 {
        let doublings = (self.rto_max_ms / RTO_MIN_MS).max(1).ilog2().into();
        let doubled = self.retries2.min(doublings);
        let doubling_ms = ((2_u64 << doubled) - 1).saturating_mul(RTO_MIN_MS);
        let steady = self.retries2 - doubled;
        doubling_ms.saturating_add(steady.saturating_mul(self.rto_max_ms))
    }
}

/// When a dead peer is noticed in each situation.
pub fn notices(policy: &Policy, application: &Application, kernel: &Kernel) -> [Notice; 4] {
    let idle = Clock {
        by: "HTTP idle time-out",
        after_ms: Some(policy.http_idle_ms),
        formula: "idle time-out".to_owned(),
    };
    let header = Clock {
        by: "header time-out",
        after_ms: Some(application.header_ms),
        formula: "header time-out, from the accept".to_owned(),
    };
    let pace = Clock {
        by: "least send rate",
        after_ms: Some(application.send_period_ms.saturating_mul(2)),
        formula: format!(
            "at the latest: the rest of one send period of {} and the next",
            shown(application.send_period_ms)
        ),
    };
    [
        (Situation::Idle, vec![idle, keepalive(policy)]),
        (Situation::BeforeFirstByte, vec![header, keepalive(policy)]),
        (
            Situation::MidTransfer,
            vec![pace, retransmission(policy, kernel)],
        ),
        (Situation::AnswerPending, vec![keepalive(policy)]),
    ]
    .map(|(situation, mut clocks)| {
        clocks.sort_by_key(|clock| clock.after_ms.unwrap_or(u64::MAX));
        Notice { situation, clocks }
    })
}

fn keepalive(policy: &Policy) -> Clock {
    let by = "TCP keepalive";
    let Some(probes) = &policy.probes else {
        return Clock {
            by,
            after_ms: None,
            formula: "no probes are sent".to_owned(),
        };
    };
    let Probes {
        idle_s, interval_s, ..
    } = probes;
    let waits = probes.deciding(policy.user_timeout_ms);
    let formula = match waits == probes.count {
        true => format!("idle {idle_s} s + interval {interval_s} s x {waits} probes"),
        false => format!(
            "idle {idle_s} s + interval {interval_s} s x {waits}, the first wait that ends beyond the \
             user time-out of {}",
            shown(policy.user_timeout_ms)
        ),
    };
    Clock {
        by,
        after_ms: Some(probes.dead_after_ms(policy.user_timeout_ms)),
        formula,
    }
}

fn retransmission(policy: &Policy, kernel: &Kernel) -> Clock {
    match policy.user_timeout_ms {
        0 => Clock {
            by: "TCP retransmission",
            after_ms: Some(kernel.retransmitting_ms()),
            formula: format!(
                "{} retransmissions (tcp_retries2) from {RTO_MIN_MS} ms, doubling up to {}; later on \
                 a slow line",
                kernel.retries2,
                shown(kernel.rto_max_ms)
            ),
        },
        user_timeout_ms => Clock {
            by: "TCP user time-out",
            after_ms: Some(user_timeout_ms.saturating_add(RTO_MIN_MS)),
            formula: format!(
                "user time-out of {} from the first retransmission, {RTO_MIN_MS} ms or more after the \
                 loss",
                shown(user_timeout_ms)
            ),
        },
    }
}

/// The network traffic of probing live, silent peers: both directions, in bytes of IP packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Probes and their answers.
    pub packets_per_s: f64,
    /// IPv4 and TCP headers with timestamps; 20 bytes more each with IPv6.
    pub bytes_per_s: f64,
}

/// The cost for `connections` that stay silent.
pub fn cost(policy: &Policy, connections: u64) -> Cost {
    let packets_per_s = policy.probes.as_ref().map_or(0.0, |probes| {
        2.0 * connections as f64 / probes.idle_s.max(1) as f64
    });
    Cost {
        packets_per_s,
        bytes_per_s: packets_per_s * PROBE_BYTES as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalive::Preset;

    const APPLICATION: Application = Application {
        header_ms: 10_000,
        send_period_ms: 10_000,
    };

    #[test]
    fn the_kernels_documented_figure_comes_out() {
        // ip-sysctl.rst: "the default value of 15 yields a hypothetical timeout of 924.6 seconds".
        assert_eq!(Kernel::default().retransmitting_ms(), 924_600);
        let few = |retries2| Kernel {
            retries2,
            ..Kernel::default()
        };
        assert_eq!(few(8).retransmitting_ms(), 102_200);
        assert_eq!(few(0).retransmitting_ms(), 200);
        let short = Kernel {
            retries2: 3,
            rto_max_ms: 1000,
        };
        // 200 + 400 + 800, then 1000.
        assert_eq!(short.retransmitting_ms(), 2_400);
    }

    #[test]
    fn the_default_is_found_dead_by_the_formula() {
        let probes = Preset::Default.policy().probes.unwrap();
        assert_eq!(probes.dead_after_ms(0), 780_000);
        assert_eq!(probes.span_ms(), 780_000);
    }

    #[test]
    fn a_user_timeout_replaces_the_count() {
        let probes = Probes {
            idle_s: 10,
            interval_s: 5,
            count: 3,
        };
        for (user_timeout_ms, dead_ms) in [
            (0, 25_000),
            (1, 15_000),
            (10_000, 15_000),
            (15_001, 20_000),
            (25_000, 25_000),
            (60_000, 60_000),
            (61_000, 65_000),
        ] {
            assert_eq!(
                probes.dead_after_ms(user_timeout_ms),
                dead_ms,
                "{user_timeout_ms}"
            );
        }
    }

    #[test]
    fn the_first_clock_is_the_one_that_notices() {
        for preset in Preset::ALL {
            let policy = preset.policy();
            for notice in notices(&policy, &APPLICATION, &Kernel::default()) {
                let times: Vec<_> = notice
                    .clocks
                    .iter()
                    .map(|c| c.after_ms.unwrap_or(u64::MAX))
                    .collect();
                assert!(times.is_sorted(), "{notice:?}");
                assert!(!notice.clocks[0].formula.is_empty());
            }
        }
        let [idle, first, transfer, pending] =
            notices(&Policy::default(), &APPLICATION, &Kernel::default());
        assert_eq!(idle.clocks[0].after_ms, Some(75_000));
        assert_eq!(first.clocks[0].after_ms, Some(10_000));
        assert_eq!(transfer.clocks[0].after_ms, Some(20_000));
        assert_eq!(transfer.clocks[1].after_ms, Some(924_600));
        assert_eq!(pending.clocks[0].after_ms, Some(780_000));
        let off = notices(&Preset::Off.policy(), &APPLICATION, &Kernel::default());
        assert_eq!(off[3].clocks[0].after_ms, None);
    }

    #[test]
    fn probes_cost_two_packets_each() {
        let cost = cost(&Policy::default(), 30_000);
        assert_eq!((cost.packets_per_s, cost.bytes_per_s), (100.0, 5200.0));
        assert_eq!(
            super::cost(&Preset::Off.policy(), 30_000).packets_per_s,
            0.0
        );
    }
}
