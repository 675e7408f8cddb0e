//! A worker's thread: which task it takes next, how it searches for work, and when it parks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::thread;

use super::cell::Polled;
use super::class::LocalClasses;
use super::closure_future::ClosureFuture;
use super::global_queue::Work;
use super::meta::Owner;
use super::processors::{NONE, Signal, Workers};
use super::shared::{Shared, Worker, WorkerState};
use super::stats::WorkerStats;
use super::task_id::TaskId;
use super::{Priority, Saturated, Task, arena, context};
use crate::limits;
use crate::sys::time;

/// A worker's counters; written by its thread alone.
#[derive(Default)]
pub(super) struct Counters {
    pub polls: Count,
    pub steals: Count,
    pub parks: Count,
    pub overflows: Count,
}

#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    fn add(&self, n: u64) {
        // One thread writes, so this needs no exchange.
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value + n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker's state that only its own thread uses.
pub(super) struct Local {
    pub shared: Arc<Shared>,
    pub me: Arc<Worker>,
    /// Its processor counts as searching.
    searching: Cell<bool>,
    tick: Cell<u32>,
    /// Tasks that it may still take from the LIFO slot in a row.
    lifo_budget: Cell<u32>,
    random: Cell<u32>,
    /// When the background task that it runs began or last resumed; 0 for an interactive one.
    pub(super) began_ns: Cell<u64>,
    /// When it last took background work or saw that there is none, by the pool's time.
    background_ns: Cell<u64>,
    pub stats: WorkerStats,
    classes: RefCell<LocalClasses>,
}

/// Runs tasks until the pool ends or the thread is no longer needed.
pub(super) fn run(shared: Arc<Shared>, worker: Arc<Worker>) {
    worker.enter();
    // `Pool::start` tried all of it; if a CPU was taken offline since, the thread stays unpinned.
    let _ = shared.options.apply_to_current_thread();
    let signal = worker.take_signal();
    if signal != Signal::End {
        let seed = worker.number.wrapping_mul(0x9E37_79B9) | 1;
        let local = Local {
            shared: Arc::clone(&shared),
            me: Arc::clone(&worker),
            searching: Cell::new(signal == Signal::Search),
            tick: Cell::new(0),
            lifo_budget: Cell::new(limits::TASK_LIFO_BUDGET),
            random: Cell::new(seed),
            stats: WorkerStats::new(&shared, &worker),
            began_ns: Cell::new(0),
            background_ns: Cell::new(shared.now_ns()),
            classes: RefCell::default(),
        };
        context::enter(local, Local::work);
    }
    shared.end_thread(&worker);
}

impl Local {
    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The index of the class of the task that runs here.
    pub(crate) fn class(&self) -> Option<u8> {
        let cell = self.me.current.load(Ordering::Relaxed)?;
        Some(cell.meta.owner().class)
    }

    fn work(&self) {
        self.me.set_state(WorkerState::Searching);
        while !self.shared.ended() {
            if self.me.processor() == NONE {
                if !self.be_spare() {
                    break;
                }
            } else if let Some(work) = self.next_work().or_else(|| self.search()) {
                self.begin(work);
            } else {
                self.park();
            }
        }
        self.return_reserved();
        if self.shared.ended() {
            // No worker will run what was spawned or woken here since the pool ended.
            self.shared.stop_unfinished();
        }
    }

    fn begin(&self, work: Work) {
        if self.searching.replace(false) && self.shared.processors.idle.end_search() {
            self.shared.wake_one();
        }
        match work {
            Work::Task(id) => self.execute(id),
            Work::Resume(number) => self.resume(number),
        }
    }

    // ---- taking work ----------------------------------------------------------------------

    /// Takes work without searching.
    fn next_work(&self) -> Option<Work> {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if tick.is_multiple_of(limits::TASK_GLOBAL_TICK)
            && let Some(work) = self.pop_global(Priority::Interactive, false)
        {
            return Some(work);
        }
        if tick.is_multiple_of(limits::TASK_BACKGROUND_TICK)
            && let Some(work) = self.overdue()
        {
            return Some(work);
        }
        self.pop_own()
            .map(Work::Task)
            .or_else(|| self.pop_global(Priority::Interactive, true))
    }

    /// Takes the task in the LIFO slot, within its budget, else one of this worker's queue.
    fn pop_own(&self) -> Option<TaskId> {
        let budget = self.lifo_budget.get();
        if budget == 0
            && let Some(task) = self.me.queue.pop()
        {
            self.lifo_budget.set(limits::TASK_LIFO_BUDGET);
            return Some(task);
        }
        if let Some(task) = self.me.lifo_slot.take() {
            self.lifo_budget.set(budget.saturating_sub(1));
            return Some(task);
        }
        self.lifo_budget.set(limits::TASK_LIFO_BUDGET);
        self.me.queue.pop()
    }

    /// Takes background work if this worker has taken none for long. It goes by time and not by a
    /// count of tasks: beside short tasks, a count would give long background tasks most of the
    /// worker.
    fn overdue(&self) -> Option<Work> {
        let now_ns = self.shared.now_ns();
        let since_ns = self.background_ns.get();
        if self.shared.global_queue.len(Priority::Background) == 0 {
            self.background_ns.set(now_ns);
            return None;
        }
        if now_ns.saturating_sub(since_ns) < limits::TASK_BACKGROUND_WAIT_NS {
            return None;
        }
        self.pop_background()
    }

    fn pop_background(&self) -> Option<Work> {
        self.background_ns.set(self.shared.now_ns());
        self.pop_global(Priority::Background, false)
    }

    /// Takes work from the global queue. `several`: also moves a fair share of it to this worker's
    /// queue.
    fn pop_global(&self, priority: Priority, several: bool) -> Option<Work> {
        let processors = self.shared.processors.len();
        let more = |waiting: usize| match several {
            true => (waiting / (2 * processors)).min(limits::TASK_QUEUE / 4),
            false => 0,
        };
        let keep = |task| self.me.queue.push(task, |_| {});
        self.shared.global_queue.pop(priority, more, keep)
    }

    /// Looks for work elsewhere, for a while.
    fn search(&self) -> Option<Work> {
        self.stats.pause(&self.me);
        if !self.searching.get() {
            if !self.shared.processors.idle.start_search() {
                return self.pop_background();
            }
            self.searching.set(true);
        }
        for round in 0..limits::TASK_SEARCH_ROUNDS {
            let last = round + 1 == limits::TASK_SEARCH_ROUNDS;
            let found = self
                .steal(last)
                .map(Work::Task)
                .or_else(|| self.pop_global(Priority::Interactive, true))
                .or_else(|| self.pop_background());
            if found.is_some() {
                return found;
            }
            if !last {
                (0..limits::TASK_SEARCH_PAUSES).for_each(|_| std::hint::spin_loop());
            }
        }
        None
    }

    /// Steals half of the queue of another worker, beginning with a random one; from its LIFO
    /// slot only if `lifo_too`.
    fn steal(&self, lifo_too: bool) -> Option<TaskId> {
        let processors = &self.shared.processors;
        let start = self.random() as usize % processors.len();
        for offset in 0..processors.len() {
            let number = processors.worker((start + offset) % processors.len());
            if number == self.me.number {
                continue;
            }
            let Some(other) = self.shared.worker(number) else {
                continue;
            };
            let stolen = self.steal_from(other).or_else(|| {
                let lifo = lifo_too.then(|| other.lifo_slot.take());
                lifo.flatten()
            });
            if stolen.is_some() {
                self.me.counters.steals.add(1);
                self.stats.stole(number, self.me.queue.len() + 1);
                return stolen;
            }
        }
        None
    }

    fn steal_from(&self, other: &Worker) -> Option<TaskId> {
        match self.me.processor() {
            // No worker steals from one without a processor: tasks that it took beyond the one that
            // it runs now would wait until its own task is over.
            NONE => other.queue.steal_one(),
            _ => other.queue.steal_into(&self.me.queue),
        }
    }

    /// Xorshift: enough to spread thieves over victims.
    fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    // ---- running --------------------------------------------------------------------------

    fn execute(&self, id: TaskId) {
        let Some((cell, running)) = id.claim() else {
            return;
        };
        let me = &*self.me;
        let owner = cell.meta.owner();
        self.began_ns.set(match owner.priority {
            Priority::Interactive => 0,
            Priority::Background => time::monotonic_ns(),
        });
        me.current.store(Some(cell), Ordering::Relaxed);
        self.count_tick();
        me.set_state(WorkerState::Running);
        me.counters.polls.add(1);
        self.stats.begins(me, id, &cell.meta);
        let before_ns = self.shared.now_ns();
        let waker = id.waker();
        let polled = running.poll(&mut Context::from_waker(&waker), || {
            self.return_permit(owner.class)
        });
        let long = self.shared.now_ns() != before_ns;
        self.stats.ends(&self.shared, me, long);
        me.current.store(None, Ordering::Relaxed);
        me.set_state(WorkerState::Searching);
        match polled {
            Polled::Done(vacant) => {
                if let Some(vacant) = vacant {
                    arena::put_back(vacant);
                }
            }
            Polled::Waiting => {}
            // At the end of the queue, or a task that yields would always run again before the
            // others.
            Polled::Again => {
                cell.meta.set_runnable(self.stats.stamp());
                self.queue(id, owner.priority, false);
            }
        }
    }

    /// Notes that this worker has begun something new; written by its thread alone.
    fn count_tick(&self) {
        let tick = self.me.tick.load(Ordering::Relaxed);
        self.me.tick.store(tick.wrapping_add(1), Ordering::Relaxed);
    }

    // ---- new tasks ------------------------------------------------------------------------

    /// Spawns a task of the class at this index from inside the pool.
    pub(crate) fn submit<F>(
        &self,
        class: u8,
        work: F,
        site: &'static Location<'static>,
    ) -> Result<Task<F::Output>, Saturated>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.shared.closed() {
            return Ok(Task::refused());
        }
        let Some(owner) = self.take_permit(class)? else {
            return Ok(Task::refused());
        };
        let Some(vacant) = arena::take() else {
            return self.refuse(class).map_or(Ok(Task::refused()), Err);
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.stats.stamp());
        vacant.meta().set(site, owner, now_ns, stamp);
        let (id, handle) = vacant.fill(work);
        self.stats.spawned(id, stamp, site);
        self.queue(id, owner.priority, true);
        Ok(Task::spawned(handle))
    }

    /// Queues a task of this pool here: in the LIFO slot, or at the end of the queue.
    ///
    /// The monitor may take the processor away right after the look at it here, and empty the queue
    /// before the push. A fence against that would add its cost to every spawn. Instead the monitor
    /// keeps checking the queues of workers without a processor (`Shared::rescue`).
    pub(crate) fn queue(&self, id: TaskId, priority: Priority, to_lifo_slot: bool) {
        let me = &*self.me;
        // No worker steals from one without a processor.
        if priority == Priority::Background || me.processor() == NONE {
            self.shared.global_queue.push(priority, id);
            return self.shared.wake_one();
        }
        let displaced = match to_lifo_slot {
            true => me.lifo_slot.put(id),
            false => Some(id),
        };
        if let Some(id) = displaced {
            me.queue.push(id, |half| {
                me.counters.overflows.add(1);
                let global = &self.shared.global_queue;
                global.push_all(Priority::Interactive, half);
            });
            self.shared.wake_one();
        }
    }

    // ---- halves of a join -----------------------------------------------------------------

    /// Whether a half should be offered to others: only if nothing else can be stolen here.
    pub(crate) fn offers(&self) -> bool {
        match self.me.processor() {
            NONE => self.shared.global_queue.len(Priority::Interactive) == 0,
            _ => self.me.queue.is_empty(),
        }
    }

    /// Offers half of the running task as a separate task. `None` if the class has no room, the
    /// pool is closed, or no task runs here.
    pub(crate) fn offer(
        &self,
        half: impl FnOnce() + Send + 'static,
        site: &'static Location<'static>,
    ) -> Option<(TaskId, Task<()>)> {
        let class = self.class()?;
        if self.shared.closed() {
            return None;
        }
        let mut owner = self.take_permit(class).ok()??;
        let Some(vacant) = arena::take() else {
            self.return_permit(class);
            return None;
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.stats.stamp());
        // The other half runs already, and waits for this one.
        owner.priority = Priority::Interactive;
        vacant.meta().set(site, owner, now_ns, stamp);
        let (id, handle) = vacant.fill(ClosureFuture::new(half));
        self.queue(id, owner.priority, false);
        // A task that offers its work to others does not hold its worker.
        self.count_tick();
        Some((id, Task::spawned(handle)))
    }

    /// Takes an offered half back. False if a worker has begun it.
    pub(crate) fn take_back(&self, id: TaskId) -> bool {
        let Some((cell, running)) = id.claim() else {
            return false;
        };
        // If it is not the newest any more, its entry stays in the queue and names a task that is
        // over.
        self.me.queue.take_back(id);
        self.return_permit(cell.meta.owner().class);
        if let Some(vacant) = running.stop() {
            arena::put_back(vacant);
        }
        true
    }

    /// Runs another task in the middle of one that waits. False if there is none.
    pub(crate) fn help(&self) -> bool {
        let Some(id) = self.pop_own().or_else(|| self.steal(true)) else {
            return false;
        };
        let outer = self.me.current.load(Ordering::Relaxed);
        let began_ns = self.began_ns.get();
        self.stats.nested(&self.me, || self.execute(id));
        // Restores the start of the waiting task's time slice if it is a background task.
        self.began_ns.set(began_ns);
        self.me.current.store(outer, Ordering::Relaxed);
        self.me.set_state(WorkerState::Running);
        true
    }

    // ---- permits of classes ---------------------------------------------------------------

    /// A permit for one more task of the class. `None` if there is no such class, which there is
    /// while a task or a `Class` belongs to it.
    fn take_permit(&self, class: u8) -> Result<Option<Owner>, Saturated> {
        let mut classes = self.classes.borrow_mut();
        let Some(local) = classes.get(&self.shared.classes, class) else {
            return Ok(None);
        };
        match local.take_permit() {
            true => Ok(Some(self.shared.owner(&local.class))),
            false => Err(local.class.refuse()),
        }
    }

    /// Returns the permit of a task for which there is no memory.
    #[cold]
    fn refuse(&self, class: u8) -> Option<Saturated> {
        let mut classes = self.classes.borrow_mut();
        let local = classes.get(&self.shared.classes, class)?;
        local.return_permit();
        Some(local.class.refuse())
    }

    /// Returns the permit of a finished task of this class.
    fn return_permit(&self, class: u8) {
        let mut classes = self.classes.borrow_mut();
        if let Some(local) = classes.get(&self.shared.classes, class) {
            local.return_permit();
        }
    }

    /// Returns the permits that this worker has reserved.
    pub(super) fn return_reserved(&self) {
        self.classes.borrow_mut().return_reserved();
    }

    // ---- sleeping and processors ----------------------------------------------------------

    /// Parks until there is something to do.
    fn park(&self) {
        self.return_reserved();
        let (shared, me) = (&*self.shared, &*self.me);
        let idle = &shared.processors.idle;
        let searched = self.searching.replace(false);
        let processor = me.processor();
        let still = || processor != NONE && me.processor() == processor;
        match idle.park(processor, searched, still) {
            // The monitor has just taken the processor away.
            None => {
                if searched && idle.end_search() {
                    shared.wake_one();
                }
                return;
            }
            Some(true) if shared.work_waits() => {
                if idle.unpark(true, |other| other == processor).is_some() {
                    self.searching.set(true);
                    return;
                }
            }
            Some(_) => {}
        }
        me.counters.parks.add(1);
        me.set_state(WorkerState::Parked);
        if self.stats.park(|| self.wait()) == Signal::Search {
            self.searching.set(true);
        }
        me.set_state(WorkerState::Searching);
        if shared.monitor.sleeps() {
            shared.set_now_ns(time::monotonic_ns());
            shared.monitor.wake();
        }
    }

    /// Sleeps until there is a signal.
    pub(super) fn wait(&self) -> Signal {
        loop {
            match self.me.take_signal() {
                Signal::Nothing if self.shared.ended() => return Signal::End,
                Signal::Nothing => thread::park(),
                signal => return signal,
            }
        }
    }

    /// Called without a processor: moves its tasks to the global queue and waits for a processor.
    /// False: the thread must end.
    fn be_spare(&self) -> bool {
        self.stats.pause(&self.me);
        if self.searching.replace(false) && self.shared.processors.idle.end_search() {
            self.shared.wake_one();
        }
        self.return_reserved();
        self.flush();
        let signal = self.shared.wait_as_spare(&self.me);
        self.me.set_state(WorkerState::Searching);
        self.searching.set(signal == Some(Signal::Search));
        signal.is_some()
    }

    /// Moves the tasks that wait here to the front of the global queue.
    pub(super) fn flush(&self) {
        self.shared.flush(&self.me);
    }
}
