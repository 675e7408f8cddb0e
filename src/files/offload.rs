//! CPU work of the files module on the task pool, which keeps it off the shards.

pub use crate::tasks::{block_in_place, checkpoint};

use crate::limits;
use crate::tasks::{Class, ClassOptions, Handle, PoolError, Priority, Saturated};

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
            // A task that has given its result may not have ended yet when the next begins.
            listing: class("listing", Priority::Interactive, 2 * limits::LISTINGS_MAX)?,
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
    /// At once, when as much of this kind as may be is under way; `work` is dropped.
    #[track_caller]
    pub fn start(
        &self,
        kind: WorkKind,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), Saturated> {
        self.class(kind).run(work).map(drop)
    }
}

#[cfg(test)]
mod tests;
