//! The table of all fields: each is named here once, with its TOML key, its
//! flag, its range and its place in [`Config`].

use std::path::PathBuf;

use super::Config;
use super::quantity::Unit;
use crate::keepalive::Preset;
use crate::limits;

#[derive(Debug)]
/// One field of the configuration under all its names.
pub struct Field {
    /// TOML section.
    pub section: &'static str,
    /// TOML key; the unit of a plain integer is its ending.
    pub key: &'static str,
    /// Long flag without its dashes; `HEADWATER_` and this in capitals is the variable.
    pub flag: &'static str,
    /// Group in the help.
    pub heading: &'static str,
    /// What it does, for the help.
    pub about: &'static str,
    /// What it may hold.
    pub kind: Kind,
    pub(super) slot: for<'a> fn(&'a mut Config) -> Slot<'a>,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Switch,
    /// A number of `unit` from `min` to `max`.
    Number {
        /// What is counted.
        unit: Unit,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// A text under this placeholder, or the word that stands for none.
    Optional(&'static str, &'static str),
    /// Addresses.
    List,
    /// The positional folder.
    Path,
    /// Permission bits in octal.
    Mode,
    /// The name of a keepalive preset, which sets the fields of [`super::PRESET_FIELDS`].
    Preset,
}

/// The place of a field in a [`Config`].
pub(super) enum Slot<'a> {
    Switch(&'a mut bool),
    Size(&'a mut usize),
    Long(&'a mut u64),
    Optional(&'a mut Option<String>),
    List(&'a mut Vec<String>),
    Path(&'a mut PathBuf),
    Mode(&'a mut u32),
    Preset(&'a mut Preset),
}

impl Field {
    /// The environment variable: `--idle-timeout` is `HEADWATER_IDLE_TIMEOUT`.
    pub fn env(&self) -> String {
        format!(
            "HEADWATER_{}",
            self.flag.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// Section and key: `timeouts.idle_ms`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The flag as typed: `--idle-timeout`, or `DIR` for the positional one.
    pub fn typed(&self) -> String {
        match self.kind {
            Kind::Path => "DIR".to_owned(),
            _ => format!("--{}", self.flag),
        }
    }
}

const LISTENING: &str = "Listening";
const FILES: &str = "Files";
const LIMITS: &str = "Limits";
const KEEPALIVE: &str = "Keepalive";
const TIMEOUTS: &str = "Timeouts";
const CACHE: &str = "Cache";
const COMPRESSION: &str = "Compression";
const OBSERVING: &str = "Observing";
const TASKS: &str = "Work off the shards";

const fn count(min: u64, max: usize) -> Kind {
    number(Unit::Count, min, max as u64)
}

const fn number(unit: Unit, min: u64, max: u64) -> Kind {
    Kind::Number { unit, min, max }
}

const fn time(min: u64) -> Kind {
    number(Unit::Millis, min, limits::TIMEOUT_MS_CEILING)
}

/// Every field, section by section.
pub static FIELDS: &[Field] = &[
    Field {
        section: "server",
        key: "root",
        flag: "root",
        heading: FILES,
        about: "Folder to serve",
        kind: Kind::Path,
        slot: |c| Slot::Path(&mut c.server.root),
    },
    Field {
        section: "server",
        key: "listen",
        flag: "listen",
        heading: LISTENING,
        about: "Address to listen on: :8080, 127.0.0.1:80, [::1]:80 or unix:/run/x.sock; may be repeated",
        kind: Kind::List,
        slot: |c| Slot::List(&mut c.server.listen),
    },
    Field {
        section: "server",
        key: "cores",
        flag: "cores",
        heading: LISTENING,
        about: "CPUs to run on as in taskset, one shard each: 0 is CPU 0 alone, 0-3 are four",
        kind: Kind::Optional("LIST", "all"),
        slot: |c| Slot::Optional(&mut c.server.cores),
    },
    Field {
        section: "server",
        key: "admin",
        flag: "admin",
        heading: LISTENING,
        about: "Address of the admin pages, or off",
        kind: Kind::Optional("ADDR", "off"),
        slot: |c| Slot::Optional(&mut c.server.admin),
    },
    Field {
        section: "server",
        key: "browse",
        flag: "browse",
        heading: FILES,
        about: "Show a listing for a folder without an index file",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.server.browse),
    },
    Field {
        section: "server",
        key: "hidden",
        flag: "hidden",
        heading: FILES,
        about: "Serve names that begin with a dot",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.server.hidden),
    },
    Field {
        section: "server",
        key: "index",
        flag: "index",
        heading: FILES,
        about: "File that answers for its folder, or off",
        kind: Kind::Optional("NAME", "off"),
        slot: |c| Slot::Optional(&mut c.server.index),
    },
    Field {
        section: "server",
        key: "listing_entries",
        flag: "listing-entries",
        heading: FILES,
        about: "Entries of one listing; it says so if there are more",
        kind: count(1, limits::LISTING_ENTRIES_CEILING),
        slot: |c| Slot::Size(&mut c.server.listing_entries),
    },
    Field {
        section: "server",
        key: "digests",
        flag: "digests",
        heading: FILES,
        about: "Tell the digest of what is sent (Repr-Digest) to clients that want it",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.server.digests),
    },
    Field {
        section: "server",
        key: "steer_by_cpu",
        flag: "steer-by-cpu",
        heading: LISTENING,
        about: "Give a connection to the shard on the CPU that received it",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.server.steer_by_cpu),
    },
    Field {
        section: "limits",
        key: "connections",
        flag: "max-connections",
        heading: LIMITS,
        about: "Connections of the whole server",
        kind: count(1, limits::CONNECTIONS_MAX),
        slot: |c| Slot::Size(&mut c.limits.connections),
    },
    Field {
        section: "limits",
        key: "connections_per_address",
        flag: "max-connections-per-address",
        heading: LIMITS,
        about: "Connections from one address; 0: no bound",
        kind: count(0, limits::CONNECTIONS_MAX),
        slot: |c| Slot::Size(&mut c.limits.connections_per_address),
    },
    Field {
        section: "limits",
        key: "requests_per_connection",
        flag: "max-requests-per-connection",
        heading: LIMITS,
        about: "Requests on one connection before it is closed; 0: no bound",
        kind: number(Unit::Count, 0, i64::MAX as u64),
        slot: |c| Slot::Long(&mut c.limits.requests_per_connection),
    },
    Field {
        section: "limits",
        key: "head_bytes",
        flag: "max-head-bytes",
        heading: LIMITS,
        about: "Request line and headers together",
        kind: number(Unit::Bytes, 1024, limits::HEAD_BYTES_CEILING as u64),
        slot: |c| Slot::Size(&mut c.limits.head_bytes),
    },
    Field {
        section: "limits",
        key: "headers",
        flag: "max-headers",
        heading: LIMITS,
        about: "Header lines of a request",
        kind: count(1, limits::HEADERS_CEILING),
        slot: |c| Slot::Size(&mut c.limits.headers),
    },
    Field {
        section: "limits",
        key: "uri_bytes",
        flag: "max-uri-bytes",
        heading: LIMITS,
        about: "Request target; less than the head",
        kind: number(Unit::Bytes, 1, limits::HEAD_BYTES_CEILING as u64),
        slot: |c| Slot::Size(&mut c.limits.uri_bytes),
    },
    Field {
        section: "limits",
        key: "body_bytes",
        flag: "max-body-bytes",
        heading: LIMITS,
        about: "Request body; 0: bodies are refused",
        kind: number(Unit::Bytes, 0, limits::SIZE_BYTES_CEILING),
        slot: |c| Slot::Long(&mut c.limits.body_bytes),
    },
    Field {
        section: "keepalive",
        key: "preset",
        flag: "keepalive",
        heading: KEEPALIVE,
        about: "Keepalive values for a situation: default, mobile, lan, live or off; sets all below and --idle-timeout, each of which wins over it",
        kind: Kind::Preset,
        slot: |c| Slot::Preset(&mut c.keepalive.preset),
    },
    Field {
        section: "keepalive",
        key: "idle_s",
        flag: "keepalive-idle",
        heading: KEEPALIVE,
        about: "Silence on a connection before the first TCP probe",
        kind: number(Unit::Seconds, 1, limits::KEEPALIVE_SECONDS_MAX),
        slot: |c| Slot::Long(&mut c.keepalive.idle_s),
    },
    Field {
        section: "keepalive",
        key: "interval_s",
        flag: "keepalive-interval",
        heading: KEEPALIVE,
        about: "From one unanswered TCP probe to the next",
        kind: number(Unit::Seconds, 1, limits::KEEPALIVE_SECONDS_MAX),
        slot: |c| Slot::Long(&mut c.keepalive.interval_s),
    },
    Field {
        section: "keepalive",
        key: "probes",
        flag: "keepalive-probes",
        heading: KEEPALIVE,
        about: "Unanswered TCP probes after which a connection is dead",
        kind: number(Unit::Count, 1, limits::KEEPALIVE_PROBES_MAX),
        slot: |c| Slot::Long(&mut c.keepalive.probes),
    },
    Field {
        section: "keepalive",
        key: "user_timeout_ms",
        flag: "user-timeout",
        heading: KEEPALIVE,
        about: "How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); 0: the kernel's tcp_retries2 decides",
        kind: time(0),
        slot: |c| Slot::Long(&mut c.keepalive.user_timeout_ms),
    },
    Field {
        section: "keepalive",
        key: "adaptive",
        flag: "keepalive-adaptive",
        heading: KEEPALIVE,
        about: "Close idle connections early, the longest idle first, while descriptors or memory are short",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.keepalive.adaptive),
    },
    Field {
        section: "timeouts",
        key: "header_ms",
        flag: "header-timeout",
        heading: TIMEOUTS,
        about: "For a whole request head",
        kind: time(1),
        slot: |c| Slot::Long(&mut c.timeouts.header_ms),
    },
    Field {
        section: "timeouts",
        key: "body_ms",
        flag: "body-timeout",
        heading: TIMEOUTS,
        about: "Between two pieces of a request body",
        kind: time(1),
        slot: |c| Slot::Long(&mut c.timeouts.body_ms),
    },
    Field {
        section: "timeouts",
        key: "idle_ms",
        flag: "idle-timeout",
        heading: TIMEOUTS,
        about: "For an idle keep-alive connection",
        kind: time(1),
        slot: |c| Slot::Long(&mut c.timeouts.idle_ms),
    },
    Field {
        section: "timeouts",
        key: "drain_ms",
        flag: "drain-timeout",
        heading: TIMEOUTS,
        about: "From SIGTERM to the end of the last connection; 0: at once",
        kind: time(0),
        slot: |c| Slot::Long(&mut c.timeouts.drain_ms),
    },
    Field {
        section: "timeouts",
        key: "send_period_ms",
        flag: "send-period",
        heading: TIMEOUTS,
        about: "Length of one measurement of the send rate",
        kind: time(1),
        slot: |c| Slot::Long(&mut c.timeouts.send_period_ms),
    },
    Field {
        section: "timeouts",
        key: "send_rate_bytes_per_s",
        flag: "send-rate-min",
        heading: TIMEOUTS,
        about: "Least rate at which a client must take an answer; 0: any",
        kind: number(Unit::BytesPerSecond, 0, limits::SIZE_BYTES_CEILING),
        slot: |c| Slot::Long(&mut c.timeouts.send_rate_bytes_per_s),
    },
    Field {
        section: "timeouts",
        key: "work_ms",
        flag: "work-timeout",
        heading: TIMEOUTS,
        about: "For a compression or a digest before the answer goes without it",
        kind: time(0),
        slot: |c| Slot::Long(&mut c.timeouts.work_ms),
    },
    Field {
        section: "cache",
        key: "files",
        flag: "cache-files",
        heading: CACHE,
        about: "Open files kept by each shard",
        kind: count(1, limits::CACHE_FILES_CEILING),
        slot: |c| Slot::Size(&mut c.cache.files),
    },
    Field {
        section: "cache",
        key: "bodies_bytes",
        flag: "cache-bytes",
        heading: CACHE,
        about: "Memory of each shard for small files and compressed ones; 0: none",
        kind: number(Unit::Bytes, 0, limits::SIZE_BYTES_CEILING),
        slot: |c| Slot::Size(&mut c.cache.bodies_bytes),
    },
    Field {
        section: "cache",
        key: "body_bytes",
        flag: "cache-body-bytes",
        heading: CACHE,
        about: "Largest file kept in memory",
        kind: number(Unit::Bytes, 0, limits::CACHE_BODY_BYTES_CEILING as u64),
        slot: |c| Slot::Size(&mut c.cache.body_bytes),
    },
    Field {
        section: "cache",
        key: "revalidate_ms",
        flag: "revalidate",
        heading: CACHE,
        about: "Age at which a cached file is looked at again; 0: at every request",
        kind: time(0),
        slot: |c| Slot::Long(&mut c.cache.revalidate_ms),
    },
    Field {
        section: "compression",
        key: "enabled",
        flag: "compress",
        heading: COMPRESSION,
        about: "Compress what is compressible for clients that accept it",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.compression.enabled),
    },
    Field {
        section: "compression",
        key: "precompressed",
        flag: "precompressed",
        heading: COMPRESSION,
        about: "Send NAME.br, NAME.zst or NAME.gz in place of NAME where it is not older",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.compression.precompressed),
    },
    Field {
        section: "compression",
        key: "brotli_level",
        flag: "brotli-level",
        heading: COMPRESSION,
        about: "Level of brotli, up to 11; 0: not made",
        kind: count(0, limits::BROTLI_LEVEL_CEILING),
        slot: |c| Slot::Size(&mut c.compression.brotli_level),
    },
    Field {
        section: "compression",
        key: "zstd_level",
        flag: "zstd-level",
        heading: COMPRESSION,
        about: "Level of zstd, up to 19; 0: not made",
        kind: count(0, limits::ZSTD_LEVEL_CEILING),
        slot: |c| Slot::Size(&mut c.compression.zstd_level),
    },
    Field {
        section: "compression",
        key: "gzip_level",
        flag: "gzip-level",
        heading: COMPRESSION,
        about: "Level of gzip, up to 9; 0: not made",
        kind: count(0, limits::GZIP_LEVEL_CEILING),
        slot: |c| Slot::Size(&mut c.compression.gzip_level),
    },
    Field {
        section: "compression",
        key: "bytes_min",
        flag: "compress-min",
        heading: COMPRESSION,
        about: "Smallest file that is compressed",
        kind: number(Unit::Bytes, 1, limits::COMPRESS_BYTES_CEILING),
        slot: |c| Slot::Long(&mut c.compression.bytes_min),
    },
    Field {
        section: "compression",
        key: "bytes_max",
        flag: "compress-max",
        heading: COMPRESSION,
        about: "Largest file that is compressed",
        kind: number(Unit::Bytes, 1, limits::COMPRESS_BYTES_CEILING),
        slot: |c| Slot::Long(&mut c.compression.bytes_max),
    },
    Field {
        section: "tasks",
        key: "workers",
        flag: "task-workers",
        heading: TASKS,
        about: "Threads that compress, digest and list; 0: one for each of their CPUs",
        kind: count(0, limits::TASK_WORKERS_MAX),
        slot: |c| Slot::Size(&mut c.tasks.workers),
    },
    Field {
        section: "tasks",
        key: "cores",
        flag: "task-cores",
        heading: TASKS,
        about: "CPUs of these threads as in taskset; same: those of the shards",
        kind: Kind::Optional("LIST", "same"),
        slot: |c| Slot::Optional(&mut c.tasks.cores),
    },
    Field {
        section: "tasks",
        key: "scheduling",
        flag: "task-scheduling",
        heading: TASKS,
        about: "Policy of these threads: idle gives way to shards at once, batch in time, normal shares with them",
        kind: Kind::Optional("POLICY", "normal"),
        slot: |c| Slot::Optional(&mut c.tasks.scheduling),
    },
    Field {
        section: "socket",
        key: "congestion",
        flag: "congestion",
        heading: LISTENING,
        about: "Congestion control of TCP connections: cubic, bbr, ..., kernel for its own choice, or auto: the kernel's, but unpaced on loopback",
        kind: Kind::Optional("NAME", "kernel"),
        slot: |c| Slot::Optional(&mut c.socket.congestion),
    },
    Field {
        section: "socket",
        key: "defer_accept",
        flag: "defer-accept",
        heading: LISTENING,
        about: "Let the kernel announce a connection when its first data has come",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.socket.defer_accept),
    },
    Field {
        section: "socket",
        key: "send_buffer_bytes",
        flag: "send-buffer",
        heading: LISTENING,
        about: "Send buffer of a connection (SO_SNDBUF); 0: the kernel tunes it",
        kind: number(Unit::Bytes, 0, limits::SOCKET_BUFFER_BYTES_CEILING as u64),
        slot: |c| Slot::Size(&mut c.socket.send_buffer_bytes),
    },
    Field {
        section: "socket",
        key: "unix_mode",
        flag: "unix-mode",
        heading: LISTENING,
        about: "Permissions of Unix sockets, in octal",
        kind: Kind::Mode,
        slot: |c| Slot::Mode(&mut c.socket.unix_mode),
    },
    Field {
        section: "observe",
        key: "trace_buffer_bytes",
        flag: "trace-buffer",
        heading: OBSERVING,
        about: "Memory of each thread for its last events, which /debug/trace shows; 0: off",
        kind: number(Unit::Bytes, 0, limits::RECORDER_BYTES_CEILING as u64),
        slot: |c| Slot::Size(&mut c.observe.trace_buffer_bytes),
    },
    Field {
        section: "observe",
        key: "trace_dir",
        flag: "trace-dir",
        heading: OBSERVING,
        about: "Folder for a trace of each stall, 16 at most, or off",
        kind: Kind::Optional("DIR", "off"),
        slot: |c| Slot::Optional(&mut c.observe.trace_dir),
    },
    Field {
        section: "observe",
        key: "stall_ms",
        flag: "stall-limit",
        heading: OBSERVING,
        about: "A turn of a shard's loop that takes longer counts as a stall; 0: none does",
        kind: time(0),
        slot: |c| Slot::Long(&mut c.observe.stall_ms),
    },
    Field {
        section: "observe",
        key: "schedtrace",
        flag: "schedtrace",
        heading: OBSERVING,
        about: "Print a line about the pool of tasks every so many milliseconds, as GODEBUG=schedtrace does in Go; 0: off",
        kind: number(Unit::Count, 0, limits::TIMEOUT_MS_CEILING),
        slot: |c| Slot::Long(&mut c.observe.schedtrace),
    },
    Field {
        section: "observe",
        key: "scheddetail",
        flag: "scheddetail",
        heading: OBSERVING,
        about: "With --schedtrace: also a line for each worker, thread and running task",
        kind: Kind::Switch,
        slot: |c| Slot::Switch(&mut c.observe.scheddetail),
    },
];
