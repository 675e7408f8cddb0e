//! What a shard publishes: its turns, the causes of its stalls, and its events.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::observe::recorder::{Event, Record};
use headwater::observe::{CallSite, Recorder};
use headwater::runtime::{Runtime, Shard, Stall, Stream, yield_now};
use headwater::sys;

const LIMIT: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(10);

fn runtime(limit: Option<Duration>) -> Runtime {
    let cpu = sys::cpu::allowed().unwrap()[0];
    Runtime::new(vec![cpu])
        .unwrap()
        .unpinned()
        .stall_limit(limit)
}

/// Takes longer than the limit, and so does the turn that it is in.
fn hold_up() {
    let start = Instant::now();
    while start.elapsed() <= 2 * LIMIT {
        std::hint::spin_loop();
    }
}

async fn stall(shard: Shard, times: u64) {
    for _ in 0..times {
        let (kind, what) = (CallSite::named("a slow task"), CallSite::named("spinning"));
        let done = Arc::new(AtomicBool::new(false));
        shard.spawn_as(kind, {
            let (shard, done) = (shard.clone(), Arc::clone(&done));
            async move {
                shard.doing(what);
                hold_up();
                done.store(true, Ordering::Relaxed);
            }
        });
        while !done.load(Ordering::Relaxed) {
            yield_now().await;
        }
    }
}

#[test]
fn a_turn_beyond_the_limit_is_counted_with_what_held_it_up() {
    let runtime = runtime(Some(LIMIT));
    let handle = runtime.handles()[0].clone();
    runtime.run(|shard| stall(shard, 3)).unwrap();
    let causes = handle.stalls();
    // A machine that is busy otherwise may hold up other turns as well.
    let cause = causes.iter().find(|c| c.task.to_string() == "a slow task");
    let cause = cause.unwrap_or_else(|| panic!("{causes:?}"));
    assert_eq!(cause.doing.to_string(), "spinning");
    assert_eq!(cause.count, 3);
    assert!(cause.longest > LIMIT);
    let (stalls, lasted) = handle.stalled();
    assert!(stalls >= 3 && lasted > 3 * LIMIT);
    assert!(handle.turns().count() >= 3);
}

#[test]
fn without_a_limit_no_turn_is_a_stall() {
    let runtime = runtime(None);
    assert!(runtime.stall_monitor().is_none());
    let handle = runtime.handles()[0].clone();
    runtime.run(|shard| stall(shard, 1)).unwrap();
    assert_eq!(handle.stalled(), (0, Duration::ZERO));
    assert_eq!(handle.stalls(), []);
}

#[test]
fn a_stall_is_seen_while_it_lasts_and_counted_once() {
    let runtime = runtime(Some(LIMIT));
    let handle = runtime.handles()[0].clone();
    let mut monitor = runtime.stall_monitor().unwrap();
    let seen = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&seen);
    let running = runtime
        .start(move |shard| {
            let seen = Arc::clone(&waits);
            async move {
                shard.doing(CallSite::named("waiting to be seen"));
                while !seen.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
            }
        })
        .unwrap();
    let start = Instant::now();
    let mut caught: Vec<Stall> = Vec::new();
    while caught.is_empty() {
        assert!(start.elapsed() < PATIENCE, "not seen");
        let pause = monitor.look(sys::time::monotonic_ns(), |stall| caught.push(*stall));
        let often = caught.is_empty() || pause <= LIMIT;
        assert!(often, "it looks often while a shard works");
        std::thread::yield_now();
    }
    seen.store(true, Ordering::Release);
    running.join().unwrap();
    let Stall {
        shard,
        doing,
        lasted,
        over,
        ..
    } = caught[0];
    assert_eq!((shard, over), (0, false));
    assert_eq!(doing.to_string(), "waiting to be seen");
    assert!(lasted > LIMIT);
    let root: u64 = handle
        .stalls()
        .iter()
        .filter(|cause| cause.doing == doing)
        .map(|cause| cause.count)
        .sum();
    assert_eq!(root, 1, "once, not again at its end");
}

#[test]
fn a_monitor_looks_ever_more_seldom_at_a_shard_that_waits() {
    let runtime = runtime(Some(LIMIT));
    let mut monitor = runtime.stall_monitor().unwrap();
    let now_ns = sys::time::monotonic_ns();
    let pauses: Vec<Duration> = (0..20)
        .map(|_| monitor.look(now_ns, |_| panic!()))
        .collect();
    assert!(pauses.is_sorted());
    assert_eq!(pauses[19], Duration::from_secs(1));
}

#[test]
fn the_recorder_has_the_life_of_an_operation() {
    let recorder = Recorder::new(1 << 20);
    let runtime = runtime(None).recorder(&recorder);
    runtime
        .run(|shard| async move {
            let (near, far) = UnixStream::pair().unwrap();
            let near = Stream::new(near);
            let mut receiver = near.receiver();
            shard.spawn_as(CallSite::named("writer"), async move {
                let far = Stream::new(far);
                far.send_all(b"hello".to_vec()).await.unwrap();
            });
            let received = receiver.next().await.unwrap().unwrap();
            assert_eq!(&*received, b"hello");
            assert!(receiver.next().await.unwrap().is_none());
        })
        .unwrap();
    let tracks = recorder.snapshot().tracks;
    assert_eq!(tracks.len(), 1);
    assert_eq!(tracks[0].name, "shard-0");
    let records = &tracks[0].records;
    let of = |event: Event, name: &str| -> &Record {
        let found = records
            .iter()
            .find(|record| record.event == event && record.site.to_string() == name);
        found.unwrap_or_else(|| panic!("no {event:?} of {name}: {records:?}"))
    };
    let submitted = of(Event::Submit, "receive");
    let progress = of(Event::Progress, "receive");
    let ended = of(Event::Complete, "receive");
    assert_eq!((submitted.id, progress.id), (progress.id, ended.id));
    assert!(submitted.at_ns <= progress.at_ns && progress.at_ns <= ended.at_ns);
    assert_eq!(progress.value, 5);
    of(Event::Run, "writer");
    of(Event::Run, "mailbox");
    of(Event::Park, "unknown");
}
