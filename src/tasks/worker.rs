//! A thread that runs tasks: what it takes next, how it searches, when it sleeps.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::thread;

use super::cell::{Polled, Slot};
use super::class::ClassState;
use super::inject::Entry;
use super::notes::Notes;
use super::once::Once;
use super::shared::{NONE, Shared, Signal, Worker, WorkerState};
use super::waker::TaskName;
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
    /// Its place counts as searching.
    searching: Cell<bool>,
    tick: Cell<u32>,
    /// Tasks that it may still take from `next` one after the other.
    next_budget: Cell<u32>,
    random: Cell<u32>,
    /// When the task that it runs began or went on; 0 for an interactive one.
    pub(super) began_ns: Cell<u64>,
    /// When it last took background work or saw that there is none, by the pool's time.
    background_ns: Cell<u64>,
    pub notes: Notes,
    /// Places for tasks set aside, by class.
    aside: RefCell<[u32; limits::TASK_CLASSES_MAX]>,
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
            next_budget: Cell::new(limits::TASK_NEXT_BUDGET),
            random: Cell::new(seed),
            notes: Notes::new(&shared, &worker),
            began_ns: Cell::new(0),
            background_ns: Cell::new(shared.now_ns()),
            aside: RefCell::new([0; limits::TASK_CLASSES_MAX]),
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
        let slot = self.me.current.load(Ordering::Relaxed)?;
        self.shared.class(slot.meta.owner().class)
    }

    fn work(&self) {
        self.me.set_state(WorkerState::Searching);
        while !self.shared.ended() {
            if self.me.place() == NONE {
                if !self.be_spare() {
                    break;
                }
            } else if let Some(task) = self.next().or_else(|| self.search()) {
                self.take_on(task);
            } else {
                self.park();
            }
        }
        self.return_aside();
        if self.shared.ended() {
            // Nobody will run what was spawned or woken here since the end.
            self.shared.stop_unfinished();
        }
    }

    fn take_on(&self, entry: Entry) {
        if self.searching.replace(false) && self.shared.idle.end_search() {
            self.shared.wake_one();
        }
        match entry {
            Entry::Run(slot) => self.execute(slot),
            Entry::Resume(number) => self.resume(number),
        }
    }

    // ---- what next ------------------------------------------------------------------------

    /// What is there without searching.
    fn next(&self) -> Option<Entry> {
        let tick = self.tick.get().wrapping_add(1);
        self.tick.set(tick);
        if tick.is_multiple_of(limits::TASK_GLOBAL_TICK)
            && let Some(entry) = self.common(Priority::Interactive, false)
        {
            return Some(entry);
        }
        if tick.is_multiple_of(limits::TASK_BACKGROUND_TICK)
            && let Some(entry) = self.overdue()
        {
            return Some(entry);
        }
        self.local()
            .map(Entry::Run)
            .or_else(|| self.common(Priority::Interactive, true))
    }

    /// The task in `next`, within its budget, then the queue.
    fn local(&self) -> Option<&'static Slot> {
        let budget = self.next_budget.get();
        if budget == 0
            && let Some(task) = self.me.queue.pop()
        {
            self.next_budget.set(limits::TASK_NEXT_BUDGET);
            return Some(task);
        }
        if self.me.next.load(Ordering::Relaxed).is_some()
            && let Some(task) = self.me.next.swap(None, Ordering::AcqRel)
        {
            self.next_budget.set(budget.saturating_sub(1));
            return Some(task);
        }
        self.next_budget.set(limits::TASK_NEXT_BUDGET);
        self.me.queue.pop()
    }

    /// Background work that has waited for long while others went first. By time and not by a
    /// count of tasks: short ones would leave long background work most of the worker.
    fn overdue(&self) -> Option<Entry> {
        let now_ns = self.shared.now_ns();
        let since_ns = self.background_ns.get();
        if self.shared.inject.len(Priority::Background) == 0 {
            self.background_ns.set(now_ns);
            return None;
        }
        if now_ns.saturating_sub(since_ns) < limits::TASK_BACKGROUND_WAIT_NS {
            return None;
        }
        self.background()
    }

    fn background(&self) -> Option<Entry> {
        self.background_ns.set(self.shared.now_ns());
        self.common(Priority::Background, false)
    }

    /// From the common queue, where `several` with a fair share of it for the own queue.
    fn common(&self, priority: Priority, several: bool) -> Option<Entry> {
        let places = self.shared.places.len();
        let more = |waiting: usize| match several {
            true => (waiting / (2 * places)).min(limits::TASK_QUEUE / 4),
            false => 0,
        };
        let keep = |task| self.me.queue.push(task, |_| {});
        self.shared.inject.pop(priority, more, keep)
    }

    /// Looks for work elsewhere, for a while.
    fn search(&self) -> Option<Entry> {
        self.notes.pause(&self.me);
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
                .map(Entry::Run)
                .or_else(|| self.common(Priority::Interactive, true))
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
    /// to run next only where `next_too`.
    fn steal(&self, next_too: bool) -> Option<&'static Slot> {
        let places = &self.shared.places;
        let start = self.random() as usize % places.len();
        for offset in 0..places.len() {
            let place = &places[(start + offset) % places.len()];
            let number = place.load(Ordering::Acquire);
            if number == self.me.number {
                continue;
            }
            let Some(other) = self.shared.worker(number) else {
                continue;
            };
            let stolen = other.queue.steal_into(&self.me.queue).or_else(|| {
                let next = next_too && other.next.load(Ordering::Relaxed).is_some();
                next.then(|| other.next.swap(None, Ordering::AcqRel))?
            });
            if stolen.is_some() {
                self.me.counters.steals.add(1);
                self.notes.stole(number, self.me.queue.len() + 1);
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

    fn execute(&self, slot: &'static Slot) {
        let Some(running) = slot.claim() else {
            return;
        };
        let me = &*self.me;
        let name = TaskName::of(slot);
        let owner = slot.meta.owner();
        self.began_ns.set(match owner.priority {
            Priority::Interactive => 0,
            Priority::Background => time::monotonic_ns(),
        });
        me.current.store(Some(slot), Ordering::Relaxed);
        self.count_tick();
        me.set_state(WorkerState::Running);
        me.counters.polls.add(1);
        self.notes.begins(me, slot);
        let before_ns = self.shared.now_ns();
        let waker = name.waker();
        let polled = running.poll(&mut Context::from_waker(&waker), || {
            self.give_back(owner.class)
        });
        let long = self.shared.now_ns() != before_ns;
        self.notes.ends(&self.shared, me, long);
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
            Polled::Again(slot) => {
                slot.meta.set_runnable(self.notes.stamp());
                self.queue(slot, false);
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
        if !self.set_aside(class) {
            return Err(class.refuse());
        }
        let Some(vacant) = arena::take() else {
            self.give_back(class.index);
            return Err(class.refuse());
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.notes.stamp());
        let owner = self.shared.owner(class);
        vacant.meta().set(site, owner, now_ns, stamp);
        let (slot, handle) = vacant.fill(work);
        self.notes.spawned(slot, site);
        self.queue(slot, true);
        Ok(Task::spawned(handle))
    }

    /// Queues a task of this pool here: as the next to run, or at the end.
    pub fn queue(&self, slot: &'static Slot, as_next: bool) {
        let me = &*self.me;
        let priority = slot.meta.owner().priority;
        // Nobody steals from a thread without a place.
        if priority == Priority::Background || me.place() == NONE {
            self.shared.inject.push(priority, slot);
            return self.shared.wake_one();
        }
        let displaced = if as_next {
            match me.next.load(Ordering::Relaxed) {
                // Thieves only empty it.
                None => {
                    me.next.store(Some(slot), Ordering::Release);
                    return;
                }
                Some(_) => me.next.swap(Some(slot), Ordering::AcqRel),
            }
        } else {
            Some(slot)
        };
        if let Some(slot) = displaced {
            me.queue.push(slot, |half| {
                me.counters.overflows.add(1);
                self.shared.inject.push_all(Priority::Interactive, half);
            });
            self.shared.wake_one();
        }
    }

    // ---- halves of a join -----------------------------------------------------------------

    /// Whether a half should be offered to others: nothing can be stolen here as it is.
    pub fn offers(&self) -> bool {
        match self.me.place() {
            // Nobody steals from a thread without a place.
            NONE => self.shared.inject.len(Priority::Interactive) == 0,
            _ => self.me.queue.is_empty(),
        }
    }

    /// Offers half of the running task as a task of its own. `None` if the class has no room, or
    /// the pool is closed, or no task runs here.
    pub fn offer(
        &self,
        half: impl FnOnce() + Send + 'static,
        site: &'static Location<'static>,
    ) -> Option<(&'static Slot, Task<()>)> {
        let class = self.class()?;
        if self.shared.closed() || !self.set_aside(class) {
            return None;
        }
        let Some(vacant) = arena::take() else {
            self.give_back(class.index);
            return None;
        };
        let (now_ns, stamp) = (self.shared.now_ns(), self.notes.stamp());
        let mut owner = self.shared.owner(class);
        // Its other half runs already, and waits for it.
        owner.priority = Priority::Interactive;
        vacant.meta().set(site, owner, now_ns, stamp);
        let (slot, handle) = vacant.fill(Once::new(half));
        self.queue(slot, false);
        // Who offers what it has to others does not hold its worker.
        self.count_tick();
        Some((slot, Task::spawned(handle)))
    }

    /// Takes an offered half back. False if somebody has begun it.
    pub fn take_back(&self, slot: &'static Slot) -> bool {
        let Some(running) = slot.claim() else {
            return false;
        };
        // If it is not the newest any more, who finds it in the queue will see that it is over.
        self.me.queue.take_back(slot);
        self.give_back(slot.meta.owner().class);
        if let Some(vacant) = running.stop() {
            arena::put_back(vacant);
        }
        true
    }

    /// Runs another task in the middle of one that waits. False if there is none.
    pub fn help(&self) -> bool {
        let Some(slot) = self.local().or_else(|| self.steal(true)) else {
            return false;
        };
        let outer = self.me.current.load(Ordering::Relaxed);
        let began_ns = self.began_ns.get();
        self.notes.nested(&self.me, || self.execute(slot));
        // The one that waits is still what it was: a background one goes on giving way.
        self.began_ns.set(began_ns);
        self.me.current.store(outer, Ordering::Relaxed);
        self.me.set_state(WorkerState::Running);
        true
    }

    fn set_aside(&self, class: &ClassState) -> bool {
        let aside = &mut self.aside.borrow_mut()[usize::from(class.index)];
        if *aside == 0 {
            if class.batch > 1 && class.reserve(class.batch) {
                *aside = class.batch as u32;
            } else {
                return class.reserve(1);
            }
        }
        *aside -= 1;
        true
    }

    /// A task of this class is over.
    fn give_back(&self, class: u8) {
        let Some(state) = self.shared.class(class) else {
            return;
        };
        let batch = state.batch as u32;
        let aside = &mut self.aside.borrow_mut()[usize::from(class)];
        *aside += 1;
        if batch == 1 || *aside > 2 * batch {
            let surplus = if batch == 1 { *aside } else { batch };
            *aside -= surplus;
            state.give_back(surplus as usize);
        }
    }

    /// Gives back all places for tasks that were set aside.
    pub(super) fn return_aside(&self) {
        let mut all = self.aside.borrow_mut();
        for class in self.shared.classes() {
            let aside = std::mem::take(&mut all[usize::from(class.index)]);
            if aside > 0 {
                class.give_back(aside as usize);
            }
        }
    }

    // ---- sleeping and places --------------------------------------------------------------

    /// Parks until there is something to do.
    fn park(&self) {
        self.return_aside();
        let (shared, me) = (&*self.shared, &*self.me);
        let searched = self.searching.replace(false);
        let place = me.place();
        match shared.idle.park(place, searched, || me.place() == place) {
            // Its place was given away just now.
            None => {
                if searched && shared.idle.end_search() {
                    shared.wake_one();
                }
                return;
            }
            Some(true) if shared.work_waits() => {
                if shared.idle.unpark(true, |other| other == place).is_some() {
                    self.searching.set(true);
                    return;
                }
            }
            Some(_) => {}
        }
        me.counters.parks.add(1);
        me.set_state(WorkerState::Parked);
        if self.notes.park(|| self.wait()) == Signal::Search {
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

    /// Without a place: leaves what it has to others and waits for one. False: end.
    fn be_spare(&self) -> bool {
        self.notes.pause(&self.me);
        if self.searching.replace(false) && self.shared.idle.end_search() {
            self.shared.wake_one();
        }
        self.return_aside();
        self.flush();
        let signal = self.shared.wait_as_spare(&self.me);
        self.me.set_state(WorkerState::Searching);
        self.searching.set(signal == Some(Signal::Search));
        signal.is_some()
    }

    /// Moves what waits here to the front of the common queue. True if there was something.
    pub(super) fn flush(&self) -> bool {
        let mut waiting = self.me.queue.take_all();
        waiting.extend(self.me.next.swap(None, Ordering::AcqRel));
        if !waiting.is_empty() {
            self.shared
                .inject
                .push_front(Priority::Interactive, &waiting);
        }
        !waiting.is_empty()
    }
}
