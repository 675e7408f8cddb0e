//! A keepalive policy, and the ranges that the kernel accepts.

use crate::limits;

/// How one listener treats silent peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Probes of a silent connection; `None`: no probes (SO_KEEPALIVE off).
    pub probes: Option<Probes>,
    /// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); 0: as long as
    /// `net.ipv4.tcp_retries2` allows.
    pub user_timeout_ms: u64,
    /// How long a connection may wait for its next request.
    pub http_idle_ms: u64,
}

/// The kernel's keepalive probes (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Silence before the first probe (TCP_KEEPIDLE).
    pub idle_s: u64,
    /// From one unanswered probe to the next (TCP_KEEPINTVL).
    pub interval_s: u64,
    /// Unanswered probes after which the peer is dead (TCP_KEEPCNT).
    pub count: u64,
}

impl Probes {
    /// From the last sign of life to the end of the last probe's wait.
    pub fn span_ms(&self) -> u64 {
        (self.idle_s + self.interval_s * self.count) * 1000
    }
}

/// A value that the kernel does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The name of the value.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// Most allowed; least is 1.
    pub max: u64,
}

impl std::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, max } = self;
        write!(
            f,
            "a keepalive {name} of {value} is not accepted by the kernel; choose from 1 to {max}"
        )
    }
}

impl std::error::Error for OutOfRange {}

impl Policy {
    /// Checks the kernel's ranges: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL and
    /// MAX_TCP_KEEPCNT of `include/net/tcp.h`.
    ///
    /// # Errors
    /// The first value out of range.
    pub fn in_range(&self) -> Result<(), OutOfRange> {
        let Some(probes) = &self.probes else {
            return Ok(());
        };
        for (name, value, max) in [
            (
                "idle time in seconds",
                probes.idle_s,
                limits::KEEPALIVE_SECONDS_MAX,
            ),
            (
                "interval in seconds",
                probes.interval_s,
                limits::KEEPALIVE_SECONDS_MAX,
            ),
            (
                "number of probes",
                probes.count,
                limits::KEEPALIVE_PROBES_MAX,
            ),
        ] {
            if !(1..=max).contains(&value) {
                return Err(OutOfRange { name, value, max });
            }
        }
        Ok(())
    }
}

/// A time as text: `600 s`, `1.5 s`, `250 ms`.
pub fn shown(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        _ => format!("{:.1} s", ms as f64 / 1000.0),
    }
}
