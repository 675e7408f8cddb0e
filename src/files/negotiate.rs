//! Which form of a file a request gets, and the making of it.
//!
//! A request for a part always gets a part of the file as it is: sizes and offsets then mean the
//! same to every client, and what is resumed is what was begun. Everyone else gets what
//! Accept-Encoding likes best (RFC 9110 section 12.5.3), first of what lies beside the file.
//!
//! A coded form that is not there yet is made once, whoever asks for it, and all who ask wait for
//! it a short while: to send a file uncompressed takes longer than that on most networks, and
//! would leave the large form in the caches on the way. When the time is up, or when the pool has
//! too much to do already, the file is sent as it is.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cache::Cache;
use super::codings::{Codings, Sibling};
use super::compress::{Compressed, compress};
use super::entry::{Content, Entry};
use super::fetch::{Fetch, Fetched, is_settled};
use super::lookup;
use super::offload::Kind as Work;
use super::once::Job;
use super::options::FilesOptions;
use super::representation::{Identity, Representation, made_etag, sibling_etag};
use super::root::Served;
use super::shared_work::SharedWork;
use super::source::Source;
use crate::http::{
    AcceptEncoding, Choice, Coding, Head, HeaderBlock, Known, Method, Precondition, Prepared,
    conditional,
};
use crate::runtime::{Shard, timeout};
use crate::sys::file::{self, Kind};
use crate::sys::open::open_how_path;

/// What a request gets.
pub enum Selected {
    /// The file as it is.
    Plain,
    /// A coded form.
    Coded(Rc<Representation>),
    /// Nothing but these lines: the client has the form that it would get (304).
    NotModified(HeaderBlock),
    /// Nothing: it takes neither a coded form that can be had, nor the file as it is (406).
    NotAcceptable,
    /// Nothing now: it doesn't take the file as it is, and there is no time to make the form (503).
    Busy,
}

/// The selection of a form of one file on one shard.
pub struct Negotiation<'a> {
    pub shard: &'a Shard,
    pub served: &'a Rc<Served>,
    pub cache: &'a Rc<Cache>,
    pub options: &'a FilesOptions,
    pub shared_work: &'a SharedWork,
    pub fetch: Fetch<'a>,
}

/// What can be said without waiting: what the request gets; `None` if that has to be found or made.
pub fn at_once(
    head: &Head<'_>,
    served: &Served,
    options: &FilesOptions,
    entry: &Entry,
    now_ms: u64,
) -> Option<Selected> {
    let Some(codings) = &entry.codings else {
        return Some(Selected::Plain);
    };
    let accepted = match wanted(head) {
        Some(accepted) => accepted,
        None => return Some(Selected::Plain),
    };
    if options.precompressed
        && !codings.siblings_are_current(&served.root, now_ms, options.revalidate_ms)
    {
        return None;
    }
    match choose(&accepted, codings, options, entry) {
        Choice::Identity => Some(Selected::Plain),
        Choice::NotAcceptable => Some(Selected::NotAcceptable),
        Choice::Coded(coding) => {
            let form = codings.form(coding)?;
            form.is_intact().then_some(Selected::Coded(form))
        }
    }
}

/// What the client accepts, if that can lead to a coded form.
#[inline]
fn wanted(head: &Head<'_>) -> Option<AcceptEncoding> {
    if !head.headers.has(Known::AcceptEncoding) {
        return None;
    }
    let accepted = AcceptEncoding::of(&head.headers);
    let is_part = head.method == Method::Get && head.headers.has(Known::Range);
    let plain_will_do = accepted.takes_identity() && (is_part || !accepted.takes_codings());
    (!plain_will_do).then_some(accepted)
}

fn choose(
    accepted: &AcceptEncoding,
    codings: &Codings,
    options: &FilesOptions,
    entry: &Entry,
) -> Choice {
    let size = entry.plain.size;
    let fits = (options.compress_bytes_min..=options.compress_bytes_max).contains(&size);
    let can_make = |coding: Coding| options.compress && fits && options.level(coding) > 0;
    accepted.choose(&codings.offers(can_make))
}

impl Negotiation<'_> {
    /// What the request gets. Looks for siblings and has a form made if it must.
    pub async fn select(&self, head: &Head<'_>, entry: &Rc<Entry>) -> Selected {
        let (Some(codings), Some(accepted)) = (&entry.codings, wanted(head)) else {
            return Selected::Plain;
        };
        if self.options.precompressed {
            self.look_for_siblings(entry, codings).await;
        }
        let coding = match choose(&accepted, codings, self.options, entry) {
            Choice::Identity => return Selected::Plain,
            Choice::NotAcceptable => return Selected::NotAcceptable,
            Choice::Coded(coding) => coding,
        };
        if let Some(form) = codings.form(coding) {
            return Selected::Coded(form);
        }
        let etag = made_etag(entry.stamp(), coding, self.options.level(coding));
        let current = entry.plain.validators_with(&etag);
        let is_known = head.headers.has(Known::IfNoneMatch)
            && conditional::evaluate(head.method, &head.headers, &current)
                == Precondition::NotModified;
        if is_known {
            return Selected::NotModified(entry.plain.validator_lines_with(&etag));
        }
        if let Some(form) = self.make(entry, codings, coding).await {
            return Selected::Coded(form);
        }
        match accepted.choose(&codings.ready_offers()) {
            Choice::Coded(coding) => codings
                .form(coding)
                .map_or(Selected::Plain, Selected::Coded),
            Choice::Identity => Selected::Plain,
            Choice::NotAcceptable => Selected::Busy,
        }
    }

    /// The form made of the file as it is; `None` if there is none in time.
    async fn make(
        &self,
        entry: &Rc<Entry>,
        codings: &Codings,
        coding: Coding,
    ) -> Option<Rc<Representation>> {
        // What is not kept would be made for every request anew, and what may still change
        // without its times showing it would be kept for too long.
        if !self.cache.keeps(entry) || !is_settled(entry.stamp()) {
            return None;
        }
        let now_ms = self.shard.now_ms();
        let job = self.start(entry, coding, now_ms)?;
        if codings.begin(coding) {
            let (entry, job) = (Rc::clone(entry), Arc::clone(&job));
            let keeper = Keeper {
                cache: Rc::clone(self.cache),
                etag: made_etag(entry.stamp(), coding, self.options.level(coding)),
                copy_bytes_max: self.options.cache_body_bytes,
                coding,
            };
            // Also when nobody waits that long, so that the next one finds it.
            self.shard.spawn_detached(async move {
                job.done().await;
                keeper.keep(&entry, job);
            });
        }
        // One that is late already holds up nobody else.
        let late_ms = job.asked_ms.saturating_add(self.options.work_wait_ms);
        let patience = Duration::from_millis(late_ms.saturating_sub(now_ms));
        if !job.is_done() {
            let _ = timeout(patience, job.done()).await;
        }
        let keeper = Keeper {
            cache: Rc::clone(self.cache),
            etag: made_etag(entry.stamp(), coding, self.options.level(coding)),
            copy_bytes_max: self.options.cache_body_bytes,
            coding,
        };
        keeper.keep(entry, job)
    }

    fn start(&self, entry: &Entry, coding: Coding, now_ms: u64) -> Option<Arc<Job<Compressed>>> {
        let level = self.options.level(coding);
        let size = entry.plain.size;
        let key = Identity {
            stamp: *entry.stamp(),
            made: Some(coding),
        };
        let shared_work = self.shared_work;
        let job = shared_work.compressed.join(key, now_ms, |promise| {
            let source = Source::of(&entry.plain.content, entry.stamp()).map_err(drop)?;
            let work = move || {
                if let Ok(compressed) = compress(&source, size, coding, level) {
                    promise.keep(compressed);
                }
            };
            shared_work
                .offload
                .start(Work::Compress, work)
                .map_err(drop)
        });
        job.ok()
    }

    /// Finds what lies beside the file now.
    async fn look_for_siblings(&self, entry: &Rc<Entry>, codings: &Codings) {
        let now_ms = self.shard.now_ms();
        let period_ms = self.options.revalidate_ms;
        let intact = Coding::ALL
            .iter()
            .all(|&coding| match codings.sibling(coding) {
                Sibling::Fresh(form) => form.is_intact(),
                _ => true,
            });
        if intact && codings.siblings_are_current(&self.served.root, now_ms, period_ms) {
            return;
        }
        for coding in Coding::ALL {
            let found = self.sibling(entry, codings, coding).await;
            self.cache
                .adjust(entry, || codings.set_sibling(coding, found));
        }
        codings.set_checked(Some(now_ms));
    }

    async fn sibling(&self, entry: &Entry, codings: &Codings, coding: Coding) -> Sibling {
        let path = codings.sibling_path(coding);
        let known = codings.sibling(coding);
        let Some(stamp) = self.regular(path).await else {
            return Sibling::Absent;
        };
        match &known {
            Sibling::Fresh(form) if form.identity.stamp == stamp => return known,
            Sibling::Stale(old) if *old == stamp => return known,
            _ => {}
        }
        if stamp.size == 0 || stamp.mtime_ns < entry.stamp().mtime_ns {
            return Sibling::Stale(stamp);
        }
        // One that is just being written is not taken yet.
        let Ok(Fetched::New(found)) = self.fetch.file(path, None).await else {
            return Sibling::Absent;
        };
        let stamp = *found.stamp();
        if stamp.size == 0 || stamp.mtime_ns < entry.stamp().mtime_ns {
            return Sibling::Stale(stamp);
        }
        Sibling::Fresh(Rc::new(entry.plain.coded(
            coding,
            sibling_etag(&stamp, coding),
            found.plain.identity,
            found.plain.content,
            stamp.size,
        )))
    }

    /// The stamp of the file at `path`, if there is one.
    async fn regular(&self, path: &CStr) -> Option<file::Stamp> {
        let found = lookup::open(self.shard, self.served, path, open_how_path())
            .await
            .ok()?;
        match file::stamp(found.as_fd()).ok()? {
            (Kind::File, stamp) => Some(stamp),
            _ => None,
        }
    }
}

/// Turns a job's result into a form of an entry and keeps it there.
struct Keeper {
    cache: Rc<Cache>,
    etag: String,
    /// Up to this size a shard has a copy of its own, so that no two count references to one.
    copy_bytes_max: usize,
    coding: Coding,
}

impl Keeper {
    /// The form; `None` as long as there is none. To be called once the job is done, by as many
    /// as like.
    fn keep(self, entry: &Rc<Entry>, job: Arc<Job<Compressed>>) -> Option<Rc<Representation>> {
        let codings = entry.codings.as_ref()?;
        if !job.is_done() {
            return None;
        }
        if let Some(form) = codings.form(self.coding) {
            return Some(form);
        }
        let bytes = match job.result() {
            Some(Compressed::Smaller(bytes)) => bytes,
            Some(Compressed::NotWorthwhile) => {
                codings.set_hopeless();
                codings.give_up(self.coding);
                return None;
            }
            None => {
                codings.give_up(self.coding);
                return None;
            }
        };
        let content = match bytes.len() <= self.copy_bytes_max {
            true => Content::Memory(
                Bytes::copy_from_slice(bytes),
                Some(Rc::<Prepared>::default()),
            ),
            false => Content::Memory(bytes.clone(), None),
        };
        let identity = Identity {
            stamp: *entry.stamp(),
            made: Some(self.coding),
        };
        let size = bytes.len() as u64;
        let form = entry
            .plain
            .coded(self.coding, self.etag, identity, content, size);
        let form = Rc::new(form);
        if self.cache.keeps(entry) {
            let kept = Rc::clone(&form);
            self.cache
                .adjust(entry, || codings.keep(self.coding, kept, job));
        } else {
            codings.give_up(self.coding);
        }
        Some(form)
    }
}
