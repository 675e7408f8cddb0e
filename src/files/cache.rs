//! The files that a shard has cached: least recently used, bounded in number and in bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lru::LruCache;

use super::cached_file::CachedFile;
use super::codings::{self, Sibling};
use super::era::Era;
use super::representation::Representation;
use super::weight::Weight;
use crate::http::Coding;

/// Files by their path below the root; the least recently used is evicted first.
#[derive(Debug)]
pub(crate) struct Cache {
    files: RefCell<LruCache<Box<[u8]>, Rc<CachedFile>>>,
    held: Cell<Weight>,
    most: Weight,
    era: Cell<Era>,
}

impl Cache {
    /// Keeps at most `files_max` files, and of their bodies at most `memory_bytes_max` bytes.
    pub(crate) fn new(files_max: usize, memory_bytes_max: usize) -> Cache {
        Cache {
            files: RefCell::new(LruCache::unbounded()),
            held: Cell::default(),
            most: Weight {
                files: files_max,
                bytes: memory_bytes_max,
            },
            era: Cell::default(),
        }
    }

    /// Whether a file that takes this much memory would be kept.
    pub(crate) fn takes(&self, memory_bytes: usize) -> bool {
        self.most.files > 0 && memory_bytes <= self.most.bytes
    }

    /// The file at a path, which becomes the most recently used.
    #[inline]
    pub(crate) fn get(&self, path: &[u8]) -> Option<Rc<CachedFile>> {
        self.files.borrow_mut().get(path).map(Rc::clone)
    }

    /// Whether this very file is kept; it becomes the most recently used.
    pub(crate) fn keeps(&self, cached: &Rc<CachedFile>) -> bool {
        self.get(cached.path.as_bytes())
            .is_some_and(|kept| Rc::ptr_eq(&kept, cached))
    }

    /// Adds a file. It replaces one with the same path, and evicts others if there is no space.
    pub(crate) fn insert(&self, cached: Rc<CachedFile>) {
        let path = cached.path.as_bytes();
        self.remove(path);
        if !self.takes(cached.weight().bytes) {
            return;
        }
        self.hold(cached.weight());
        self.files.borrow_mut().put(path.into(), Rc::clone(&cached));
        self.make_room();
    }

    /// Has `change` alter the coded forms of a file, and evicts others if there is no space for
    /// the result.
    pub(crate) fn adjust(&self, cached: &Rc<CachedFile>, change: impl FnOnce()) {
        let keeps = self.keeps(cached);
        let before = cached.weight();
        change();
        if keeps {
            self.held.set(self.held.get() - before);
            self.hold(cached.weight());
            self.make_room();
        }
    }

    /// Removes the file at a path.
    pub(crate) fn remove(&self, path: &[u8]) {
        let removed = self.files.borrow_mut().pop(path);
        if let Some(cached) = removed {
            self.held.set(self.held.get() - cached.weight());
        }
    }

    /// Forgets the file at a path, also as a coded form of the file that it lies beside.
    pub(crate) fn forget(&self, path: &[u8]) {
        self.remove(path);
        if let Some((plain, coding)) = codings::sibling_of(path) {
            self.forget_sibling(plain, coding);
        }
    }

    /// Forgets the coded form that lies beside the file at a path, so that it is looked for again.
    pub(crate) fn forget_sibling(&self, path: &[u8], coding: Coding) {
        let cached = self.files.borrow().peek(path).map(Rc::clone);
        if let Some(cached) = cached
            && let Some(codings) = &cached.codings
        {
            let before = cached.weight();
            codings.forget_sibling(coding);
            self.held.set(self.held.get() - before + cached.weight());
        }
    }

    /// The era now. A lookup belongs to the one in which it began.
    #[inline]
    pub(crate) fn era(&self) -> Era {
        self.era.get()
    }

    /// Has every cached file, and what lies beside it, looked at again when it is next asked for.
    /// Costs the same however many there are.
    pub(crate) fn recheck(&self) {
        self.era.set(self.era.get().next());
    }

    /// Removes all files whose descriptors, or those of their coded forms, are held.
    pub(crate) fn close_all(&self) {
        let files = self.files.borrow();
        let open = files.iter().filter(|(_, cached)| cached.holds_descriptor());
        let open: Vec<Box<[u8]>> = open.map(|(path, _)| path.clone()).collect();
        drop(files);
        open.iter().for_each(|path| self.remove(path));
    }

    /// Whether a descriptor of the file at a path is held, also as a coded form of the file that
    /// it lies beside.
    pub(crate) fn holds_descriptor(&self, path: &[u8]) -> bool {
        let files = self.files.borrow();
        let holds = |form: &Representation| form.holds_descriptor();
        let by_sibling = || {
            let (plain, coding) = codings::sibling_of(path)?;
            match files.peek(plain)?.codings.as_ref()?.sibling(coding) {
                Sibling::Fresh(form) => Some(holds(&form)),
                _ => None,
            }
        };
        files.peek(path).is_some_and(|cached| holds(&cached.plain)) || by_sibling() == Some(true)
    }

    /// Evicts the least recently used file whose descriptor is not in use, which closes it;
    /// `false` if there is none.
    pub(crate) fn close_one(&self) -> bool {
        let idle = self
            .files
            .borrow()
            .iter()
            .rev()
            .find(|(_, cached)| cached.holds_idle_descriptor())
            .map(|(path, _)| path.clone());
        if let Some(path) = &idle {
            self.remove(path);
        }
        idle.is_some()
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        self.files.borrow_mut().clear();
        self.held.set(Weight::default());
    }

    fn hold(&self, weight: Weight) {
        self.held.set(self.held.get() + weight);
    }

    /// Evicts the least recently used until the others fit.
    fn make_room(&self) {
        loop {
            let held = self.held.get();
            if held.files <= self.most.files && held.bytes <= self.most.bytes {
                return;
            }
            let Some((_, oldest)) = self.files.borrow_mut().pop_lru() else {
                return;
            };
            self.held.set(held - oldest.weight());
        }
    }
}
