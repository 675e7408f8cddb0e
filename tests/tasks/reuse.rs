//! Reuse of pools' numbers, classes and task cells: nothing of the old one leaks into the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use headwater::tasks::{self, Class, ClassOptions, Options, Pool, TaskState};

/// Long beyond what any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn pool(name: &str, workers: usize) -> (Pool, Class) {
    let pool = Pool::start(Options {
        workers,
        name: name.to_owned(),
        ..Options::default()
    })
    .expect("a pool");
    let class = pool.handle().class(ClassOptions::default());
    (pool, class.expect("a class"))
}

/// Spins until the flag is set; gives up after [`PATIENCE`].
fn wait(flag: &AtomicBool) {
    let start = Instant::now();
    while !flag.load(Ordering::SeqCst) && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

/// A task that says that it runs, does `first`, and keeps its worker until `go`.
fn hold(
    class: &Class,
    busy: &Arc<AtomicBool>,
    go: &Arc<AtomicBool>,
    first: impl FnOnce() + Send + 'static,
) -> tasks::Task<()> {
    let (busy, go) = (Arc::clone(busy), Arc::clone(go));
    let hold = move || {
        busy.store(true, Ordering::SeqCst);
        first();
        wait(&go);
    };
    class.run(hold).unwrap()
}

/// A join that claims its half back leaves the half's entry in the queue if other tasks came
/// after it. The entry names a cell that another pool may use by then.
#[test]
fn a_task_runs_in_its_own_pool_though_another_has_stale_queue_entries() {
    let (pool_a, class_a) = pool("poola", 2);
    let (pool_b, class_b) = pool("poolb", 1);
    // Finished tasks whose results are not taken hold their cells: taking the results below puts
    // those cells where the other pool finds them next.
    let mut finished: Vec<_> = (0..400).map(|_| class_a.run(|| ()).unwrap()).collect();
    let start = Instant::now();
    let live = || pool_a.handle().live_tasks(Duration::ZERO, 0);
    while live().in_state(TaskState::Done) < 400 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    let [b_busy, b_go, a_busy, a_go, others_go, ready] = [(); 6].map(|()| flag());
    // Keeps the worker of pool b from its tasks.
    let holder = hold(&class_b, &b_busy, &b_go, || tasks::block_in_place(|| ()));
    wait(&b_busy);
    // Keeps the other worker of pool a from stealing.
    let other = hold(&class_a, &a_busy, &others_go, || ());
    wait(&a_busy);
    let joiner = {
        let (ready, go) = (Arc::clone(&ready), Arc::clone(&a_go));
        let join = move || {
            let mut take = |count| {
                for mut task in finished.drain(..count) {
                    assert_eq!(task.try_take(), Some(Ok(())));
                }
            };
            take(100);
            let spawn = || (0..3).for_each(|_| drop(tasks::run(|| ()).unwrap()));
            tasks::join(spawn, || ());
            take(100);
            ready.store(true, Ordering::SeqCst);
            wait(&go);
        };
        class_a.run(join).unwrap()
    };
    wait(&ready);
    let (told, names) = mpsc::channel();
    let from = class_b.clone();
    // On a thread of its own, which has no cells of its own yet.
    let spawner = std::thread::spawn(move || {
        for _ in 0..400 {
            let told = told.clone();
            let name = move || {
                let name = std::thread::current().name().unwrap_or("").to_owned();
                let _ = told.send(name);
            };
            drop(from.run(name).unwrap());
        }
    });
    spawner.join().unwrap();
    a_go.store(true, Ordering::SeqCst);
    assert_eq!(joiner.join(), Ok(()));
    others_go.store(true, Ordering::SeqCst);
    assert_eq!(other.join(), Ok(()));
    // Pool a has looked at all entries of its queues when it runs what comes after them.
    (0..4).for_each(|n| assert_eq!(class_a.run(move || n).unwrap().join(), Ok(n)));
    b_go.store(true, Ordering::SeqCst);
    assert_eq!(holder.join(), Ok(()));
    let names: Vec<String> = names.iter().collect();
    let strange: Vec<_> = names.iter().filter(|n| !n.starts_with("poolb")).collect();
    assert!(names.len() == 400 && strange.is_empty(), "{strange:?}");
    // A task that ended in the wrong pool is never counted as done in its own.
    for pool in [pool_a, pool_b] {
        let report = pool.stop(PATIENCE);
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn classes_come_and_go_for_ever() {
    let (pool, lasting) = pool("classes", 2);
    for n in 0..5000_u64 {
        let class = pool.handle().class(ClassOptions {
            name: format!("class {n}"),
            ..ClassOptions::default()
        });
        let class = class.unwrap_or_else(|error| panic!("class {n}: {error}"));
        // From outside, and from inside, where workers reserve room for more.
        assert_eq!(class.run(move || n).unwrap().join(), Ok(n));
        let twice = class.run(move || tasks::run(move || 2 * n).unwrap().join());
        assert_eq!(twice.unwrap().join(), Ok(Ok(2 * n)));
        assert_eq!(lasting.run(move || n).unwrap().join(), Ok(n));
    }
    let names: Vec<_> = pool
        .snapshot()
        .classes
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert!(names.len() <= headwater::limits::TASK_CLASSES_MAX);
    assert_eq!(names[0], lasting.name());
    let report = pool.stop(PATIENCE);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_class_stays_while_it_has_tasks_and_makes_room_when_they_are_over() {
    let (pool, _first) = pool("room", 1);
    let enter = || pool.handle().class(ClassOptions::default());
    let (open, gate) = mpsc::channel::<()>();
    // All of them have lost their `Class`, but the last one has a task.
    let kept: Vec<_> = std::iter::from_fn(|| enter().ok()).collect();
    let last = kept.last().unwrap();
    let task = last.run(move || gate.recv().is_err()).unwrap();
    assert!(enter().is_err(), "the table is full");
    drop(kept);
    let full = headwater::limits::TASK_CLASSES_MAX - 2;
    let again: Vec<_> = (0..full).map(|_| enter().unwrap()).collect();
    assert!(enter().is_err(), "a class with a task keeps its room");
    drop(open);
    assert_eq!(task.join(), Ok(true));
    let start = Instant::now();
    while enter().is_err() {
        assert!(start.elapsed() < PATIENCE, "the room of its class is free");
        std::thread::yield_now();
    }
    drop(again);
    assert!(pool.stop(PATIENCE).is_clean());
}

#[test]
fn pools_come_and_go_for_ever() {
    // More than there may be at one time.
    for n in 0..2 * headwater::limits::TASK_POOLS_MAX {
        let (pool, class) = pool("short", 1);
        assert_eq!(class.run(move || n).unwrap().join(), Ok(n));
        let waits = class.spawn(std::future::pending::<()>()).unwrap();
        drop(pool);
        assert_eq!(waits.join(), Err(tasks::TaskError::Stopped));
        assert!(class.run(|| ()).unwrap().join().is_err());
    }
}
