//! Content negotiation: which form of a file a request gets, and making that form.
//!
//! A request for a part always gets a part of the file as it is: sizes and offsets then mean the
//! same to every client, and a resumed download continues the same bytes. Other requests get the
//! form that Accept-Encoding prefers (RFC 9110 section 12.5.3), first of what lies beside the file.
//!
//! A coded form that is not there yet is made once for all requests, which wait for it for a short
//! time: sending a file uncompressed takes longer on most networks, and would leave the large form
//! in caches on the way. After that time, or when the pool is saturated, the file is sent as it is.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cache::Cache;
use super::cached_file::CachedFile;
use super::codings::{Codings, Look, Sibling};
use super::compress::{Compressed, compress};
use super::content::Content;
use super::fetch::{Fetch, Fetched};
use super::lookup;
use super::offload::WorkKind;
use super::options::FilesOptions;
use super::representation::{Identity, Representation};
use super::served_root::ServedRoot;
use super::shared_work::SharedWork;
use super::single_flight::Job;
use super::source::Source;
use super::validators::is_settled;
use crate::http::{
    AcceptEncoding, Choice, Coding, Head, HeaderBlock, Known, Method, Precondition, Prepared,
    conditional,
};
use crate::runtime::{Shard, timeout};
use crate::sys;
use crate::sys::file::{self, Kind};
use crate::sys::open::open_how_path;

/// What a request gets.
pub(crate) enum Selected {
    /// The file as it is.
    Plain,
    /// A coded form.
    Coded(Rc<Representation>),
    /// A 304 with these lines: the client has the form that it would get.
    NotModified(HeaderBlock),
    /// A 406: the client takes neither a coded form that there is, nor the file as it is.
    NotAcceptable,
    /// A 503: the client doesn't take the file as it is, and the form is not made in time.
    Busy,
}

/// The selection of a form of one file on one shard.
pub(crate) struct Negotiation<'a> {
    pub shard: &'a Shard,
    pub served: &'a Rc<ServedRoot>,
    pub cache: &'a Rc<Cache>,
    pub options: &'a FilesOptions,
    pub shared_work: &'a SharedWork,
    pub fetch: Fetch<'a>,
}

/// What can be said without waiting: what the request gets; `None` if that has to be found or made.
pub(crate) fn at_once(
    head: &Head<'_>,
    served: &ServedRoot,
    options: &FilesOptions,
    cached: &CachedFile,
    look: Look,
) -> Option<Selected> {
    let Some(codings) = &cached.codings else {
        return Some(Selected::Plain);
    };
    let accepted = match wanted(head) {
        Some(accepted) => accepted,
        None => return Some(Selected::Plain),
    };
    if options.precompressed
        && !codings.siblings_are_current(&served.root, look, options.revalidate_ms)
    {
        return None;
    }
    match choose(&accepted, codings, options, cached) {
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
    cached: &CachedFile,
) -> Choice {
    let size = cached.plain.size;
    let fits = (options.compress_bytes_min..=options.compress_bytes_max).contains(&size);
    let can_make = |coding: Coding| options.compress && fits && options.level(coding) > 0;
    accepted.choose(&codings.offers(can_make))
}

impl Negotiation<'_> {
    /// What the request gets. Looks for siblings and has a form made if it must.
    pub(crate) async fn select(&self, head: &Head<'_>, cached: &Rc<CachedFile>) -> Selected {
        let (Some(codings), Some(accepted)) = (&cached.codings, wanted(head)) else {
            return Selected::Plain;
        };
        if self.options.precompressed {
            self.look_for_siblings(cached, codings).await;
        }
        let coding = match choose(&accepted, codings, self.options, cached) {
            Choice::Identity => return Selected::Plain,
            Choice::NotAcceptable => return Selected::NotAcceptable,
            Choice::Coded(coding) => coding,
        };
        if let Some(form) = codings.form(coding) {
            return Selected::Coded(form);
        }
        let etag = self.made_etag(cached, coding);
        let current = cached.plain.validators_with(&etag);
        let is_known = head.headers.has(Known::IfNoneMatch)
            && conditional::evaluate(head.method, &head.headers, &current)
                == Precondition::NotModified;
        if is_known {
            return Selected::NotModified(cached.plain.validator_lines_with(&etag));
        }
        if let Some(form) = self.make(cached, codings, coding).await {
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
        cached: &Rc<CachedFile>,
        codings: &Codings,
        coding: Coding,
    ) -> Option<Rc<Representation>> {
        // What is not kept would be made for every request anew, and what may still change
        // without its times showing it would be kept for too long.
        if !self.cache.keeps(cached) || !is_settled(cached.stamp(), sys::time::realtime()) {
            return None;
        }
        let now_ms = self.shard.now_ms();
        let job = self.start(cached, coding, now_ms)?;
        if codings.begin(coding) {
            let (cached, job) = (Rc::clone(cached), Arc::clone(&job));
            let keeper = Keeper {
                cache: Rc::clone(self.cache),
                etag: self.made_etag(&cached, coding),
                copy_bytes_max: self.options.cache_body_bytes,
                coding,
            };
            // Kept also when every request has stopped waiting, so that the next one finds it.
            self.shard.spawn_detached(async move {
                job.done().await;
                keeper.keep(&cached, job);
            });
        }
        // Later requests don't wait for a job that is already late.
        let late_ms = job.asked_ms.saturating_add(self.options.work_wait_ms);
        let patience = Duration::from_millis(late_ms.saturating_sub(now_ms));
        if !job.is_done() {
            let _ = timeout(patience, job.done()).await;
        }
        let keeper = Keeper {
            cache: Rc::clone(self.cache),
            etag: self.made_etag(cached, coding),
            copy_bytes_max: self.options.cache_body_bytes,
            coding,
        };
        keeper.keep(cached, job)
    }

    fn made_etag(&self, cached: &CachedFile, coding: Coding) -> String {
        let level = self.options.level(coding);
        cached.validators.made_etag(coding, level)
    }

    fn start(
        &self,
        cached: &CachedFile,
        coding: Coding,
        now_ms: u64,
    ) -> Option<Arc<Job<Compressed>>> {
        let level = self.options.level(coding);
        let size = cached.plain.size;
        let key = Identity {
            stamp: *cached.stamp(),
            made: Some(coding),
        };
        let shared_work = self.shared_work;
        let job = shared_work.compressed.join(key, now_ms, |promise| {
            let source = Source::of(&cached.plain.content, cached.stamp()).map_err(drop)?;
            let work = move || {
                if let Ok(compressed) = compress(&source, size, coding, level) {
                    promise.keep(compressed);
                }
            };
            shared_work
                .offload
                .start(WorkKind::Compress, work)
                .map_err(drop)
        });
        job.ok()
    }

    /// Finds what lies beside the file now.
    async fn look_for_siblings(&self, cached: &Rc<CachedFile>, codings: &Codings) {
        let look = Look {
            at_ms: self.shard.now_ms(),
            era: self.cache.era(),
        };
        let period_ms = self.options.revalidate_ms;
        let intact = Coding::ALL
            .iter()
            .all(|&coding| match codings.sibling(coding) {
                Sibling::Fresh(form) => form.is_intact(),
                _ => true,
            });
        if intact && codings.siblings_are_current(&self.served.root, look, period_ms) {
            return;
        }
        let rechecks = codings.rechecks();
        let mut is_complete = true;
        for coding in Coding::ALL {
            let found = self.sibling(cached, codings, coding).await;
            is_complete &= found.is_some();
            self.cache.adjust(cached, || {
                codings.set_sibling(coding, found.unwrap_or_default());
            });
        }
        match is_complete {
            true => codings.set_checked(look, rechecks),
            false => codings.recheck(),
        }
    }

    /// What lies beside the file in this coding; `None` while that is being written.
    async fn sibling(
        &self,
        cached: &CachedFile,
        codings: &Codings,
        coding: Coding,
    ) -> Option<Sibling> {
        let path = codings.sibling_path(coding);
        let known = codings.sibling(coding);
        let Some(stamp) = self.regular(path).await else {
            return Some(Sibling::Absent);
        };
        match &known {
            Sibling::Fresh(form) if form.identity.stamp == stamp => return Some(known),
            Sibling::Stale(old) if *old == stamp => return Some(known),
            _ => {}
        }
        if stamp.size == 0 || stamp.mtime_ns < cached.stamp().mtime_ns {
            return Some(Sibling::Stale(stamp));
        }
        let found = match self.fetch.file(path, None).await {
            Ok(Fetched::New(found)) => found,
            Ok(_) => return None,
            Err(_) => return Some(Sibling::Absent),
        };
        let stamp = *found.stamp();
        if stamp.size == 0 || stamp.mtime_ns < cached.stamp().mtime_ns {
            return Some(Sibling::Stale(stamp));
        }
        let etag = found.validators.sibling_etag(coding);
        let (identity, content) = (found.plain.identity, found.plain.content);
        let form = cached
            .plain
            .coded(coding, etag, identity, content, stamp.size);
        Some(Sibling::Fresh(Rc::new(form)))
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

/// Turns a job's result into a coded form of a cached file and keeps it there.
struct Keeper {
    cache: Rc<Cache>,
    etag: String,
    /// Up to this size a shard has a copy of its own, so that no two count references to one.
    copy_bytes_max: usize,
    coding: Coding,
}

impl Keeper {
    /// The form; `None` if the job is not done or has made none. Any number of requests may call
    /// this once the job is done.
    fn keep(
        self,
        cached: &Rc<CachedFile>,
        job: Arc<Job<Compressed>>,
    ) -> Option<Rc<Representation>> {
        let codings = cached.codings.as_ref()?;
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
            stamp: *cached.stamp(),
            made: Some(self.coding),
        };
        let size = bytes.len() as u64;
        let form = cached
            .plain
            .coded(self.coding, self.etag, identity, content, size);
        let form = Rc::new(form);
        if self.cache.keeps(cached) {
            let kept = Rc::clone(&form);
            self.cache
                .adjust(cached, || codings.keep(self.coding, kept, job));
        } else {
            codings.give_up(self.coding);
        }
        Some(form)
    }
}
