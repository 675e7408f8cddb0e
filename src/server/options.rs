//! The options of a server, with the program's limits as defaults.

use crate::http::ParseLimits;
use crate::limits;

/// Bounds and times of a server. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bounds on a request's head (431, 414).
    pub head: ParseLimits,
    /// Bytes of a request's body (413).
    pub body_bytes_max: u64,
    /// From a request's first byte to the end of its head (408).
    pub header_timeout_ms: u64,
    /// Between two pieces of a request's body (408).
    pub body_timeout_ms: u64,
    /// A client must send a body at this rate on average, over each `body_timeout_ms` that the
    /// body is waited for (408). 0: any rate will do.
    pub body_rate_bytes_per_s_min: u64,
    /// How long a client that has ended its sending direction (FIN) is waited with for its answer,
    /// or for the next piece of one. 0: its request is cancelled at once. A reset always cancels.
    pub half_close_timeout_ms: u64,
    /// An idle keep-alive connection is closed after this.
    pub idle_timeout_ms: u64,
    /// A client must take `send_rate_bytes_per_s_min` on average over each period of this length.
    pub send_period_ms: u64,
    /// 0: any rate will do, as long as something is taken in each period.
    pub send_rate_bytes_per_s_min: u64,
    /// From the request to stop to the end of the last connection.
    pub drain_timeout_ms: u64,
    /// Connections of the whole server.
    pub connections_max: usize,
    /// Connections from one address; 0: no separate bound.
    pub connections_per_address_max: usize,
    /// Requests on one connection; 0: no bound.
    pub requests_per_connection_max: u64,
    /// Close idle connections early, the longest idle first, while descriptors or memory are short.
    pub adaptive_idle: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            head: ParseLimits::default(),
            body_bytes_max: limits::BODY_BYTES_MAX,
            header_timeout_ms: limits::HEADER_TIMEOUT_MS,
            body_timeout_ms: limits::BODY_TIMEOUT_MS,
            body_rate_bytes_per_s_min: limits::BODY_RATE_BYTES_PER_S_MIN,
            half_close_timeout_ms: limits::HALF_CLOSE_TIMEOUT_MS,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
            send_period_ms: limits::SEND_PERIOD_MS,
            send_rate_bytes_per_s_min: limits::SEND_RATE_BYTES_PER_S_MIN,
            drain_timeout_ms: limits::DRAIN_TIMEOUT_MS,
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            requests_per_connection_max: limits::REQUESTS_PER_CONNECTION_MAX,
            adaptive_idle: true,
        }
    }
}
