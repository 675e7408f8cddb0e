//! Runs a test on one shard.

use std::future::Future;
use std::time::Duration;

use headwater::runtime::{RingOptions, Runtime, Shard, timeout};

/// Fails when the test takes longer than 20 s.
pub(crate) fn on_shard<F, Fut>(ring: RingOptions, root: F)
where
    F: Fn(Shard) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let runtime = Runtime::new(vec![0]).unwrap().unpinned().ring_options(ring);
    runtime
        .run(move |shard| {
            let test = root(shard);
            async move {
                timeout(Duration::from_secs(20), test)
                    .await
                    .expect("the test hangs")
            }
        })
        .unwrap();
}
