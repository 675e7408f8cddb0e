//! Why a server could not start, or ended.

use std::fmt;

use crate::net::error::ListenError;
use crate::runtime::RuntimeError;
use crate::tasks::PoolError;

/// Why a server could not start, as one sentence for the operator.
#[derive(Debug)]
pub enum ServeError {
    Listen(ListenError),
    Runtime(RuntimeError),
    Tasks(PoolError),
    /// A shard's service could not be made.
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
