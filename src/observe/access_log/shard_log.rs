//! A shard's side of the access log: batches that it fills and hands over.
//!
//! A batch is handed over when the next one is full, or one to two ticks after its first record.
//! So each record stays within the shard's reach for a while: a send that fails is known one turn
//! after its answer was recorded, and [`ShardLog::take_back`] then corrects what was said of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::task::{Context, Poll, Waker};

use super::record::{Batch, Record, Unfinished};
use super::shared::Shared;
use super::writer::Message;
use crate::limits;
use crate::sys::time;

/// The access log of one shard. It is used by that shard's thread alone; what it holds when it is
/// dropped is handed over.
pub struct ShardLog {
    shared: Arc<Shared>,
    shard: usize,
    inner: RefCell<Inner>,
}

struct Inner {
    /// Being filled.
    current: Option<Batch>,
    /// Filled before that one, and handed over next.
    previous: Option<Batch>,
    free: Vec<Batch>,
    /// Batches that exist, wherever they are.
    made: usize,
    returned: Receiver<Batch>,
    writer: SyncSender<Message>,
    /// There was no batch for the last record: the writer has all of them.
    is_out: bool,
    /// Of the task that calls [`ShardLog::tick`], while there is nothing to do for it.
    waker: Option<Waker>,
    /// Counted so far.
    connections: u64,
    /// Kept for reuse.
    spare: Vec<Unfinished>,
}

/// A record taken back, and how many bytes of its answer have not left yet.
#[derive(Debug)]
pub struct TakenBack {
    /// The record as it was, with its texts.
    pub unfinished: Unfinished,
    /// Bytes at the end of the answer that the kernel has not taken.
    pub missing_bytes: u64,
}

impl ShardLog {
    pub(super) fn new(
        shared: Arc<Shared>,
        shard: usize,
        returned: Receiver<Batch>,
        writer: SyncSender<Message>,
    ) -> Self {
        Self {
            shared,
            shard,
            inner: RefCell::new(Inner {
                current: None,
                previous: None,
                free: Vec::with_capacity(limits::ACCESS_LOG_BATCHES),
                made: 0,
                returned,
                writer,
                is_out: false,
                waker: None,
                connections: 0,
                spare: Vec::new(),
            }),
        }
    }

    /// The request's fields whose values go with each record, in lower case.
    pub fn headers(&self) -> &[String] {
        self.shared.format.headers()
    }

    /// The number of a new connection.
    pub fn next_connection(&self) -> u64 {
        let mut inner = self.inner.borrow_mut();
        inner.connections += 1;
        inner.connections
    }

    /// Notes a request that has ended: its line and the values of [`headers`](Self::headers).
    #[inline]
    pub fn record<'a>(&self, record: &Record, texts: impl Iterator<Item = Option<&'a [u8]>>) {
        match self.inner.borrow_mut().batch(&self.shared, self.shard) {
            Some(batch) => batch.push(record, texts),
            None => self.shared.shed(self.shard, 1),
        }
    }

    /// Keeps a request, with its texts, until it ends.
    pub fn begin<'a>(
        &self,
        record: Record,
        texts: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Unfinished {
        let spare = self.inner.borrow_mut().spare.pop();
        let mut unfinished = spare.unwrap_or_else(|| Unfinished {
            record,
            texts: Vec::new(),
        });
        unfinished.set(record, texts);
        unfinished
    }

    /// Notes a request that was kept and has ended.
    pub fn finish(&self, mut unfinished: Unfinished) {
        let mut inner = self.inner.borrow_mut();
        match inner.batch(&self.shared, self.shard) {
            Some(batch) => batch.push_finished(&unfinished),
            None => self.shared.shed(self.shard, 1),
        }
        if inner.spare.len() < limits::ACCESS_LOG_SPARE_RECORDS {
            unfinished.texts.clear();
            unfinished.texts.shrink_to(limits::ACCESS_LOG_SPARE_BYTES);
            inner.spare.push(unfinished);
        }
    }

    /// Takes back the records of a connection's answers that the kernel did not take whole: the
    /// newest, as far as `unsent_bytes` reach. Oldest first.
    pub fn take_back(&self, connection: u64, unsent_bytes: u64) -> Vec<TakenBack> {
        let mut inner = self.inner.borrow_mut();
        let (mut left, mut missing, mut taken) = (unsent_bytes, Vec::new(), Vec::new());
        let Inner {
            current, previous, ..
        } = &mut *inner;
        for batch in [current, previous].into_iter().flatten() {
            let wanted = |record: &Record| {
                let part = left.min(record.sent_bytes);
                left -= part;
                if part > 0 {
                    missing.push(part);
                }
                part > 0
            };
            if !batch.take_newest(connection, wanted, &mut taken) {
                break;
            }
        }
        inner.recycle_empty();
        let pairs = taken.into_iter().zip(missing).rev();
        pairs
            .map(|(unfinished, missing_bytes)| TakenBack {
                unfinished,
                missing_bytes,
            })
            .collect()
    }

    /// Ready once there is something for [`tick`](Self::tick) to do.
    pub fn poll_any(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        if inner.has_work() {
            return Poll::Ready(());
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// To be called every [`limits::ACCESS_LOG_TICK_MS`] while there is something to do: hands over
    /// what was recorded before the last call, and reports to the operator where records were
    /// dropped. `false` when nothing is left to do.
    pub fn tick(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.hand_over_previous(&self.shared, self.shard);
        inner.previous = inner.current.take();
        if inner.is_out {
            inner.take_returned();
            inner.is_out = inner.free.is_empty();
        }
        let left = inner.has_work();
        drop(inner);
        self.shared.report_shedding();
        left
    }
}

impl Drop for ShardLog {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        inner.hand_over_previous(&self.shared, self.shard);
        inner.previous = inner.current.take();
        inner.hand_over_previous(&self.shared, self.shard);
    }
}

impl Inner {
    /// While there is no batch, no record wakes the task, so it has to go on by itself.
    fn has_work(&self) -> bool {
        self.previous.is_some() || self.current.is_some() || self.is_out
    }

    /// The batch that the next record goes into; `None`: the writer has all there are.
    #[inline]
    fn batch(&mut self, shared: &Shared, shard: usize) -> Option<&mut Batch> {
        if self.current.as_ref().is_none_or(|batch| batch.is_full()) {
            self.change_batch(shared, shard)?;
        }
        self.current.as_mut()
    }

    #[cold]
    fn change_batch(&mut self, shared: &Shared, shard: usize) -> Option<()> {
        let Some(mut next) = self.free_batch(shard) else {
            if !std::mem::replace(&mut self.is_out, true) {
                self.waker.take().into_iter().for_each(Waker::wake);
            }
            return None;
        };
        next.epoch_ms = epoch_ms();
        if let Some(full) = self.current.replace(next) {
            self.hand_over_previous(shared, shard);
            self.previous = Some(full);
        }
        self.waker.take().into_iter().for_each(Waker::wake);
        Some(())
    }

    /// Keeps a batch for reuse of which every record was taken back. A batch in use is never empty,
    /// so that each record finds the tick's task awake or wakes it.
    fn recycle_empty(&mut self) {
        for slot in [&mut self.current, &mut self.previous] {
            if let Some(mut batch) = slot.take_if(|batch| batch.is_empty()) {
                batch.clear();
                self.free.push(batch);
            }
        }
    }

    fn take_returned(&mut self) {
        self.free.extend(self.returned.try_iter());
    }

    fn free_batch(&mut self, shard: usize) -> Option<Batch> {
        self.take_returned();
        if let Some(batch) = self.free.pop() {
            return Some(batch);
        }
        if self.made == limits::ACCESS_LOG_BATCHES {
            return None;
        }
        self.made += 1;
        Some(Batch::new(shard))
    }

    fn hand_over_previous(&mut self, shared: &Shared, shard: usize) {
        let Some(batch) = self.previous.take() else {
            return;
        };
        let count = batch.len() as u64;
        // The queue has a place for every batch there is, so only a writer that is gone refuses.
        match self.writer.try_send(Message::Batch(batch)) {
            Ok(()) => shared.note_handed_over(shard, count),
            Err(_) => {
                self.made -= 1;
                shared.shed(shard, count);
            }
        }
    }
}

/// What turns the shard's clock into milliseconds since the epoch, at this moment.
fn epoch_ms() -> i64 {
    let (seconds, nanoseconds) = time::realtime();
    let now_ms = seconds * 1000 + u64::from(nanoseconds) / 1_000_000;
    now_ms as i64 - time::monotonic_ms() as i64
}
