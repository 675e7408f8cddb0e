//! Facts about settings that a profile does not state: which direction is better, what they affect,
//! and which should not be changed.

use std::fmt;

/// In which direction a setting is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A larger number is better; of several numbers, each is compared separately.
    Higher,
    /// A smaller number is better.
    Lower,
    /// A wider range is better: a lower first number, a higher second one.
    Wider,
    /// Only the exact value is right.
    Exact,
}

impl Better {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Higher, Self::Lower, Self::Wider, Self::Exact]
            .into_iter()
            .find(|better| better.to_string() == text)
    }
}

impl fmt::Display for Better {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Wider => "wider",
            Self::Exact => "exact",
        })
    }
}

/// What a setting applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The network namespace of the process that writes it.
    Namespace,
    /// The whole host.
    Global,
}

impl Scope {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Namespace, Self::Global]
            .into_iter()
            .find(|scope| scope.to_string() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Namespace => "namespace",
            Self::Global => "global",
        })
    }
}

/// The refused settings: name, the values that are refused (none: all of them), the reason.
const REFUSED: &[(&str, &[&str], &str)] = &[
    (
        "net.ipv4.tcp_tw_recycle",
        &[],
        "it broke clients behind a NAT and was removed in Linux 4.12; nothing replaces it",
    ),
    (
        "net.ipv4.tcp_timestamps",
        &["0"],
        "without timestamps old packets can get into new connections of a fast link (RFC 7323, PAWS) \
         and round-trip times are measured worse; it saves 12 bytes a packet",
    ),
    (
        "net.ipv4.tcp_sack",
        &["0"],
        "without selective acknowledgements each lossy path is slow",
    ),
    (
        "net.ipv4.tcp_window_scaling",
        &["0"],
        "without window scaling no connection has more than 64 KiB in flight",
    ),
    (
        "net.ipv4.tcp_moderate_rcvbuf",
        &["0"],
        "it turns the kernel's own sizing of receive buffers off",
    ),
    (
        "net.ipv4.tcp_syncookies",
        &["0"],
        "without syncookies one SYN flood blocks all new clients",
    ),
    (
        "net.ipv4.tcp_syncookies",
        &["2"],
        "it is for tests: cookies for all connections take their TCP options away",
    ),
    (
        "net.ipv4.tcp_abort_on_overflow",
        &["1"],
        "a burst then resets clients that would have been served a second later",
    ),
    (
        "net.ipv4.tcp_low_latency",
        &[],
        "it has had no effect since Linux 4.14",
    ),
    (
        "net.ipv4.tcp_fack",
        &[],
        "it has had no effect since Linux 4.15",
    ),
    (
        "net.ipv4.tcp_adv_win_scale",
        &[],
        "it has been obsolete since Linux 6.6; the kernel measures the overhead itself",
    ),
    (
        "net.ipv4.udp_wmem_min",
        &[],
        "it has no effect: UDP does not account memory that it sends from",
    ),
    ("net.core.warnings", &[], "it has no effect any more"),
    (
        "vm.drop_caches",
        &[],
        "it is an action, not a setting: it throws the page cache away, which is a file server's cache",
    ),
    (
        "kernel.randomize_va_space",
        &["0", "1"],
        "it makes attacks easier and nothing faster",
    ),
];

/// The reason why this value of this setting is refused, if it is.
pub fn refused(key: &str, value: &str) -> Option<&'static str> {
    REFUSED
        .iter()
        .find(|(name, values, _)| *name == key && (values.is_empty() || values.contains(&value)))
        .map(|(.., reason)| *reason)
}

/// A value that is not refused: the kernel's default.
pub(super) fn safe_value(key: &str) -> &'static str {
    match key {
        "net.ipv4.tcp_abort_on_overflow" => "0",
        "kernel.randomize_va_space" => "2",
        _ => "1",
    }
}

/// Settings that have an unsafe value, to check whether the host uses it.
pub(super) fn with_unsafe_values() -> impl Iterator<Item = &'static str> {
    REFUSED
        .iter()
        .filter(|(_, values, _)| !values.is_empty())
        .map(|(name, ..)| *name)
}
