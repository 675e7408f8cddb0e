//! How listening sockets are opened.

use crate::keepalive::Policy;
use crate::limits;

/// How listening sockets are opened. The default sets no option beyond the backlog.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that may wait to be accepted, per socket.
    pub backlog: i32,
    /// Share a TCP port with other processes of the same user instead of
    /// refusing one that is in use.
    pub share_port: bool,
    /// Let accept(2) return a connection only once data has arrived, or after this many seconds
    /// (`TCP_DEFER_ACCEPT`).
    pub defer_accept_s: Option<u32>,
    /// The CPU of each shard in order: a connection goes to the shard on the CPU
    /// that handles its first packet. `None` leaves it to the kernel's hash.
    pub steer_by_cpu: Option<Vec<usize>>,
    /// Congestion control of accepted connections, by name.
    pub congestion: Option<String>,
    /// On loopback addresses, replace a congestion control that paces (BBR) with one that does not:
    /// between two programs of one host there is no bottleneck to pace for, and the timers cost
    /// more than half of a large transfer.
    pub unpaced_loopback: bool,
    /// Send buffer of accepted connections; a fixed size turns off the kernel's autotuning.
    pub send_buffer_bytes: Option<usize>,
    /// Unsent bytes above which an accepted connection isn't writable (`TCP_NOTSENT_LOWAT`).
    pub unsent_low_water_bytes: Option<u32>,
    /// Permission bits of a Unix socket's file; `None` leaves them to the umask.
    pub unix_mode: Option<u32>,
    /// The keepalive policy of accepted connections; `None` leaves probes to the kernel, and the
    /// HTTP idle time-out to the server.
    pub keepalive: Option<Policy>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: limits::BACKLOG,
            share_port: false,
            defer_accept_s: None,
            steer_by_cpu: None,
            congestion: None,
            unpaced_loopback: false,
            send_buffer_bytes: None,
            unsent_low_water_bytes: None,
            unix_mode: None,
            keepalive: None,
        }
    }
}
