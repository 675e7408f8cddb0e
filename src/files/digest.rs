//! Digests of representations (RFC 9530), made off the shards and remembered by what was digested.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256 as Hasher};

use super::offload::{Offload, WorkKind};
use super::representation::{Identity, Representation};
use super::single_flight::SingleFlight;
use super::source::Source;
use super::validators::is_settled;
use crate::http::digest::Sha256;
use crate::limits;
use crate::runtime::{Shard, timeout};
use crate::sys;
use crate::sys::sync::lock;

/// Known digests, shared by all shards, and those being computed.
pub(crate) struct Digests {
    known: Arc<Mutex<LruCache<Identity, Sha256>>>,
    jobs: SingleFlight<Identity, Sha256>,
}

impl Default for Digests {
    fn default() -> Digests {
        let room = NonZeroUsize::new(limits::DIGESTS_MAX).unwrap_or(NonZeroUsize::MIN);
        Digests {
            known: Arc::new(Mutex::new(LruCache::new(room))),
            jobs: SingleFlight::default(),
        }
    }
}

/// The digest of a representation; `None` if it is not there within `patience`. It is computed all
/// the same, unless too many are already, and the next request may find it.
pub(crate) async fn digest(
    shard: &Shard,
    digests: &Digests,
    offload: &Offload,
    of: &Representation,
    patience: Duration,
) -> Option<Sha256> {
    if let Some(digest) = of.digest.get() {
        return Some(digest);
    }
    // Before that, other bytes may have the same identity.
    if !is_settled(&of.identity.stamp, sys::time::realtime()) {
        return None;
    }
    let known = lock(&digests.known).get(&of.identity).copied();
    let digest = match known {
        Some(digest) => digest,
        None => {
            let job = digests.jobs.join(of.identity, shard.now_ms(), |promise| {
                let source = Source::of(&of.content, &of.identity.stamp).map_err(drop)?;
                let (known, identity) = (Arc::clone(&digests.known), of.identity);
                let work = move || {
                    if let Some(digest) = make(&source) {
                        lock(&known).put(identity, digest);
                        promise.keep(digest);
                    }
                };
                offload.start(WorkKind::Digest, work).map_err(drop)
            });
            let job = job.ok()?;
            *timeout(patience, job.done()).await.ok()??
        }
    };
    of.digest.set(Some(digest));
    Some(digest)
}

fn make(source: &Source) -> Option<Sha256> {
    let mut hasher = Hasher::new();
    source
        .read(|piece| {
            hasher.update(piece);
            Ok(())
        })
        .ok()?;
    Some(hasher.finalize().into())
}
