//! The io_uring driver: owns the ring, and every operation from its start to
//! its last completion.
//!
//! It follows three rules of the kernel:
//! - a buffer belongs to the kernel until the completion arrives, cancelled or
//!   not, so the operation stays in the table until then, awaited or abandoned;
//! - a multishot operation is over when a completion lacks IORING_CQE_F_MORE,
//!   whatever its result;
//! - `user_data` carries the operation's generation, so that a late completion can't
//!   be taken for another operation's.

mod completions;
mod entries;
mod features;
mod operations;
mod preflight;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, squeue, types};

use super::record::Records;
pub use features::{Feature, features};
use operations::{Completed, OperationTable, State};
pub use preflight::RingError;

use super::driver::{
    Driver, DriverStats, Key, MultishotEvent, Op, Outcome, Retired, StopReason, Wait,
};
use crate::buffers::{ReceiveBuf, ReceivePool};
use crate::limits;
use crate::observe::Writer;

/// The group id of the only group of provided buffers.
const RECEIVE_GROUP: u16 = 0;
/// IORING_CQE_F_BUFFER: the completion has handed out a buffer.
const BUFFER: u32 = 1;
/// `user_data` of cancellations, whose completions are ignored.
const CANCELLATION: u64 = u64::MAX;

/// Sizes of a shard's ring.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Entries of the submission queue (`sq_entries`), rounded up to a power of two.
    pub submissions: u32,
    /// Entries of the completion queue (`cq_entries`), rounded up to a power of two.
    pub completions: u32,
    /// Buffers to receive into (IORING_REGISTER_PBUF_RING): a power of two, at most 32,768.
    pub receive_buffers: u16,
    /// Bytes of each of these buffers, at most [`limits::RECV_BUFFER_BYTES_CEILING`].
    pub receive_buffer_bytes: usize,
    /// Most kernel workers of each kind, bounded and unbounded (IORING_REGISTER_IOWQ_MAX_WORKERS).
    pub blocking_workers: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            submissions: limits::RING_SUBMISSIONS,
            completions: limits::RING_COMPLETIONS,
            receive_buffers: limits::RECV_BUFFERS,
            receive_buffer_bytes: limits::RECV_BUFFER_BYTES,
            blocking_workers: limits::RING_BLOCKING_WORKERS,
        }
    }
}

/// [`Driver`] on io_uring. Built and used on one thread.
pub struct RingDriver {
    ring: IoUring,
    operations: OperationTable,
    /// Entries for which the submission queue had no room, in order.
    backlog: VecDeque<squeue::Entry>,
    /// `SendNow` operations whose outcome is not known yet, in submission order.
    silent: Vec<Key>,
    /// How many of `silent`, from the first, had an unknown outcome after their own turn: their
    /// tasks may have polled meanwhile, and are woken once the outcome is known.
    late: usize,
    receive: Rc<ReceivePool>,
    unread: Unread,
    min_wait: bool,
    /// The kernel did not end all operations in time.
    given_up: bool,
    stats: DriverStats,
    records: Records,
    /// How many of the next submissions to answer with EAGAIN, which a test can't make the kernel
    /// do.
    #[cfg(test)]
    refusals: usize,
}

/// How an `io_uring_enter` ended.
enum Entered {
    /// The wait ended, at this time.
    At(u64),
    /// The kernel took no submission (EAGAIN).
    Refused,
}

impl RingDriver {
    /// Builds a ring for the calling thread and tries what the driver relies on. Operations and
    /// completions are recorded by `writer`.
    pub fn new(options: RingOptions, writer: Rc<Writer>) -> Result<Self, RingError> {
        let ring = preflight::build(options)?;
        let receive = ReceivePool::new(options.receive_buffers, options.receive_buffer_bytes)
            .map_err(|e| RingError::from_io("allocating receive buffers", e))?;
        // SAFETY: the pool's ring memory is page-aligned, holds `buffers` entries, and lives at
        // least as long as the ring: `Drop` below keeps it until the ring is gone.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                receive.ring_addr(),
                receive.buffers(),
                RECEIVE_GROUP,
                0,
            )
        }
        .map_err(|e| RingError::from_io("registering the receive buffers (needs Linux 5.19)", e))?;
        // Both kinds of worker; a failure leaves the kernel's default, which only costs threads.
        let _ = ring
            .submitter()
            .register_iowq_max_workers(&mut [options.blocking_workers, options.blocking_workers]);
        let min_wait = ring.params().is_feature_min_timeout();
        let mut driver = Self {
            ring,
            operations: OperationTable::default(),
            backlog: Default::default(),
            silent: Vec::new(),
            late: 0,
            receive,
            unread: Unread::default(),
            min_wait,
            given_up: false,
            stats: DriverStats::default(),
            records: Records::off(),
            #[cfg(test)]
            refusals: 0,
        };
        preflight::try_out(&mut driver)?;
        driver.stats = DriverStats::default();
        driver.records = Records::new(writer);
        Ok(driver)
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.stats.submissions += 1;
        if self.backlog.is_empty() {
            // SAFETY: what the entry points to is owned by its tracked operation (or is nothing at
            // all, for a cancellation), which is kept until the last completion.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    fn refill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    fn push_cancel(&mut self, key: Key) {
        let entry = io_uring::opcode::AsyncCancel::new(key.user_data())
            .build()
            .user_data(CANCELLATION);
        self.push(entry);
    }

    /// Submits what is queued and waits.
    fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        let idle = wait.timeout.is_some_and(|t| t.is_zero());
        let mut args = types::SubmitArgs::new();
        let timespec;
        if let Some(timeout) = wait.timeout.filter(|_| !idle) {
            timespec = types::Timespec::from(timeout);
            args = args.timespec(&timespec);
        }
        let mut min_complete = u32::from(!idle);
        if !idle && self.min_wait && wait.batch > 1 && !wait.batch_wait.is_zero() {
            min_complete = wait.batch;
            args = args.min_wait_usec(wait.batch_wait.as_micros() as u32);
        }
        let submit = self.ring.submission().len() as u32;
        let refused = self.call_enter(submit, min_complete, &args)? == Some(libc::EAGAIN);
        if refused && submit > 0 {
            return Ok(Entered::Refused);
        }
        Ok(Entered::At(self.records.tick()))
    }

    /// One `io_uring_enter`. GETEVENTS always, since deferred task work runs only then. Returns the
    /// error number of a temporary error (io_uring_enter(2)): ETIME when the time is up, EINTR,
    /// EBUSY when the completion queue must be emptied first, EAGAIN for lack of memory.
    fn call_enter(
        &mut self,
        submit: u32,
        min_complete: u32,
        args: &types::SubmitArgs<'_, '_>,
    ) -> io::Result<Option<i32>> {
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        self.stats.enters += 1;
        #[cfg(test)]
        if submit > 0 && self.refusals > 0 {
            self.refusals -= 1;
            return Ok(Some(libc::EAGAIN));
        }
        // SAFETY: EXT_ARG takes a pointer to `io_uring_getevents_arg`, which `SubmitArgs` wraps
        // transparently; it and the timespec it points to live across the call.
        let result = unsafe {
            self.ring
                .submitter()
                .enter(submit, min_complete, flags.bits(), Some(args))
        };
        match result {
            Ok(_) => Ok(None),
            Err(e) => match e.raw_os_error() {
                passes @ Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(passes),
                _ => Err(e),
            },
        }
    }

    /// Called when the kernel has taken no submission, for lack of memory. Waits briefly for
    /// completions, which may release some, so that retrying turn by turn does not keep the CPU
    /// busy. Tasks and timers run between the waits, and submissions stay queued.
    fn pause_refused(&mut self, wait: Wait, wakers: &mut Vec<Waker>) -> io::Result<u64> {
        let pause = Duration::from_millis(limits::RING_REFUSED_PAUSE_MS);
        let pause = match wakers.is_empty() {
            true => wait.timeout.map_or(pause, |timeout| timeout.min(pause)),
            false => Duration::ZERO,
        };
        let timespec = types::Timespec::from(pause);
        let args = types::SubmitArgs::new().timespec(&timespec);
        self.call_enter(0, 1, &args)?;
        self.reap(wakers);
        Ok(self.records.tick())
    }

    fn reap(&mut self, wakers: &mut Vec<Waker>) {
        // Checked before reaping, which may push cancellations.
        let taken = self.backlog.is_empty() && self.ring.submission().is_empty();
        while let Some((user_data, result, flags)) = self.next_completion() {
            self.stats.completions += 1;
            if user_data == CANCELLATION {
                continue;
            }
            if cqueue::buffer_select(flags).is_some() {
                self.receive.handed_out();
            }
            let key = Key::from_user_data(user_data);
            let more = cqueue::more(flags);
            if self.records.are_kept() {
                let kind = self.operations.op(key).map(Op::kind);
                self.records.completed(user_data, kind, result, more);
            }
            let (waker, overfull) =
                self.operations
                    .complete(key, Completed { result, flags }, more);
            wakers.extend(waker);
            if let Some(orphan) = self.operations.take_orphan(key) {
                self.undo(&orphan.op, orphan.completed);
                if !more {
                    self.operations.free(key);
                }
            } else {
                if cqueue::buffer_select(flags).is_some() && self.operations.list(key) {
                    self.unread.streams.push(key);
                }
                if overfull {
                    self.push_cancel(key);
                }
            }
        }
        // A failure may be among the completions that the kernel holds back.
        let overflow = self.ring.submission().cq_overflow();
        self.stats.overflows += u64::from(overflow);
        match taken && !overflow {
            true => self.forget_silent_successes(wakers),
            false => self.late = self.silent.len(),
        }
    }

    fn next_completion(&mut self) -> Option<(u64, i32, u32)> {
        let cqe = self.ring.completion().next()?;
        Some((cqe.user_data(), cqe.result(), cqe.flags()))
    }

    /// A `SendNow` is submitted with MSG_DONTWAIT, MSG_WAITALL and IOSQE_CQE_SKIP_SUCCESS: it runs
    /// while it is submitted, and posts a completion at once unless the socket took every byte. So
    /// once the kernel has consumed the entry and the queue is reaped, no completion means success.
    fn forget_silent_successes(&mut self, wakers: &mut Vec<Waker>) {
        let late = std::mem::take(&mut self.late);
        for (at, key) in self.silent.drain(..).enumerate() {
            if self.operations.state(key) != Some(State::InFlight) {
                continue;
            }
            if self.records.are_kept()
                && let Some(op @ Op::SendNow { buf, .. }) = self.operations.op(key)
            {
                let sent = buf.len().try_into().unwrap_or(i32::MAX);
                self.records
                    .completed(key.user_data(), Some(op.kind()), sent, false);
            }
            if at < late {
                wakers.extend(self.operations.take_waker(key));
            }
            self.operations.free(key);
        }
    }

    /// Copies out, and gives back, the receive buffers whose streams did not read them in the turn
    /// that is over. Otherwise clients that send while their connection doesn't receive could
    /// occupy all buffers of the shard, and no other connection could receive.
    fn copy_out_unread(&mut self) {
        let mut streams = std::mem::take(&mut self.unread.streams);
        for key in streams.drain(..) {
            for completed in self.operations.unread(key) {
                let Some(id) = cqueue::buffer_select(completed.flags) else {
                    continue;
                };
                // SAFETY: the completion carries a buffer id, so the kernel has handed this buffer
                // out, and the flag is removed below, so the buffer is not taken a second time.
                let buf = unsafe { self.receive.filled(id, completed.result.max(0) as usize) };
                completed.flags &= !BUFFER;
                // The end of a stream or an error may name a buffer too; it is empty.
                if completed.result > 0 {
                    let copied = self.unread.copied.entry(key.user_data()).or_default();
                    copied.push_back((*buf).into());
                }
            }
        }
        self.unread.streams = streams;
    }

    /// Undoes a result of an abandoned operation.
    fn undo(&mut self, op: &ResultKind, completed: Completed) {
        match op {
            ResultKind::Descriptor if completed.result >= 0 => {
                // SAFETY: the kernel has just made this descriptor for us, and nothing else owns
                // it.
                drop(unsafe { OwnedFd::from_raw_fd(completed.result as RawFd) });
            }
            ResultKind::Receive => drop(self.received(completed)),
            _ => {}
        }
    }

    fn received(&self, completed: Completed) -> Option<ReceiveBuf> {
        let id = cqueue::buffer_select(completed.flags)?;
        // SAFETY: the completion carries a buffer id, so the kernel has handed this buffer out,
        // and each completion comes here once.
        Some(unsafe { self.receive.filled(id, completed.result.max(0) as usize) })
    }

    fn event(&mut self, key: Key, op: ResultKind, completed: Completed) -> MultishotEvent {
        let more = cqueue::more(completed.flags);
        // Dropping it returns the buffer where it is not passed on: an end or an error may name one
        // too.
        let lent = match op {
            ResultKind::Receive => self.received(completed),
            _ => None,
        };
        match (op, completed.result) {
            (ResultKind::Descriptor, fd) if fd >= 0 => {
                // SAFETY: as in `undo`.
                MultishotEvent::Accepted(unsafe { OwnedFd::from_raw_fd(fd) })
            }
            (ResultKind::Receive, n) if n > 0 => {
                match lent.or_else(|| self.unread.take_copied(key)) {
                    Some(buf) => MultishotEvent::Received(buf),
                    None => MultishotEvent::Failed(io::Error::other(
                        "the kernel named no receive buffer",
                    )),
                }
            }
            (ResultKind::Receive, 0) => MultishotEvent::End,
            (_, e) if e == -libc::ENOBUFS => MultishotEvent::Stopped(StopReason::NoBuffer),
            (_, e) if e == -libc::ECANCELED && !more => MultishotEvent::Stopped(StopReason::Rearm),
            (_, e) => MultishotEvent::Failed(io::Error::from_raw_os_error(-e)),
        }
    }
}

/// Received bytes that their streams did not read within a turn.
#[derive(Default)]
struct Unread {
    /// Streams that received in this turn.
    streams: Vec<Key>,
    /// Keyed by operation (its `user_data`, so that a later operation can't inherit them), in the
    /// order of their completions.
    copied: HashMap<u64, VecDeque<Box<[u8]>>>,
}

impl Unread {
    fn take_copied(&mut self, key: Key) -> Option<ReceiveBuf> {
        let copied = self.copied.get_mut(&key.user_data())?;
        let bytes = copied.pop_front();
        if copied.is_empty() {
            self.copied.remove(&key.user_data());
        }
        bytes.map(ReceiveBuf::copied)
    }
}

/// The kind of an operation's late or multishot result, which decides how to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultKind {
    Descriptor,
    Receive,
    Other,
}

impl ResultKind {
    fn of(op: &Op) -> Self {
        match op {
            Op::Accept { .. } | Op::Open { .. } => Self::Descriptor,
            Op::Receive { .. } => Self::Receive,
            _ => Self::Other,
        }
    }
}

impl Driver for RingDriver {
    fn start(&mut self, op: Op) -> Key {
        let silent = matches!(op, Op::SendNow { .. });
        let kind = op.kind();
        let (key, tracked) = self.operations.insert(op);
        let entry = entries::build(tracked).user_data(key.user_data());
        self.records.submitted(key.user_data(), kind);
        self.push(entry);
        if silent {
            self.silent.push(key);
        }
        key
    }

    fn poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        match self.operations.state(key) {
            None => Poll::Ready(None),
            Some(State::InFlight) => {
                self.operations.wait(key, cx.waker());
                Poll::Pending
            }
            Some(State::Done) => {
                Poll::Ready(self.operations.finish(key).map(|(mut op, completed)| {
                    let result = match completed.result {
                        e if e < 0 => Err(io::Error::from_raw_os_error(-e)),
                        n => Ok(n as u32),
                    };
                    if let (Op::ReadAt { buf, .. }, Ok(n)) = (&mut op, &result) {
                        debug_assert!(*n as usize <= buf.capacity());
                        // SAFETY: the kernel has written the first `n` bytes of the buffer, whose
                        // capacity was the length asked for.
                        unsafe { buf.set_len(*n as usize) };
                    }
                    Outcome { op, result }
                }))
            }
        }
    }

    fn poll_event(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<MultishotEvent> {
        match self.operations.next_event(key) {
            Some((kind, completed)) => {
                let event = self.event(key, kind, completed);
                let last = !cqueue::more(completed.flags);
                // After a last completion with a result the operation stays, and the next poll
                // reports its end.
                if last
                    && !matches!(
                        event,
                        MultishotEvent::Accepted(_) | MultishotEvent::Received(_)
                    )
                {
                    self.operations.free(key);
                }
                Poll::Ready(event)
            }
            None if self.operations.state(key) == Some(State::InFlight) => {
                self.operations.wait(key, cx.waker());
                Poll::Pending
            }
            None => {
                self.operations.free(key);
                Poll::Ready(MultishotEvent::Stopped(StopReason::Rearm))
            }
        }
    }

    fn cancel(&mut self, key: Key) {
        if self.operations.stop(key) {
            self.push_cancel(key);
        }
    }

    fn abandon(&mut self, key: Key) {
        if self.operations.state(key).is_some() {
            self.unread.copied.remove(&key.user_data());
        }
        match self.operations.state(key) {
            None => {}
            Some(State::InFlight) => {
                for (op, completed) in self.operations.orphan(key) {
                    self.undo(&op, completed);
                }
                self.push_cancel(key);
            }
            Some(State::Done) => {
                for (op, completed) in self.operations.orphan(key) {
                    self.undo(&op, completed);
                }
                self.operations.free(key);
            }
        }
    }

    fn turn(&mut self, wait: Wait, wakers: &mut Vec<Waker>) -> io::Result<u64> {
        self.copy_out_unread();
        self.receive.take_starved(wakers);
        self.refill();
        let asked = wait;
        let mut wait = wait;
        // Don't wait while tasks can run, before all started operations are submitted, or while the
        // outcome of silent sends is pending, since a success posts no completion.
        if !wakers.is_empty() || self.late > 0 {
            wait.timeout = Some(Duration::ZERO);
        }
        loop {
            let more = !self.backlog.is_empty();
            if more {
                wait.timeout = Some(Duration::ZERO);
            }
            let entered = self.enter(wait)?;
            self.reap(wakers);
            match entered {
                Entered::Refused => return self.pause_refused(asked, wakers),
                Entered::At(now_ns) if !more => return Ok(now_ns),
                Entered::At(_) => self.refill(),
            }
        }
    }

    fn retired(&mut self) -> &mut Retired {
        &mut self.operations.retired
    }

    fn end(&mut self) {
        if self.given_up {
            return;
        }
        let mut wakers = Vec::new();
        for key in self.operations.keys_in_flight() {
            self.abandon(key);
        }
        let mut turns_left = limits::WIND_DOWN_TURNS;
        while self.operations.in_flight() > 0 && turns_left > 0 {
            turns_left -= 1;
            let wait = Wait {
                timeout: Some(Duration::from_millis(limits::WIND_DOWN_TURN_MS)),
                batch: 1,
                batch_wait: Duration::ZERO,
            };
            if self.turn(wait, &mut wakers).is_err() {
                break;
            }
        }
        self.operations.retired.wakers.append(&mut wakers);
        self.given_up = self.operations.in_flight() > 0;
    }

    fn in_flight(&self) -> usize {
        self.operations.in_flight()
    }

    fn receive_pool(&self) -> Rc<ReceivePool> {
        Rc::clone(&self.receive)
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for RingDriver {
    /// Buffers must outlive the kernel's use of them, so this cancels and reaps what is in flight
    /// before anything is freed.
    fn drop(&mut self) {
        self.end();
        if self.operations.in_flight() > 0 {
            // A kernel worker is stuck in a system call (on a dead disk, say): leaking the buffers
            // is the only sound choice.
            std::mem::forget(std::mem::take(&mut self.operations));
            std::mem::forget(Rc::clone(&self.receive));
        }
    }
}

impl AsRawFd for RingDriver {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
