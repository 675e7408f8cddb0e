//! The driver for hosts where io_uring may not be used: epoll(7) tells when a descriptor is ready,
//! and the driver then makes the system call itself.
//!
//! It keeps the promises of the vocabulary (`src/runtime/driver.rs`) by other means:
//! - An operation begins with the next turn. One that is given up before that still sends what it
//!   was to send, since a stream's last bytes are followed by its close.
//! - A receive or an accept takes from the kernel when it is polled, not ahead of it. So a stream
//!   that nobody reads holds no buffer, and what is not read stays in the socket.
//! - What may wait for a disk is tried without waiting (RWF_NOWAIT, RESOLVE_CACHED) and else given
//!   to a thread (`workers`), as io_uring does in the kernel.
//!
//! Needs Linux 5.10.

mod attempt;
mod table;
mod watched;
mod workers;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use table::{State, Table};
use watched::WatchedFds;
use workers::{Work, Worked, Workers};

use super::driver::{
    Driver, DriverStats, Handle, Key, MultishotEvent, Op, Outcome, Retired, StopReason, Wait,
};
use super::record::Records;
use super::ring::RingOptions;
use crate::buffers::ReceivePool;
use crate::limits;
use crate::observe::Writer;
use crate::sys::epoll::{Epoll, ReadyList};
use crate::sys::open::OpenHow;
use crate::sys::ready::Ready;
use crate::sys::{self, transfer};

use attempt::{Attempt, attempt};

/// The token of the workers' notifier, which no descriptor's entry has.
const WORKERS: u64 = u64::MAX;

/// [`Driver`] on epoll. Built and used on one thread.
pub struct EpollDriver {
    epoll: Epoll,
    ready: ReadyList,
    table: Table,
    watched: WatchedFds,
    /// Operations that begin with the next turn, in order.
    started: Vec<Key>,
    /// Tasks to be woken after the next wait.
    woken: Vec<Waker>,
    workers: Workers,
    receive: Rc<ReceivePool>,
    turn: u64,
    /// The workers did not let go of everything in time.
    given_up: bool,
    stats: DriverStats,
    records: Records,
}

impl EpollDriver {
    /// Builds a set for the calling thread. Of the options, those about buffers and workers count.
    ///
    /// Errors: of epoll_create1(2), eventfd(2) and mmap(2).
    pub fn new(options: RingOptions, writer: Rc<Writer>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let workers = Workers::new(options.blocking_workers as usize)?;
        epoll.add(workers.notifier(), WORKERS)?;
        Ok(Self {
            epoll,
            ready: ReadyList::new(limits::EPOLL_EVENTS_PER_TURN),
            table: Table::default(),
            watched: WatchedFds::default(),
            started: Vec::new(),
            woken: Vec::new(),
            workers,
            receive: ReceivePool::new(options.receive_buffers, options.receive_buffer_bytes)?,
            turn: 0,
            given_up: false,
            stats: DriverStats::default(),
            records: Records::new(writer),
        })
    }

    /// Ends an operation, and gives the task that waits for it. One whose future was dropped is
    /// forgotten, and one that succeeds in silence.
    fn finish(&mut self, key: Key, result: io::Result<u32>) -> Option<Waker> {
        self.record(key, &result, false);
        self.stats.completions += 1;
        let tracked = self.table.get(key)?;
        let is_silent = match (&tracked.op, &result) {
            (Some(Op::SendNow { buf, .. }), Ok(sent)) => *sent as usize == buf.len(),
            _ => false,
        };
        if tracked.is_orphan || is_silent {
            self.table.free(key);
            return None;
        }
        self.table.set(key, State::Done(result))
    }

    fn opened(&mut self, key: Key, fd: OwnedFd) -> Option<Waker> {
        self.record(key, &Ok(0), false);
        self.stats.completions += 1;
        self.table.set(key, State::Opened(fd))
    }

    fn record(&mut self, key: Key, result: &io::Result<u32>, more: bool) {
        if !self.records.are_kept() {
            return;
        }
        let kind = self
            .table
            .get(key)
            .and_then(|tracked| tracked.op.as_ref())
            .map(Op::kind);
        let result = match result {
            Ok(count) => i32::try_from(*count).unwrap_or(i32::MAX),
            Err(error) => -error.raw_os_error().unwrap_or(0),
        };
        self.records.completed(key.user_data(), kind, result, more);
    }

    /// Begins what was started since the last turn.
    fn begin(&mut self, wakers: &mut Vec<Waker>) {
        let mut started = std::mem::take(&mut self.started);
        for key in started.drain(..) {
            wakers.extend(self.advance(key));
        }
        self.started = started;
    }

    /// Makes an operation's system call, and has it wait where it has to.
    fn advance(&mut self, key: Key) -> Option<Waker> {
        let tracked = self.table.get(key)?;
        if !matches!(tracked.state, State::Started | State::Waiting) {
            return None;
        }
        let is_first = matches!(tracked.state, State::Started);
        let is_orphan = tracked.is_orphan;
        let is_stopping = tracked.is_stopping;
        let takes_when_polled = matches!(tracked.op, Some(Op::Accept { .. } | Op::Receive { .. }));
        let attempted = match &mut tracked.op {
            Some(op) => attempt(op, is_first),
            None => return None,
        };
        match attempted {
            Attempt::Done(result) => {
                self.leave(key);
                self.finish(key, result)
            }
            Attempt::Opened(fd) => self.opened(key, fd),
            // It has tried, as it would have before its cancellation reached the kernel.
            Attempt::Wait(_) if is_orphan => {
                self.table.free(key);
                None
            }
            Attempt::Wait(handle) => match self.watched.wait(&self.epoll, &handle, key) {
                Ok(()) => {
                    self.table.set(key, State::Waiting);
                    // The kernel has reported this edge already, and reports each once.
                    let is_readable = self.watched.of(&handle).is_some_and(|e| e.is_readable);
                    match takes_when_polled && (is_readable || is_stopping) {
                        true => self.table.take_waker(key),
                        false => None,
                    }
                }
                // A file or a folder, which is not waited for.
                Err(error) if error.raw_os_error() == Some(attempt::ALWAYS_READY) => {
                    self.work_or_finish(key)
                }
                Err(error) => self.finish(key, Err(error)),
            },
            Attempt::Work => self.work_or_finish(key),
        }
    }

    fn work_or_finish(&mut self, key: Key) -> Option<Waker> {
        match self.work(key) {
            Ok(()) => None,
            Err(error) => self.finish(key, Err(error)),
        }
    }

    /// Gives an operation to a worker.
    fn work(&mut self, key: Key) -> io::Result<()> {
        let Some(op) = self.table.get(key).and_then(|tracked| tracked.op.as_mut()) else {
            return Ok(());
        };
        let duplicate = |handle: &Handle| (**handle).as_fd().try_clone_to_owned();
        let work = match op {
            Op::ReadAt {
                file, buf, offset, ..
            } => Work::Read {
                file: duplicate(file)?,
                buf: std::mem::take(buf),
                offset: *offset,
            },
            Op::Open { dir, path, how } => Work::Open {
                dir: duplicate(dir)?,
                path: path.clone(),
                how: OpenHow::of(how.flags, how.resolve),
            },
            // A file's peer does not end.
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        self.table.set(key, State::Working);
        self.workers.start(key, work).map_err(|(error, work)| {
            self.give_back(key, work);
            error
        })
    }

    /// Restores the buffer of an operation that no worker has.
    fn give_back(&mut self, key: Key, work: Option<Work>) {
        if let Some(Work::Read { buf, .. }) = work
            && let Some(tracked) = self.table.get(key)
            && let Some(Op::ReadAt { buf: place, .. }) = &mut tracked.op
        {
            *place = buf;
        }
    }

    /// Takes what the workers have done.
    fn take_worked(&mut self, wakers: &mut Vec<Waker>) {
        for (key, worked) in self.workers.take_done() {
            let Some(tracked) = self.table.get(key) else {
                continue;
            };
            let waker = match worked {
                Worked::Read(result, buf) => {
                    if let Some(Op::ReadAt { buf: place, .. }) = &mut tracked.op {
                        *place = buf;
                    }
                    self.finish(key, result.map(|read| read as u32))
                }
                Worked::Opened(Ok(_)) if tracked.is_orphan => {
                    self.table.free(key);
                    None
                }
                Worked::Opened(Ok(fd)) => self.opened(key, fd),
                Worked::Opened(Err(error)) => self.finish(key, Err(error)),
            };
            wakers.extend(waker);
        }
    }

    /// Moves on what waits for a descriptor that is ready.
    fn take_ready(&mut self, wakers: &mut Vec<Waker>) {
        for at in 0..self.ready.len() {
            let Some((token, ready)) = self.ready.get(at) else {
                continue;
            };
            if token == WORKERS {
                self.take_worked(wakers);
                continue;
            }
            let Some(entry) = self.watched.by_token(token) else {
                continue;
            };
            entry.is_readable |= ready.readable;
            if ready.peer_end || ready.urgent {
                entry.short_read_empties = Some(false);
            }
            // One that does not wait any more leaves the list, and the next takes its place.
            let mut place = 0;
            while let Some(key) = self.watched.waiting(token, place) {
                wakers.extend(self.became_ready(key, ready));
                place += usize::from(self.watched.waiting(token, place) == Some(key));
            }
        }
    }

    fn became_ready(&mut self, key: Key, ready: Ready) -> Option<Waker> {
        let op = self.table.get(key)?.op.as_ref()?;
        match op {
            // Takes from the kernel when it is polled.
            Op::Accept { .. } | Op::Receive { .. } if ready.readable => self.table.take_waker(key),
            Op::Send { .. } | Op::SendVectored { .. } | Op::Connect { .. } if ready.writable => {
                self.advance(key)
            }
            Op::ReadAt { .. } if ready.readable => self.advance(key),
            Op::Poll { interest, .. } if attempt::is_ready(*interest, ready) => {
                self.leave(key);
                self.finish(key, Ok(ready.bits))
            }
            _ => None,
        }
    }

    /// Takes an operation out of those that wait for its descriptor.
    fn leave(&mut self, key: Key) {
        if let Some(op) = self.table.get(key).and_then(|tracked| tracked.op.as_ref())
            && let Some(handle) = attempt::waits_for(op)
        {
            self.watched.leave(handle, key);
            // A listener is often shared with other processes.
            if matches!(op, Op::Accept { .. }) {
                self.watched.remove(&self.epoll, handle);
            }
        }
    }

    /// The next event of an accept or a receive that is not over; `None`: it has to wait.
    fn take(&mut self, key: Key) -> Option<MultishotEvent> {
        let tracked = self.table.get(key)?;
        let handle = match &tracked.op {
            Some(Op::Accept { listener: handle } | Op::Receive { socket: handle }) => handle,
            _ => return None,
        };
        let mut entry = self.watched.of(handle);
        if !tracked.is_stopping && entry.as_ref().is_some_and(|entry| !entry.is_readable) {
            return None;
        }
        let is_accept = matches!(&tracked.op, Some(Op::Accept { .. }));
        let fd = (**handle).as_fd();
        if is_accept {
            return match sys::socket::accept(fd) {
                Ok(fd) => Some(MultishotEvent::Accepted(fd)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(entry) = &mut entry {
                        entry.is_readable = false;
                    }
                    None
                }
                Err(error) => Some(MultishotEvent::Failed(error)),
            };
        }
        let mut room = 0;
        let received = self.receive.fill(|buffer| {
            room = buffer.len();
            transfer::recv(fd, buffer, transfer::MSG_DONTWAIT)
        });
        match received {
            None => Some(MultishotEvent::Stopped(StopReason::NoBuffer)),
            Some(Ok(Some(buf))) => {
                if let Some(entry) = &mut entry
                    && buf.len() < room
                {
                    let is_tcp = || sys::socket::is_tcp(fd);
                    entry.is_readable = !*entry.short_read_empties.get_or_insert_with(is_tcp);
                }
                Some(MultishotEvent::Received(buf))
            }
            Some(Ok(None)) => Some(MultishotEvent::End),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(entry) = &mut entry {
                    entry.is_readable = false;
                }
                None
            }
            Some(Err(error)) => Some(MultishotEvent::Failed(error)),
        }
    }
}

impl Driver for EpollDriver {
    fn start(&mut self, op: Op) -> Key {
        let kind = op.kind();
        let key = self.table.insert(op);
        self.records.submitted(key.user_data(), kind);
        self.stats.submissions += 1;
        self.started.push(key);
        key
    }

    fn poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let Some(tracked) = self.table.get(key) else {
            return Poll::Ready(None);
        };
        if matches!(
            tracked.state,
            State::Started | State::Waiting | State::Working
        ) {
            self.table.wait(key, cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(self.table.take(key).map(|(op, state)| Outcome {
            op,
            result: match state {
                State::Done(result) => result,
                _ => Err(io::Error::from_raw_os_error(attempt::CANCELLED)),
            },
        }))
    }

    fn poll_event(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<MultishotEvent> {
        let turn = self.turn;
        let Some(tracked) = self.table.get(key) else {
            return Poll::Ready(MultishotEvent::Stopped(StopReason::Rearm));
        };
        match &tracked.state {
            State::Started | State::Working => {
                self.table.wait(key, cx.waker());
                return Poll::Pending;
            }
            State::Waiting => {}
            // What it has opened is taken once, and the next poll reports the end.
            State::Opened(_) => {
                let opened = std::mem::replace(&mut tracked.state, State::Stopped);
                if let State::Opened(fd) = opened {
                    return Poll::Ready(MultishotEvent::Accepted(fd));
                }
            }
            State::Done(_) | State::Stopped => {
                let event = match self.table.take(key) {
                    Some((op, State::Done(Err(error)))) => {
                        self.table.retired.ops.push(op);
                        MultishotEvent::Failed(error)
                    }
                    Some((op, _)) => {
                        self.table.retired.ops.push(op);
                        MultishotEvent::Stopped(StopReason::Rearm)
                    }
                    None => MultishotEvent::Stopped(StopReason::Rearm),
                };
                return Poll::Ready(event);
            }
        }
        let most = match &tracked.op {
            Some(Op::Receive { .. }) => limits::RECV_QUEUE_PER_STREAM,
            _ => limits::ACCEPTED_UNTAKEN_MAX,
        };
        let is_stopping = tracked.is_stopping;
        // A peer that sends without end shares the shard with others.
        let may_give = tracked.may_give(turn, most as u32);
        if !may_give && !is_stopping {
            self.woken.push(cx.waker().clone());
            return Poll::Pending;
        }
        let event = match may_give {
            true => self.take(key),
            false => None,
        };
        let Some(event) =
            event.or_else(|| is_stopping.then_some(MultishotEvent::Stopped(StopReason::Rearm)))
        else {
            self.table.wait(key, cx.waker());
            return Poll::Pending;
        };
        self.stats.completions += 1;
        match &event {
            MultishotEvent::Received(buf) => {
                let count = buf.len() as u32;
                self.record(key, &Ok(count), true);
            }
            MultishotEvent::Accepted(_) => self.record(key, &Ok(0), true),
            _ => {
                self.record(key, &Ok(0), false);
                self.leave(key);
                self.table.free(key);
            }
        }
        Poll::Ready(event)
    }

    fn cancel(&mut self, key: Key) {
        let Some(tracked) = self.table.get(key) else {
            return;
        };
        // What has arrived is still given, up to what may be unread, and then its end.
        if let Some(Op::Receive { .. }) = &tracked.op {
            tracked.is_stopping = true;
            let waker = self.table.take_waker(key);
            self.woken.extend(waker);
            return;
        }
        let is_multishot = matches!(tracked.op, Some(Op::Accept { .. } | Op::Open { .. }));
        let ended = match tracked.state {
            State::Started | State::Waiting => true,
            State::Working => {
                let work = self.workers.cancel(key);
                let is_back = work.is_some();
                self.give_back(key, work);
                is_back
            }
            _ => false,
        };
        if !ended {
            return;
        }
        self.leave(key);
        let cancelled = || io::Error::from_raw_os_error(attempt::CANCELLED);
        self.record(key, &Err(cancelled()), false);
        let end = match is_multishot {
            true => State::Stopped,
            false => State::Done(Err(cancelled())),
        };
        let waker = self.table.set(key, end);
        self.woken.extend(waker);
    }

    fn abandon(&mut self, key: Key) {
        let Some(tracked) = self.table.get(key) else {
            return;
        };
        let must_send = matches!(
            tracked.op,
            Some(Op::Send { .. } | Op::SendNow { .. } | Op::SendVectored { .. })
        );
        match tracked.state {
            State::Started if must_send => tracked.is_orphan = true,
            State::Working if self.workers.cancel(key).is_none() => {
                if let Some(tracked) = self.table.get(key) {
                    tracked.is_orphan = true;
                }
            }
            State::Done(_) | State::Opened(_) | State::Stopped => {
                self.table.free(key);
                return;
            }
            _ => {
                let cancelled = io::Error::from_raw_os_error(attempt::CANCELLED);
                self.record(key, &Err(cancelled), false);
                self.leave(key);
                self.table.free(key);
                return;
            }
        }
        let waker = self.table.take_waker(key);
        self.table.retired.wakers.extend(waker);
    }

    fn turn(&mut self, wait: Wait, wakers: &mut Vec<Waker>) -> io::Result<u64> {
        self.turn += 1;
        self.begin(wakers);
        self.receive.take_starved(wakers);
        wakers.append(&mut self.woken);
        let timeout = match wakers.is_empty() {
            true => wait.timeout,
            false => Some(Duration::ZERO),
        };
        self.stats.enters += 1;
        self.epoll.wait(&mut self.ready, timeout)?;
        let now_ns = self.records.tick();
        self.take_ready(wakers);
        Ok(now_ns)
    }

    fn retired(&mut self) -> &mut Retired {
        &mut self.table.retired
    }

    fn end(&mut self) {
        if self.given_up {
            return;
        }
        for key in self.table.keys() {
            self.abandon(key);
        }
        let mut wakers = Vec::new();
        let mut turns_left = limits::WIND_DOWN_TURNS;
        while self.table.unfinished() > 0 && turns_left > 0 {
            turns_left -= 1;
            let wait = Wait {
                timeout: Some(Duration::from_millis(limits::WIND_DOWN_TURN_MS)),
                batch: 1,
                batch_wait: Duration::ZERO,
            };
            let turned = self.turn(wait, &mut wakers);
            // A turn with wakers to wake would not wait.
            self.table.retired.wakers.append(&mut wakers);
            if turned.is_err() {
                break;
            }
        }
        self.table.retired.wakers.append(&mut self.woken);
        self.given_up = self.table.unfinished() > 0;
    }

    fn in_flight(&self) -> usize {
        self.table.unfinished()
    }

    fn receive_pool(&self) -> Rc<ReceivePool> {
        Rc::clone(&self.receive)
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }

    fn name(&self) -> &'static str {
        "epoll"
    }
}
