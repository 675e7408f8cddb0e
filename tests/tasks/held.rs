//! Tasks that hold their worker: other tasks still run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::pool::pool;
use headwater::limits;
use headwater::tasks::{self, ClassOptions, TaskState, WorkerState};

/// Long beyond what any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Computes until the flag is set.
fn compute(until: &AtomicBool) {
    while !until.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_task_that_never_ends_holds_nobody_up() {
    let (pool, class) = pool(1);
    let end = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&end);
    let line = line!() + 1;
    let endless = class.run(move || compute(&until)).unwrap();
    // Behind it in the common queue, on the only worker.
    for n in 0..100 {
        assert_eq!(class.run(move || n).unwrap().join(), Ok(n));
    }
    let snapshot = pool.snapshot();
    assert!(snapshot.overruns > 0 && snapshot.hand_offs > 0);
    let held = snapshot.threads_by_number.iter();
    let held: Vec<_> = held.filter(|w| w.state == WorkerState::Held).collect();
    let task = held[0].task.as_ref().expect("it runs");
    assert!(task.overrun && held[0].processor.is_none());
    assert_eq!((task.site.file(), task.site.line()), (file!(), line));
    let live = pool.handle().live_tasks(Duration::from_millis(5), 10);
    assert_eq!((live.count(), live.in_state(TaskState::Running)), (1, 1));
    assert!(live.oldest[0].to_string().contains("an overrun"));
    end.store(true, Ordering::Relaxed);
    assert_eq!(endless.join(), Ok(()));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn what_a_held_task_spawned_is_run_by_others() {
    let (pool, class) = pool(1);
    let spawner = class.run(|| {
        let (done, all) = mpsc::channel();
        for n in 0..10 {
            let done = done.clone();
            drop(tasks::run(move || done.send(n)).unwrap());
        }
        drop(done);
        // Holds its worker until they have run, and does not say that it blocks.
        let mut seen: Vec<i32> = all.iter().collect();
        seen.sort_unstable();
        seen
    });
    assert_eq!(spawner.unwrap().join(), Ok((0..10).collect()));
    drop(pool);
}

#[test]
fn more_endless_tasks_than_workers_still_leave_room() {
    let (pool, class) = pool(2);
    let end = Arc::new(AtomicBool::new(false));
    let endless: Vec<_> = (0..6)
        .map(|_| {
            let end = Arc::clone(&end);
            class.run(move || compute(&end)).unwrap()
        })
        .collect();
    assert_eq!(class.run(|| 1).unwrap().join(), Ok(1));
    end.store(true, Ordering::Relaxed);
    endless
        .into_iter()
        .for_each(|task| assert_eq!(task.join(), Ok(())));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn a_task_that_waits_for_a_lock_of_another_task_gets_it() {
    let (pool, class) = pool(1);
    let lock = Arc::new(Mutex::new(0));
    let (ready, held) = mpsc::channel();
    let owner = Arc::clone(&lock);
    let (go, gate) = mpsc::channel();
    let first = class.spawn(async move {
        let mut guard = owner.lock().expect("no panic");
        ready.send(()).expect("somebody waits");
        tasks::block_in_place(|| gate.recv()).expect("the other has begun");
        *guard += 1;
    });
    held.recv().expect("it holds the lock");
    let wanted = Arc::clone(&lock);
    let second = class.run(move || {
        go.send(()).expect("the first waits");
        *wanted.lock().expect("no panic") += 1;
    });
    assert_eq!(first.unwrap().join(), Ok(()));
    assert_eq!(second.unwrap().join(), Ok(()));
    assert_eq!(*lock.lock().unwrap(), 2);
    drop(pool);
}

#[test]
fn blocking_hands_the_queue_on_at_once() {
    let (pool, class) = pool(1);
    let task = class.run(|| {
        let (done, wait) = mpsc::channel();
        for n in 0..3 {
            let done = done.clone();
            drop(tasks::run(move || done.send(n)).unwrap());
        }
        tasks::block_in_place(|| wait.iter().take(3).count())
    });
    assert_eq!(task.unwrap().join(), Ok(3));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn a_task_may_join_another_on_the_only_worker() {
    let (pool, class) = pool(1);
    let inner = class.clone();
    let task = class.run(move || inner.run(|| 7).unwrap().join());
    assert_eq!(task.unwrap().join(), Ok(Ok(7)));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn a_long_task_lets_others_go_first_at_its_checkpoints() {
    let (pool, class) = pool(1);
    let end = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&end);
    let (begun, running) = mpsc::channel();
    let long = class.run(move || {
        begun.send(()).expect("somebody waits");
        while !until.load(Ordering::Relaxed) {
            tasks::checkpoint();
        }
    });
    running.recv().expect("it runs");
    for n in 0..50 {
        assert_eq!(class.run(move || n).unwrap().join(), Ok(n));
    }
    end.store(true, Ordering::Relaxed);
    assert_eq!(long.unwrap().join(), Ok(()));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn any_number_of_long_tasks_with_checkpoints_ends() {
    let (pool, front) = pool(2);
    let back = pool.handle().class(ClassOptions {
        name: "back".to_owned(),
        priority: tasks::Priority::Background,
        queue_limit: 1000,
    });
    let back = back.expect("a class");
    let many = 2 * (limits::TASK_SPARES_MAX + 2);
    for class in [&front, &back] {
        let long: Vec<_> = (0..many)
            .map(|_| {
                let turns = || (0..10_000).for_each(|_| tasks::checkpoint());
                class.run(turns).unwrap()
            })
            .collect();
        // Interactive work keeps coming meanwhile.
        for n in 0..1000 {
            assert_eq!(front.run(move || n).unwrap().join(), Ok(n));
        }
        long.into_iter()
            .for_each(|task| assert_eq!(task.join(), Ok(())));
    }
    assert!(pool.snapshot().threads <= 2 + limits::TASK_SPARES_MAX);
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn more_blocked_tasks_than_there_may_be_threads_end() {
    let (pool, class) = pool(1);
    let (open, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let many: Vec<_> = (0..2 * limits::TASK_SPARES_MAX)
        .map(|_| {
            let gate = Arc::clone(&gate);
            let wait = move || tasks::block_in_place(|| gate.lock().unwrap().recv().is_ok());
            class.run(wait).unwrap()
        })
        .collect();
    for _ in &many {
        open.send(()).expect("they wait");
    }
    many.into_iter()
        .for_each(|task| assert_eq!(task.join(), Ok(true)));
    assert!(pool.stop(Duration::from_secs(60)).is_clean());
}

#[test]
fn a_spare_thread_ends_without_a_trace() {
    let (pool, class) = pool(1);
    let (wake, woken) = mpsc::channel();
    let mut told = false;
    let waits = class.spawn(std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut told, true) {
            return std::task::Poll::Ready(7);
        }
        wake.send(cx.waker().clone()).expect("somebody listens");
        std::task::Poll::Pending
    }));
    let waker = woken.recv().expect("it waits");
    // Needs a thread beside the worker.
    let inner = class.clone();
    let joins = class.run(move || inner.run(|| 1).unwrap().join());
    assert_eq!(joins.unwrap().join(), Ok(Ok(1)));
    while pool.snapshot().threads > 1 {
        std::thread::sleep(Duration::from_millis(10));
    }
    waker.wake();
    assert_eq!(waits.unwrap().join(), Ok(7));
}

/// Keeps the processor until the flag is set.
fn wait(flag: &AtomicBool) {
    let start = Instant::now();
    while !flag.load(Ordering::SeqCst) && start.elapsed() < PATIENCE {
        std::hint::spin_loop();
    }
}

/// Keeps the processor for a time.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// In a join, a worker runs tasks of others while it waits. If it has lost its processor, others
/// can't steal from it, so it must not take more than it runs at once.
#[test]
fn a_worker_without_a_processor_hoards_no_tasks() {
    const TASKS: usize = 200;
    let (pool, class) = pool(2);
    let flags: [Arc<AtomicBool>; 4] = Default::default();
    let [both_busy, back, half_begun, spawned] = &flags;
    let done = Arc::new(AtomicUsize::new(0));
    let long = {
        let [both_busy, back, half_begun, spawned] = flags.clone();
        let done = Arc::clone(&done);
        class.run(move || {
            // Comes back when both processors are taken.
            tasks::block_in_place(|| wait(&both_busy));
            back.store(true, Ordering::SeqCst);
            let offered = || {
                half_begun.store(true, Ordering::SeqCst);
                wait(&spawned);
                // Time for the other half to look for tasks.
                spin(Duration::from_millis(20));
            };
            tasks::join(|| wait(&half_begun), offered);
            // Goes on until the others have run, and does not say that it blocks.
            let start = Instant::now();
            while done.load(Ordering::SeqCst) < TASKS && start.elapsed() < PATIENCE {
                std::hint::spin_loop();
            }
            done.load(Ordering::SeqCst)
        })
    };
    let busy = Arc::new(AtomicUsize::new(0));
    let fillers = [(); 2].map(|()| {
        let (busy, both_busy, back) = (busy.clone(), both_busy.clone(), back.clone());
        class.run(move || {
            if busy.fetch_add(1, Ordering::SeqCst) == 1 {
                both_busy.store(true, Ordering::SeqCst);
            }
            wait(&back);
        })
    });
    wait(half_begun);
    let spawner = {
        let (spawned, done) = (Arc::clone(spawned), Arc::clone(&done));
        class.run(move || {
            for _ in 0..TASKS {
                let done = Arc::clone(&done);
                let small = move || {
                    spin(Duration::from_micros(500));
                    done.fetch_add(1, Ordering::SeqCst);
                };
                drop(tasks::run(small).unwrap());
            }
            spawned.store(true, Ordering::SeqCst);
            spin(Duration::from_millis(30));
        })
    };
    assert_eq!(spawner.unwrap().join(), Ok(()));
    assert_eq!(
        long.unwrap().join(),
        Ok(TASKS),
        "tasks waited for the end of another"
    );
    for filler in fillers {
        assert_eq!(filler.unwrap().join(), Ok(()));
    }
    assert!(pool.stop(PATIENCE).is_clean());
}
