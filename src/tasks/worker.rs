//! A thread that runs tasks: what it takes next, how it searches, when it sleeps.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::thread;

use super::cell::{Polled, TaskCell};
use super::class::ClassState;
use super::closure_future::ClosureFuture;
use super::global_queue::Work;
use super::shared::{NONE, Shared, Signal, Worker, WorkerState};
use super::stats::WorkerStats;
use super::task_id::TaskId;
use super::{Priority, Saturated, Task, arena, context};
use crate::limits;
use crate::sys::time;

/// What a worker has counted; written by its thread alone.
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

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker as its own thread has it.
pub(super) struct Local {
    pub shared: Arc<Shared>,
    pub me: Arc<Worker>,
    /// Its processor counts as searching.
    searching: Cell<bool>,
    tick: Cell<u32>,
    /// Tasks that it may still take from `next` one after the other.
    lifo_budget: Cell<u32>,
    random: Cell<u32>,
    /// When the task that it runs began or went on; 0 for an interactive one.
    pub(super) began_ns: Cell<u64>,
    /// When it last took background work or saw that there is none, by the pool's time.
    background_ns: Cell<u64>,
    pub stats: WorkerStats,
    /// Processors for tasks set aside, by class.
    reserved: RefCell<[u32; limits::TASK_CLASSES_MAX]>,
}

/// Runs tasks until the pool ends or the thread is not needed any more.
pub(super) fn run(shared: Arc<Shared>, worker: Arc<Worker>) {
    worker.enter();
    // All of it was tried at the start; a CPU that went away since leaves the thread unbound.
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
            reserved: RefCell::new([0; limits::TASK_CLASSES_MAX]),
        };
        context::enter(local, Local::work);
    }
    shared.leave(&worker);
}

impl Local {
    pub fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The class of the task that it runs.
    pub fn class(&self) -> Option<&Arc<ClassState>> {
        let cell = self.me.current.load(Ordering::Relaxed)?;
        self.shared.class(cell.meta.owner().class)
    }

    fn work(&self) {
        self.me.set_state(WorkerState::Searching);
        while !self.shared.ended() {
            if self.me.processor() == NONE {
                if !self.be_spare() {
                    break;
                }
            } else if let Some(task) = self.next_work().or_else(|| self.search()) {
                self.take_on(task);
            } else {
                self.park();
            }
        }
        self.return_reserved();
        if self.shared.ended() {
            // Nobody will run what was spawned or woken here since the end.
            self.shared.stop_unfinished();
        }
    }

    fn take_on(&self, entry: Work) {
        if self.searching.replace(false) && self.shared.idle.end_search() {
            self.shared.wake_one();
        }
        match entry {
            Work::Task(cell) => self.execute(cell),
            Work::Resume(number) => self.resume(number),
        }
    }

    // ---- what next ------------------------------------------------------------------------

    /// What is there without searching.
    fn next_work(&self) -> Option<Work> {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if tick.is_multiple_of(limits::TASK_GLOBAL_TICK)
            && let Some(entry) = self.pop_global(Priority::Interactive, false)
        {
            return Some(entry);
        }
        if tick.is_multiple_of(limits::TASK_BACKGROUND_TICK)
            && let Some(entry) = self.overdue()
        {
            return Some(entry);
        }
        self.pop_own()
            .map(Work::Task)
            .or_else(|| self.pop_global(Priority::Interactive, true))
    }

    /// The task in `next`, within its budget, then the queue.
    fn pop_own(&self) -> Option<&'static TaskCell> {
        let budget = self.lifo_budget.get();
        if budget == 0
            && let Some(task) = self.me.queue.pop()
        {
            self.lifo_budget.set(limits::TASK_LIFO_BUDGET);
            return Some(task);
        }
        if self.me.lifo_slot.load(Ordering::Relaxed).is_some()
            && let Some(task) = self.me.lifo_slot.swap(None, Ordering::AcqRel)
        {
            self.lifo_budget.set(budget.saturating_sub(1));
            return Some(task);
        }
        self.lifo_budget.set(limits::TASK_LIFO_BUDGET);
        self.me.queue.pop()
    }

    /// Background work that has waited for long while others went first. By time and not by a
    /// count of tasks: short ones would leave long background work most of the worker.
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
        self.background()
    }

    fn background(&self) -> Option<Work> {
        self.background_ns.set(self.shared.now_ns());
        self.pop_global(Priority::Background, false)
    }

    /// From the common queue, where `several` with a fair share of it for the own queue.
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
            if !self.shared.idle.start_search() {
                return self.background();
            }
            self.searching.set(true);
        }
        for round in 0..limits::TASK_SEARCH_ROUNDS {
            let last = round + 1 == limits::TASK_SEARCH_ROUNDS;
            let found = self
                .steal(last)
                .map(Work::Task)
                .or_else(|| self.pop_global(Priority::Interactive, true))
                .or_else(|| self.background());
            if found.is_some() {
                return found;
            }
            if !last {
                (0..limits::TASK_SEARCH_PAUSES).for_each(|_| std::hint::spin_loop());
            }
        }
        None
    }

    /// Steals half of what another worker has, beginning with a random one; what one is about
    /// to run next only where `lifo_too`.
    fn steal(&self, lifo_too: bool) -> Option<&'static TaskCell> {
        let processors = &self.shared.processors;
        let start = self.random() as usize % processors.len();
        for offset in 0..processors.len() {
            let processor = &processors[(start + offset) % processors.len()];
            let number = processor.load(Ordering::Acquire);
            if number == self.me.number {
                continue;
            }
            let Some(other) = self.shared.worker(number) else {
                continue;
            };
            let stolen = other.queue.steal_into(&self.me.queue).or_else(|| {
                let lifo = lifo_too && other.lifo_slot.load(Ordering::Relaxed).is_some();
                lifo.then(|| other.lifo_slot.swap(None, Ordering::AcqRel))?
            });
            if stolen.is_some() {
                self.me.counters.steals.add(1);
                self.stats.stole(number, self.me.queue.len() + 1);
                return stolen;
            }
        }
        None
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

    fn execute(&self, cell: &'static TaskCell) {
        let Some(running) = cell.claim() else {
            return;
        };
        let me = &*self.me;
        let name = TaskId::of(cell);
        let owner = cell.meta.owner();
        self.began_ns.set(match owner.priority {
            Priority::Interactive => 0,
            Priority::Background => time::monotonic_ns(),
        });
        me.current.store(Some(cell), Ordering::Relaxed);
        self.count_tick();
        me.set_state(WorkerState::Running);
        me.counters.polls.add(1);
        self.stats.begins(me, cell);
        let before_ns = self.shared.now_ns();
        let waker = name.waker();
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
            // At the end of the queue, or who yields would never let others go first.
            Polled::Again(cell) => {
                cell.meta.set_runnable(self.stats.stamp());
                self.queue(cell, false);
            }
        }
    }

    /// Says that this worker has come to something new; written by its thread alone.
    fn count_tick(&self) {
        let tick = self.me.tick.load(Ordering::Relaxed);
        self.me.tick.store(tick.wrapping_add(1), Ordering::Relaxed);
    }

    // ---- new tasks ------------------------------------------------------------------------

    /// Spawns a task from inside the pool.
    pub fn submit<F>(
        &self,
        class: &ClassState,
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
        if !self.take_permit(class) {
            return Err(class.refuse());
        }
        let Some(vacant) = arena::take() else {
            self.return_permit(class.index);
            return Err(class.refuse());
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.stats.stamp());
        let owner = self.shared.owner(class);
        vacant.meta().set(site, owner, now_ns, stamp);
        let (cell, handle) = vacant.fill(work);
        self.stats.spawned(cell, site);
        self.queue(cell, true);
        Ok(Task::spawned(handle))
    }

    /// Queues a task of this pool here: as the next to run, or at the end.
    pub fn queue(&self, cell: &'static TaskCell, to_lifo_slot: bool) {
        let me = &*self.me;
        let priority = cell.meta.owner().priority;
        // Nobody steals from a thread without a processor.
        if priority == Priority::Background || me.processor() == NONE {
            self.shared.global_queue.push(priority, cell);
            return self.shared.wake_one();
        }
        let displaced = if to_lifo_slot {
            match me.lifo_slot.load(Ordering::Relaxed) {
                // Thieves only empty it.
                None => {
                    me.lifo_slot.store(Some(cell), Ordering::Release);
                    return;
                }
                Some(_) => me.lifo_slot.swap(Some(cell), Ordering::AcqRel),
            }
        } else {
            Some(cell)
        };
        if let Some(cell) = displaced {
            me.queue.push(cell, |half| {
                me.counters.overflows.add(1);
                self.shared
                    .global_queue
                    .push_all(Priority::Interactive, half);
            });
            self.shared.wake_one();
        }
    }

    // ---- halves of a join -----------------------------------------------------------------

    /// Whether a half should be offered to others: nothing can be stolen here as it is.
    pub fn offers(&self) -> bool {
        match self.me.processor() {
            // Nobody steals from a thread without a processor.
            NONE => self.shared.global_queue.len(Priority::Interactive) == 0,
            _ => self.me.queue.is_empty(),
        }
    }

    /// Offers half of the running task as a task of its own. `None` if the class has no room, or
    /// the pool is closed, or no task runs here.
    pub fn offer(
        &self,
        half: impl FnOnce() + Send + 'static,
        site: &'static Location<'static>,
    ) -> Option<(&'static TaskCell, Task<()>)> {
        let class = self.class()?;
        if self.shared.closed() || !self.take_permit(class) {
            return None;
        }
        let Some(vacant) = arena::take() else {
            self.return_permit(class.index);
            return None;
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.stats.stamp());
        let mut owner = self.shared.owner(class);
        // Its other half runs already, and waits for it.
        owner.priority = Priority::Interactive;
        vacant.meta().set(site, owner, now_ns, stamp);
        let (cell, handle) = vacant.fill(ClosureFuture::new(half));
        self.queue(cell, false);
        // Who offers what it has to others does not hold its worker.
        self.count_tick();
        Some((cell, Task::spawned(handle)))
    }

    /// Takes an offered half back. False if somebody has begun it.
    pub fn take_back(&self, cell: &'static TaskCell) -> bool {
        let Some(running) = cell.claim() else {
            return false;
        };
        // If it is not the newest any more, who finds it in the queue will see that it is over.
        self.me.queue.take_back(cell);
        self.return_permit(cell.meta.owner().class);
        if let Some(vacant) = running.stop() {
            arena::put_back(vacant);
        }
        true
    }

    /// Runs another task in the middle of one that waits. False if there is none.
    pub fn help(&self) -> bool {
        let Some(cell) = self.pop_own().or_else(|| self.steal(true)) else {
            return false;
        };
        let outer = self.me.current.load(Ordering::Relaxed);
        let began_ns = self.began_ns.get();
        self.stats.nested(&self.me, || self.execute(cell));
        // The one that waits is still what it was: a background one goes on giving way.
        self.began_ns.set(began_ns);
        self.me.current.store(outer, Ordering::Relaxed);
        self.me.set_state(WorkerState::Running);
        true
    }

    fn take_permit(&self, class: &ClassState) -> bool {
        let reserved = &mut self.reserved.borrow_mut()[usize::from(class.index)];
        if *reserved == 0 {
            if class.reserve_batch > 1 && class.acquire(class.reserve_batch) {
                *reserved = class.reserve_batch as u32;
            } else {
                return class.acquire(1);
            }
        }
        *reserved -= 1;
        true
    }

    /// A task of this class is over.
    fn return_permit(&self, class: u8) {
        let Some(state) = self.shared.class(class) else {
            return;
        };
        let batch = state.reserve_batch as u32;
        let reserved = &mut self.reserved.borrow_mut()[usize::from(class)];
        *reserved += 1;
        if batch == 1 || *reserved > 2 * batch {
            let surplus = if batch == 1 { *reserved } else { batch };
            *reserved -= surplus;
            state.release(surplus as usize);
        }
    }

    /// Gives back all processors for tasks that were set aside.
    pub(super) fn return_reserved(&self) {
        let mut all = self.reserved.borrow_mut();
        for class in self.shared.classes() {
            let reserved = std::mem::take(&mut all[usize::from(class.index)]);
            if reserved > 0 {
                class.release(reserved as usize);
            }
        }
    }

    // ---- sleeping and processors --------------------------------------------------------------

    /// Parks until there is something to do.
    fn park(&self) {
        self.return_reserved();
        let (shared, me) = (&*self.shared, &*self.me);
        let searched = self.searching.replace(false);
        let processor = me.processor();
        match shared
            .idle
            .park(processor, searched, || me.processor() == processor)
        {
            // Its processor was given away just now.
            None => {
                if searched && shared.idle.end_search() {
                    shared.wake_one();
                }
                return;
            }
            Some(true) if shared.work_waits() => {
                if shared
                    .idle
                    .unpark(true, |other| other == processor)
                    .is_some()
                {
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

    /// Sleeps until somebody gives a signal.
    pub(super) fn wait(&self) -> Signal {
        loop {
            match self.me.take_signal() {
                Signal::Nothing if self.shared.ended() => return Signal::End,
                Signal::Nothing => thread::park(),
                signal => return signal,
            }
        }
    }

    /// Without a processor: leaves what it has to others and waits for one. False: end.
    fn be_spare(&self) -> bool {
        self.stats.pause(&self.me);
        if self.searching.replace(false) && self.shared.idle.end_search() {
            self.shared.wake_one();
        }
        self.return_reserved();
        self.flush();
        let signal = self.shared.wait_as_spare(&self.me);
        self.me.set_state(WorkerState::Searching);
        self.searching.set(signal == Some(Signal::Search));
        signal.is_some()
    }

    /// Moves what waits here to the front of the common queue. True if there was something.
    pub(super) fn flush(&self) -> bool {
        let mut waiting = self.me.queue.take_all();
        waiting.extend(self.me.lifo_slot.swap(None, Ordering::AcqRel));
        if !waiting.is_empty() {
            self.shared
                .global_queue
                .push_front(Priority::Interactive, &waiting);
        }
        !waiting.is_empty()
    }
}
