//! Fork-join in the pool: results, borrows, panics, and which thread runs a half.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use headwater::tasks::{self, Class, ClassOptions, Options, Pool, Priority, TaskError, join};

fn pool(workers: usize) -> (Pool, Class) {
    class_of(workers, ClassOptions::default())
}

fn class_of(workers: usize, options: ClassOptions) -> (Pool, Class) {
    let pool = Pool::start(Options {
        workers,
        ..Options::default()
    })
    .expect("threads can be started");
    let class = pool.handle().class(options).expect("a first class");
    (pool, class)
}

fn sum(numbers: &[u64]) -> u64 {
    match numbers {
        [] => 0,
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            let (left, right) = join(|| sum(left), || sum(right));
            left + right
        }
    }
}

fn stop(pool: Pool) {
    let report = pool.stop(Duration::from_secs(20));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn halves_that_borrow_add_up() {
    for workers in [1, 2, 4] {
        let (pool, class) = pool(workers);
        let roots: Vec<_> = (0..8)
            .map(|n| {
                let numbers: Vec<u64> = (n..n + 20_000).collect();
                let expected = numbers.iter().sum::<u64>();
                let root = class.run(move || sum(&numbers)).expect("room");
                (root, expected)
            })
            .collect();
        for (root, expected) in roots {
            assert_eq!(root.join(), Ok(expected), "{workers} workers");
        }
        stop(pool);
    }
}

#[test]
fn outside_a_pool_one_runs_after_the_other() {
    let order = Mutex::new(Vec::new());
    let note = |what| order.lock().expect("nobody panics with it").push(what);
    assert_eq!(join(|| note("a"), || note("b")), ((), ()));
    assert_eq!(order.into_inner().expect("as above"), ["a", "b"]);
}

#[test]
fn another_worker_takes_the_second_half() {
    let (pool, class) = pool(2);
    // Neither half can end alone.
    let both = Barrier::new(2);
    let meet = move || {
        let (a, b) = join(
            || both.wait().is_leader(),
            || (both.wait().is_leader(), std::thread::current().id()),
        );
        assert_ne!(b.1, std::thread::current().id());
        a != b.0
    };
    assert_eq!(class.run(meet).expect("room").join(), Ok(true));
    stop(pool);
}

#[test]
fn a_panic_comes_out_of_the_join_when_both_halves_are_over() {
    let (pool, class) = pool(2);
    let checks = move || {
        let text =
            |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<&str>().expect("a text");
        for _ in 0..200 {
            let ended = AtomicBool::new(false);
            let end = || ended.store(true, Ordering::Release);
            let caught = catch_unwind(AssertUnwindSafe(|| join(|| panic!("first"), end)));
            assert_eq!(caught.map_err(text), Err::<((), ()), _>("first"));
            let caught = catch_unwind(AssertUnwindSafe(|| join(end, || panic!("second"))));
            assert_eq!(caught.map_err(text), Err::<((), ()), _>("second"));
            assert!(ended.load(Ordering::Acquire));
            let both = || join(|| panic!("first"), || panic!("second"));
            let caught = catch_unwind(AssertUnwindSafe(both));
            assert_eq!(caught.map_err(text), Err::<((), ()), _>("first"));
        }
    };
    assert_eq!(class.run(checks).expect("room").join(), Ok(()));
    let lost = class
        .run(|| join(|| (), || panic!("half a task")))
        .expect("room");
    let told = TaskError::Panicked("half a task".to_owned());
    assert_eq!(lost.join(), Err(told));
    stop(pool);
}

#[test]
fn halves_spawn_tasks_of_their_own() {
    let (pool, class) = pool(2);
    let root = class.run(|| {
        let spawn = |n: u64| tasks::run(move || n).expect("room");
        let (a, b) = join(
            || (0..300).map(spawn).collect::<Vec<_>>(),
            || (300..600).map(spawn).collect::<Vec<_>>(),
        );
        a.into_iter().chain(b).collect::<Vec<_>>()
    });
    let tasks = root.expect("room").join().expect("no half panics");
    let sum: u64 = tasks
        .into_iter()
        .map(|task| task.join().expect("it ends"))
        .sum();
    assert_eq!(sum, (0..600).sum::<u64>());
    stop(pool);
}

#[test]
fn a_class_without_room_joins_all_the_same() {
    let (pool, class) = class_of(
        2,
        ClassOptions {
            queue_limit: 1,
            priority: Priority::Background,
            ..ClassOptions::default()
        },
    );
    let numbers: Vec<u64> = (0..5_000).collect();
    let root = class.run(move || sum(&numbers)).expect("room for one");
    assert_eq!(root.join(), Ok((0..5_000).sum::<u64>()));
    stop(pool);
}

#[test]
fn joins_are_done_when_the_pool_stops() {
    for _ in 0..20 {
        let (pool, class) = pool(2);
        let numbers: Vec<u64> = (0..50_000).collect();
        let root = class.run(move || sum(&numbers)).expect("room");
        // It may have begun, or be over, or neither.
        drop(pool);
        match root.join() {
            Ok(sum) => assert_eq!(sum, (0..50_000).sum::<u64>()),
            Err(error) => assert_eq!(error, TaskError::Stopped),
        }
    }
}
