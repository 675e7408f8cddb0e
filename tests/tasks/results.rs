//! Tasks and their results.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headwater::tasks::{self, Class, ClassOptions, Options, Pool, Priority, Saturated, TaskError};

fn pool(workers: usize) -> Pool {
    Pool::start(Options {
        workers,
        name: "test".to_owned(),
        ..Options::default()
    })
    .expect("a pool")
}

fn class(pool: &Pool, queue_limit: usize) -> Class {
    pool.handle()
        .class(ClassOptions {
            queue_limit,
            ..ClassOptions::default()
        })
        .expect("a class")
}

fn background(pool: &Pool) -> Class {
    let options = ClassOptions {
        name: "back".to_owned(),
        priority: Priority::Background,
        queue_limit: 100,
    };
    pool.handle().class(options).expect("a class")
}

/// A future that is ready when `message` arrives, and wakes its task from another thread.
fn from_elsewhere<T: Send + 'static>(message: T) -> impl Future<Output = T> + Send {
    let (mut message, mut started) = (Some(message), false);
    let (sender, receiver) = mpsc::channel();
    let receiver = std::sync::Mutex::new(receiver);
    std::future::poll_fn(move |cx| {
        if !std::mem::replace(&mut started, true) {
            let (sender, waker) = (sender.clone(), cx.waker().clone());
            let message = message.take().expect("it starts once");
            std::thread::spawn(move || {
                sender.send(message).expect("somebody listens");
                waker.wake();
            });
        }
        match receiver.lock().expect("no panic").try_recv() {
            Ok(message) => Poll::Ready(message),
            Err(_) => Poll::Pending,
        }
    })
}

#[test]
fn closures_and_futures_give_their_results() {
    let pool = pool(2);
    let class = class(&pool, 1000);
    assert_eq!(class.run(|| 6 * 7).unwrap().join(), Ok(42));
    assert_eq!(class.spawn(async { "ready" }).unwrap().join(), Ok("ready"));
    let waits = class.spawn(async { from_elsewhere(1).await + from_elsewhere(2).await });
    assert_eq!(waits.unwrap().join(), Ok(3));
    // What does not fit into a task's own memory.
    let large = [7_u8; 5000];
    let task = class.run(move || (large, large.map(u64::from)));
    let (bytes, words) = task.unwrap().join().unwrap();
    assert!(bytes == large && words.iter().sum::<u64>() == 35_000);
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn a_result_can_be_awaited_on_any_executor() {
    let pool = pool(1);
    let class = class(&pool, 10);
    let (open, gate) = mpsc::channel();
    let task = class.run(move || gate.recv().expect("it opens"));
    let mut task = pin!(task.unwrap());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(task.as_mut().poll(&mut cx).is_pending());
    open.send(5).expect("it waits");
    assert_eq!(class.run(move || 1).unwrap().join(), Ok(1));
    assert!(matches!(task.as_mut().poll(&mut cx), Poll::Ready(Ok(5))));
    assert!(task.as_mut().poll(&mut cx).is_pending(), "it was taken");
}

#[test]
fn tasks_spawn_tasks_and_await_them() {
    fn fib(n: u64) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if n < 2 {
                return n;
            }
            let other = tasks::spawn(fib(n - 1)).expect("room");
            fib(n - 2).await + other.await.expect("a result")
        })
    }
    for workers in [1, 2, 5] {
        let pool = pool(workers);
        let class = class(&pool, 100_000);
        assert_eq!(class.spawn(fib(16)).unwrap().join(), Ok(987));
        assert!(pool.stop(Duration::from_secs(60)).is_clean());
    }
}

#[test]
fn a_task_that_spawns_a_million_others_is_told_when_it_is_too_many() {
    const LIMIT: usize = 5000;
    let pool = pool(2);
    let class = class(&pool, LIMIT);
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let spawner = class.run(move || {
        let (mut spawned, mut refused) = (0, 0);
        while spawned + refused < 1_000_000 {
            let done = Arc::clone(&counted);
            match tasks::run(move || done.fetch_add(1, Ordering::Relaxed)) {
                Ok(_) => spawned += 1,
                Err(Saturated { .. }) => refused += 1,
            }
        }
        spawned
    });
    let spawned = spawner.unwrap().join().unwrap();
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
    assert_eq!(done.load(Ordering::Relaxed), spawned, "each ran once");
}

#[test]
fn a_full_class_refuses_at_once_and_recovers() {
    let pool = pool(1);
    let class = class(&pool, 3);
    let (open, gate) = mpsc::channel::<()>();
    let held = class.run(move || gate.recv().is_err()).unwrap();
    let queued = [class.run(|| 1).unwrap(), class.run(|| 2).unwrap()];
    let refused = class.run(|| 3).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "3 tasks of class \"work\" are unfinished; try again when some have ended"
    );
    let other = pool.handle().class(ClassOptions::default()).unwrap();
    drop(other.run(|| ()).expect("another class has room"));
    drop(open);
    assert_eq!(held.join(), Ok(true));
    assert_eq!(queued.map(|task| task.join()), [Ok(1), Ok(2)]);
    for n in 0..10 {
        assert_eq!(class.run(move || n).unwrap().join(), Ok(n), "room again");
    }
    assert_eq!(pool.snapshot().classes[0].refused, 1);
}

#[test]
fn a_panic_is_an_error_for_its_caller_and_nothing_else() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let pool = pool(1);
    let class = class(&pool, 100);
    let panicked = |text: &str| Err(TaskError::Panicked(text.to_owned()));
    let text = class.run(|| -> u8 { panic!("a text") }).unwrap();
    assert_eq!(text.join(), panicked("a text"));
    let formatted = class.run(|| -> u8 { panic!("{} {}", 1, 2) }).unwrap();
    assert_eq!(formatted.join(), panicked("1 2"));
    let other = class.run(|| -> u8 { std::panic::panic_any(7) }).unwrap();
    assert_eq!(other.join(), panicked("a panic without a text"));
    let late = class.spawn(async {
        tasks::yield_now().await;
        panic!("late");
    });
    assert_eq!(late.unwrap().join(), panicked("late").map(|_: u8| ()));
    let bomb = PanicsWhenDropped;
    let dropped = class.spawn(async move {
        let _bomb = &bomb;
        std::future::ready(()).await;
    });
    assert_eq!(dropped.unwrap().join(), panicked("dropped").map(|_: u8| ()));
    let payload = class.run(|| -> u8 { std::panic::panic_any(PanicsWhenDropped) });
    assert_eq!(payload.unwrap().join(), panicked("a panic without a text"));
    // A result whose handle was dropped.
    drop(class.run(|| PanicsWhenDropped).unwrap());
    assert_eq!(class.run(|| 1).unwrap().join(), Ok(1));
    let report = pool.stop(Duration::from_secs(60));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_task_whose_receiver_is_gone_runs_and_its_result_is_dropped() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let pool = pool(2);
    let class = class(&pool, 10_000);
    for n in 0..1000 {
        let counted = Counted(Arc::clone(&dropped));
        let task = class.run(move || counted).unwrap();
        if n % 2 == 0 {
            // At any moment of its life.
            (0..n).for_each(|_| std::hint::spin_loop());
        }
        drop(task);
    }
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
    assert_eq!(dropped.load(Ordering::SeqCst), 1000);
}

#[test]
fn all_workers_run_tasks_at_the_same_time() {
    for workers in [1, 2, 3, 8] {
        let pool = pool(workers);
        let class = class(&pool, 1000);
        for _ in 0..20 {
            // From outside, and from inside, where the others must steal.
            let barrier = Arc::new(Barrier::new(workers));
            let wait = |barrier: &Arc<Barrier>| {
                let barrier = Arc::clone(barrier);
                move || _ = barrier.wait()
            };
            let outside: Vec<_> = (0..workers)
                .map(|_| class.run(wait(&barrier)).unwrap())
                .collect();
            outside
                .into_iter()
                .for_each(|task| task.join().expect("all met"));
            let all: Vec<_> = (1..workers).map(|_| wait(&barrier)).collect();
            let own = wait(&barrier);
            let spawner = class.run(move || {
                let others: Vec<_> = all.into_iter().map(|w| tasks::run(w).unwrap()).collect();
                own();
                others
            });
            let others = spawner.unwrap().join().unwrap();
            others
                .into_iter()
                .for_each(|task| task.join().expect("all met"));
        }
    }
}

#[test]
fn background_work_gives_way() {
    let pool = pool(1);
    let front = class(&pool, 10_000);
    let back = background(&pool);
    let (open, gate) = mpsc::channel::<()>();
    let (note, order) = mpsc::channel();
    let first = front.run(move || gate.recv().is_err()).unwrap();
    for n in 0..10 {
        let note = note.clone();
        drop(back.run(move || note.send(("back", n))).unwrap());
    }
    for n in 0..1000 {
        let note = note.clone();
        drop(front.run(move || note.send(("front", n))).unwrap());
    }
    drop((open, note));
    assert_eq!(first.join(), Ok(true));
    let order: Vec<_> = order.into_iter().collect();
    let of = |name: &str| {
        let mine = order.iter().filter(|(class, _)| *class == name);
        mine.map(|(_, n)| *n).collect::<Vec<_>>()
    };
    assert_eq!(of("front").len(), 1000);
    assert_eq!(of("back"), (0..10).collect::<Vec<_>>());
    // Those that went before others because they had waited for long, if any.
    let last = order.iter().rposition(|(class, _)| *class == "front");
    let early: Vec<_> = (0..last.expect("there were some"))
        .filter(|at| order[*at].0 == "back")
        .collect();
    let every = headwater::limits::TASK_BACKGROUND_TICK as usize;
    assert!(
        early.windows(2).all(|pair| pair[1] - pair[0] >= every),
        "{early:?}"
    );
}

#[test]
fn background_work_has_its_turn_whatever_else_there_is() {
    fn chain(ran: Arc<AtomicBool>) {
        if !ran.load(Ordering::Relaxed) {
            drop(tasks::run(move || chain(ran)).unwrap());
        }
    }
    let pool = pool(1);
    let front = class(&pool, 100);
    let back = background(&pool);
    let ran = Arc::new(AtomicBool::new(false));
    for _ in 0..8 {
        let ran = Arc::clone(&ran);
        drop(front.run(move || chain(ran)).unwrap());
    }
    let done = Arc::clone(&ran);
    let task = back.run(move || done.store(true, Ordering::Relaxed));
    assert_eq!(task.unwrap().join(), Ok(()));
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let start = |workers, cpus| {
        Pool::start(Options {
            workers,
            cpus,
            ..Options::default()
        })
    };
    let message =
        |result: Result<Pool, tasks::PoolError>| result.err().expect("an error").to_string();
    assert!(message(start(0, vec![])).contains("ask for 1 to 1024"));
    assert!(message(start(1025, vec![])).contains("ask for 1 to 1024"));
    assert!(message(start(1, vec![8191])).contains("taskset"));
    let nice = Pool::start(Options {
        scheduling: tasks::Scheduling::Batch,
        nice: Some(19),
        ..Options::default()
    });
    assert!(nice.is_ok(), "it needs no privilege");
    let pool = pool(1);
    let none = pool.handle().class(ClassOptions {
        queue_limit: 0,
        ..ClassOptions::default()
    });
    assert!(none.is_err());
    let outside = std::panic::catch_unwind(|| tasks::run(|| ()));
    assert!(outside.is_err(), "no pool to run it in");
    tasks::checkpoint();
    assert_eq!(tasks::block_in_place(|| 1), 1);
}

#[test]
fn the_monitor_watches_what_it_is_given() {
    let pool = pool(1);
    let (called, calls) = mpsc::channel();
    let mut again = [Some(Duration::from_millis(1)), None].into_iter();
    pool.handle().watch(move |now_ns| {
        called.send(now_ns).expect("somebody listens");
        again.next().flatten()
    });
    let first = calls.recv().expect("at once");
    assert!(calls.recv().expect("when it asked") >= first + 1_000_000);
    pool.handle().wake_monitor();
    calls.recv().expect("when it is told to");
}
