//! The errors of requests, which are counted, and the errors that end a load.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::address::Address;
use crate::http::ParseError;
use crate::http::h1::response::ResponseError;
use crate::http::websocket::HandshakeError;
use crate::runtime::RuntimeError;

/// Why a request or a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Nothing listens at the address (ECONNREFUSED).
    ConnectRefused,
    /// No connection within the load's time-out, or the kernel's (ETIMEDOUT).
    ConnectTimeout,
    /// Any other reason for which a connection can't be made.
    ConnectFailed,
    /// No local port is left for another connection.
    NoPorts,
    /// No descriptor is left for another connection.
    NoDescriptors,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection instead of answering.
    Closed,
    /// The connection ended in the middle of an answer.
    Truncated,
    /// No whole answer or handshake, or a message not sent, within the load's time-out.
    Timeout,
    /// The answer is not HTTP/1.1.
    BadResponse,
    /// The answer's head has more bytes or header lines than
    /// [`RESPONSE_HEAD_BYTES_MAX`](crate::limits::RESPONSE_HEAD_BYTES_MAX) and
    /// [`RESPONSE_HEADERS_MAX`](crate::limits::RESPONSE_HEADERS_MAX) allow.
    ResponseHeadTooLarge,
    /// The answer is a client error (4xx, RFC 9110 section 15.5).
    Status4xx,
    /// The answer is a server error (5xx, RFC 9110 section 15.6).
    Status5xx,
    /// The answer's body differs from the first one.
    BodyMismatch,
    /// The answer is not the requested range.
    BadRange,
    /// The server does not switch to WebSocket.
    UpgradeRefused,
    /// The server violated the WebSocket protocol.
    BadFrame,
}

impl ErrorClass {
    /// Every class, at the index that `as usize` gives it.
    pub const ALL: [Self; 17] = [
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::NoPorts,
        Self::NoDescriptors,
        Self::Reset,
        Self::Closed,
        Self::Truncated,
        Self::Timeout,
        Self::BadResponse,
        Self::ResponseHeadTooLarge,
        Self::Status4xx,
        Self::Status5xx,
        Self::BodyMismatch,
        Self::BadRange,
        Self::UpgradeRefused,
        Self::BadFrame,
    ];

    /// The class's key in a summary.
    pub fn key(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::NoPorts => "no_ports",
            Self::NoDescriptors => "no_descriptors",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::BadResponse => "bad_response",
            Self::ResponseHeadTooLarge => "response_head_too_large",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::BodyMismatch => "body_mismatch",
            Self::BadRange => "bad_range",
            Self::UpgradeRefused => "upgrade_refused",
            Self::BadFrame => "bad_frame",
        }
    }

    /// The class of an answer that can't be parsed.
    pub(super) fn of_response(error: ResponseError) -> Self {
        match error {
            ResponseError::Head(ParseError::HeadTooLarge | ParseError::TooManyFields) => {
                Self::ResponseHeadTooLarge
            }
            _ => Self::BadResponse,
        }
    }

    /// The class of an error of connect(2).
    pub(super) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::AddrNotAvailable => Self::NoPorts,
            _ => match sys_error(error) {
                Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE) => Self::NoDescriptors,
                _ => Self::ConnectFailed,
            },
        }
    }
}

fn sys_error(error: &io::Error) -> Option<nix::errno::Errno> {
    error.raw_os_error().map(nix::errno::Errno::from_raw)
}

/// Why a load could not be run.
#[derive(Debug)]
pub enum LoadError {
    /// The host's name does not resolve to an address.
    Resolve {
        /// The name, without a port.
        host: String,
        /// The resolver's error.
        error: io::Error,
    },
    /// Not one connection could be made.
    Connect {
        /// The address of the first attempt that failed.
        address: Address,
        /// The error of that attempt.
        error: io::Error,
    },
    /// No WebSocket connection could be made.
    Upgrade {
        /// Host, port and path, or socket and path, without a scheme.
        url: String,
        /// How the first attempt failed.
        class: ErrorClass,
        /// What is wrong with the answer; `None` if no whole answer was received.
        why: Option<HandshakeError>,
    },
    /// RLIMIT_NOFILE is too low.
    Descriptors {
        /// Descriptors for all connections and for the process itself.
        needed: u64,
        /// The soft limit, after it was raised as far as the hard one allows.
        limit: u64,
    },
    /// net.ipv4.ip_local_port_range is too narrow.
    Ports {
        /// Connections to one address; each takes a local port.
        connections: usize,
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
    /// The server answers a request for a range with `status`.
    NoRanges {
        /// Path and query of the request.
        path: String,
        /// Status of the answer to a request for the first byte.
        status: u16,
    },
    /// An object has too many pieces of this size.
    Pieces {
        /// Path and query of the request.
        path: String,
        /// Bytes of the object.
        size: u64,
        /// Bytes of a piece.
        piece_bytes: u64,
    },
    /// The object for the readers can't be written.
    Write {
        /// The file that the writer appends to.
        path: PathBuf,
        /// The error of opening, emptying or writing it.
        error: io::Error,
    },
    /// The shards could not be started, or one of them failed.
    Runtime(RuntimeError),
    /// Any other step failed.
    Io {
        /// The step, as the subject of a sentence: "listening on loopback".
        what: &'static str,
        /// The error of that step.
        error: io::Error,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, error } => {
                // Rust puts a prefix without information before the resolver's message.
                let error = error.to_string();
                let error = error.rsplit(": ").next().unwrap_or_default();
                write!(
                    f,
                    "the name \"{host}\" does not resolve: {error}; check its spelling and /etc/resolv.conf"
                )
            }
            Self::Connect { address, error } => connect_failed(f, address, error),
            Self::Upgrade { url, class, why } => write!(
                f,
                "no WebSocket connection to {url}: {}",
                handshake_words(*class, *why)
            ),
            Self::Descriptors { needed, limit } => write!(
                f,
                "{needed} descriptors are needed and {limit} are allowed; raise the hard limit \
                 (ulimit -Hn {needed}, or LimitNOFILE= of a service) or use fewer connections"
            ),
            Self::Ports {
                connections,
                first,
                last,
            } => write!(
                f,
                "{connections} connections to one address need as many local ports, and \
                 net.ipv4.ip_local_port_range has {first} to {last}; \
                 widen it (sysctl net.ipv4.ip_local_port_range='1024 65535') or use fewer connections"
            ),
            Self::NoRanges { path, status } => no_ranges(f, path, *status),
            Self::Pieces {
                path,
                size,
                piece_bytes,
            } => write!(
                f,
                "{path} has {size} bytes, which are too many pieces of {piece_bytes}; take larger ones"
            ),
            Self::Write { path, error } => write!(
                f,
                "cannot write \"{}\": {error}; name a file in a folder that the server serves and that \
                 can be written to",
                path.display()
            ),
            Self::Runtime(error) => error.fmt(f),
            Self::Io { what, error } => write!(f, "{what} failed: {error}"),
        }
    }
}

/// Writes why no connection to `address` could be made, with advice.
fn connect_failed(
    f: &mut fmt::Formatter<'_>,
    address: &impl fmt::Display,
    error: &io::Error,
) -> fmt::Result {
    let advice = match ErrorClass::of_connect(error) {
        ErrorClass::ConnectRefused => {
            return write!(
                f,
                "nothing listens on {address}: connection refused; \
                 start the server or check the port"
            );
        }
        ErrorClass::ConnectTimeout => "is a firewall between, or the host down?",
        ErrorClass::NoPorts => PORTS_ADVICE,
        ErrorClass::NoDescriptors => "raise the limit with ulimit -n",
        _ => "check the address and the route to it",
    };
    write!(f, "cannot connect to {address}: {error}; {advice}")
}

/// Writes why the object at `path` can't be read in ranges.
fn no_ranges(f: &mut fmt::Formatter<'_>, path: &str, status: u16) -> fmt::Result {
    write!(
        f,
        "the first byte of {path} was requested, and the server answered "
    )?;
    match status {
        200 => write!(
            f,
            "200 with the whole object: it does not support ranges there; leave out --ranges"
        ),
        206 => write!(
            f,
            "206 without a Content-Range that states bytes 0-0 and the size"
        ),
        416 => write!(f, "416: the object is empty; name one that has content"),
        _ => write!(f, "{status}; name an object that exists"),
    }
}

/// A handshake's failure as a message with advice.
fn handshake_words(class: ErrorClass, why: Option<HandshakeError>) -> String {
    match (why, class) {
        (Some(HandshakeError::Refused(status)), _) => {
            format!("it answered {status} and not 101; is there a WebSocket at that path?")
        }
        (Some(why), _) => format!("{why}; is that a WebSocket server?"),
        (None, ErrorClass::Timeout) => {
            "no answer came; raise --timeout, or see what the server is doing".to_owned()
        }
        (None, ErrorClass::Closed | ErrorClass::Truncated) => {
            "the server closed the connection; see its log".to_owned()
        }
        (None, _) => "the server reset the connection; see its log".to_owned(),
    }
}

/// Advice against a lack of local ports.
pub(super) const PORTS_ADVICE: &str = "widen net.ipv4.ip_local_port_range or set \
    net.ipv4.tcp_tw_reuse=1, or leave connections open";

impl std::error::Error for LoadError {}

impl From<RuntimeError> for LoadError {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}
