//! CPU work of the files module on the task pool, which keeps it off the shards.

use std::fmt;

pub use crate::tasks::{block_in_place, checkpoint};

use crate::limits;
use crate::tasks::{Class, ClassOptions, Handle, PoolError, Priority, Saturated, TaskError};

/// Why a piece of work has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffloadError {
    /// As much of its kind as there may be is under way.
    Busy(Saturated),
    /// It panicked, or the pool was stopped.
    Lost(TaskError),
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffloadError::Busy(source) => source.fmt(f),
            OffloadError::Lost(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for OffloadError {}

/// A kind of work. Each has a bound of its own, so that none starves another.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WorkKind {
    /// Compressing what clients wait for.
    Compress,
    /// Rendering listings.
    Listing,
    /// Digests, which clients can do without.
    Digest,
}

/// Where work goes: a class of the pool for each kind.
#[derive(Clone)]
pub struct Offload {
    compress: Class,
    listing: Class,
    digest: Class,
}

impl Offload {
    /// Makes the classes.
    ///
    /// # Errors
    /// When the pool has too many.
    pub fn to(pool: &Handle) -> Result<Offload, PoolError> {
        let class = |name: &str, priority, queue_limit| {
            pool.class(ClassOptions {
                name: name.to_owned(),
                priority,
                queue_limit,
            })
        };
        Ok(Offload {
            compress: class("compress", Priority::Interactive, limits::COMPRESSIONS_MAX)?,
            listing: class("listing", Priority::Interactive, limits::LISTINGS_MAX)?,
            digest: class("digest", Priority::Background, limits::DIGESTS_WAITING_MAX)?,
        })
    }

    fn class(&self, kind: WorkKind) -> &Class {
        match kind {
            WorkKind::Compress => &self.compress,
            WorkKind::Listing => &self.listing,
            WorkKind::Digest => &self.digest,
        }
    }

    /// Starts `work`, which delivers its result itself.
    ///
    /// # Errors
    /// At once, when as much of this kind as may be is under way.
    #[track_caller]
    pub fn start(
        &self,
        kind: WorkKind,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), OffloadError> {
        self.class(kind)
            .run(work)
            .map(drop)
            .map_err(OffloadError::Busy)
    }

    /// Runs `work` and waits for its result. Work that has begun is finished
    /// even if this future is dropped.
    ///
    /// # Errors
    /// See [`OffloadError`]; a full class fails at once.
    pub async fn run<T: Send + 'static>(
        &self,
        kind: WorkKind,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        let task = self.class(kind).run(work).map_err(OffloadError::Busy)?;
        task.await.map_err(OffloadError::Lost)
    }
}

#[cfg(test)]
mod tests;
