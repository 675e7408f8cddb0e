//! Listings are made once for all requests for the same one, on all shards.
//!
//! One task at a time makes the listing of a folder in one form; requests that come meanwhile wait
//! for it. Its result then serves as long as the folder is unchanged and the listing is young
//! enough. Both are needed: a name that comes or goes changes its folder's times, a file that
//! grows does not.
//!
//! **The promise.** A request gets a listing that was begun after the request came, or one whose
//! folder had the device, inode, mtime and ctime that it has now, and which is at most `max_age_ms`
//! old, or [`limits::LISTING_COST_SHARE`] times what making it took. So every name that was there
//! before the request is shown, sizes and times are as current as the age says, and a large folder
//! costs a bounded share of one CPU however many clients ask.
//!
//! Why so: docs/decisions/060-listings-are-shared.md.
//!
//! Requests wait for at most [`limits::LISTING_WAIT_MS`]. At most [`limits::LISTINGS_MAX`] listings
//! are made at a time, which bounds the memory for that; others wait for their turn. Bodies are
//! counted for as long as a client reads them ([`BodyBudget`]), so that slow readers hold a bounded
//! amount of memory and nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use super::request_error::RequestError;
use super::single_flight::{Job, Promise, promised};
use crate::http::Coding;
use crate::limits;
use crate::runtime::{Shard, timeout};
use crate::sys::file::Stamp;

/// What makes a listing the same for two requests, but for the folder's content.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    /// Device and inode of the root, which links are followed beneath.
    pub root: (u64, u64),
    /// Device and inode of the folder.
    pub folder: (u64, u64),
    /// The folder's path below the root, which the page shows.
    pub path: Box<[u8]>,
    /// JSON rather than HTML.
    pub json: bool,
    /// The content coding.
    pub coding: Option<Coding>,
    /// Names that begin with a dot are shown.
    pub hidden: bool,
    /// Entries after which it is cut.
    pub entries_max: usize,
}

/// A listing as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The page or array, coded.
    pub body: Bytes,
    /// Its entity tag, a digest of the uncoded body, with quotes.
    pub etag: String,
    /// The last change of anything that it shows, in seconds since 1970; `None` if another change
    /// could carry the same second.
    pub modified_s: Option<u64>,
    /// The folder has more entries than are shown.
    pub truncated: bool,
    /// The content coding, if there is one.
    pub coding: Option<Coding>,
    /// The folder before it was read.
    pub stamp: Stamp,
    /// Any later change of the folder shows in its times.
    pub is_settled: bool,
}

/// What a task made, or why it could not.
struct Outcome {
    /// The ticket that was drawn when it began.
    begun: u64,
    result: Result<Made, RequestError>,
}

/// One making of a listing and its result.
struct Flight {
    job: Arc<Job<Outcome>>,
    /// From the request for it to its end, in milliseconds; 0 before that.
    took_ms: AtomicU64,
    /// What the table counts for it, in bytes.
    counted_bytes: AtomicUsize,
}

/// A request for a listing.
pub(crate) struct Ask<'a> {
    /// The shard that asks.
    pub shard: &'a Shard,
    /// What is asked for.
    pub key: Key,
    /// The folder as it is now.
    pub stamp: Stamp,
    /// Age up to which the listing of an unchanged folder will do; 0: none does.
    pub max_age_ms: u64,
}

impl Ask<'_> {
    /// Whether this flight's listing will do for a request with this ticket.
    fn takes(&self, flight: &Flight, outcome: &Outcome, ticket: u64) -> bool {
        if outcome.begun > ticket {
            return true;
        }
        let Ok(made) = &outcome.result else {
            return false;
        };
        let took_ms = flight.took_ms.load(Ordering::Relaxed);
        let age_max_ms = self.max_age_ms.max(took_ms * limits::LISTING_COST_SHARE);
        let age_ms = self.shard.now_ms().saturating_sub(flight.job.asked_ms);
        self.max_age_ms > 0 && made.is_settled && made.stamp == self.stamp && age_ms <= age_max_ms
    }
}

type Start = Box<dyn FnOnce() + Send>;

/// The listings of one server.
pub(crate) struct Listings {
    table: Mutex<Table>,
    /// The bodies that exist.
    pub bodies: Arc<BodyBudget>,
    /// Numbers requests and makings in the order in which they come.
    tickets: AtomicU64,
}

/// Only shards lock it: a worker may be kept from running for long, and all shards with it.
struct Table {
    flights: LruCache<Key, Arc<Flight>>,
    /// Of finished flights, at most [`limits::LISTINGS_CACHED_BYTES_MAX`].
    counted_bytes: usize,
    /// Tasks that make listings.
    running: usize,
    /// Further ones, which wait for the end of one of those.
    waiting: VecDeque<Start>,
}

impl Default for Listings {
    fn default() -> Listings {
        Listings {
            table: Mutex::new(Table {
                flights: LruCache::unbounded(),
                counted_bytes: 0,
                running: 0,
                waiting: VecDeque::new(),
            }),
            bodies: Arc::default(),
            tickets: AtomicU64::new(0),
        }
    }
}

impl Listings {
    /// The listing that `ask` describes.
    ///
    /// `start` begins a task that calls what it is given; that calls `make`, with the last listing
    /// made for the same key if it is still here.
    ///
    /// # Errors
    /// Those of `make`; [`RequestError::Broken`] when it panics; [`RequestError::Exhausted`] when
    /// the listing is not there in time.
    pub(crate) async fn get<M>(
        self: &Arc<Self>,
        ask: Ask<'_>,
        start: impl Fn(Start) + Clone + Send + 'static,
        make: impl Fn() -> M,
    ) -> Result<Made, RequestError>
    where
        M: FnOnce(Option<Made>) -> Result<Made, RequestError> + Send + 'static,
    {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst);
        let deadline_ms = ask.shard.now_ms() + limits::LISTING_WAIT_MS;
        loop {
            let flight = self.join(&ask, ticket, &start, &make);
            let left_ms = deadline_ms.saturating_sub(ask.shard.now_ms());
            if !flight.job.is_done() {
                let _ = timeout(Duration::from_millis(left_ms), flight.job.done()).await;
            }
            match flight.job.result() {
                Some(outcome) if ask.takes(&flight, outcome, ticket) => {
                    return outcome.result.clone();
                }
                // Begun before this request, and no longer what the folder is.
                Some(_) if left_ms > 0 => {}
                _ => return Err(RequestError::Exhausted),
            }
        }
    }

    /// The flight under way for a key, or the last one if it will do, or a new one.
    fn join<M>(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        ticket: u64,
        start: &(impl Fn(Start) + Clone + Send + 'static),
        make: impl FnOnce() -> M,
    ) -> Arc<Flight>
    where
        M: FnOnce(Option<Made>) -> Result<Made, RequestError> + Send + 'static,
    {
        let mut table = self.lock();
        let mut last = None;
        if let Some(flight) = table.flights.get(&ask.key) {
            match (flight.job.is_done(), flight.job.result()) {
                (false, _) => return Arc::clone(flight),
                (true, Some(outcome)) if ask.takes(flight, outcome, ticket) => {
                    return Arc::clone(flight);
                }
                (true, outcome) => last = outcome.and_then(|known| known.result.clone().ok()),
            }
            table.forget(&ask.key);
        }
        let (job, promise) = promised(ask.shard.now_ms());
        let flight = Arc::new(Flight {
            job,
            took_ms: AtomicU64::new(0),
            counted_bytes: AtomicUsize::new(0),
        });
        table.flights.put(ask.key.clone(), Arc::clone(&flight));
        let work = self.work(promise, last, make());
        let start = start.clone();
        if !table.admit(Box::new(move || start(work))) {
            table.forget(&ask.key);
            return flight;
        }
        drop(table);
        let landing = Landing {
            listings: Arc::clone(self),
            shard: ask.shard.clone(),
            key: ask.key.clone(),
            flight: Arc::clone(&flight),
        };
        ask.shard.spawn_detached(async move {
            landing.flight.job.done().await;
        });
        flight
    }

    fn work<M>(self: &Arc<Self>, promise: Promise<Outcome>, last: Option<Made>, make: M) -> Start
    where
        M: FnOnce(Option<Made>) -> Result<Made, RequestError> + Send + 'static,
    {
        let listings = Arc::clone(self);
        Box::new(move || {
            let begun = listings.tickets.fetch_add(1, Ordering::SeqCst);
            let mut making = Making {
                begun,
                promise: Some(promise),
            };
            making.end(make(last));
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Starts a making, or lets it wait. With too many waiting it is dropped, which ends its job:
    /// `false`.
    fn admit(&mut self, start: Start) -> bool {
        if self.running < limits::LISTINGS_MAX {
            self.running += 1;
            start();
            return true;
        }
        let has_room = self.waiting.len() < limits::LISTINGS_WAITING_MAX;
        if has_room {
            self.waiting.push_back(start);
        }
        has_room
    }

    fn forget(&mut self, key: &Key) {
        if let Some(flight) = self.flights.pop(key) {
            self.counted_bytes -= flight.counted_bytes.load(Ordering::Relaxed);
        }
    }

    /// Keeps what a flight has made, in place of others that were asked for longer ago.
    fn keep(&mut self, key: &Key, flight: &Arc<Flight>) {
        let is_known = |known: &Arc<Flight>| Arc::ptr_eq(known, flight);
        if !self.flights.peek(key).is_some_and(is_known) {
            return;
        }
        let made = flight.job.result().and_then(|it| it.result.as_ref().ok());
        let bytes = made.map(|made| made.body.len() + key.path.len() + size_of::<Key>());
        match bytes {
            Some(bytes) if bytes <= limits::LISTING_CACHED_BYTES_MAX => {
                flight.counted_bytes.store(bytes, Ordering::Relaxed);
                self.counted_bytes += bytes;
            }
            _ => self.forget(key),
        }
        while self.counted_bytes > limits::LISTINGS_CACHED_BYTES_MAX {
            let Some((_, oldest)) = self.flights.pop_lru() else {
                return;
            };
            self.counted_bytes -= oldest.counted_bytes.load(Ordering::Relaxed);
        }
    }
}

/// A making under way. Dropped before its end, by a panic, it ends as a failure of the server.
struct Making {
    begun: u64,
    promise: Option<Promise<Outcome>>,
}

impl Making {
    fn end(&mut self, result: Result<Made, RequestError>) {
        let begun = self.begun;
        if let Some(promise) = self.promise.take() {
            promise.keep(Outcome { begun, result });
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.end(Err(RequestError::Broken));
    }
}

/// A flight's end, as the shard that asked for it first takes care of it.
struct Landing {
    listings: Arc<Listings>,
    shard: Shard,
    key: Key,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let took_ms = self.shard.now_ms().saturating_sub(self.flight.job.asked_ms);
        self.flight.took_ms.store(took_ms, Ordering::Relaxed);
        let mut table = self.listings.lock();
        table.keep(&self.key, &self.flight);
        table.running = table.running.saturating_sub(1);
        if let Some(next) = table.waiting.pop_front() {
            table.admit(next);
        }
    }
}

/// The bytes of all listings that exist: in the cache, and while clients read them.
///
/// Large ones have a share of their own, so that slow readers of a large folder do not keep
/// others from small ones.
#[derive(Debug, Default)]
pub(crate) struct BodyBudget {
    small_bytes: AtomicUsize,
    large_bytes: AtomicUsize,
}

/// A body that is counted.
struct CountedBody {
    body: Vec<u8>,
    budget: Arc<BodyBudget>,
}

impl BodyBudget {
    /// Counts a body until its last clone is gone; `None` if it does not fit. A large one fits in
    /// any case while there is no other.
    pub(crate) fn hold(self: &Arc<Self>, body: Vec<u8>) -> Option<Bytes> {
        let (share, bytes_max) = self.share(body.len());
        let is_large = body.len() > limits::LISTING_LARGE_BYTES;
        let add = |held: usize| {
            let sum = held.checked_add(body.len())?;
            (sum <= bytes_max || (is_large && held == 0)).then_some(sum)
        };
        share
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        let budget = Arc::clone(self);
        Some(Bytes::from_owner(CountedBody { body, budget }))
    }

    fn share(&self, body_bytes: usize) -> (&AtomicUsize, usize) {
        match body_bytes > limits::LISTING_LARGE_BYTES {
            true => (&self.large_bytes, limits::LISTINGS_LARGE_BYTES_MAX),
            false => (&self.small_bytes, limits::LISTINGS_SMALL_BYTES_MAX),
        }
    }
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        let (share, _) = self.budget.share(self.body.len());
        share.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
