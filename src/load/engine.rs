//! The engine of a load of requests on one shard: assigns the requests that are due to free
//! connections, and records the answers.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::arrivals::{Arrivals, Share};
use super::choice::Choice;
use super::clients::{Clients, until};
use super::connector::Connector;
use super::error::ErrorClass;
use super::intervals::Recorded;
use super::plan::Plan;
use super::player::{Player, PlayerAction};
use super::ranges::{Piece, WHOLE};
use super::record::{PlayerRecord, Record, UrlRecord};
use crate::load::limits;
use crate::runtime::{Pacing, Shard, Stream, sleep_until};
use crate::sys::time::monotonic_ns;

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub due_ns: u64,
    /// Index of [`Plan::requests`].
    pub request: u32,
    /// [`WHOLE`] unless the load requests ranges.
    pub piece: Piece,
}

/// The next action of a connection that can send a request.
pub(super) enum Next {
    Send(Due),
    /// Nothing is due; the connection is woken when something is.
    Wait,
    /// Nothing is due before this moment; the connection sleeps until then.
    WaitUntil(u64),
    /// Nothing will be due any more.
    Finished,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The connections are being made.
    Preparing,
    Sending,
    /// No new requests are sent; the connections wait for answers.
    Draining,
    Over,
}

/// The engine's state of one connection.
pub(super) struct ConnectionState {
    is_queued: Cell<bool>,
    /// The request that was assigned to it and is not sent.
    assigned: Cell<Option<Due>>,
    /// The next request and piece in sequence.
    pub next: Cell<(u32, Piece)>,
    /// The player, if the connection is a video player.
    pub player: Option<RefCell<Player>>,
}

impl ConnectionState {
    /// Whether a request is assigned and not sent.
    pub(crate) fn is_assigned(&self) -> bool {
        let assigned = self.assigned.take();
        self.assigned.set(assigned);
        assigned.is_some()
    }

    /// Takes the request that is assigned and not sent.
    pub(crate) fn take_assigned(&self) -> Option<Due> {
        self.assigned.take()
    }
}

/// The parts of an answer that are compared: its status, and the length and CRC-32 of its body.
pub(super) type Body = (u16, u64, u32);

/// One shard's part of a load.
pub(super) struct Engine {
    pub shard: Shard,
    pub plan: Arc<Plan>,
    pub share: Share,
    pub record: RefCell<Record>,
    phase: Cell<Phase>,
    /// Requests due before this moment belong to the warm-up and are not counted.
    measure_ns: Cell<u64>,
    end_ns: Cell<u64>,
    last_answer_ns: Cell<u64>,
    /// The sum and number of service times since [`Engine::pace`] last read them.
    served_ns: Cell<u64>,
    served: Cell<u64>,
    /// The arrivals of an open loop.
    arrivals: RefCell<Option<Arrivals>>,
    /// Requests that a closed loop may still send.
    budget: Cell<u64>,
    pub choice: RefCell<Choice>,
    pub random: RefCell<fastrand::Rng>,
    idle: RefCell<VecDeque<(Rc<ConnectionState>, Waker)>>,
    dispatcher: RefCell<Option<Waker>>,
    in_flight: Cell<u64>,
    /// With several requests: a record for each of the first ones, and one for all others.
    by_url: Option<RefCell<Vec<UrlRecord>>>,
    pub players: Option<RefCell<PlayerRecord>>,
    /// The first body for each request, piece and status.
    bodies: RefCell<HashMap<(u32, Piece, u16), Body>>,
    /// Connections that are open or will be made again.
    pub clients: Clients,
    pub connector: Connector,
}

impl Engine {
    pub(crate) fn new(shard: Shard, plan: Arc<Plan>, share: Share) -> Rc<Self> {
        let seed = plan.seed ^ (share.index as u64 + 1) << 32;
        Rc::new(Self {
            shard,
            share,
            record: RefCell::new(Record::new()),
            phase: Cell::new(Phase::Preparing),
            measure_ns: Cell::new(0),
            end_ns: Cell::new(u64::MAX),
            last_answer_ns: Cell::new(0),
            served_ns: Cell::new(0),
            served: Cell::new(0),
            arrivals: RefCell::default(),
            budget: Cell::new(u64::MAX),
            choice: RefCell::new(Choice::new(&plan, share, seed)),
            random: RefCell::new(fastrand::Rng::with_seed(!seed)),
            players: plan.players().map(|_| RefCell::new(PlayerRecord::new())),
            by_url: UrlRecord::of(plan.requests.len()).map(RefCell::new),
            plan,
            idle: RefCell::default(),
            dispatcher: RefCell::default(),
            in_flight: Cell::new(0),
            bodies: RefCell::default(),
            clients: Clients::default(),
            connector: Connector::default(),
        })
    }

    // ---- the run ----------------------------------------------------------------

    /// Lets the connections send from now on.
    pub(crate) fn begin(&self, start_ns: u64) {
        let plan = &self.plan;
        let requests_max = plan.requests_max.map(|all| self.share.part_of(all));
        let warm_and_measured = plan.duration_ns.map(|ns| ns + plan.warmup_ns);
        self.measure_ns.set(start_ns + plan.warmup_ns);
        if let Some(ns) = warm_and_measured {
            self.end_ns.set(start_ns + ns);
        }
        match plan.arrivals(start_ns, self.share, requests_max) {
            Some(arrivals) => *self.arrivals.borrow_mut() = Some(arrivals),
            None => self.budget.set(requests_max.unwrap_or(u64::MAX)),
        }
        self.phase.set(Phase::Sending);
        self.shard.wake_all();
    }

    /// Stops sending; requests that are due by now and not sent count as unsent.
    pub(crate) fn stop(&self) {
        self.end_ns.set(self.end_ns.get().min(monotonic_ns()));
        self.drain();
    }

    /// Ends the measured time: no more requests are sent, and the connections wait for answers.
    pub(crate) fn drain(&self) {
        if self.phase.get() == Phase::Sending {
            self.phase.set(Phase::Draining);
            self.shard.wake_all();
        }
    }

    /// Ends all connections; requests in flight count as unanswered, requests that were due as
    /// unsent.
    pub(crate) fn end(&self) {
        self.phase.set(Phase::Over);
        self.shard.wake_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// When the measured time begins.
    pub(crate) fn measure_ns(&self) -> u64 {
        self.measure_ns.get()
    }

    /// When the last request is due, if that is known.
    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns.get()
    }

    /// When the last counted answer was received.
    pub(crate) fn last_answer_ns(&self) -> u64 {
        self.last_answer_ns.get()
    }

    /// Counts the requests that were due and not sent, and ends the arrivals.
    pub(crate) fn count_unsent(&self) {
        let Some(mut arrivals) = self.arrivals.take() else {
            return;
        };
        let now_ns = monotonic_ns();
        arrivals.drain_due(self.end_ns.get().min(now_ns), |due_ns| {
            if due_ns >= self.measure_ns.get() {
                let mut record = self.record.borrow_mut();
                record.tally.unsent += 1;
                record.response.saturating_record(now_ns - due_ns);
            }
        });
    }

    /// Lets a closed loop of many connections gather answers, for a small share of their service
    /// time: a wake-up for each would cost CPU time here and at the server.
    pub(crate) fn pace(&self) {
        let (served, served_ns) = (self.served.take(), self.served_ns.take());
        if self.plan.is_open() {
            return;
        }
        let wait_ns = served_ns / served.max(1) / limits::GATHER_SHARE;
        self.shard.set_pacing(Pacing {
            batch: (self.clients.running() / limits::GATHER_PARTS).max(1) as u32,
            batch_wait: Duration::from_nanos(wait_ns.min(limits::GATHER_NS_MAX)),
        });
    }

    /// Connects to the server.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let addresses = &self.plan.addresses;
        let (stream, took_ns) = self
            .connector
            .connect(addresses, self.plan.timeout_ms)
            .await?;
        let mut record = self.record.borrow_mut();
        record.connect.saturating_record(took_ns);
        record.tally.connects += 1;
        Ok(stream)
    }

    /// Notes that a connection has ended and will not be made again.
    pub(crate) fn connection_ends(&self, state: &ConnectionState) {
        let now_ns = monotonic_ns().min(self.end_ns.get());
        self.with_player(state, now_ns, |player, _, record| {
            player.finish(now_ns, record)
        });
        self.clients.ends();
    }

    /// Runs a future until it is ready or the load is over.
    pub(crate) async fn until_over<F: Future>(&self, future: F) -> Option<F::Output> {
        until(|| self.is_over(), future).await
    }

    // ---- what is due --------------------------------------------------------------

    /// Decides what a connection that can send a request does now.
    #[inline]
    pub(crate) fn next(
        &self,
        state: &Rc<ConnectionState>,
        now_ns: u64,
        cx: &mut Context<'_>,
    ) -> Next {
        if let Some(due) = state.assigned.take() {
            self.lag(due.due_ns, now_ns);
            return Next::Send(due);
        }
        match self.phase.get() {
            Phase::Preparing => return Next::Wait,
            Phase::Sending => {}
            Phase::Draining | Phase::Over => return Next::Finished,
        }
        let mut arrivals = self.arrivals.borrow_mut();
        let Some(arrivals) = &mut *arrivals else {
            if now_ns >= self.end_ns.get() || self.budget.get() == 0 {
                return Next::Finished;
            }
            let due = match self.player_action(state, now_ns) {
                None => self.pick(state, now_ns),
                Some(PlayerAction::Request(request, piece)) => Due {
                    due_ns: now_ns,
                    request,
                    piece,
                },
                Some(PlayerAction::WaitUntil(at_ns)) => {
                    return Next::WaitUntil(at_ns.min(self.end_ns.get()));
                }
            };
            self.budget.set(self.budget.get() - 1);
            return Next::Send(due);
        };
        if let Some(due_ns) = arrivals.take_due(now_ns) {
            // If idle connections wait, the dispatcher is late to assign this request.
            if !self.idle.borrow().is_empty() {
                self.lag(due_ns, now_ns);
            }
            return Next::Send(self.pick(state, due_ns));
        }
        if arrivals.peek().is_none() {
            return match self.are_over(arrivals, now_ns) {
                true => Next::Finished,
                false => Next::Wait,
            };
        }
        if !state.is_queued.replace(true) {
            let mut idle = self.idle.borrow_mut();
            idle.push_back((Rc::clone(state), cx.waker().clone()));
            if idle.len() == 1
                && let Some(dispatcher) = self.dispatcher.take()
            {
                dispatcher.wake();
            }
        }
        Next::Wait
    }

    /// Whether a load whose arrivals have ended is over: it lasts as long as requested, even if no
    /// more requests are due.
    fn are_over(&self, arrivals: &Arrivals, now_ns: u64) -> bool {
        arrivals.peek().is_none()
            && (now_ns >= self.end_ns.get()
                || self.plan.duration_ns.is_none()
                || arrivals.are_counted_out())
    }

    /// Whether nothing will be due any more, so that a connection that is down need not be made again.
    pub(crate) fn is_finished(&self) -> bool {
        let now_ns = monotonic_ns();
        match (self.phase.get(), &*self.arrivals.borrow()) {
            (Phase::Preparing, _) => false,
            (Phase::Draining | Phase::Over, _) => true,
            (Phase::Sending, Some(arrivals)) => self.are_over(arrivals, now_ns),
            (Phase::Sending, None) => now_ns >= self.end_ns.get() || self.budget.get() == 0,
        }
    }

    /// Removes a connection that is down from the idle queue.
    pub(crate) fn leave_idle_queue(&self, state: &Rc<ConnectionState>) {
        if state.is_queued.replace(false) {
            let mut idle = self.idle.borrow_mut();
            idle.retain(|(other, _)| !Rc::ptr_eq(other, state));
        }
    }

    fn pick(&self, state: &ConnectionState, due_ns: u64) -> Due {
        let (request, piece) = match &self.plan.ranges {
            None => (self.choice.borrow_mut().next(), WHOLE),
            Some(ranges) => self.pick_piece(state, ranges),
        };
        Due {
            due_ns,
            request,
            piece,
        }
    }

    /// The state of a new connection.
    pub(crate) fn connection_state(&self) -> Rc<ConnectionState> {
        let player = || RefCell::new(Player::new(self.random.borrow_mut().u64(..)));
        Rc::new(ConnectionState {
            is_queued: Cell::new(false),
            assigned: Cell::new(None),
            next: Cell::new((0, WHOLE)),
            player: self.players.as_ref().map(|_| player()),
        })
    }

    fn lag(&self, due_ns: u64, now_ns: u64) {
        if due_ns >= self.measure_ns.get() {
            let mut record = self.record.borrow_mut();
            record.lag.saturating_record(now_ns.saturating_sub(due_ns));
        }
    }

    /// Assigns requests as they become due to idle connections, the longest idle first.
    pub(crate) async fn dispatch(self: Rc<Self>) {
        loop {
            poll_fn(|cx| {
                if self.idle.borrow().is_empty() {
                    *self.dispatcher.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            let next_ns = self.arrivals.borrow().as_ref().and_then(Arrivals::peek);
            let Some(next_ns) = next_ns else {
                // Nothing more will be due: the idle connections are woken to find that out.
                let idle = self.idle.take();
                for (state, waker) in idle {
                    state.is_queued.set(false);
                    waker.wake();
                }
                continue;
            };
            sleep_until(next_ns).await;
            if self.phase.get() != Phase::Sending {
                return;
            }
            let now_ns = monotonic_ns();
            let mut idle = self.idle.borrow_mut();
            let mut arrivals = self.arrivals.borrow_mut();
            let Some(arrivals) = &mut *arrivals else {
                return;
            };
            while !idle.is_empty()
                && let Some(due_ns) = arrivals.take_due(now_ns)
                && let Some((state, waker)) = idle.pop_front()
            {
                state.is_queued.set(false);
                state.assigned.set(Some(self.pick(&state, due_ns)));
                waker.wake();
            }
        }
    }

    // ---- results -------------------------------------------------------------

    pub(crate) fn sent(&self, count: u64) {
        let in_flight = self.in_flight.get() + count;
        self.in_flight.set(in_flight);
        let mut record = self.record.borrow_mut();
        record.in_flight_max = record.in_flight_max.max(in_flight);
    }

    /// Removes requests from those in flight that have neither been answered nor failed.
    pub(crate) fn unsend(&self, count: u64) {
        self.in_flight.set(self.in_flight.get() - count);
    }

    #[inline]
    pub(crate) fn answered(&self, due: Due, sent_ns: u64, now_ns: u64, status: u16) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.served_ns
            .set(self.served_ns.get() + (now_ns - sent_ns));
        self.served.set(self.served.get() + 1);
        if due.due_ns < self.measure_ns.get() {
            return;
        }
        self.last_answer_ns.set(now_ns);
        let mut record = self.record.borrow_mut();
        record.times(now_ns - due.due_ns, now_ns - sent_ns);
        record.tally.requests += 1;
        record.tally.status[usize::from(status / 100 % 10)] += 1;
        drop(record);
        if let Some(by_url) = &self.by_url {
            UrlRecord::at(&mut by_url.borrow_mut(), due.request).answered(now_ns - due.due_ns);
        }
        match status {
            400..=499 => self.error(due, ErrorClass::Status4xx),
            500..=599 => self.error(due, ErrorClass::Status5xx),
            _ => {}
        }
    }

    /// Counts a request's error, unless the request belongs to the warm-up.
    pub(crate) fn error(&self, due: Due, class: ErrorClass) {
        self.record.borrow_mut().tally.error(class);
        if let Some(by_url) = &self.by_url {
            UrlRecord::at(&mut by_url.borrow_mut(), due.request).errors += 1;
        }
    }

    /// The results by request, taken at the end.
    pub(crate) fn take_by_url(&self) -> Vec<UrlRecord> {
        self.by_url.as_ref().map_or_else(Vec::new, RefCell::take)
    }

    /// Compares a body with the first of that request, piece and status.
    pub(crate) fn check(&self, due: Due, body: Body) {
        let mut firsts = self.bodies.borrow_mut();
        let key = (due.request, due.piece, body.0);
        let is_full = firsts.len() >= limits::BODIES_MAX;
        match firsts.get(&key) {
            Some(first) if *first == body || due.due_ns < self.measure_ns.get() => {}
            Some(_) => self.error(due, ErrorClass::BodyMismatch),
            None if is_full => self.record.borrow_mut().tally.unchecked += 1,
            None => {
                firsts.insert(key, body);
            }
        }
    }

    pub(crate) fn received(&self, bytes: usize, now_ns: u64) {
        if now_ns >= self.measure_ns.get() {
            self.record.borrow_mut().tally.bytes += bytes as u64;
        }
    }

    /// Records a failed request. One that timed out is added to the times with the time that it has
    /// waited.
    pub(crate) fn failed(&self, due: Due, sent_ns: Option<u64>, class: ErrorClass) {
        if sent_ns.is_some() {
            self.unsend(1);
        }
        if due.due_ns < self.measure_ns.get() {
            return;
        }
        let now_ns = monotonic_ns();
        self.error(due, class);
        if class == ErrorClass::Timeout {
            let mut record = self.record.borrow_mut();
            record.times(now_ns - due.due_ns, now_ns - sent_ns.unwrap_or(due.due_ns));
        }
    }

    /// Records a request that was in flight at the end, or about to be sent again.
    pub(crate) fn unanswered(&self, due: Due, sent_ns: Option<u64>) {
        if sent_ns.is_some() {
            self.unsend(1);
        }
        if due.due_ns < self.measure_ns.get() {
            return;
        }
        let now_ns = monotonic_ns();
        let mut record = self.record.borrow_mut();
        record.tally.unanswered += 1;
        record.response.saturating_record(now_ns - due.due_ns);
        if let Some(sent_ns) = sent_ns {
            record.service.saturating_record(now_ns - sent_ns);
        }
    }

    /// Records the failure of a connection that had no request.
    pub(crate) fn connection_failed(&self, class: ErrorClass) {
        if monotonic_ns() >= self.measure_ns.get() {
            self.record.borrow_mut().tally.error(class);
        }
    }
}
