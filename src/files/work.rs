//! What the shards of one server share: where their work goes, and what it has come to.

use super::compress::Compressed;
use super::digest::Digests;
use super::offload::Offload;
use super::once::Once;
use super::representation::Identity;

/// Where the shards of one server have work done that would hold them up. It is looked at when
/// something is made, never for what is cached.
#[derive(Default)]
pub struct Workshop {
    pub(super) offload: Offload,
    pub(super) compressed: Once<Identity, Compressed>,
    pub(super) digests: Digests,
}

impl Workshop {
    /// One whose work goes to `offload`.
    pub fn new(offload: Offload) -> Workshop {
        Workshop {
            offload,
            ..Workshop::default()
        }
    }
}
