//! Files as a web resource: from a request's head to a response.
//!
//! [`Files`] belongs to one shard. What it has once found it remembers in
//! a cache: small bodies in memory, larger files as descriptors. A cached file
//! is taken for current for a stated time; then one lookup, as a rule without
//! waiting, tells whether its path still leads to it.

mod cache;
mod entry;
mod failure;
mod fetch;
mod folder;
pub mod listing;
mod lookup;
pub mod offload;
mod represent;
mod root;

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

pub use root::FilesError;

use cache::Cache;
use entry::Entry;
use failure::Failure;
use fetch::{Fetch, Fetched};
use root::{Look, RootWatch, Served};

use crate::http::{Head, Method, Response, Status, Target, target};
use crate::limits;
use crate::runtime::Shard;
use crate::sys::file::{self, Kind};
use crate::sys::open::open_how_path;

/// The methods that files answer to.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// How files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// Show a listing for a folder without an index file.
    pub browse: bool,
    /// Serve names that begin with a dot.
    pub hidden: bool,
    /// File that answers for its folder; `None`: no such file.
    pub index: Option<String>,
    /// Files that are remembered; 0: none.
    pub cache_files: usize,
    /// Bytes of bodies that are kept in memory.
    pub cache_bodies_bytes: usize,
    /// Largest file that is kept in memory, in bytes.
    pub cache_body_bytes: usize,
    /// Age in milliseconds at which what is remembered is looked at again; 0: at every request.
    pub revalidate_ms: u64,
}

impl Default for FilesOptions {
    fn default() -> FilesOptions {
        FilesOptions {
            browse: false,
            hidden: false,
            index: Some("index.html".to_owned()),
            cache_files: limits::CACHE_FILES_MAX,
            cache_bodies_bytes: limits::CACHE_BODIES_BYTES_MAX,
            cache_body_bytes: limits::CACHE_BODY_BYTES_MAX,
            revalidate_ms: limits::CACHE_REVALIDATE_MS,
        }
    }
}

/// The files below one folder, as one shard serves them. Clones share everything.
#[derive(Clone)]
pub struct Files(Rc<Inner>);

struct Inner {
    shard: Shard,
    options: FilesOptions,
    root: RootWatch,
    cache: Cache,
    cold_reads: Cell<usize>,
    /// Where an index file's path is put together, so that a hit allocates nothing.
    index_path: RefCell<Vec<u8>>,
}

impl Files {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// When it can't be opened, or the kernel can't resolve paths beneath it.
    pub fn new(shard: &Shard, root: &Path, options: FilesOptions) -> Result<Files, FilesError> {
        Ok(Files(Rc::new(Inner {
            shard: shard.clone(),
            root: RootWatch::new(root, options.revalidate_ms, shard.now_ms())?,
            cache: Cache::new(options.cache_files, options.cache_bodies_bytes),
            options,
            cold_reads: Cell::default(),
            index_path: RefCell::default(),
        })))
    }

    /// The answer, if it can be given without waiting: a refusal, or a cached
    /// file. A plain GET or HEAD of a small cached file allocates nothing.
    /// `None`: ask [`Files::respond`].
    pub fn try_respond(&self, head: &Head<'_>) -> Option<Response> {
        let target = match self.0.accept(head) {
            Ok(target) => target,
            Err(refusal) => return Some(refusal),
        };
        let now_ms = self.0.shard.now_ms();
        if self.0.root.is_due(now_ms) && self.0.root.look_now(now_ms)? == Look::Changed {
            self.0.cache.clear();
        }
        let served = self.0.root.served()?;
        let entry = self
            .0
            .with_file_path(&target, |path| self.0.cache.get(path))??;
        self.0
            .is_current(&served, &entry, now_ms)
            .then(|| represent::represent(head, &entry))
    }

    /// The answer. Never keeps the shard waiting for a disk.
    pub async fn respond(&self, head: &Head<'_>) -> Response {
        match self.0.accept(head) {
            Ok(target) => match self.0.find(head, &target).await {
                Ok(response) => response,
                Err(failure) => failure.response(),
            },
            Err(refusal) => refusal,
        }
    }
}

impl Inner {
    /// The path of a request that files answer to; else the answer.
    fn accept<'a>(&self, head: &Head<'a>) -> Result<Target<'a>, Response> {
        match head.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                return Err(Response::new(Status::NO_CONTENT).with("allow", ALLOW));
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
            return Err(Failure::NotFound.response());
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

    /// Whether an entry may be used, by a look that needs no waiting.
    fn is_current(&self, served: &Served, entry: &Entry, now_ms: u64) -> bool {
        if !entry.is_intact() {
            return false;
        }
        if now_ms.saturating_sub(entry.checked_ms.get()) < self.options.revalidate_ms {
            return true;
        }
        let found = served
            .root
            .open_path(&entry.path, true)
            .and_then(|fd| file::stamp(fd.as_fd()));
        match found {
            Ok((Kind::File, stamp)) if stamp == entry.stamp => {
                entry.checked_ms.set(now_ms);
                true
            }
            // What was good a moment ago is better than no answer.
            Err(error) => is_short_of_descriptors(&error),
            Ok(_) => false,
        }
    }

    /// The answer to a GET or HEAD by a new lookup.
    async fn find(&self, head: &Head<'_>, target: &Target<'_>) -> Result<Response, Failure> {
        let served = self.served().await.ok_or(Failure::NotFound)?;
        let file = match self.with_file_path(target, |path| CString::new(path)) {
            Some(Ok(path)) => self.file(&served, path).await,
            Some(Err(_)) => Err(Failure::NotFound),
            None => Err(Failure::Folder),
        };
        match file {
            Ok(entry) => Ok(represent::represent(head, &entry)),
            Err(Failure::Folder) if !target.is_dir => Ok(redirect(head, target)),
            Err(Failure::Folder | Failure::NotFound) if target.is_dir => {
                self.folder(&served, head, target).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// The folder to look in, checked if it is time for it.
    async fn served(&self) -> Option<Rc<Served>> {
        let now_ms = self.shard.now_ms();
        if self.root.is_due(now_ms) && self.root.look(&self.shard, now_ms).await == Look::Changed {
            self.cache.clear();
        }
        self.root.served()
    }

    /// The file at `path` as it is now.
    async fn file(&self, served: &Rc<Served>, path: CString) -> Result<Rc<Entry>, Failure> {
        let fetch = Fetch {
            shard: &self.shard,
            served,
            cache: &self.cache,
            body_bytes_max: self.options.cache_body_bytes,
            cold_reads: &self.cold_reads,
        };
        let known = self.cache.get(path.as_bytes());
        let mut fetched = fetch.file(&path, known.clone()).await;
        if matches!(fetched, Err(Failure::Exhausted)) && self.cache.close_one() {
            fetched = fetch.file(&path, known).await;
        }
        // The root may have been switched while the disk was asked.
        let root_stands = self
            .root
            .served()
            .is_some_and(|current| Rc::ptr_eq(&current, served));
        match fetched {
            Ok(Fetched::Known(entry)) => Ok(entry),
            Ok(Fetched::New(entry)) => {
                let entry = Rc::new(entry);
                if root_stands {
                    self.cache.insert(Rc::clone(&entry));
                }
                Ok(entry)
            }
            Ok(Fetched::Passing(entry)) => {
                self.cache.remove(path.as_bytes());
                Ok(Rc::new(entry))
            }
            // Says nothing of the file.
            Err(Failure::Exhausted) => Err(Failure::Exhausted),
            Err(failure) => {
                self.cache.remove(path.as_bytes());
                Err(failure)
            }
        }
    }

    /// The answer for a folder that has no index file.
    async fn folder(
        &self,
        served: &Served,
        head: &Head<'_>,
        target: &Target<'_>,
    ) -> Result<Response, Failure> {
        let path = CString::new(&*target.path).map_err(|_| Failure::NotFound)?;
        if self.options.browse {
            return folder::list(&self.shard, served, head, &path, self.options.hidden).await;
        }
        let found = lookup::open(&self.shard, served, &path, open_how_path()).await?;
        match file::stamp(found.as_fd())? {
            (Kind::Directory, _) => Err(Failure::Folder),
            _ => Err(Failure::NotFound),
        }
    }
}

fn is_short_of_descriptors(error: &std::io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EMFILE | Errno::ENFILE))
}

/// A folder is answered for at its path with a slash: only there do its
/// entries' relative links work.
fn redirect(head: &Head<'_>, target: &Target<'_>) -> Response {
    let location = target::location(&target.path, true, head.query());
    Response::error(
        Status::MOVED_PERMANENTLY,
        "This is a folder; its path ends in a slash.",
    )
    .with("location", location)
}
