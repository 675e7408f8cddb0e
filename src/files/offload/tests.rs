use std::sync::mpsc;
use std::thread;

use super::{Offload, WorkKind};
use crate::limits;
use crate::tasks::{Options, Pool};

#[test]
fn work_runs_elsewhere_within_the_bound_of_its_kind() {
    let pool = Pool::start(Options {
        workers: 1,
        ..Options::default()
    });
    let pool = pool.unwrap();
    let offload = Offload::to(&pool.handle()).unwrap();
    let (named, name) = mpsc::channel();
    let work = move || named.send(thread::current().id()).unwrap();
    offload.start(WorkKind::Compress, work).unwrap();
    assert_ne!(name.recv().unwrap(), thread::current().id());

    let (done, ended) = mpsc::channel();
    let mut releases = Vec::new();
    for number in 0..2 * limits::LISTINGS_MAX {
        let (release, wait) = mpsc::channel::<()>();
        let done = done.clone();
        let work = move || {
            wait.recv().unwrap();
            done.send(number).unwrap();
        };
        offload.start(WorkKind::Listing, work).unwrap();
        releases.push(release);
    }
    assert!(offload.start(WorkKind::Listing, || ()).is_err());
    // Each kind has a bound of its own.
    assert!(offload.start(WorkKind::Digest, || ()).is_ok());
    for release in &releases {
        release.send(()).unwrap();
    }
    drop(done);
    let mut numbers: Vec<usize> = ended.iter().collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2 * limits::LISTINGS_MAX));
    while offload.start(WorkKind::Listing, || ()).is_err() {
        thread::yield_now();
    }
}
