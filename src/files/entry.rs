//! A file as it was found: as it is, and what else it can be sent as.

use std::cell::Cell;
use std::ffi::CString;
use std::rc::Rc;

use bytes::Bytes;

use super::cache::Weight;
use super::codings::Codings;
use super::representation::Representation;
use crate::http::{Prepared, mime};
use crate::sys::file::{File, Stamp};

/// A file as it was found.
#[derive(Debug)]
pub struct Entry {
    /// Its path below the root.
    pub path: CString,
    /// The file as it is.
    pub plain: Representation,
    /// Its coded forms, if it can have any.
    pub codings: Option<Box<Codings>>,
    /// When it was last found to be what its path leads to, on the shard's clock.
    pub checked_ms: Cell<u64>,
}

/// Where a representation's bytes are.
#[derive(Debug)]
pub enum Content {
    /// All in memory; no descriptor is held. The second is there if it is cached.
    Memory(Bytes, Option<Rc<Prepared>>),
    /// Behind a descriptor.
    Open(Rc<File>),
}

impl Entry {
    /// What is known of the file at `path`, which had `stamp` at `checked_ms`.
    ///
    /// `codes`: coded forms of files are served here.
    pub fn new(
        path: CString,
        stamp: Stamp,
        content: Content,
        codes: bool,
        checked_ms: u64,
    ) -> Entry {
        let content_type = mime::content_type(path.as_bytes());
        let codings =
            (codes && mime::is_compressible(&content_type)).then(|| Box::new(Codings::new(&path)));
        Entry {
            plain: Representation::plain(stamp, content, content_type, codings.is_some()),
            path,
            codings,
            checked_ms: Cell::new(checked_ms),
        }
    }

    /// What it was found as.
    pub fn stamp(&self) -> &Stamp {
        &self.plain.identity.stamp
    }

    /// Whether to drop it, were it only in the cache, would close a descriptor.
    pub fn holds_idle_descriptor(&self) -> bool {
        let of_codings = |codings: &Codings| codings.holds_idle_descriptor();
        self.plain.holds_idle_descriptor() || self.codings.as_deref().is_some_and(of_codings)
    }

    /// What it takes of a cache: an entry's place, and what its forms take.
    pub fn weight(&self) -> Weight {
        let own = Weight {
            bytes: self.plain.weight().bytes,
            ..Weight::DESCRIPTOR
        };
        match &self.codings {
            Some(codings) => own + codings.weight(),
            None => own,
        }
    }
}

/// Bytes that a body of `body_bytes` takes of the cache's memory.
pub fn prepared_and_body_bytes(body_bytes: usize) -> usize {
    body_bytes.saturating_mul(2)
}
