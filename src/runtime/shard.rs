//! A shard: one thread with one driver, one executor and one timer wheel, and the loop that runs
//! them: submit and wait, wake tasks, run those that are ready.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::driver::{Driver, Handle, Key, MultishotEvent, Op, Outcome, Retired, Wait};
use super::executor::{Executor, Polled, poll_task};
use super::foreign::{self, contain};
use super::io::{read_at, sleep, yield_now};
use super::join::{JoinHandle, joined};
use super::mailbox::{Mailbox, Message};
use super::precise_timer::PreciseTimers;
use super::stall_detector::StallDetector;
use super::stats::{ShardStats, SharedStats};
use super::timer::{TimerId, Wheel};
use super::waker::{ShardRegistration, TaskId};
use crate::buffers::{OutputPool, ReceivePool};
use crate::limits;
use crate::observe::CallSite;

const NS_PER_MS: u64 = 1_000_000;

thread_local! {
    static CURRENT: RefCell<Option<Shard>> = const { RefCell::new(None) };
}

/// The calling thread's shard: a cheap handle, to clone and to keep in futures.
#[derive(Clone)]
pub struct Shard(pub(super) Rc<Core>);

pub(super) struct Core {
    index: usize,
    count: usize,
    cpu: Option<usize>,
    driver: RefCell<Box<dyn Driver>>,
    executor: RefCell<Executor>,
    wheel: RefCell<Wheel>,
    pub(super) precise_timers: RefCell<PreciseTimers>,
    now_ms: Cell<u64>,
    mailbox: Arc<Mailbox>,
    registration: ShardRegistration,
    receive: Rc<ReceivePool>,
    output: Rc<OutputPool>,
    pub(super) stats: Arc<SharedStats>,
    pacing: Cell<Pacing>,
    /// Wakers of tasks that yielded, to be woken in the next turn.
    yielded: RefCell<Vec<Waker>>,
    stall_detector: StallDetector,
}

/// How a busy shard gathers completions into one turn.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Number of completions that ends a wait at once.
    pub batch: u32,
    /// Longest wait for that number; then one completion ends it.
    pub batch_wait: Duration,
}

/// The parts that a shard is built from.
pub(super) struct ShardParts {
    pub index: usize,
    pub count: usize,
    pub cpu: Option<usize>,
    pub driver: Box<dyn Driver>,
    pub mailbox: Arc<Mailbox>,
    pub stats: Arc<SharedStats>,
    pub pacing: Pacing,
    pub stall_detector: StallDetector,
}

/// Makes a task ready if it belongs to the calling thread's shard.
pub(super) fn make_ready_here(task: TaskId) -> bool {
    CURRENT
        .try_with(|current| match &*current.borrow() {
            Some(shard) if shard.0.registration.number() == task.shard() => {
                shard.0.executor.borrow_mut().make_ready(task);
                true
            }
            _ => false,
        })
        .unwrap_or(false)
}

impl Shard {
    pub(super) fn new(parts: ShardParts) -> io::Result<Self> {
        let registration = ShardRegistration::enter(Arc::clone(&parts.mailbox))
            .ok_or_else(|| io::Error::other("too many shards in one process"))?;
        let now_ms = parts.stall_detector.tick() / NS_PER_MS;
        Ok(Self(Rc::new(Core {
            index: parts.index,
            count: parts.count,
            cpu: parts.cpu,
            receive: parts.driver.receive_pool(),
            driver: RefCell::new(parts.driver),
            executor: RefCell::new(Executor::new(registration.number())),
            wheel: RefCell::new(Wheel::new(now_ms)),
            precise_timers: RefCell::default(),
            now_ms: Cell::new(now_ms),
            mailbox: parts.mailbox,
            registration,
            output: OutputPool::new(limits::OUTPUT_BUFFERS_KEPT, limits::OUTPUT_BUFFER_BYTES_MAX),
            stats: parts.stats,
            pacing: Cell::new(parts.pacing),
            yielded: RefCell::default(),
            stall_detector: parts.stall_detector,
        })))
    }

    /// The calling thread's shard; `None` on a thread that runs no shard.
    pub fn try_current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// The calling thread's shard.
    ///
    /// # Panics
    /// On a thread that runs no shard: I/O futures are made and polled on shards only.
    pub fn current() -> Self {
        match Self::try_current() {
            Some(shard) => shard,
            None => panic!("not on a shard: run this inside headwater::runtime::Runtime"),
        }
    }

    /// This shard's number, from 0.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// How many shards the runtime has.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// The CPU that this shard is pinned to.
    pub fn cpu(&self) -> Option<usize> {
        self.0.cpu
    }

    /// Milliseconds of the monotonic clock, as of this turn of the loop.
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    /// Runs a future on this shard. Dropping the handle leaves it running.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let (handle, task) = joined(future);
        self.spawn_as(CallSite::of(Location::caller()), task);
        handle
    }

    /// Runs a future on this shard, without a handle to wait for its end.
    #[track_caller]
    pub fn spawn_detached(&self, future: impl Future<Output = ()> + 'static) {
        self.spawn_as(CallSite::of(Location::caller()), future);
    }

    /// As [`spawn_detached`](Self::spawn_detached), for a task whose kind has a name: traces and
    /// reports of stalls show it instead of the call site.
    pub fn spawn_as(&self, kind: CallSite, future: impl Future<Output = ()> + 'static) {
        let spawned = self.0.executor.borrow_mut().spawn(kind, Box::pin(future));
        // Asserted here, where the executor is not borrowed, since a panic drops the task.
        assert!(spawned.is_ok(), "too many tasks on one shard");
    }

    /// Announces the operation that the running task is about to do, until its next announcement or
    /// the end of its poll: reports of a stall name it.
    pub fn doing(&self, what: CallSite) {
        self.0.stall_detector.doing(what);
    }

    /// Makes every task of this shard ready, for rare events that concern all of them.
    pub fn wake_all(&self) {
        self.0.executor.borrow_mut().make_all_ready();
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.executor.borrow().live()
    }

    /// The driver's name, for banners.
    pub fn driver_name(&self) -> &'static str {
        self.0.driver.borrow().name()
    }

    /// The shard's pool of output buffers.
    pub fn output_pool(&self) -> &Rc<OutputPool> {
        &self.0.output
    }

    /// The shard's receive buffers.
    pub fn receive_pool(&self) -> &Rc<ReceivePool> {
        &self.0.receive
    }

    /// This shard's counters.
    pub fn stats(&self) -> ShardStats {
        self.0.stats.load()
    }

    /// Sets how this shard gathers completions when it is busy.
    pub fn set_pacing(&self, pacing: Pacing) {
        self.0.pacing.set(pacing);
    }

    pub(super) fn start(&self, op: Op) -> Key {
        self.0.driver.borrow_mut().start(op)
    }

    pub(super) fn poll_op(&self, key: Key, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        self.0.driver.borrow_mut().poll(key, cx)
    }

    pub(super) fn poll_event(&self, key: Key, cx: &mut Context<'_>) -> Poll<MultishotEvent> {
        let event = self.0.driver.borrow_mut().poll_event(key, cx);
        if let Poll::Ready(
            MultishotEvent::End | MultishotEvent::Stopped(_) | MultishotEvent::Failed(_),
        ) = event
        {
            self.drop_retired();
        }
        event
    }

    pub(super) fn cancel(&self, key: Key) {
        self.0.driver.borrow_mut().cancel(key);
    }

    pub(super) fn abandon(&self, key: Key) {
        self.0.driver.borrow_mut().abandon(key);
        self.drop_retired();
    }

    /// Drops the values that the driver has retired: at once, since a peer may wait for a socket to
    /// close, but not while the driver is borrowed.
    fn drop_retired(&self) {
        loop {
            let (op, waker) = {
                let mut driver = self.0.driver.borrow_mut();
                let retired = driver.retired();
                (retired.ops.pop(), retired.wakers.pop())
            };
            if op.is_none() && waker.is_none() {
                return;
            }
            let mut one = Retired::default();
            one.ops.extend(op);
            one.wakers.extend(waker);
            self.0.stats.count_panics(one.drop_contained());
        }
    }

    /// The number of turns of this shard's loop so far, of which each enters the ring once.
    pub fn turn(&self) -> u64 {
        self.0.stall_detector.turn()
    }

    /// Wakes a task after this turn's wait.
    pub fn wake_next_turn(&self, waker: &Waker) {
        let waker = waker.clone();
        self.0.yielded.borrow_mut().push(waker);
    }

    /// Nanoseconds for which this shard has polled its ring in order to end a
    /// [`sleep_until`](super::sleep_until) on time: CPU time without work.
    pub fn spun_ns(&self) -> u64 {
        self.0.precise_timers.borrow().spun_ns()
    }

    pub(super) fn timer_insert(&self, deadline_ms: u64) -> TimerId {
        self.0.wheel.borrow_mut().insert(deadline_ms)
    }

    pub(super) fn timer_poll(&self, id: TimerId, waker: &Waker) -> bool {
        let polled = self.0.wheel.borrow_mut().poll(id, waker);
        drop(polled.replaced);
        polled.elapsed
    }

    pub(super) fn timer_reset(&self, id: TimerId, deadline_ms: u64) {
        self.0.wheel.borrow_mut().reset(id, deadline_ms);
    }

    /// Makes a timer elapse with the next turn, as if its time were up.
    pub fn expire(&self, id: TimerId) {
        self.0.wheel.borrow_mut().expire(id);
    }

    pub(super) fn timer_remove(&self, id: TimerId) {
        let waker = self.0.wheel.borrow_mut().remove(id);
        drop(waker);
    }

    /// Runs until `root` is done, then ends every other task and waits until
    /// nothing is in flight.
    pub(super) fn run<F: Future + 'static>(self, root: F) -> io::Result<F::Output>
    where
        F::Output: 'static,
    {
        CURRENT.with(|current| *current.borrow_mut() = Some(self.clone()));
        let wind_down = WindDown(&self);
        let root = self.spawn(root);
        self.spawn_as(CallSite::named("mailbox"), read_mailbox(self.clone()));
        self.0
            .stall_detector
            .turn_begins(self.0.stall_detector.tick(), 0);
        let mut turn = Turn::default();
        let result = loop {
            self.run_ready();
            if let Some(output) = root.try_take() {
                break output;
            }
            if let Err(e) = self.take_turn(&mut turn) {
                break Err(super::join::JoinError::Loop(e));
            }
        };
        drop(wind_down);
        result.map_err(|e| io::Error::other(e.to_string()))
    }

    fn take_turn(&self, turn: &mut Turn) -> io::Result<()> {
        let Turn {
            wakers,
            retired,
            completions,
        } = turn;
        let core = &*self.0;
        core.stall_detector.turn_ends();
        let busy = core.executor.borrow().has_ready() || !core.yielded.borrow().is_empty();
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            // The time of the last poll's end, so that the tasks' time counts as part of the wait.
            let now_ms = core.stall_detector.now_ns() / NS_PER_MS;
            let next = core.wheel.borrow().next_ms(now_ms);
            core.precise_timers
                .borrow_mut()
                .shorten(next.map(Duration::from_millis))
        };
        let Pacing { batch, batch_wait } = core.pacing.get();
        let wait = Wait {
            timeout,
            batch,
            batch_wait,
        };
        {
            let mut driver = core.driver.borrow_mut();
            let now_ns = driver.turn(wait, wakers)?;
            std::mem::swap(driver.retired(), retired);
            let stats = driver.stats();
            core.stall_detector
                .turn_begins(now_ns, stats.completions - *completions);
            *completions = stats.completions;
            core.stats
                .store_driver(stats, core.executor.borrow().live());
        }
        let mut panics = retired.drop_contained();
        core.now_ms.set(core.stall_detector.now_ns() / NS_PER_MS);
        core.wheel.borrow_mut().advance(core.now_ms.get(), wakers);
        core.precise_timers.borrow_mut().take_due(wakers);
        wakers.append(&mut core.yielded.borrow_mut());
        panics += foreign::wake_each(wakers);
        if panics > 0 {
            core.stats.count_panics(panics);
        }
        Ok(())
    }

    fn run_ready(&self) {
        let core = &*self.0;
        for _ in 0..limits::POLLS_PER_TURN {
            let Some((id, kind, task)) = core.executor.borrow_mut().next() else {
                return;
            };
            core.stats.count_poll();
            core.stall_detector.poll_begins(kind);
            let polled = poll_task(id, task);
            core.stall_detector.poll_ends(id.number(), kind);
            match polled {
                Polled::Pending(task) => core.executor.borrow_mut().put_back(id, task),
                Polled::Ended => core.executor.borrow_mut().finished(id),
                Polled::Panicked => {
                    core.stats.count_panics(1);
                    core.executor.borrow_mut().finished(id);
                }
            }
        }
    }

    /// Drops all tasks, which abandons their operations, and waits until the operations have ended.
    /// A destructor may start new tasks and operations, so this repeats until nothing is left.
    fn wind_down(&self) {
        let core = &*self.0;
        core.stats.count_panics(core.mailbox.close());
        loop {
            let tasks = core.executor.borrow_mut().clear();
            let mut wakers = core.yielded.take();
            core.receive.take_waiting(&mut wakers);
            let mut retired = {
                let mut driver = core.driver.borrow_mut();
                if tasks.is_empty() {
                    driver.end();
                }
                std::mem::take(driver.retired())
            };
            retired.wakers.append(&mut wakers);
            if tasks.is_empty() && retired.is_empty() {
                break;
            }
            let panics = foreign::drop_each(tasks) + retired.drop_contained();
            core.stats.count_panics(panics);
        }
    }
}

/// What one turn leaves to the next: vectors, for their memory, and the number of completions.
#[derive(Default)]
struct Turn {
    wakers: Vec<Waker>,
    retired: Retired,
    completions: u64,
}

/// Winds a shard down when its loop ends, also by a panic. Tasks and shard hold references to each
/// other, so without this neither would be freed, and senders would wait without end.
struct WindDown<'a>(&'a Shard);

impl Drop for WindDown<'_> {
    fn drop(&mut self) {
        self.0.wind_down();
        let current = CURRENT.with(|current| current.borrow_mut().take());
        drop(current);
    }
}

/// The task that handles what other threads have sent to this shard: at most
/// [`limits::MAILBOX_MESSAGES_PER_TURN`] messages a turn, so that a burst delays neither
/// completions nor timers.
async fn read_mailbox(shard: Shard) {
    let mailbox = Arc::clone(&shard.0.mailbox);
    let eventfd: Handle = Rc::new(SharedMailbox(Arc::clone(&mailbox)));
    let mut buf = Vec::with_capacity(8);
    let mut taken = TakenMessages(VecDeque::new());
    loop {
        if mailbox.take(&mut taken.0) {
            shard.wake_all();
        }
        while taken.handle_some(&shard) {
            yield_now().await;
        }
        buf = match read_at(&shard, Rc::clone(&eventfd), buf, 0, false).await {
            (Ok(_), buf) => buf,
            // No message arrives without this task, so it retries after a pause.
            (Err(_), buf) => {
                sleep(Duration::from_millis(limits::MAILBOX_RETRY_MS)).await;
                buf
            }
        };
        buf.clear();
    }
}

/// Messages taken from the mailbox and not handled yet, in the order in which they were sent.
struct TakenMessages(VecDeque<Message>);

impl TakenMessages {
    /// Handles one turn's share; true if messages are left.
    fn handle_some(&mut self, shard: &Shard) -> bool {
        for _ in 0..limits::MAILBOX_MESSAGES_PER_TURN {
            match self.0.pop_front() {
                Some(Message::Wake(task)) => shard.0.executor.borrow_mut().make_ready(task),
                // A panic ends the function that was sent, not this task.
                Some(Message::Run(run)) => {
                    if contain(run).is_err() {
                        shard.0.stats.count_panics(1);
                    }
                }
                None => return false,
            }
        }
        !self.0.is_empty()
    }
}

impl Drop for TakenMessages {
    /// Counts the destructors that panic when the shard ends before all messages are handled.
    fn drop(&mut self) {
        let panics = foreign::drop_each(self.0.drain(..));
        if let Some(shard) = Shard::try_current() {
            shard.0.stats.count_panics(panics);
        }
    }
}

/// A mailbox as a [`Handle`], through which the ring reads its eventfd.
struct SharedMailbox(Arc<Mailbox>);

impl AsFd for SharedMailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
