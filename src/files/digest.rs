//! Digests of representations (RFC 9530), made off the shards and remembered by what was digested.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256 as Hasher};

use super::offload::{Offload, WorkKind};
use super::representation::{Identity, Representation};
use super::single_flight::{Job, SingleFlight};
use super::source::Source;
use super::validators::is_settled;
use crate::http::digest::Sha256;
use crate::limits;
use crate::runtime::{Shard, timeout};
use crate::sys;
use crate::sys::sync::lock;

/// Known digests, shared by all shards, and those being computed.
pub(crate) struct Digests {
    /// Only shards lock it: a worker may be kept from running for long, and all shards with it.
    known: Mutex<LruCache<Identity, Sha256>>,
    jobs: SingleFlight<Identity, Sha256>,
}

impl Default for Digests {
    fn default() -> Digests {
        let room = NonZeroUsize::new(limits::DIGESTS_MAX).unwrap_or(NonZeroUsize::MIN);
        Digests {
            known: Mutex::new(LruCache::new(room)),
            jobs: SingleFlight::default(),
        }
    }
}

/// The digest of a representation; `None` if it is not there within `patience`. It is computed all
/// the same, unless too many are already, and the next request may find it.
pub(crate) async fn digest(
    shard: &Shard,
    digests: &Arc<Digests>,
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
            let mut is_new = false;
            let job = digests.jobs.join(of.identity, shard.now_ms(), |promise| {
                let source = Source::of(&of.content, &of.identity.stamp).map_err(drop)?;
                let work = move || {
                    if let Some(digest) = make(&source) {
                        promise.keep(digest);
                    }
                };
                is_new = true;
                offload.start(WorkKind::Digest, work).map_err(drop)
            });
            let job = job.ok()?;
            if is_new {
                shard.spawn_detached(remember(Arc::clone(digests), of.identity, Arc::clone(&job)));
            }
            *timeout(patience, job.done()).await.ok()??
        }
    };
    of.digest.set(Some(digest));
    Some(digest)
}

/// Keeps what a job makes, also when no request waits for it any more.
async fn remember(digests: Arc<Digests>, identity: Identity, job: Arc<Job<Sha256>>) {
    if let Some(digest) = job.done().await {
        lock(&digests.known).put(identity, *digest);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::files::FilesOptions;
    use crate::files::tests::with_files;
    use crate::runtime::sleep;

    /// A worker that is kept from running must not keep a shard from it.
    #[test]
    fn workers_never_lock_what_shards_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "hello").unwrap();
        with_files(
            folder.path(),
            FilesOptions::default(),
            async |shard, files| {
                sleep(Duration::from_nanos(2 * limits::FILE_SETTLED_NS)).await;
                let inner = &files.0;
                let served = inner.root.served().unwrap();
                let file = inner.file(&served, c"a".into()).await.unwrap();
                let of = &file.plain;
                let (digests, offload) = (&inner.shared_work.digests, &inner.shared_work.offload);
                let (release, wait) = mpsc::channel::<()>();
                let wait = move || wait.recv().unwrap();
                offload.start(WorkKind::Digest, wait).unwrap();
                let none = digest(&shard, digests, offload, of, Duration::ZERO).await;
                assert_eq!(none, None);
                let job = digests.jobs.join(of.identity, 0, |_| Err("not under way"));
                let job = job.unwrap();
                {
                    let _known = lock(&digests.known);
                    release.send(()).unwrap();
                    let began = Instant::now();
                    while !job.is_done() {
                        assert!(
                            began.elapsed() < Duration::from_secs(20),
                            "the worker waits"
                        );
                        thread::yield_now();
                    }
                }
                // Remembered, although nobody waited for it.
                drop(job);
                let began = Instant::now();
                while lock(&digests.known).is_empty() {
                    assert!(began.elapsed() < Duration::from_secs(20), "forgotten");
                    sleep(Duration::from_millis(1)).await;
                }
            },
        );
    }
}
