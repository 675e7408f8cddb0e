//! Stopping a pool: it ends in time whatever its tasks do, and reports the unfinished ones.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::pool::pool;
use headwater::tasks::{TaskError, TaskState};

#[test]
fn a_full_pool_that_is_stopped_in_time_does_all_its_work() {
    let (pool, class) = pool(2);
    let spawned: Vec<_> = (0..5000).map(|n| class.run(move || n).unwrap()).collect();
    let report = pool.stop(Duration::from_secs(60));
    assert!(report.is_clean(), "{report}");
    let results = spawned.into_iter().map(|task| task.join());
    assert!(results.eq((0..5000).map(Ok)));
}

#[test]
fn a_full_pool_that_is_not_done_in_time_says_what_was_left() {
    let (pool, class) = pool(1);
    let (open, gate) = mpsc::channel::<()>();
    let (begun, running) = mpsc::channel();
    let held = class
        .run(move || {
            begun.send(()).expect("somebody waits");
            gate.recv().is_err()
        })
        .unwrap();
    running.recv().expect("it runs");
    let queued: Vec<_> = (0..100).map(|n| class.run(move || n).unwrap()).collect();
    let never = class.spawn(std::future::pending::<u8>()).unwrap();
    let asked = Instant::now();
    let report = pool.stop(Duration::from_millis(5));
    assert!(asked.elapsed() < Duration::from_secs(60));
    assert_eq!(report.left.count(), 102);
    assert_eq!(report.left.in_state(TaskState::Running), 1);
    let text = report.to_string();
    assert!(
        text.starts_with("102 tasks were not done in time: 1 still run, 101 were"),
        "{text}"
    );
    assert!(text.contains(file!()), "{text}");
    for task in queued {
        assert_eq!(task.join(), Err(TaskError::Stopped));
    }
    assert_eq!(never.join(), Err(TaskError::Stopped));
    // The one that ran goes on, and its result arrives.
    drop(open);
    assert_eq!(held.join(), Ok(true));
    // What comes afterwards is stopped at once.
    assert_eq!(class.run(|| 1).unwrap().join(), Err(TaskError::Stopped));
}

#[test]
fn waiting_tasks_are_dropped_with_the_pool() {
    let (pool, class) = pool(2);
    let (sender, receiver) = mpsc::channel::<()>();
    let task = class.spawn(async move {
        let _sender = sender;
        std::future::pending::<()>().await;
    });
    drop(pool);
    assert!(receiver.recv().is_err(), "what it owned was dropped");
    assert_eq!(task.unwrap().join(), Err(TaskError::Stopped));
}

#[test]
fn a_pool_may_be_dropped_by_its_own_task() {
    let (pool, class) = pool(2);
    let task = class.run(move || drop(pool)).unwrap();
    assert_eq!(task.join(), Ok(()));
}

#[test]
fn a_task_that_ends_after_its_pool_leaves_nothing_behind() {
    let (pool, class) = pool(1);
    let (open, gate) = mpsc::channel::<()>();
    let (begun, running) = mpsc::channel();
    let inner = class.clone();
    let held = class.spawn(async move {
        begun.send(()).expect("somebody waits");
        let _ = gate.recv();
        let late = inner.run(|| 1).expect("no limit").join();
        headwater::tasks::yield_now().await;
        late
    });
    running.recv().expect("it runs");
    assert!(!pool.stop(Duration::ZERO).is_clean());
    drop(open);
    assert_eq!(held.unwrap().join(), Err(TaskError::Stopped));
}
