//! What the shards of one server share: the task pool's classes, jobs under way, known digests and
//! the watches on folders.

use std::sync::Arc;

use super::compress::Compressed;
use super::digest::Digests;
use super::listing_cache::Listings;
use super::offload::Offload;
use super::representation::Identity;
use super::single_flight::SingleFlight;
use super::watch::Watches;
use crate::limits;
use crate::tasks::{Handle, PoolError};

/// Work and state that the shards of one server share. Never used on the path of a cache hit.
pub struct SharedWork {
    pub(super) offload: Offload,
    pub(super) compressed: SingleFlight<Identity, Compressed>,
    pub(super) digests: Arc<Digests>,
    pub(super) watches: Arc<Watches>,
    pub(super) listings: Arc<Listings>,
}

impl SharedWork {
    /// One whose work goes to this pool.
    ///
    /// # Errors
    /// When the pool has too many classes of work.
    pub fn new(pool: &Handle) -> Result<SharedWork, PoolError> {
        Ok(SharedWork {
            offload: Offload::to(pool)?,
            compressed: SingleFlight::default(),
            digests: Arc::default(),
            watches: Arc::new(Watches::new(limits::FOLDER_WATCHES_MAX)),
            listings: Arc::default(),
        })
    }

    /// The watches on folders, for their counters.
    pub fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }
}
