//! A cached file: the representation of its bytes as they are, and its coded forms.

use std::cell::Cell;
use std::ffi::CString;
use std::rc::Rc;

use super::codings::Codings;
use super::content::Content;
use super::era::Era;
use super::options::FilesOptions;
use super::representation::Representation;
use super::validators::FileValidators;
use super::watch::FileWatch;
use super::weight::Weight;
use crate::http::mime::is_compressible;
use crate::sys;
use crate::sys::file::Stamp;

/// A file as it was found, with all forms that it can be sent in.
#[derive(Debug)]
pub(crate) struct CachedFile {
    /// Its path below the root.
    pub path: CString,
    /// The file as it is.
    pub plain: Representation,
    /// What its validators are made of.
    pub validators: FileValidators,
    /// Its coded forms, if it can have any.
    pub codings: Option<Box<Codings>>,
    /// Whether the file changes meanwhile.
    _watch: Rc<FileWatch>,
    /// Until when it counts as what its path leads to, on the shard's clock.
    fresh_until_ms: Cell<u64>,
    /// The era in which that was found.
    checked_in: Cell<Era>,
    /// When its validators are to be made again, on the shard's clock.
    renew_at_ms: u64,
}

/// Where a new cached file comes from.
pub(crate) struct Found<'a> {
    /// Its path below the root.
    pub path: CString,
    /// The stamp that it was read or opened with.
    pub stamp: Stamp,
    /// Its changes since before that.
    pub watch: Rc<FileWatch>,
    /// The shard's clock just before.
    pub now_ms: u64,
    /// The cache's era just before.
    pub era: Era,
    /// How files are served.
    pub options: &'a FilesOptions,
}

impl CachedFile {
    /// A file that was found with this content.
    pub(crate) fn new(found: Found<'_>, content: Content) -> CachedFile {
        let Found {
            path,
            stamp,
            watch,
            now_ms,
            era,
            options,
        } = found;
        let content_type = options.types.content_type(path.as_bytes());
        let codings = (options.codes() && is_compressible(&content_type))
            .then(|| Box::new(Codings::new(&path)));
        let validators = FileValidators::of(&stamp, options.etag, sys::time::realtime());
        let renew_at_ms = validators
            .renew_in_ms
            .map_or(u64::MAX, |ms| now_ms.saturating_add(ms));
        let url_path = [b"/", path.as_bytes()].concat();
        let edits = Rc::new(options.rules.file_edits(&url_path));
        let cached = CachedFile {
            plain: Representation::plain(
                stamp,
                content,
                content_type,
                &validators,
                codings.is_some(),
                edits,
            ),
            validators,
            path,
            codings,
            _watch: watch,
            fresh_until_ms: Cell::new(0),
            checked_in: Cell::new(era),
            renew_at_ms,
        };
        cached.note_checked(now_ms, options.revalidate_ms, era);
        cached
    }

    /// Whether it may be used without a look at the file system, in this era.
    #[inline]
    pub(crate) fn is_fresh(&self, now_ms: u64, era: Era) -> bool {
        now_ms < self.fresh_until_ms.get() && era == self.checked_in.get()
    }

    /// Whether it still holds, found with the same stamp: whether its validators do. They are
    /// made again once a change would show in the stamp, and when the clock has come past the
    /// file's date or was set back before it.
    pub(crate) fn is_valid(&self, now_ms: u64) -> bool {
        now_ms < self.renew_at_ms && self.plain.is_date_past(sys::time::realtime().0)
    }

    /// Notes that a look that began at `now_ms`, in this era, found its path to lead to it. It
    /// counts as fresh for `period_ms` while the era lasts.
    pub(crate) fn note_checked(&self, now_ms: u64, period_ms: u64, era: Era) {
        let until_ms = now_ms.saturating_add(period_ms).min(self.renew_at_ms);
        self.fresh_until_ms.set(until_ms);
        self.checked_in.set(era);
    }

    /// What it was found as.
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.plain.identity.stamp
    }

    /// Whether it or a coded form of it is behind a descriptor.
    pub(crate) fn holds_descriptor(&self) -> bool {
        let of_codings = |codings: &Codings| codings.holds_descriptor();
        self.plain.holds_descriptor() || self.codings.as_deref().is_some_and(of_codings)
    }

    /// Whether it has a descriptor that the cache alone holds, so that evicting it closes one.
    pub(crate) fn holds_idle_descriptor(&self) -> bool {
        let of_codings = |codings: &Codings| codings.holds_idle_descriptor();
        self.plain.holds_idle_descriptor() || self.codings.as_deref().is_some_and(of_codings)
    }

    /// Its share of the cache: its own, and those of its coded forms.
    pub(crate) fn weight(&self) -> Weight {
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
