//! The configuration's types with their defaults: plain data, one struct for each section.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::responses::Responses;
use crate::keepalive::{Policy, Preset, Probes};
use crate::limits;

/// Default permission bits of a Unix socket: read and write for owner and group.
const UNIX_MODE: u32 = 0o660;
/// Value of [`Socket::congestion`] that leaves the choice to the kernel except on loopback.
pub const CONGESTION_AUTO: &str = "auto";
/// [`Server::driver`]: all that it may be.
pub(super) const DRIVERS: [&str; 2] = ["io_uring", "epoll"];
/// [`Server::etag`]: the time of modification and the size.
pub const ETAG_MTIME: &str = "mtime";

/// SCHED_IDLE: see [`Tasks::scheduling`].
pub const SCHEDULING_IDLE: &str = "idle";
/// SCHED_BATCH: see [`Tasks::scheduling`].
pub const SCHEDULING_BATCH: &str = "batch";

/// See [`AccessLog::query`].
pub const QUERY_KEEP: &str = "keep";
/// See [`AccessLog::query`].
pub const QUERY_DROP: &str = "drop";

/// The configuration: everything that an operator may choose. Plain data: nothing is opened or
/// resolved.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// What is served, and at which addresses.
    pub server: Server,
    /// Limits on what a client may request.
    pub limits: Limits,
    /// How a vanished client is detected.
    pub keepalive: Keepalive,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// How responses are changed before they are sent.
    pub responses: Responses,
    /// What each shard caches.
    pub cache: Cache,
    /// What is compressed and how.
    pub compression: Compression,
    /// Media types by extension, over the built-in ones.
    pub types: BTreeMap<String, String>,
    /// The threads that run CPU work for the shards.
    pub tasks: Tasks,
    /// Options of the listening sockets.
    pub socket: Socket,
    /// What the server reports about itself.
    pub observe: Observe,
    /// A line for each request.
    pub access_log: AccessLog,
}

/// What is served, and at which addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The folder that is served.
    pub root: PathBuf,
    /// Listening addresses as written, at least one; `net` parses them.
    pub listen: Vec<String>,
    /// CPUs to run on as a taskset list, one shard each; `None`: every CPU the process may use.
    pub cores: Option<String>,
    /// Address of the admin pages; `None`: no admin pages.
    pub admin: Option<String>,
    /// Show a listing for a folder without an index file.
    pub browse: bool,
    /// Serve names that begin with a dot.
    pub hidden: bool,
    /// Follow symbolic links that lead out of the root.
    pub follow_links: bool,
    /// File that is served for its folder; `None`: no such file.
    pub index: Option<String>,
    /// Most entries of one listing.
    pub listing_entries: usize,
    /// Send digests to clients that ask for them (RFC 9530).
    pub digests: bool,
    /// How the shards talk to the kernel, `io_uring` or `epoll`; `None`: the former where it works.
    pub driver: Option<String>,
    /// What entity tags are computed from: [`ETAG_MTIME`]; `None`: the inode too.
    pub etag: Option<String>,
    /// Give a connection to the shard on the CPU that received it (SO_ATTACH_REUSEPORT_CBPF).
    pub steer_by_cpu: bool,
}

/// Limits on what a client may request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the whole server.
    pub connections: usize,
    /// Connections from one address; 0: no bound.
    pub connections_per_address: usize,
    /// Requests on one connection before it is closed; 0: no bound.
    pub requests_per_connection: u64,
    /// Bytes of a request line and its headers together.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Bytes of a request body; 0: bodies are refused.
    pub body_bytes: u64,
}

/// How a vanished client is detected: TCP keepalive and TCP_USER_TIMEOUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The preset that the values started from; [`Preset::Off`] also means: no probes.
    pub preset: Preset,
    /// Silence before the first probe, in seconds.
    pub idle_s: u64,
    /// From one unanswered probe to the next, in seconds.
    pub interval_s: u64,
    /// Unanswered probes after which a connection is dead.
    pub probes: u64,
    /// How long sent bytes may stay unacknowledged, in milliseconds; 0: the kernel decides.
    pub user_timeout_ms: u64,
    /// Close idle connections early, the longest idle first, while descriptors or memory are short.
    pub adaptive: bool,
}

/// How long a client may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole request head, in milliseconds.
    pub header_ms: u64,
    /// Between two pieces of a request body, in milliseconds.
    pub body_ms: u64,
    /// Least rate at which a client must send a body, over each `body_ms` of waiting for it, in
    /// bytes per second; 0: no limit.
    pub body_rate_bytes_per_s: u64,
    /// For the rest of an answer after the client has ended its sending direction, in milliseconds;
    /// 0: the request is cancelled at once.
    pub half_close_ms: u64,
    /// For an idle keep-alive connection, in milliseconds.
    pub idle_ms: u64,
    /// From SIGTERM to the end of the last connection, in milliseconds; 0: at once.
    pub drain_ms: u64,
    /// Length of one measurement of the send rate, in milliseconds.
    pub send_period_ms: u64,
    /// Least rate at which a client must receive an answer, in bytes per second; 0: no limit.
    pub send_rate_bytes_per_s: u64,
    /// For a compression or a digest, before the answer is sent without it, in milliseconds.
    pub work_ms: u64,
}

/// What each shard caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Open files of one shard.
    pub files: usize,
    /// Bytes of file bodies that one shard keeps in memory; 0: none.
    pub bodies_bytes: usize,
    /// Largest file kept as a body in memory, in bytes.
    pub body_bytes: usize,
    /// Age in milliseconds at which a cached file is checked again; 0: at every request.
    pub revalidate_ms: u64,
}

/// What is compressed and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Compress files of compressible types for clients that accept it.
    pub enabled: bool,
    /// Send a precompressed sibling (`NAME.br`) instead of the file.
    pub precompressed: bool,
    /// Level of brotli; 0: not used.
    pub brotli_level: usize,
    /// Level of zstd; 0: not used.
    pub zstd_level: usize,
    /// Level of gzip; 0: not used.
    pub gzip_level: usize,
    /// Smallest file that is compressed, in bytes.
    pub bytes_min: u64,
    /// Largest file that is compressed, in bytes.
    pub bytes_max: u64,
}

/// The threads that run CPU work for the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// How many; 0: one for each of their CPUs.
    pub workers: usize,
    /// Their CPUs as a taskset list; `None`: those of the shards.
    pub cores: Option<String>,
    /// Their policy by the kernel's name, [`SCHEDULING_IDLE`] or [`SCHEDULING_BATCH`]; `None`: normal.
    pub scheduling: Option<String>,
}

/// Options of the listening sockets; accepted ones inherit them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Congestion control by the kernel's name (tcp(7), TCP_CONGESTION); `None`: the kernel's
    /// choice; [`CONGESTION_AUTO`]: the kernel's choice, but none that paces on loopback.
    pub congestion: Option<String>,
    /// Accept a TCP connection only when its first data has arrived (TCP_DEFER_ACCEPT), which saves
    /// a wake-up for each.
    pub defer_accept: bool,
    /// SO_SNDBUF in bytes; 0: the kernel tunes it.
    pub send_buffer_bytes: usize,
    /// Permission bits of Unix sockets.
    pub unix_mode: u32,
}

/// What the server reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Bytes of the flight recorder's buffer of each thread; 0: off.
    pub trace_buffer_bytes: usize,
    /// Folder for a trace of each stall; `None`: none is written.
    pub trace_dir: Option<String>,
    /// Turns of a shard's loop that take longer are stalls, in milliseconds; 0: no detection.
    pub stall_ms: u64,
    /// Milliseconds between two lines about the pool of tasks; 0: no lines.
    pub schedtrace: u64,
    /// With lines for each worker, thread and running task.
    pub scheddetail: bool,
}

/// A line for each request; `observe::access_log` parses the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file, or `-` for standard output; `None`: no log.
    pub file: Option<String>,
    /// A format's name or a template; `None`: the combined format.
    pub format: Option<String>,
    /// [`QUERY_KEEP`] or [`QUERY_DROP`]; `None`: values that look secret are replaced.
    pub query: Option<String>,
    /// Largest size of the file, from which it is rotated, in bytes; 0: no limit.
    pub rotate_bytes: u64,
    /// Age at which the file is rotated, in milliseconds; 0: no limit.
    pub rotate_age_ms: u64,
    /// Rotated files to keep.
    pub keep: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            listen: vec![":8080".to_owned()],
            cores: None,
            admin: Some("127.0.0.1:9180".to_owned()),
            browse: false,
            hidden: false,
            follow_links: false,
            index: Some("index.html".to_owned()),
            listing_entries: limits::LISTING_ENTRIES_MAX,
            digests: true,
            driver: None,
            etag: None,
            steer_by_cpu: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS_MAX,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS_MAX,
            requests_per_connection: limits::REQUESTS_PER_CONNECTION_MAX,
            head_bytes: limits::HEAD_BYTES_MAX,
            headers: limits::HEADERS_MAX,
            uri_bytes: limits::URI_BYTES_MAX,
            body_bytes: limits::BODY_BYTES_MAX,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::of(Preset::Default)
    }
}

impl Keepalive {
    fn of(preset: Preset) -> Self {
        let probes = preset.probes();
        Self {
            preset,
            idle_s: probes.idle_s,
            interval_s: probes.interval_s,
            probes: probes.count,
            user_timeout_ms: preset.policy().user_timeout_ms,
            adaptive: true,
        }
    }
}

impl Config {
    /// Sets every value that `preset` defines.
    pub fn set_preset(&mut self, preset: Preset) {
        self.keepalive = Keepalive {
            adaptive: self.keepalive.adaptive,
            ..Keepalive::of(preset)
        };
        self.timeouts.idle_ms = preset.policy().http_idle_ms;
    }

    /// The keepalive policy of listeners without their own.
    pub fn keepalive_policy(&self) -> Policy {
        let keepalive = &self.keepalive;
        Policy {
            probes: (keepalive.preset != Preset::Off).then_some(Probes {
                idle_s: keepalive.idle_s,
                interval_s: keepalive.interval_s,
                count: keepalive.probes,
            }),
            user_timeout_ms: keepalive.user_timeout_ms,
            http_idle_ms: self.timeouts.idle_ms,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_ms: limits::HEADER_TIMEOUT_MS,
            body_ms: limits::BODY_TIMEOUT_MS,
            body_rate_bytes_per_s: limits::BODY_RATE_BYTES_PER_S_MIN,
            half_close_ms: limits::HALF_CLOSE_TIMEOUT_MS,
            idle_ms: limits::IDLE_TIMEOUT_MS,
            drain_ms: limits::DRAIN_TIMEOUT_MS,
            send_period_ms: limits::SEND_PERIOD_MS,
            send_rate_bytes_per_s: limits::SEND_RATE_BYTES_PER_S_MIN,
            work_ms: limits::WORK_WAIT_MS,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            files: limits::CACHE_FILES_MAX,
            bodies_bytes: limits::CACHE_BODIES_BYTES_MAX,
            body_bytes: limits::CACHE_BODY_BYTES_MAX,
            revalidate_ms: limits::CACHE_REVALIDATE_MS,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: true,
            precompressed: true,
            brotli_level: limits::BROTLI_LEVEL,
            zstd_level: limits::ZSTD_LEVEL,
            gzip_level: limits::GZIP_LEVEL,
            bytes_min: limits::COMPRESS_BYTES_MIN,
            bytes_max: limits::COMPRESS_BYTES_MAX,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            workers: 0,
            cores: None,
            scheduling: Some(SCHEDULING_IDLE.to_owned()),
        }
    }
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            congestion: Some(CONGESTION_AUTO.to_owned()),
            defer_accept: true,
            send_buffer_bytes: 0,
            unix_mode: UNIX_MODE,
        }
    }
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            trace_buffer_bytes: limits::RECORDER_BYTES,
            trace_dir: None,
            stall_ms: limits::STALL_LIMIT_MS,
            schedtrace: 0,
            scheddetail: false,
        }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            file: None,
            format: None,
            query: None,
            rotate_bytes: 0,
            rotate_age_ms: 0,
            keep: limits::ACCESS_LOG_KEEP,
        }
    }
}
