use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{OffloadError, offload};
use crate::limits;
use crate::runtime::{Runtime, Shard, timeout, yield_now};
use crate::sys::cpu;

fn on_pinned_shard<F: Future<Output = ()> + 'static>(
    test: impl Fn(Shard) -> F + Send + Sync + 'static,
) {
    let cpu = cpu::allowed().unwrap()[0];
    Runtime::new(vec![cpu]).unwrap().run(test).unwrap();
}

/// One test, since the places belong to the whole process.
#[test]
fn work_runs_elsewhere_within_its_bound() {
    on_pinned_shard(async |shard| {
        let name = offload(|| thread::current().name().map(str::to_owned)).await;
        assert_eq!(name.unwrap().as_deref(), Some("offload"));
        let cpus = offload(|| cpu::allowed().unwrap()).await.unwrap();
        assert_eq!(cpus, cpu::allowed_of_process().unwrap());

        assert!(matches!(
            offload(|| panic!("on purpose")).await,
            Err::<(), _>(OffloadError::Panicked)
        ));

        let mut releases = Vec::new();
        let mut running = Vec::new();
        for number in 0..limits::OFFLOADS_MAX {
            let (started, is_up) = mpsc::channel();
            let (release, wait) = mpsc::channel::<()>();
            let work = offload(move || {
                started.send(()).unwrap();
                wait.recv().unwrap();
                number
            });
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
        assert!(matches!(offload(|| ()).await, Err(OffloadError::Busy)));
        for (release, _) in &releases {
            release.send(()).unwrap();
        }
        for (number, work) in (1..).zip(running) {
            assert_eq!(work.await.unwrap().unwrap().unwrap(), number);
        }
        assert!(offload(|| ()).await.is_ok());
    });
}
