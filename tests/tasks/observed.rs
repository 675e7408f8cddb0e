//! What a pool publishes about its tasks: events and distributions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use headwater::observe::Recorder;
use headwater::observe::recorder::{Event, Record, TrackSnapshot};
use headwater::tasks::{self, Class, ClassOptions, Options, Pool, SchedTrace};

const PATIENCE: Duration = Duration::from_secs(10);

fn pool(workers: usize, recorder: &Recorder) -> (Pool, Class) {
    let options = Options {
        workers,
        name: "pool".to_owned(),
        recorder: recorder.clone(),
        ..Options::default()
    };
    let pool = Pool::start(options).unwrap();
    let class = pool.handle().class(ClassOptions::default()).unwrap();
    (pool, class)
}

/// Until what has ended is also noted, which it is a moment later.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn records(tracks: &[TrackSnapshot], event: Event) -> impl Iterator<Item = (&str, &Record)> {
    tracks
        .iter()
        .flat_map(|track| track.records.iter().map(|record| (&*track.name, record)))
        .filter(move |(_, record)| record.event == event)
}

#[test]
fn a_task_leaves_its_spawn_and_its_run_on_the_track_of_its_thread() {
    let recorder = Recorder::new(1 << 20);
    let (pool, class) = pool(1, &recorder);
    let line = line!() + 3;
    let work = || {
        // From a task, so that the spawn is on the worker's track.
        let inner = tasks::run(|| std::thread::sleep(Duration::from_millis(2)));
        drop(inner.unwrap());
    };
    class.run(work).unwrap().join().unwrap();
    let place = format!("tests/tasks/observed.rs:{line}:21");
    let site = |record: &Record| record.site.to_string();
    let ran = || {
        let tracks = recorder.snapshot().tracks;
        let found = records(&tracks, Event::Run).find(|(_, record)| site(record) == place);
        found.map(|(track, record)| (track.to_owned(), *record))
    };
    eventually("the inner task's run is recorded", || ran().is_some());
    let (track, run) = ran().unwrap();
    assert_eq!(track, "pool-0");
    assert!(run.value >= 2_000_000, "{run:?}");
    let tracks = recorder.snapshot().tracks;
    let spawned = records(&tracks, Event::Spawn).find(|(_, record)| site(record) == place);
    let (track, spawned) = spawned.expect("its spawn is recorded");
    assert_eq!((track, spawned.id), ("pool-0", run.id));
    assert!(spawned.at_ns <= run.at_ns);
    eventually("the worker parks", || {
        // A wait is recorded when it is over.
        let _ = class.run(|| ()).unwrap().join();
        records(&recorder.snapshot().tracks, Event::Park).count() > 0
    });
    pool.stop(PATIENCE);
}

#[test]
fn every_task_counts_in_the_distributions() {
    let (pool, class) = pool(2, &Recorder::off());
    let long = Duration::from_millis(3);
    let tasks: Vec<_> = (0..20)
        .map(|_| class.run(move || std::thread::sleep(long)).unwrap())
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    let handle = pool.handle();
    eventually("all runs are counted", || {
        handle.distributions().run_time.count() >= 20
    });
    let distributions = handle.distributions();
    let run_time = &distributions.run_time;
    assert_eq!(run_time.count(), 20);
    assert!(run_time.sum >= 20 * long.as_nanos() as u64);
    assert!(run_time.distribution.value_at_quantile(0.5) >= 2_900_000);
    // Two run at once, so the last of ten pairs has waited for the other nine.
    let latency = &distributions.latency;
    assert_eq!(latency.count(), 20);
    assert!(latency.distribution.max() >= 9 * 2_900_000, "{latency:?}");
    assert!(distributions.queue_depth.count() >= 20);
    pool.stop(PATIENCE);
}

#[test]
fn short_tasks_are_counted_in_batches_and_none_is_forgotten() {
    const TASKS: u64 = 100_000;
    let recorder = Recorder::new(1 << 16);
    let (pool, class) = pool(1, &recorder);
    let handle = pool.handle();
    let done = class.run(|| {
        for _ in 0..TASKS {
            while tasks::run(|| ()).is_err() {
                tasks::checkpoint();
                std::thread::yield_now();
            }
        }
    });
    done.unwrap().join().unwrap();
    eventually("all runs are counted", || {
        handle.distributions().run_time.count() > TASKS
    });
    assert_eq!(handle.distributions().run_time.count(), TASKS + 1);
    let tracks = recorder.snapshot().tracks;
    let largest = records(&tracks, Event::RunBatch).map(|(_, record)| record.id);
    assert!(largest.max() > Some(1), "no batches");
    // A sample stands for all.
    let sampled = handle.distributions().latency.count();
    assert!((TASKS / 2..=TASKS * 2).contains(&sampled), "{sampled}");
    pool.stop(PATIENCE);
}

#[test]
fn a_spawn_from_a_recorded_thread_is_on_its_track() {
    let recorder = Recorder::new(1 << 16);
    let (pool, class) = pool(1, &recorder);
    let writer = std::rc::Rc::new(recorder.track("outside"));
    writer.enter();
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let task = class.run(move || told.store(true, Ordering::Relaxed));
    task.unwrap().join().unwrap();
    let tracks = recorder.snapshot().tracks;
    let (track, _) = records(&tracks, Event::Spawn).next().expect("a spawn");
    assert_eq!(track, "outside");
    assert!(done.load(Ordering::Relaxed));
    pool.stop(PATIENCE);
}

#[test]
fn schedtrace_has_the_fields_of_gos() {
    let (pool, class) = pool(2, &Recorder::off());
    let (lines, told) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let (started, is_up) = mpsc::channel();
    let task = class.run(move || {
        started.send(()).unwrap();
        let _ = wait.recv();
    });
    is_up.recv().unwrap();
    let trace = SchedTrace {
        period: Duration::from_millis(5),
        detail: true,
    };
    trace.start(&pool.handle(), move |text: &str| {
        let _ = lines.send(text.to_owned());
    });
    let first = told.recv_timeout(PATIENCE).unwrap();
    let second = told.recv_timeout(PATIENCE).unwrap();
    assert!(
        first.starts_with("SCHED 0ms: gomaxprocs=2 idleprocs="),
        "{first}"
    );
    for text in [first, second] {
        let mut lines = text.lines();
        let summary = lines.next().unwrap();
        let names: Vec<&str> = summary
            .split(' ')
            .filter_map(|word| word.split_once('=').map(|(name, _)| name))
            .collect();
        let gos = [
            "gomaxprocs",
            "idleprocs",
            "threads",
            "spinningthreads",
            "needspinning",
            "idlethreads",
            "runqueue",
            "schedticks",
        ];
        assert_eq!(names, gos, "{summary}");
        let queues = summary
            .split_once('[')
            .unwrap()
            .1
            .split_once(']')
            .unwrap()
            .0;
        assert_eq!(queues.split(' ').count(), 2, "{summary}");
        let of = |kind: char| {
            text.lines()
                .filter(move |line| line.trim_start().starts_with(kind))
        };
        assert_eq!(of('P').count(), 2, "{text}");
        assert!(of('M').count() >= 1, "{text}");
        let tasks: Vec<&str> = of('G').collect();
        assert_eq!(tasks.len(), 1, "{text}");
        assert!(tasks[0].contains("class=work") && tasks[0].contains("tests/tasks/observed.rs:"));
    }
    release.send(()).unwrap();
    task.unwrap().join().unwrap();
    assert!(pool.stop(PATIENCE).is_clean());
}
