//! Files as a web resource: from a request's head to a response.
//!
//! [`Files`] belongs to one shard and caches what it has found: small bodies in memory, larger
//! files as descriptors. A cached file counts as current until the kernel reports a change of it,
//! and for a configured time at most; then one lookup, as a rule without waiting for the disk,
//! checks whether its path still leads to it.

mod cache;
mod cached_file;
mod changes;
mod codings;
mod compress;
mod content;
mod digest;
mod era;
mod fetch;
mod finish;
mod folder;
pub mod listing;
mod listing_cache;
mod lookup;
mod negotiate;
pub mod offload;
mod options;
mod represent;
mod representation;
mod request_error;
mod root;
mod served_root;
mod shared_work;
mod single_flight;
mod source;
mod validators;
mod watch;
mod weight;

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

pub use options::FilesOptions;
pub use root::FilesError;
pub use shared_work::SharedWork;
pub use validators::EtagMode;
pub(crate) use watch::Watches;

use cache::Cache;
use cached_file::CachedFile;
use changes::Changes;
use fetch::{Fetch, Fetched};
use finish::{ALLOW, Finish, append};
use negotiate::{Negotiation, Selected};
use represent::represent;
use request_error::RequestError;
use root::{Look, RootWatch};
use served_root::ServedRoot;

use crate::http::digest::{Sha256, repr_digest, wants_sha256};
use crate::http::{Head, HeaderBlock, Known, Method, Response, Status, Target, target};
use crate::limits;
use crate::runtime::Shard;
use crate::sys::file::{self, Kind};
use crate::sys::open::open_how_path;

/// The files below one folder, as one shard serves them. Clones share everything.
#[derive(Clone)]
pub struct Files(Rc<Inner>);

struct Inner {
    shard: Shard,
    options: FilesOptions,
    shared_work: Arc<SharedWork>,
    root: Rc<RootWatch>,
    cache: Rc<Cache>,
    changes: Rc<Changes>,
    cold_reads: Cell<usize>,
    /// Where an index file's path is put together, so that a hit allocates nothing.
    index_path: RefCell<Vec<u8>>,
    finish: Finish,
}

impl Files {
    /// Opens the folder. All shards of a server share the same `shared_work`.
    ///
    /// # Errors
    ///
    /// When it can't be opened, or the kernel can't resolve paths beneath it.
    pub fn new(
        shard: &Shard,
        root: &Path,
        options: FilesOptions,
        shared_work: &Arc<SharedWork>,
    ) -> Result<Files, FilesError> {
        let cache = Rc::new(Cache::new(options.cache_files, options.cache_bodies_bytes));
        let root = RootWatch::new(
            root,
            options.follow_links,
            options.revalidate_ms,
            shard.now_ms(),
        )?;
        let root = Rc::new(root);
        let changes = Rc::new(Changes::new(&shared_work.watches, &cache));
        let period_ms = options.revalidate_ms.max(limits::SWEEP_PERIOD_MS_MIN);
        shard.spawn_detached(changes::follow(shard.clone(), Rc::downgrade(&changes)));
        shard.spawn_detached(changes::sweep(
            shard.clone(),
            Rc::downgrade(&changes),
            Rc::downgrade(&root),
            period_ms,
        ));
        Ok(Files(Rc::new(Inner {
            shard: shard.clone(),
            shared_work: Arc::clone(shared_work),
            root,
            cache,
            changes,
            finish: Finish::new(&options.rules),
            options,
            cold_reads: Cell::default(),
            index_path: RefCell::default(),
        })))
    }

    /// The answer, if it can be given without waiting: a refusal, or a cached
    /// file. A plain GET or HEAD of a small cached file allocates nothing.
    /// `None`: ask [`Files::respond`].
    #[inline]
    pub fn try_respond(&self, head: &Head<'_>) -> Option<Response> {
        let response = self.answer_at_once(head)?;
        let finish = &self.0.finish;
        // An error page is a file that has to be found.
        let is_final = finish.page(response.status).is_none();
        is_final.then(|| finish.finish(head, response, None))
    }

    fn answer_at_once(&self, head: &Head<'_>) -> Option<Response> {
        let target = match self.0.accept(head) {
            Ok(target) => target,
            Err(refusal) => return Some(refusal),
        };
        let now_ms = self.0.shard.now_ms();
        if self.0.root.is_due(now_ms) && self.0.root.look_now(now_ms)? == Look::Changed {
            self.0.cache.clear();
        }
        let served = self.0.root.served()?;
        let cached = self
            .0
            .with_file_path(&target, |path| self.0.cache.get(path))??;
        if !self.0.is_current(&served, &cached, now_ms) {
            return None;
        }
        let look = codings::Look {
            at_ms: now_ms,
            era: self.0.cache.era(),
        };
        let selected = negotiate::at_once(head, &served, &self.0.options, &cached, look)?;
        let form = match &selected {
            Selected::Plain => &cached.plain,
            Selected::Coded(form) => form,
            _ => return Some(refuse(&selected)),
        };
        if !self.0.wants_digest(head) {
            return Some(represent(head, form));
        }
        let digest = form.digest.get()?;
        Some(with_digest(represent(head, form), &digest))
    }

    /// The answer. Never keeps the shard waiting for a disk.
    pub async fn respond(&self, head: &Head<'_>) -> Response {
        let response = match self.0.accept(head) {
            Ok(target) => match self.0.find(head, &target).await {
                Ok(response) => response,
                Err(failure) => failure.response(),
            },
            Err(refusal) => refusal,
        };
        let page = match self.0.finish.page(response.status) {
            Some(path) => self.0.page(path).await,
            None => None,
        };
        let page = page.as_ref().map(|file| &file.plain);
        self.0.finish.finish(head, response, page)
    }
}

impl Files {
    /// Makes what the rules about responses say of a refusal that was not made here; there is no
    /// `head` where it could not be read. Error pages are left out: they would have to be waited for.
    pub(crate) fn finish_refusal(&self, head: Option<&Head<'_>>, response: Response) -> Response {
        match head {
            Some(head) => self.0.finish.finish(head, response, None),
            None => self.0.finish.edit_unread(response),
        }
    }
}

impl Inner {
    /// The path of a request that files answer to; else the answer.
    fn accept<'a>(&self, head: &Head<'a>) -> Result<Target<'a>, Response> {
        match head.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                return Err(self.finish.options(head));
            }
            Method::Other => {
                return Err(Response::error(
                    Status::NOT_IMPLEMENTED,
                    "This server does not know the method; use GET or HEAD.",
                ));
            }
            _ => {
                return Err(Response::error(
                    Status::METHOD_NOT_ALLOWED,
                    "Files are only read here; use GET or HEAD.",
                )
                .with("allow", ALLOW));
            }
        }
        let target = target::resolve(head.path())
            .map_err(|error| Response::error(error.status(), &error.to_string()))?;
        if target.has_dotfile && !self.options.hidden {
            return Err(RequestError::NotFound.response());
        }
        Ok(target)
    }

    /// Calls `use_path` with the path of the file that answers for `target`:
    /// its own, or its index file's. `None` for a folder if there are no index files.
    fn with_file_path<T>(
        &self,
        target: &Target<'_>,
        use_path: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if !target.is_dir {
            return Some(use_path(&target.path));
        }
        let index = self.options.index.as_ref()?;
        let mut path = self.index_path.borrow_mut();
        path.clear();
        if !target.path.is_empty() {
            path.extend_from_slice(&target.path);
            path.push(b'/');
        }
        path.extend_from_slice(index.as_bytes());
        Some(use_path(&path))
    }

    /// Whether a cached file may be used, by a lookup that doesn't wait for the disk.
    fn is_current(&self, served: &ServedRoot, cached: &CachedFile, now_ms: u64) -> bool {
        if !cached.plain.is_intact() {
            return false;
        }
        let era = self.cache.era();
        if cached.is_fresh(now_ms, era) {
            return true;
        }
        if !cached.is_valid(now_ms) {
            return false;
        }
        let found = served
            .root
            .open_path(&cached.path, true)
            .and_then(|fd| file::stamp(fd.as_fd()));
        match found {
            Ok((Kind::File, stamp)) if stamp == *cached.stamp() => {
                cached.note_checked(now_ms, self.options.revalidate_ms, era);
                true
            }
            // The cached file is better than no answer.
            Err(error) => is_short_of_descriptors(&error),
            Ok(_) => false,
        }
    }

    /// The answer to a GET or HEAD by a new lookup.
    async fn find(&self, head: &Head<'_>, target: &Target<'_>) -> Result<Response, RequestError> {
        let served = self.served().await.ok_or(RequestError::NotFound)?;
        let file = match self.with_file_path(target, |path| CString::new(path)) {
            Some(Ok(path)) => self.file(&served, path).await,
            Some(Err(_)) => Err(RequestError::NotFound),
            None => Err(RequestError::Folder),
        };
        let found = match file {
            Ok(cached) => return Ok(self.answer(&served, head, &cached).await),
            Err(RequestError::Folder) if !target.is_dir => return Ok(redirect(head, target)),
            Err(RequestError::Folder | RequestError::NotFound) if target.is_dir => {
                let listing = self.folder(&served, head, target).await;
                listing.map(|response| self.finish.edit_listing(head, response))
            }
            Err(failure) => Err(failure),
        };
        let is_absent = matches!(found, Err(RequestError::NotFound | RequestError::Folder));
        let fallback = self.finish.fallback(head, target).filter(|_| is_absent);
        match fallback.map(CString::new) {
            Some(Ok(path)) => {
                let cached = self.file(&served, path).await?;
                let mut response = self.answer(&served, head, &cached).await;
                append(&mut response, HeaderBlock::new().with("vary", "accept"));
                Ok(response)
            }
            _ => found,
        }
    }

    /// The file of an error page, unless it can't be read.
    async fn page(&self, path: &str) -> Option<Rc<CachedFile>> {
        let served = self.root.served()?;
        self.file(&served, CString::new(path).ok()?).await.ok()
    }

    /// The folder to look in, checked if it is time for it.
    async fn served(&self) -> Option<Rc<ServedRoot>> {
        let now_ms = self.shard.now_ms();
        if self.root.is_due(now_ms) && self.root.look(&self.shard, now_ms).await == Look::Changed {
            self.cache.clear();
        }
        self.root.served()
    }

    /// The answer to a GET or HEAD of this file.
    async fn answer(
        &self,
        served: &Rc<ServedRoot>,
        head: &Head<'_>,
        cached: &Rc<CachedFile>,
    ) -> Response {
        let negotiation = Negotiation {
            shard: &self.shard,
            served,
            cache: &self.cache,
            options: &self.options,
            shared_work: &self.shared_work,
            fetch: self.fetch(served),
        };
        let selected = negotiation.select(head, cached).await;
        let form = match &selected {
            Selected::Plain => &cached.plain,
            Selected::Coded(form) => form,
            _ => return refuse(&selected),
        };
        let response = represent(head, form);
        if !self.wants_digest(head) || !is_of_bytes(&response) {
            return response;
        }
        let work = &self.shared_work;
        let patience = Duration::from_millis(self.options.work_wait_ms);
        match digest::digest(&self.shard, &work.digests, &work.offload, form, patience).await {
            Some(digest) => with_digest(response, &digest),
            None => response,
        }
    }

    #[inline]
    fn wants_digest(&self, head: &Head<'_>) -> bool {
        self.options.digests
            && head.headers.has(Known::WantReprDigest)
            && wants_sha256(&head.headers)
    }

    fn fetch<'a>(&'a self, served: &'a ServedRoot) -> Fetch<'a> {
        Fetch {
            shard: &self.shard,
            served,
            cache: &self.cache,
            changes: &self.changes,
            options: &self.options,
            cold_reads: &self.cold_reads,
        }
    }

    /// The file at `path` as it is now.
    async fn file(
        &self,
        served: &Rc<ServedRoot>,
        path: CString,
    ) -> Result<Rc<CachedFile>, RequestError> {
        let fetch = self.fetch(served);
        let known = self.cache.get(path.as_bytes());
        let mut fetched = fetch.file(&path, known.clone()).await;
        if matches!(fetched, Err(RequestError::Exhausted)) && self.cache.close_one() {
            fetched = fetch.file(&path, known).await;
        }
        // The root may have been switched while the disk was asked.
        let root_stands = self
            .root
            .served()
            .is_some_and(|current| Rc::ptr_eq(&current, served));
        match fetched {
            Ok(Fetched::Known(cached)) => Ok(cached),
            Ok(Fetched::New(cached)) => {
                let cached = Rc::new(cached);
                if root_stands {
                    self.cache.insert(Rc::clone(&cached));
                }
                Ok(cached)
            }
            Ok(Fetched::Passing(cached)) => {
                self.cache.remove(path.as_bytes());
                Ok(Rc::new(cached))
            }
            // Not a property of the file.
            Err(RequestError::Exhausted) => Err(RequestError::Exhausted),
            Err(failure) => {
                self.cache.remove(path.as_bytes());
                Err(failure)
            }
        }
    }

    /// The answer for a folder that has no index file.
    async fn folder(
        &self,
        served: &ServedRoot,
        head: &Head<'_>,
        target: &Target<'_>,
    ) -> Result<Response, RequestError> {
        let path = CString::new(&*target.path).map_err(|_| RequestError::NotFound)?;
        if self.options.browse {
            let shared = &self.shared_work;
            return folder::list(&self.shard, served, shared, &self.options, head, &path).await;
        }
        let found = lookup::open(&self.shard, served, &path, open_how_path()).await?;
        match file::stamp(found.as_fd())? {
            (Kind::Directory, _) => Err(RequestError::Folder),
            _ => Err(RequestError::NotFound),
        }
    }
}

/// The answer with no form of the file in it.
fn refuse(selected: &Selected) -> Response {
    match selected {
        Selected::NotModified(lines) => Response {
            headers: lines.clone(),
            ..Response::new(Status::NOT_MODIFIED)
        },
        Selected::Busy => RequestError::Exhausted.response(),
        _ => RequestError::NotAcceptable.response(),
    }
}

/// Whether the response has the file's bytes, or some of them.
fn is_of_bytes(response: &Response) -> bool {
    matches!(response.status, Status::OK | Status::PARTIAL_CONTENT)
}

/// Adds what the digest of the whole form is (RFC 9530 section 3), also to a part of it.
fn with_digest(response: Response, digest: &Sha256) -> Response {
    if !is_of_bytes(&response) {
        return response;
    }
    Response {
        prepared: None,
        ..response.with("repr-digest", repr_digest(digest))
    }
}

fn is_short_of_descriptors(error: &std::io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE))
}

/// A folder is answered for at its path with a slash: only there do its
/// entries' relative links work.
fn redirect(head: &Head<'_>, target: &Target<'_>) -> Response {
    let location = target::folder_reference(&target.path, head.query());
    Response::error(
        Status::MOVED_PERMANENTLY,
        "This is a folder; its path ends in a slash.",
    )
    .with("location", location)
}

#[cfg(test)]
mod tests;
