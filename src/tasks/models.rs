//! Models of the pool's protocols between threads, run by loom in every order (`scripts/loom.sh`).
//!
//! They run the code that ships, on loom's types (src/sys/sync.rs). Only the parts of the worker's
//! loop that use thread-locals, the clock or the kernel are written again here; each names the
//! function that it follows. The queue uses no outside crate, so nothing is stubbed.
#![cfg(test)]

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::cell::{Polled, ResultHandle, TaskCell, VacantCell};
use super::idle::Idle;
use super::monitor::MonitorSleep;
use super::processors::{NONE, Processors, Signal, Workers};
use super::queue::{CAPACITY, LifoSlot, Queue};
use super::task_id::TaskId;
use crate::sys::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crate::sys::sync::model::{Parker, every_order};
use crate::sys::sync::{Condvar, Mutex, lock, thread};

// ---- the life of a task: cell.rs ------------------------------------------------------------

/// A task that is ready with `value` as soon as `ready` is set, and that counts its polls.
struct Task {
    cell: &'static TaskCell,
    id: TaskId,
    handle: ResultHandle<u32>,
    ready: Arc<AtomicBool>,
    polls: Arc<AtomicUsize>,
}

impl Task {
    fn fill(vacant: VacantCell, cell: &'static TaskCell, ready: bool, value: u32) -> Self {
        let ready = Arc::new(AtomicBool::new(ready));
        let polls = Arc::new(AtomicUsize::new(0));
        let (is_ready, polled) = (Arc::clone(&ready), Arc::clone(&polls));
        let work = poll_fn(move |_| {
            polled.fetch_add(1, Ordering::Relaxed);
            match is_ready.load(Ordering::Relaxed) {
                true => Poll::Ready(value),
                false => Poll::Pending,
            }
        });
        let (id, handle) = vacant.fill(work);
        Self {
            cell,
            id,
            handle,
            ready,
            polls,
        }
    }

    fn new(ready: bool) -> Self {
        // Cells are never freed, not even in a model.
        let cell: &'static TaskCell = Box::leak(Box::new(TaskCell::new(0)));
        Self::fill(VacantCell::first(cell), cell, ready, 7)
    }
}

/// Runs the task of this id if it can be claimed. As `Local::execute` of worker.rs.
fn run(cell: &'static TaskCell, id: TaskId) -> Option<Polled> {
    let running = cell.claim(id.generation())?;
    Some(running.poll(&mut Context::from_waker(Waker::noop()), || ()))
}

#[test]
fn a_task_misses_no_wake_up() {
    every_order(|| {
        let mut task = Task::new(false);
        let (cell, id) = (task.cell, task.id);
        let queued = Arc::new((Mutex::new(1), Condvar::new()));
        let push = |queued: &(Mutex<usize>, Condvar)| {
            *lock(&queued.0) += 1;
            queued.1.notify_one();
        };
        let (ready, to) = (Arc::clone(&task.ready), Arc::clone(&queued));
        let waker = thread::spawn(move || {
            ready.store(true, Ordering::Relaxed);
            if cell.wake(id.generation()) {
                push(&to);
            }
        });
        // A lost wake-up is a deadlock.
        loop {
            let mut tasks = lock(&queued.0);
            while *tasks == 0 {
                tasks = queued.1.wait(tasks).unwrap();
            }
            *tasks -= 1;
            drop(tasks);
            match run(cell, id) {
                Some(Polled::Done(_)) => break,
                Some(Polled::Again) => push(&queued),
                Some(Polled::Waiting) | None => {}
            }
        }
        waker.join().unwrap();
        assert!(matches!(task.handle.take(), Some((Ok(7), _))));
    });
}

#[test]
fn a_task_that_is_queued_twice_runs_once() {
    every_order(|| {
        let mut task = Task::new(true);
        let (cell, id) = (task.cell, task.id);
        let other = thread::spawn(move || run(cell, id).is_some());
        let here = run(cell, id).is_some();
        assert!(here != other.join().unwrap());
        assert_eq!(task.polls.load(Ordering::Relaxed), 1);
        assert!(matches!(task.handle.take(), Some((Ok(7), _))));
    });
}

#[test]
fn a_stale_queue_entry_does_not_run_the_next_task_of_its_cell() {
    every_order(|| {
        let mut first = Task::new(true);
        let (cell, id) = (first.cell, first.id);
        let stale = thread::spawn(move || drop(run(cell, id)));
        run(cell, id);
        // The other thread may run the first task, and then there is no second one.
        let next = first.handle.take().map(|(result, vacant)| {
            assert_eq!(result, Ok(7));
            Task::fill(vacant, cell, true, 8)
        });
        stale.join().unwrap();
        assert_eq!(first.polls.load(Ordering::Relaxed), 1);
        if let Some(next) = next {
            assert_eq!(next.polls.load(Ordering::Relaxed), 0);
            assert!(next.id != id && cell.claim(id.generation()).is_none());
        }
    });
}

#[test]
fn a_cell_is_released_once_by_its_last_user() {
    every_order(|| {
        let mut task = Task::new(true);
        let (cell, id) = (task.cell, task.id);
        let worker = thread::spawn(move || match run(cell, id) {
            Some(Polled::Done(vacant)) => usize::from(vacant.is_some()),
            _ => panic!("it was ready"),
        });
        let here = usize::from(task.handle.detach().is_some());
        assert_eq!(here + worker.join().unwrap(), 1);
    });
}

#[test]
fn a_caller_that_waits_for_a_result_is_woken_and_gets_it() {
    every_order(|| {
        let mut task = Task::new(true);
        let (cell, id) = (task.cell, task.id);
        let worker = thread::spawn(move || drop(run(cell, id)));
        let parker = Arc::new(Parker::default());
        let waker = Waker::from(Arc::clone(&parker));
        let result = loop {
            if let Some((result, _vacant)) = task.handle.take() {
                break result;
            }
            if task.handle.wait(&waker) {
                parker.park();
            }
        };
        assert_eq!(result, Ok(7));
        worker.join().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&parker), 1, "no waker is left behind");
    });
}

#[test]
fn a_caller_that_waits_and_then_gives_up_leaves_the_cell_to_the_worker() {
    every_order(|| {
        let mut task = Task::new(true);
        let (cell, id) = (task.cell, task.id);
        let worker = thread::spawn(move || match run(cell, id) {
            Some(Polled::Done(vacant)) => usize::from(vacant.is_some()),
            _ => panic!("it was ready"),
        });
        let waker = Waker::from(Arc::new(Parker::default()));
        let here = match task.handle.wait(&waker) {
            true => usize::from(task.handle.detach().is_some()),
            false => usize::from(task.handle.take().is_some()),
        };
        assert_eq!(here + worker.join().unwrap(), 1);
    });
}

// ---- the run queue: queue.rs ----------------------------------------------------------------

fn id(number: usize) -> TaskId {
    TaskId::new(number as u32, 1)
}

fn sorted(tasks: impl IntoIterator<Item = TaskId>) -> Vec<u32> {
    let mut numbers: Vec<u32> = tasks.into_iter().map(|task| task.word() as u32).collect();
    numbers.sort_unstable();
    numbers
}

/// A thread that steals this often and returns what it got.
fn thief(queue: &Arc<Queue>, times: usize) -> thread::JoinHandle<Vec<TaskId>> {
    let queue = Arc::clone(queue);
    thread::spawn(move || {
        let (own, mut seen) = (Queue::new(), Vec::new());
        for _ in 0..times {
            seen.extend(queue.steal_into(&own));
            seen.extend(std::iter::from_fn(|| own.pop()));
        }
        seen
    })
}

#[test]
fn each_task_leaves_a_queue_once() {
    every_order(|| {
        let queue = Arc::new(Queue::new());
        let thief = thief(&queue, 2);
        let mut seen = Vec::new();
        let push = |number, seen: &mut Vec<TaskId>| {
            queue.push(id(number), |half| seen.extend(half));
        };
        (1..CAPACITY).for_each(|number| push(number, &mut seen));
        seen.extend(queue.pop());
        // Beyond what fits if the thief has done nothing yet.
        (CAPACITY..CAPACITY + 3).for_each(|number| push(number, &mut seen));
        seen.extend(std::iter::from_fn(|| queue.pop()));
        seen.extend(thief.join().unwrap());
        let all: Vec<u32> = (1..CAPACITY as u32 + 3).collect();
        assert_eq!(sorted(seen), all);
    });
}

#[test]
fn two_thieves_do_not_share_a_task() {
    every_order(|| {
        let queue = Arc::new(Queue::new());
        (1..=CAPACITY).for_each(|number| queue.push(id(number), |_| unreachable!("it fits")));
        let thieves = [thief(&queue, 1), thief(&queue, 1)];
        let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        assert_eq!(sorted(seen), (1..=CAPACITY as u32).collect::<Vec<_>>());
    });
}

/// `take_back` is what a join does with its offered half, `steal_one` what a worker without a
/// processor does, `take_all` what the monitor does.
#[test]
fn the_newest_is_taken_back_or_stolen_but_not_both() {
    for tasks in 1..=3 {
        for steal in [
            (|queue: &Queue| Vec::from_iter(queue.steal_into(&Queue::new()))) as fn(&Queue) -> _,
            |queue| Vec::from_iter(queue.steal_one()),
            Queue::take_all,
        ] {
            every_order(move || {
                let queue = Arc::new(Queue::new());
                (1..=tasks).for_each(|number| queue.push(id(number), |_| unreachable!("it fits")));
                let from = Arc::clone(&queue);
                // Of what `steal_into` moves, this counts the oldest only: see below.
                let thief = thread::spawn(move || steal(&from));
                let taken = queue.take_back(id(tasks));
                let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
                seen.extend(taken.then(|| id(tasks)));
                seen.extend(thief.join().unwrap());
                let seen = sorted(seen);
                let mut once = seen.clone();
                once.dedup();
                assert_eq!(seen, once, "twice");
                // With three tasks `steal_into` moves a second one to the thief's own queue.
                let moved = usize::from(tasks == 3);
                assert!(seen.len() + moved >= tasks, "{seen:?} of {tasks}");
            });
        }
    }
}

#[test]
fn each_task_leaves_a_lifo_slot_once() {
    every_order(|| {
        let slot = Arc::new(LifoSlot::empty());
        let from = Arc::clone(&slot);
        let thief = thread::spawn(move || Vec::from_iter(from.take()));
        let mut seen = Vec::new();
        seen.extend(slot.put(id(1)));
        seen.extend(slot.put(id(2)));
        seen.extend(slot.take());
        seen.extend(thief.join().unwrap());
        assert_eq!(sorted(seen), [1, 2]);
    });
}

// ---- sleeping and processors: idle.rs, processors.rs ----------------------------------------

/// A pool with a global queue of which only the number of tasks matters.
struct Pool {
    processors: Processors,
    queued: AtomicUsize,
    workers: Vec<Worker>,
    done: Mutex<usize>,
    one_done: Condvar,
    ended: AtomicBool,
}

struct Worker {
    processor: AtomicU32,
    signal: Mutex<Signal>,
    signalled: Condvar,
}

impl Workers for Pool {
    fn work_waits(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    fn set_processor(&self, worker: u32, processor: u32) -> u32 {
        let worker = &self.workers[worker as usize];
        worker.processor.swap(processor, Ordering::AcqRel)
    }

    fn signal(&self, worker: u32, signal: Signal) {
        let worker = &self.workers[worker as usize];
        *lock(&worker.signal) = signal;
        worker.signalled.notify_one();
    }

    /// The thread exists already and waits for its signal.
    fn start(&self, worker: u32, signal: Signal) -> io::Result<()> {
        self.signal(worker, signal);
        Ok(())
    }
}

impl Pool {
    fn new(processors: usize, threads: usize) -> Arc<Self> {
        let worker = |_| Worker {
            processor: AtomicU32::new(NONE),
            signal: Mutex::new(Signal::Nothing),
            signalled: Condvar::new(),
        };
        Arc::new(Self {
            processors: Processors::new(processors, threads),
            queued: AtomicUsize::new(0),
            workers: (0..threads).map(worker).collect(),
            done: Mutex::new(0),
            one_done: Condvar::new(),
            ended: AtomicBool::new(false),
        })
    }

    /// Gives every processor to the worker of the same number, as `Pool::start` does.
    fn assign_all(&self) {
        for processor in 0..self.processors.len() as u32 {
            let assigned = self.processors.assign(self, processor, Signal::Run);
            assigned.expect("there are threads");
            assert_eq!(self.wait(processor), Signal::Run);
        }
    }

    fn push(&self) {
        self.queued.fetch_add(1, Ordering::Release);
        self.processors.wake_one(self);
    }

    fn take(&self) -> bool {
        let take = |queued: usize| queued.checked_sub(1);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.queued.fetch_update(order.0, order.1, take).is_ok()
    }

    fn wait(&self, worker: u32) -> Signal {
        let worker = &self.workers[worker as usize];
        let mut signal = lock(&worker.signal);
        while *signal == Signal::Nothing {
            signal = worker.signalled.wait(signal).unwrap();
        }
        std::mem::replace(&mut *signal, Signal::Nothing)
    }

    /// As `Local::work`, `search` and `park` of worker.rs.
    fn work(&self, worker: u32, signal: Signal, task: impl Fn()) {
        let idle = &self.processors.idle;
        let mut searching = signal == Signal::Search;
        while !self.ended.load(Ordering::Relaxed) {
            let mut found = self.take();
            if !found && !searching && idle.start_search() {
                searching = true;
                found = self.take();
            }
            if found {
                if std::mem::take(&mut searching) && idle.end_search() {
                    self.processors.wake_one(self);
                }
                task();
                *lock(&self.done) += 1;
                self.one_done.notify_one();
                continue;
            }
            let own = self.workers[worker as usize]
                .processor
                .load(Ordering::Relaxed);
            let parked = idle.park(own, std::mem::take(&mut searching), || true);
            if parked == Some(true)
                && self.work_waits()
                && idle.unpark(true, |other| other == own).is_some()
            {
                searching = true;
                continue;
            }
            searching = self.wait(worker) == Signal::Search;
        }
    }

    /// Waits until so many tasks are done, which they never are if one is left, and ends.
    fn finish(&self, tasks: usize) {
        let mut done = lock(&self.done);
        while *done < tasks {
            done = self.one_done.wait(done).unwrap();
        }
        drop(done);
        self.ended.store(true, Ordering::Relaxed);
        (0..self.workers.len() as u32).for_each(|worker| self.signal(worker, Signal::End));
    }
}

fn workers(pool: &Arc<Pool>, task: impl Fn() + Clone + 'static) -> Vec<thread::JoinHandle<()>> {
    pool.assign_all();
    let spawn = |worker| {
        let (pool, task) = (Arc::clone(pool), task.clone());
        thread::spawn(move || pool.work(worker, Signal::Run, task))
    };
    (0..pool.processors.len() as u32).map(spawn).collect()
}

fn no_task_is_left(processors: usize, tasks: usize) {
    every_order(move || {
        let pool = Pool::new(processors, processors);
        let threads = workers(&pool, || ());
        (0..tasks).for_each(|_| pool.push());
        pool.finish(tasks);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_task_is_left_while_the_only_worker_sleeps() {
    no_task_is_left(1, 2);
}

#[test]
fn no_task_is_left_while_two_workers_sleep() {
    no_task_is_left(2, 1);
}

/// One worker is woken, and must wake the other one.
#[test]
fn two_tasks_that_need_each_other_meet() {
    every_order(|| {
        let pool = Pool::new(2, 2);
        let met = Arc::new((Mutex::new(0), Condvar::new()));
        let threads = workers(&pool, move || {
            let mut count = lock(&met.0);
            *count += 1;
            met.1.notify_all();
            while *count < 2 {
                count = met.1.wait(count).unwrap();
            }
        });
        pool.push();
        pool.push();
        pool.finish(2);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

/// A pool of one processor whose only thread is in a task, without the processor.
fn held_without_processor() -> Arc<Pool> {
    let pool = Pool::new(1, 1);
    pool.assign_all();
    assert_eq!(pool.processors.release(&*pool, 0), Some(0));
    pool
}

/// The task of a worker without a processor is over: as `Local::be_spare` of worker.rs.
fn spare(pool: &Arc<Pool>, worker: u32) -> thread::JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || {
        pool.processors.enter_spares(&*pool, worker);
        let signal = pool.wait(worker);
        pool.work(worker, signal, || ());
    })
}

#[test]
fn a_processor_that_is_put_back_does_not_miss_a_thread_that_becomes_spare() {
    every_order(|| {
        let pool = held_without_processor();
        pool.processors.park(&*pool, 0);
        let thread = spare(&pool, 0);
        pool.push();
        pool.finish(1);
        thread.join().unwrap();
    });
}

#[test]
fn a_processor_that_is_parked_does_not_miss_a_thread_that_becomes_spare() {
    every_order(|| {
        let pool = held_without_processor();
        let thread = spare(&pool, 0);
        // As `Shared::replace`: the queue of the held worker, then its processor.
        pool.queued.fetch_add(1, Ordering::Release);
        pool.processors.hand_over(&*pool, 0);
        pool.finish(1);
        thread.join().unwrap();
    });
}

#[test]
fn a_processor_does_not_miss_a_thread_that_ends() {
    every_order(|| {
        let pool = held_without_processor();
        pool.processors.park(&*pool, 0);
        let from = Arc::clone(&pool);
        // As `Shared::wait_as_spare` when it has waited for long, and then the next thread of
        // this number.
        let thread = thread::spawn(move || {
            from.processors.enter_spares(&*from, 0);
            if from.processors.leave_spares(0) {
                from.processors.end_thread(&*from, 0);
            }
            let signal = from.wait(0);
            from.work(0, signal, || ());
        });
        pool.push();
        pool.finish(1);
        thread.join().unwrap();
    });
}

// ---- the monitor's sleep: monitor.rs --------------------------------------------------------

#[test]
fn the_monitor_does_not_sleep_while_a_worker_is_awake() {
    every_order(|| {
        let idle = Arc::new(Idle::new(1));
        let monitor = Arc::new(MonitorSleep::default());
        idle.park(0, false, || true);
        monitor.enter();
        let (woken, sleeper) = (Arc::clone(&idle), Arc::clone(&monitor));
        // As `Local::park` of worker.rs after its wake-up.
        let worker = thread::spawn(move || {
            assert_eq!(woken.processor_to_wake(), Some(0));
            if sleeper.sleeps() {
                sleeper.wake();
            }
        });
        // A monitor that sleeps on is a deadlock.
        monitor.sleep(None, || idle.awake() == 0);
        worker.join().unwrap();
    });
}
