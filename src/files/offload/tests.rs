use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Kind, Offload, OffloadError};
use crate::limits;
use crate::runtime::{Runtime, Shard, timeout, yield_now};
use crate::sys::cpu;

fn on_pinned_shard<F: Future<Output = ()> + 'static>(
    test: impl Fn(Shard) -> F + Send + Sync + 'static,
) {
    let cpu = cpu::allowed().unwrap()[0];
    Runtime::new(vec![cpu]).unwrap().run(test).unwrap();
}

#[test]
fn work_runs_elsewhere_within_its_bound() {
    on_pinned_shard(async |shard| {
        let house = Offload::default();
        let name = house
            .run(Kind::Listing, || {
                thread::current().name().map(str::to_owned)
            })
            .await;
        assert_eq!(name.unwrap().as_deref(), Some("offload"));
        let cpus = house
            .run(Kind::Listing, || cpu::allowed().unwrap())
            .await
            .unwrap();
        assert_eq!(cpus, cpu::allowed_of_process().unwrap());

        assert!(matches!(
            house.run(Kind::Listing, || panic!("on purpose")).await,
            Err::<(), _>(OffloadError::Panicked)
        ));

        let mut releases = Vec::new();
        let mut running = Vec::new();
        for number in 0..limits::LISTINGS_MAX {
            let (started, is_up) = mpsc::channel();
            let (release, wait) = mpsc::channel::<()>();
            let house = house.clone();
            let work = async move {
                let wait = move || {
                    started.send(()).unwrap();
                    wait.recv().unwrap();
                    number
                };
                house.run(Kind::Listing, wait).await
            };
            // One that nobody waits for any more keeps its place until it ends.
            let patience = match number {
                0 => Duration::ZERO,
                _ => Duration::MAX,
            };
            running.push(shard.spawn(timeout(patience, work)));
            yield_now().await;
            releases.push((release, is_up));
        }
        for (_, is_up) in &releases {
            is_up.recv().unwrap();
        }
        assert!(running.remove(0).await.unwrap().is_err());
        assert!(matches!(
            house.run(Kind::Listing, || ()).await,
            Err(OffloadError::Busy(Kind::Listing))
        ));
        // Each kind has a bound of its own.
        assert!(house.run(Kind::Compress, || ()).await.is_ok());
        for (release, _) in &releases {
            release.send(()).unwrap();
        }
        for (number, work) in (1..).zip(running) {
            assert_eq!(work.await.unwrap().unwrap().unwrap(), number);
        }
        assert!(house.run(Kind::Listing, || ()).await.is_ok());
    });
}
