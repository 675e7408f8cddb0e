use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Offload, OffloadError, WorkKind};
use crate::limits;
use crate::runtime::{Runtime, Shard, timeout, yield_now};
use crate::sys::cpu;
use crate::tasks::{Options, Pool, TaskError};

fn on_pinned_shard<F: Future<Output = ()> + 'static>(
    test: impl Fn(Shard) -> F + Send + Sync + 'static,
) {
    let cpu = cpu::allowed().unwrap()[0];
    Runtime::new(vec![cpu]).unwrap().run(test).unwrap();
}

#[test]
fn work_runs_elsewhere_within_its_bound() {
    on_pinned_shard(async |shard| {
        let pool = Pool::start(Options {
            workers: 1,
            ..Options::default()
        });
        let pool = pool.unwrap();
        let offload = Offload::to(&pool.handle()).unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let elsewhere = offload.run(WorkKind::Compress, name).await.unwrap();
        assert_ne!(elsewhere, name());
        let lost = offload
            .run(WorkKind::Compress, || panic!("on purpose"))
            .await;
        let panicked = TaskError::Panicked("on purpose".to_owned());
        assert_eq!(lost, Err::<(), _>(OffloadError::Lost(panicked)));

        let mut releases = Vec::new();
        let mut running = Vec::new();
        for number in 0..limits::LISTINGS_MAX {
            let (release, wait) = mpsc::channel::<()>();
            let offload = offload.clone();
            let work = async move {
                let wait = move || {
                    wait.recv().unwrap();
                    number
                };
                offload.run(WorkKind::Listing, wait).await
            };
            // One that nobody waits for any more keeps its place until it ends.
            let patience = match number {
                0 => Duration::ZERO,
                _ => Duration::MAX,
            };
            running.push(shard.spawn(timeout(patience, work)));
            yield_now().await;
            releases.push(release);
        }
        assert!(running.remove(0).await.unwrap().is_err());
        let refused = offload.run(WorkKind::Listing, || ()).await;
        assert!(matches!(refused, Err(OffloadError::Busy(_))), "{refused:?}");
        // Each kind has a bound of its own.
        assert!(offload.start(WorkKind::Digest, || ()).is_ok());
        for release in &releases {
            release.send(()).unwrap();
        }
        for (number, work) in (1..).zip(running) {
            assert_eq!(work.await.unwrap().unwrap(), Ok(number));
        }
        assert!(offload.run(WorkKind::Listing, || ()).await.is_ok());
    });
}
