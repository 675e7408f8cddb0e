//! Why a server could not start, or ended.

use std::fmt;

use crate::net::error::ListenError;
use crate::runtime::RuntimeError;
use crate::tasks::PoolError;

/// Why a server could not start, as one sentence for the operator.
#[derive(Debug)]
pub enum ServeError {
    /// An address can't be listened on.
    Listen(ListenError),
    /// The shards could not be started, or one of them failed.
    Runtime(RuntimeError),
    /// The pool of tasks could not be started.
    Tasks(PoolError),
    /// Anything else, in a sentence: the descriptors' limit, inherited sockets, response rules, the
    /// access log, a shard's service.
    Service(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(e) => e.fmt(f),
            Self::Runtime(e) => e.fmt(f),
            Self::Tasks(e) => e.fmt(f),
            Self::Service(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<ListenError> for ServeError {
    fn from(e: ListenError) -> Self {
        Self::Listen(e)
    }
}

impl From<RuntimeError> for ServeError {
    fn from(e: RuntimeError) -> Self {
        Self::Runtime(e)
    }
}

impl From<PoolError> for ServeError {
    fn from(e: PoolError) -> Self {
        Self::Tasks(e)
    }
}
