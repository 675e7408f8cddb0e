//! How the workers of `src/tasks` sleep and share, checked over every order in which their steps
//! can fall (loom): no task is left while a worker sleeps, none is lost or taken twice.
//!
//! They are restated here on loom's types. Each names the file that it mirrors, to be changed
//! together with it.

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use orders::every_order;
use permit::Permit;

#[path = "support/orders.rs"]
mod orders;
#[path = "support/permit.rs"]
mod permit;

// ---- src/tasks/idle.rs ------------------------------------------------------------------------

const AWAKE_SHIFT: u32 = 16;
const AWAKE_ONE: usize = 1 << AWAKE_SHIFT;
const SEARCHING: usize = AWAKE_ONE - 1;

/// `Idle`, with a common queue of which only the number of tasks matters.
struct Pool {
    word: AtomicUsize,
    parked: Mutex<Vec<usize>>,
    queued: AtomicUsize,
    signals: Vec<Permit>,
    done: Mutex<usize>,
    one_done: Condvar,
    ended: AtomicBool,
}

impl Pool {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicUsize::new(places << AWAKE_SHIFT),
            parked: Mutex::new(Vec::new()),
            queued: AtomicUsize::new(0),
            signals: (0..places).map(|_| Permit::new()).collect(),
            done: Mutex::new(0),
            one_done: Condvar::new(),
            ended: AtomicBool::new(false),
        })
    }

    fn push(&self) {
        self.queued.fetch_add(1, Ordering::Release);
        self.wake_one();
    }

    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if !self.may_wake() {
            return;
        }
        let mut parked = self.parked.lock().unwrap();
        if !self.may_wake() {
            return;
        }
        if let Some(place) = parked.pop() {
            self.word.fetch_add(AWAKE_ONE | 1, Ordering::SeqCst);
            drop(parked);
            self.signals[place].give();
        }
    }

    fn may_wake(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        word & SEARCHING == 0 && word >> AWAKE_SHIFT < self.signals.len()
    }

    fn take(&self) -> bool {
        let mut queued = self.queued.load(Ordering::Acquire);
        while queued > 0 {
            match self.queued.compare_exchange(
                queued,
                queued - 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => queued = now,
            }
        }
        false
    }

    fn start_search(&self) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let may = 2 * (word & SEARCHING) < (word >> AWAKE_SHIFT);
        if may {
            self.word.fetch_add(1, Ordering::SeqCst);
        }
        may
    }

    /// As `Local::work` of src/tasks/worker.rs.
    fn work(&self, place: usize, task: impl Fn()) {
        let mut searching = false;
        while !self.ended.load(Ordering::Relaxed) {
            let mut found = self.take();
            if !found && !searching && self.start_search() {
                searching = true;
                found = self.take();
            }
            if found {
                if std::mem::take(&mut searching)
                    && self.word.fetch_sub(1, Ordering::SeqCst) & SEARCHING == 1
                {
                    self.wake_one();
                }
                task();
                *self.done.lock().unwrap() += 1;
                self.one_done.notify_one();
                continue;
            }
            let searched = usize::from(std::mem::take(&mut searching));
            let before = {
                let mut parked = self.parked.lock().unwrap();
                parked.push(place);
                self.word.fetch_sub(AWAKE_ONE + searched, Ordering::SeqCst)
            };
            fence(Ordering::SeqCst);
            if before & SEARCHING == searched && self.queued.load(Ordering::Acquire) > 0 {
                let mut parked = self.parked.lock().unwrap();
                if let Some(at) = parked.iter().position(|other| *other == place) {
                    parked.remove(at);
                    self.word.fetch_add(AWAKE_ONE | 1, Ordering::SeqCst);
                    searching = true;
                    continue;
                }
            }
            self.signals[place].wait();
            searching = true;
        }
    }

    /// Waits until so many tasks are done, which they never are if one is left behind, and ends.
    fn finish(&self, tasks: usize) {
        let mut done = self.done.lock().unwrap();
        while *done < tasks {
            done = self.one_done.wait(done).unwrap();
        }
        drop(done);
        self.ended.store(true, Ordering::Relaxed);
        self.signals.iter().for_each(Permit::give);
    }
}

fn no_task_is_left(workers: usize, tasks: usize) {
    every_order(move || {
        let pool = Pool::new(workers);
        let threads: Vec<_> = (0..workers)
            .map(|place| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.work(place, || ()))
            })
            .collect();
        (0..tasks).for_each(|_| pool.push());
        pool.finish(tasks);
        threads
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
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

/// One worker is told of work, and must see to it that the other one comes as well.
#[test]
fn two_tasks_that_need_each_other_meet() {
    every_order(|| {
        let pool = Pool::new(2);
        let met = Arc::new((Mutex::new(0), Condvar::new()));
        let threads: Vec<_> = (0..2)
            .map(|place| {
                let (pool, met) = (Arc::clone(&pool), Arc::clone(&met));
                let meet = move || {
                    let mut count = met.0.lock().unwrap();
                    *count += 1;
                    met.1.notify_all();
                    while *count < 2 {
                        count = met.1.wait(count).unwrap();
                    }
                };
                thread::spawn(move || pool.work(place, meet))
            })
            .collect();
        pool.push();
        pool.push();
        pool.finish(2);
        threads
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
}

// ---- src/tasks/monitor.rs ---------------------------------------------------------------------

/// Who wakes a worker wakes the monitor if it sleeps: it never sleeps beside one that is awake.
#[test]
fn the_monitor_does_not_sleep_while_a_worker_is_awake() {
    every_order(|| {
        let awake = Arc::new(AtomicUsize::new(0));
        let sleeps = Arc::new(AtomicBool::new(false));
        let permit = Arc::new(Permit::new());
        let worker = {
            let (awake, sleeps) = (Arc::clone(&awake), Arc::clone(&sleeps));
            let permit = Arc::clone(&permit);
            thread::spawn(move || {
                awake.fetch_add(1, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                if sleeps.load(Ordering::SeqCst) {
                    sleeps.store(false, Ordering::SeqCst);
                    permit.give();
                }
            })
        };
        sleeps.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if awake.load(Ordering::SeqCst) == 0 {
            permit.wait();
        }
        worker.join().unwrap();
    });
}

// ---- src/tasks/queue.rs -----------------------------------------------------------------------

const RING: u32 = 4;

/// `Queue` with room for four.
struct Queue {
    head: AtomicU32,
    tail: AtomicU32,
    ring: [AtomicU32; RING as usize],
}

impl Queue {
    fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            ring: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    fn at(&self, position: u32) -> &AtomicU32 {
        &self.ring[(position % RING) as usize]
    }

    fn advance(&self, head: u32, by: u32) -> bool {
        self.head
            .compare_exchange(head, head + by, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn push(&self, task: u32, overflow: &mut Vec<u32>) {
        let tail = self.tail.load(Ordering::Relaxed);
        loop {
            let head = self.head.load(Ordering::Acquire);
            if tail - head < RING {
                self.at(tail).store(task, Ordering::Relaxed);
                self.tail.store(tail + 1, Ordering::Release);
                return;
            }
            let half: Vec<_> = (0..RING / 2)
                .map(|n| self.at(head + n).load(Ordering::Relaxed))
                .collect();
            if self.advance(head, RING / 2) {
                overflow.extend(half);
                overflow.push(task);
                return;
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        let tail = self.tail.load(Ordering::Relaxed);
        loop {
            let head = self.head.load(Ordering::Acquire);
            if head == tail {
                return None;
            }
            let task = self.at(head).load(Ordering::Relaxed);
            if self.advance(head, 1) {
                return Some(task);
            }
        }
    }

    fn steal_into(&self, into: &Queue) -> Option<u32> {
        let room = into.tail.load(Ordering::Relaxed);
        loop {
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            let waiting = tail.wrapping_sub(head);
            if waiting == 0 {
                return None;
            }
            if waiting > RING {
                thread::yield_now();
                continue;
            }
            let count = waiting - waiting / 2;
            let first = self.at(head).load(Ordering::Relaxed);
            for n in 1..count {
                let task = self.at(head + n).load(Ordering::Relaxed);
                into.at(room + n - 1).store(task, Ordering::Relaxed);
            }
            if self.advance(head, count) {
                into.tail.store(room + count - 1, Ordering::Release);
                return Some(first);
            }
        }
    }
}

fn thief(queue: &Arc<Queue>, times: usize) -> thread::JoinHandle<Vec<u32>> {
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
        let (mut seen, mut overflow) = (Vec::new(), Vec::new());
        for task in 1..=3 {
            queue.push(task, &mut overflow);
        }
        seen.extend(queue.pop());
        for task in 4..=6 {
            queue.push(task, &mut overflow);
        }
        seen.extend(std::iter::from_fn(|| queue.pop()));
        seen.extend(thief.join().unwrap());
        seen.extend(overflow);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn two_thieves_do_not_share_a_task() {
    every_order(|| {
        let queue = Arc::new(Queue::new());
        let mut overflow = Vec::new();
        for task in 1..=4 {
            queue.push(task, &mut overflow);
        }
        let thieves = [thief(&queue, 1), thief(&queue, 1)];
        let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4]);
    });
}
