//! What the shards of one server share: where their work goes, and what it has come to.

use super::compress::Compressed;
use super::digest::Digests;
use super::offload::Offload;
use super::once::Once;
use super::representation::Identity;
use crate::tasks::{Handle, PoolError};

/// Where the shards of one server have work done that would hold them up. It is looked at when
/// something is made, never for what is cached.
pub struct SharedWork {
    pub(super) offload: Offload,
    pub(super) compressed: Once<Identity, Compressed>,
    pub(super) digests: Digests,
}

impl SharedWork {
    /// One whose work goes to this pool.
    ///
    /// # Errors
    /// When the pool has no room for its classes of work.
    pub fn new(pool: &Handle) -> Result<SharedWork, PoolError> {
        Ok(SharedWork {
            offload: Offload::to(pool)?,
            compressed: Once::default(),
            digests: Digests::default(),
        })
    }
}
