//! The coded forms of one file: those that lie beside it, and those that were made of it here.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use super::compress::Compressed;
use super::era::Era;
use super::representation::Representation;
use super::single_flight::Job;
use super::weight::Weight;
use crate::http::{Coding, Offers};
use crate::sys::file::{self, Kind, Stamp};
use crate::sys::open::Root;

/// One value for each coding, in the order of [`Coding::ALL`].
type Each<T> = [T; Coding::ALL.len()];

/// The coded forms of one file.
#[derive(Debug)]
pub(crate) struct Codings {
    sibling_paths: Each<CString>,
    siblings: RefCell<Each<Sibling>>,
    siblings_checked: Cell<Option<Look>>,
    /// How often they were to be looked for again.
    rechecks: Cell<u64>,
    made: RefCell<Each<Made>>,
    is_hopeless: Cell<bool>,
}

/// A look for all siblings.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Look {
    /// When it began, on the shard's clock.
    pub at_ms: u64,
    /// The cache's era then.
    pub era: Era,
}

/// What lies beside a file under its name with a coding's extension.
#[derive(Clone, Default, Debug)]
pub(crate) enum Sibling {
    /// Nothing that could be sent.
    #[default]
    Absent,
    /// A file that is older than what it was made of.
    Stale(Stamp),
    /// A form of the file.
    Fresh(Rc<Representation>),
}

/// What was made of a file here.
#[derive(Default, Debug)]
enum Made {
    #[default]
    Nothing,
    /// A task of this shard waits for the job.
    UnderWay,
    /// The job is kept so that other shards find its result.
    Ready(Rc<Representation>, Arc<Job<Compressed>>),
}

impl Sibling {
    fn stamp(&self) -> Option<&Stamp> {
        match self {
            Sibling::Absent => None,
            Sibling::Stale(stamp) => Some(stamp),
            Sibling::Fresh(form) => Some(&form.identity.stamp),
        }
    }
}

impl Codings {
    /// Of the file at `path`, with nothing found or made yet.
    pub(crate) fn new(path: &CStr) -> Codings {
        let sibling_path = |coding: Coding| {
            let bytes = [path.to_bytes(), b".", coding.extension().as_bytes()].concat();
            // No part of it has a NUL.
            CString::new(bytes).unwrap_or_default()
        };
        Codings {
            sibling_paths: Coding::ALL.map(sibling_path),
            siblings: RefCell::default(),
            siblings_checked: Cell::default(),
            rechecks: Cell::default(),
            made: RefCell::default(),
            is_hopeless: Cell::new(false),
        }
    }

    /// Where the file's form in this coding would lie.
    pub(crate) fn sibling_path(&self, coding: Coding) -> &CStr {
        &self.sibling_paths[coding as usize]
    }

    /// What was last found there.
    pub(crate) fn sibling(&self, coding: Coding) -> Sibling {
        self.siblings.borrow()[coding as usize].clone()
    }

    /// Notes what lies there.
    pub(crate) fn set_sibling(&self, coding: Coding, found: Sibling) {
        self.siblings.borrow_mut()[coding as usize] = found;
    }

    /// How often the siblings were to be looked for again, for [`Codings::set_checked`].
    pub(crate) fn rechecks(&self) -> u64 {
        self.rechecks.get()
    }

    /// Notes that all siblings were looked for by a look that began when `rechecks` was as given.
    /// One that was reported as changed meanwhile may have been looked at before that.
    pub(crate) fn set_checked(&self, look: Look, rechecks: u64) {
        if self.rechecks.get() == rechecks {
            self.siblings_checked.set(Some(look));
        }
    }

    /// Has all siblings looked for again.
    pub(crate) fn recheck(&self) {
        self.siblings_checked.set(None);
        self.rechecks.set(self.rechecks.get() + 1);
    }

    /// Forgets what lies there in this coding.
    pub(crate) fn forget_sibling(&self, coding: Coding) {
        self.set_sibling(coding, Sibling::Absent);
        self.recheck();
    }

    /// Whether what is known of the siblings still holds, by this look, which must need no waiting;
    /// none is taken within `period_ms` of the last one in the same era.
    pub(crate) fn siblings_are_current(&self, root: &Root, look: Look, period_ms: u64) -> bool {
        let Some(last) = self.siblings_checked.get() else {
            return false;
        };
        if last.era == look.era && look.at_ms.saturating_sub(last.at_ms) < period_ms {
            return true;
        }
        let siblings = self.siblings.borrow();
        let same = siblings
            .iter()
            .zip(&self.sibling_paths)
            .all(|(known, path)| {
                let found = root
                    .open_path(path, true)
                    .and_then(|fd| file::stamp(fd.as_fd()));
                match found {
                    Ok((Kind::File, stamp)) => known.stamp() == Some(&stamp),
                    Ok(_) => known.stamp().is_none(),
                    Err(error) => {
                        known.stamp().is_none() && error.kind() == io::ErrorKind::NotFound
                    }
                }
            });
        if same {
            self.siblings_checked.set(Some(look));
        }
        same
    }

    /// What can be sent: what lies there, and then what can be made.
    pub(crate) fn offers(&self, can_make: impl Fn(Coding) -> bool) -> Offers {
        let siblings = self.siblings.borrow();
        Coding::ALL.map(|coding| match siblings[coding as usize] {
            Sibling::Fresh(_) => Some(0),
            _ if !self.is_hopeless.get() && can_make(coding) => Some(1),
            _ => None,
        })
    }

    /// What can be sent at once.
    pub(crate) fn ready_offers(&self) -> Offers {
        Coding::ALL.map(|coding| self.form(coding).map(|_| 0))
    }

    /// The form in this coding, if it is there.
    #[inline]
    pub(crate) fn form(&self, coding: Coding) -> Option<Rc<Representation>> {
        if let Sibling::Fresh(form) = &self.siblings.borrow()[coding as usize] {
            return Some(Rc::clone(form));
        }
        match &self.made.borrow()[coding as usize] {
            Made::Ready(form, _) => Some(Rc::clone(form)),
            _ => None,
        }
    }

    /// Notes that a task of this shard waits for it; `false` if one did already.
    pub(crate) fn begin(&self, coding: Coding) -> bool {
        let made = &mut self.made.borrow_mut()[coding as usize];
        let is_new = matches!(made, Made::Nothing);
        if is_new {
            *made = Made::UnderWay;
        }
        is_new
    }

    /// Notes that it was not made after all.
    pub(crate) fn give_up(&self, coding: Coding) {
        self.made.borrow_mut()[coding as usize] = Made::Nothing;
    }

    /// Notes that no coding makes the file smaller.
    pub(crate) fn set_hopeless(&self) {
        self.is_hopeless.set(true);
    }

    /// Keeps what was made.
    pub(crate) fn keep(&self, coding: Coding, form: Rc<Representation>, job: Arc<Job<Compressed>>) {
        self.made.borrow_mut()[coding as usize] = Made::Ready(form, job);
    }

    /// What the forms take of the cache.
    pub(crate) fn weight(&self) -> Weight {
        let mut weight = Weight::default();
        for sibling in self.siblings.borrow().iter() {
            if let Sibling::Fresh(form) = sibling {
                weight = weight + form.weight();
            }
        }
        for made in self.made.borrow().iter() {
            if let Made::Ready(form, job) = made {
                weight = weight + form.weight() + shared_weight(form, job);
            }
        }
        weight
    }

    /// Whether one of them is behind a descriptor.
    pub(crate) fn holds_descriptor(&self) -> bool {
        self.has_sibling(Representation::holds_descriptor)
    }

    /// Whether they have a descriptor that the cache alone holds.
    pub(crate) fn holds_idle_descriptor(&self) -> bool {
        self.has_sibling(Representation::holds_idle_descriptor)
    }

    fn has_sibling(&self, is_so: impl Fn(&Representation) -> bool) -> bool {
        let siblings = self.siblings.borrow();
        siblings.iter().any(|sibling| match sibling {
            Sibling::Fresh(form) => is_so(form),
            _ => false,
        })
    }
}

/// The path of the file that a path could be a coded form of, by its extension.
pub(crate) fn sibling_of(path: &[u8]) -> Option<(&[u8], Coding)> {
    Coding::ALL.iter().find_map(|&coding| {
        let plain = path.strip_suffix(coding.extension().as_bytes())?;
        Some((plain.strip_suffix(b".")?, coding))
    })
}

/// The share of the job's own result: nothing where the form is that result, its bytes where this
/// shard has a copy.
fn shared_weight(form: &Representation, job: &Job<Compressed>) -> Weight {
    match (job.result(), form.weight().bytes > form.size as usize) {
        (Some(Compressed::Smaller(bytes)), true) => Weight::of_bytes(bytes.len()),
        _ => Weight::default(),
    }
}
