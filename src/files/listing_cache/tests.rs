use std::sync::mpsc;

use super::*;
use crate::files::offload::{Offload, WorkKind};
use crate::runtime::{Runtime, yield_now};
use crate::sys::cpu;
use crate::tasks::{Options, Pool};

fn with_pool<F: Future<Output = ()> + 'static>(
    test: impl Fn(Shard, Offload) -> F + Send + Sync + 'static,
) {
    let cpu = cpu::allowed().unwrap()[0];
    let runtime = Runtime::new(vec![cpu]).unwrap().unpinned();
    let pool = Pool::start(Options {
        workers: 2,
        ..Options::default()
    });
    let pool = pool.unwrap();
    let offload = Offload::to(&pool.handle()).unwrap();
    runtime
        .run(move |shard| test(shard, offload.clone()))
        .unwrap();
}

/// A folder that was changed for the last time at `changed_ns`.
fn folder(changed_ns: i64) -> Stamp {
    Stamp {
        dev: 1,
        ino: 2,
        size: 3,
        links: 1,
        mtime_ns: changed_ns,
        ctime_ns: changed_ns,
    }
}

fn key(number: usize) -> Key {
    Key {
        root: (1, 1),
        folder: (1, number as u64),
        path: Box::default(),
        json: false,
        coding: None,
        hidden: false,
        entries_max: 10,
    }
}

fn made(text: String, stamp: Stamp) -> Made {
    Made {
        etag: format!("\"{text}\""),
        body: text.into(),
        modified_s: None,
        truncated: false,
        coding: None,
        stamp,
        is_settled: true,
    }
}

/// Asks for the listing with this number; what is made says how often that was.
async fn get(
    listings: &Arc<Listings>,
    shard: &Shard,
    offload: &Offload,
    (number, stamp, max_age_ms): (usize, Stamp, u64),
    makings: &Arc<AtomicUsize>,
    before: impl Fn() + Clone + Send + 'static,
) -> Result<String, RequestError> {
    let offload = offload.clone();
    let start = move |work: Start| drop(offload.start(WorkKind::Listing, work));
    let make = || {
        let (makings, before) = (Arc::clone(makings), before.clone());
        move |_| {
            before();
            let count = makings.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(made(count.to_string(), stamp))
        }
    };
    let ask = Ask {
        shard,
        key: key(number),
        stamp,
        max_age_ms,
    };
    let made = listings.get(ask, start, make).await?;
    Ok(String::from_utf8(made.body.to_vec()).unwrap())
}

#[test]
fn a_listing_is_made_once_for_all_and_again_when_its_folder_changed() {
    with_pool(async |shard, offload| {
        let listings = Arc::new(Listings::default());
        let makings = Arc::new(AtomicUsize::new(0));
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let mut asking = Vec::new();
        for _ in 0..50 {
            let (listings, shard_of) = (Arc::clone(&listings), shard.clone());
            let (offload, makings, wait) = (offload.clone(), Arc::clone(&makings), wait.clone());
            asking.push(shard.spawn(async move {
                let wait = move || wait.lock().unwrap().recv().unwrap();
                let what = (0, folder(1), 60_000);
                get(&listings, &shard_of, &offload, what, &makings, wait).await
            }));
        }
        yield_now().await;
        release.send(()).unwrap();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Ok("1".to_owned()));
        }
        for (changed_ns, max_age_ms, wanted) in [
            (1, 60_000, "1"),
            (2, 60_000, "2"),
            (2, 60_000, "2"),
            // Looked at at every request.
            (2, 0, "3"),
            (2, 0, "4"),
        ] {
            let what = (0, folder(changed_ns), max_age_ms);
            let found = get(&listings, &shard, &offload, what, &makings, || ()).await;
            assert_eq!(found.as_deref(), Ok(wanted));
        }
    });
}

#[test]
fn all_get_their_turn_and_few_are_made_at_a_time() {
    with_pool(async |shard, offload| {
        let listings = Arc::new(Listings::default());
        let makings = Arc::new(AtomicUsize::new(0));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut asking = Vec::new();
        for number in 0..20 * limits::LISTINGS_MAX {
            let (listings, shard_of) = (Arc::clone(&listings), shard.clone());
            let (offload, makings) = (offload.clone(), Arc::clone(&makings));
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            asking.push(shard.spawn(async move {
                let watch = move || {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                let what = (number, folder(1), 60_000);
                get(&listings, &shard_of, &offload, what, &makings, watch).await
            }));
        }
        let mut answers = Vec::new();
        for asked in asking {
            answers.push(asked.await.unwrap().unwrap().parse::<usize>().unwrap());
        }
        answers.sort_unstable();
        assert!(answers.into_iter().eq(1..=20 * limits::LISTINGS_MAX));
        assert!(most.load(Ordering::SeqCst) <= limits::LISTINGS_MAX);
        // What came to nothing is tried again, and holds nobody's place.
        for _ in 0..2 * limits::LISTINGS_MAX {
            let what = (1_000_000, folder(1), 60_000);
            fn panics() {
                panic!("on purpose");
            }
            let lost = get(&listings, &shard, &offload, what, &makings, panics).await;
            assert_eq!(lost, Err(RequestError::Broken));
        }
        let what = (1_000_000, folder(1), 60_000);
        let found = get(&listings, &shard, &offload, what, &makings, || ()).await;
        assert!(found.is_ok());
    });
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    let listings = Listings::default();
    let mut table = listings.lock();
    for number in 0..10 {
        let (job, promise) = promised(0);
        let flight = Arc::new(Flight {
            job,
            took_ms: AtomicU64::new(0),
            counted_bytes: AtomicUsize::new(0),
        });
        let bytes = match number {
            0 => limits::LISTING_CACHED_BYTES_MAX + 1,
            _ => limits::LISTINGS_CACHED_BYTES_MAX / 4,
        };
        promise.keep(Outcome {
            begun: 0,
            result: Ok(made("x".repeat(bytes), folder(1))),
        });
        table.flights.put(key(number), Arc::clone(&flight));
        table.keep(&key(number), &flight);
        assert!(table.counted_bytes <= limits::LISTINGS_CACHED_BYTES_MAX);
    }
    assert_eq!(table.flights.len(), 3);
    for number in 0..10 {
        table.forget(&key(number));
    }
    assert_eq!(table.counted_bytes, 0);
}

#[test]
fn large_bodies_leave_room_for_small_ones() {
    let budget = Arc::new(BodyBudget::default());
    let large = limits::LISTINGS_LARGE_BYTES_MAX / 2;
    let first = budget.hold(vec![0; large]).unwrap();
    let second = budget.hold(vec![0; large]).unwrap();
    assert!(
        budget
            .hold(vec![0; limits::LISTING_LARGE_BYTES + 1])
            .is_none()
    );
    let small = budget.hold(vec![0; limits::LISTING_LARGE_BYTES]);
    assert!(small.is_some());
    // A slice keeps all of it.
    let slice = first.slice(1..2);
    drop(first);
    assert!(
        budget
            .hold(vec![0; limits::LISTING_LARGE_BYTES + 1])
            .is_none()
    );
    drop(slice);
    assert!(
        budget
            .hold(vec![0; limits::LISTING_LARGE_BYTES + 1])
            .is_some()
    );
    drop(second);
    // However large: alone, it is sent.
    assert!(
        budget
            .hold(vec![0; limits::LISTINGS_LARGE_BYTES_MAX + 1])
            .is_some()
    );
}
