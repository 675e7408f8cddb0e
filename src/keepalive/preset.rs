//! The presets: a ready-made policy for each of some situations, with the reason for each value.

use std::fmt;
use std::str::FromStr;

use super::{Policy, Probes};
use crate::limits;

/// A named policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The open internet, every kind of client.
    #[default]
    Default,
    /// Phones: networks change, NATs forget, radios sleep.
    Mobile,
    /// Few, near, known clients: proxies and caches on the same network.
    Lan,
    /// Viewers of live streams and readers of comment rooms.
    Live,
    /// No probes.
    Off,
}

/// A value of a preset, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The key of the configuration.
    pub key: &'static str,
    /// One sentence.
    pub why: &'static str,
}

impl Preset {
    /// Every preset, in the order in which the program lists them.
    pub const ALL: [Self; 5] = [
        Self::Default,
        Self::Mobile,
        Self::Lan,
        Self::Live,
        Self::Off,
    ];

    /// Its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mobile => "mobile",
            Self::Lan => "lan",
            Self::Live => "live",
            Self::Off => "off",
        }
    }

    /// All names, for messages: `default, mobile, lan, live or off`.
    pub fn names() -> &'static str {
        "default, mobile, lan, live or off"
    }

    /// The clients and networks that it is for.
    pub fn about(self) -> &'static str {
        match self {
            Self::Default => "the open internet, every kind of client",
            Self::Mobile => "phones: networks change, NATs forget, radios sleep",
            Self::Lan => "near, known clients: proxies and caches of the same network",
            Self::Live => "viewers of live streams and readers of comment rooms",
            Self::Off => "no probes: a load balancer in front watches the clients",
        }
    }

    /// Its values.
    pub fn policy(self) -> Policy {
        let (user_timeout_ms, http_idle_ms) = match self {
            Self::Default | Self::Off => (0, limits::IDLE_TIMEOUT_MS),
            Self::Mobile => (300_000, 30_000),
            Self::Lan => (90_000, 300_000),
            Self::Live => (60_000, 30_000),
        };
        Policy {
            probes: (self != Self::Off).then_some(self.probes()),
            user_timeout_ms,
            http_idle_ms,
        }
    }

    /// Its probes; of [`Preset::Off`], those that would be sent if any were.
    pub fn probes(self) -> Probes {
        let (idle_s, interval_s, count) = match self {
            Self::Default | Self::Off => (600, 60, 3),
            Self::Mobile => (180, 30, 4),
            Self::Lan => (60, 10, 3),
            Self::Live => (30, 10, 3),
        };
        Probes {
            idle_s,
            interval_s,
            count,
        }
    }

    /// Why these values.
    pub fn reasons(self) -> [Reason; 5] {
        let [idle, interval, probes, user_timeout, http_idle] = match self {
            Self::Default => [
                "the kernel's 7200 s would hold a dead connection for two hours; ten minutes cost a probe a connection and hardly any traffic",
                "a minute outlasts a rebooting router and a route that changes",
                "one or two lost probes prove nothing",
                "left to the kernel (tcp_retries2, 15 minutes), so that no client on a bad line is lost; the least send rate ends hopeless connections sooner",
                "longer than a person reads a page, and longer than most proxies' 60 s, so that the proxies close first",
            ],
            Self::Mobile => [
                "before the NATs of mobile networks forget (4 minutes and more), and seldom enough for a radio to sleep",
                "a lift or a tunnel takes half a minute",
                "with the interval, tolerates two minutes without a network",
                "as long as idle and probes together, so that it does not override them; --send-period bounds how long a download may stall",
                "a phone that left comes back from another address; its old connection only holds a descriptor",
            ],
            Self::Lan => [
                "no NAT forgets here, and a probe costs nothing",
                "round trips take a millisecond; ten seconds tolerate a switch that restarts its port",
                "with the interval, half a minute",
                "as long as idle and probes together, so that a dead peer is noticed as soon in a transfer as when idle",
                "few clients, which return: keeping a connection saves a handshake",
            ],
            Self::Live => [
                "rooms and long polls are silent for long while they occupy a connection and bandwidth",
                "the server must not send to a viewer who has left for minutes",
                "one or two lost probes prove nothing",
                "as long as idle and probes together; a viewer a minute behind has lost the stream anyway",
                "players ask every few seconds; one that is silent for half a minute has stopped",
            ],
            Self::Off => [
                "not used",
                "not used",
                "not used",
                "left to the kernel (tcp_retries2, 15 minutes)",
                "as in default: HTTP's own time-outs do not depend on probes",
            ],
        };
        [
            ("keepalive.idle_s", idle),
            ("keepalive.interval_s", interval),
            ("keepalive.probes", probes),
            ("keepalive.user_timeout_ms", user_timeout),
            ("timeouts.idle_ms", http_idle),
        ]
        .map(|(key, why)| Reason { key, why })
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No preset has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPreset(pub String);

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "no keepalive preset is called {name:?}; choose {}",
            Preset::names()
        )
    }
}

impl std::error::Error for UnknownPreset {}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Preset::Default.policy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalive::check::{Weight, findings};
    use crate::keepalive::shown;

    const GUIDE: &str = include_str!("../../docs/keepalive.md");

    #[test]
    fn names_are_read_back() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
            assert!(Preset::names().contains(preset.name()));
        }
        let error = "lann".parse::<Preset>().unwrap_err().to_string();
        assert!(
            error.ends_with("choose default, mobile, lan, live or off"),
            "{error}"
        );
    }

    #[test]
    fn presets_are_taken_by_the_kernel_and_contradict_nothing() {
        for preset in Preset::ALL {
            let policy = preset.policy();
            assert_eq!(policy.in_range(), Ok(()));
            let warnings: Vec<_> = findings(&policy)
                .into_iter()
                .filter(|finding| finding.weight == Weight::Warning)
                .collect();
            assert!(warnings.is_empty(), "{preset}: {warnings:?}");
        }
    }

    #[test]
    fn the_guides_table_is_these_presets() {
        for preset in Preset::ALL {
            let policy = preset.policy();
            let seconds = |s: u64| shown(s * 1000);
            let probes = policy.probes.map_or("- | - | -".to_owned(), |p| {
                format!(
                    "{} | {} | {}",
                    seconds(p.idle_s),
                    seconds(p.interval_s),
                    p.count
                )
            });
            let user_timeout = match policy.user_timeout_ms {
                0 => "kernel".to_owned(),
                ms => shown(ms),
            };
            let row = format!(
                "| `{preset}` | {} | {probes} | {user_timeout} | {} |",
                preset.about(),
                shown(policy.http_idle_ms)
            );
            assert!(
                GUIDE.contains(&row),
                "no such row in docs/keepalive.md: {row}"
            );
        }
    }
}
