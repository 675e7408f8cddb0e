//! The files that a shard has cached: least recently used, bounded in number and in bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lru::LruCache;

use super::cached_file::CachedFile;
use super::weight::Weight;

/// Files by their path below the root; the one used longest ago goes first.
#[derive(Debug)]
pub struct Cache {
    entries: RefCell<LruCache<Box<[u8]>, Rc<CachedFile>>>,
    held: Cell<Weight>,
    most: Weight,
}

impl Cache {
    /// Keeps at most `files_max` files, and of their bodies at most `memory_bytes_max` bytes.
    pub fn new(files_max: usize, memory_bytes_max: usize) -> Cache {
        Cache {
            entries: RefCell::new(LruCache::unbounded()),
            held: Cell::default(),
            most: Weight {
                files: files_max,
                bytes: memory_bytes_max,
            },
        }
    }

    /// Whether an cached with this much in memory would be kept.
    pub fn takes(&self, memory_bytes: usize) -> bool {
        self.most.files > 0 && memory_bytes <= self.most.bytes
    }

    /// The cached of a path, which is now the one used last.
    #[inline]
    pub fn get(&self, path: &[u8]) -> Option<Rc<CachedFile>> {
        self.entries.borrow_mut().get(path).map(Rc::clone)
    }

    /// Whether this very cached is kept; it is now the one used last.
    pub fn keeps(&self, cached: &Rc<CachedFile>) -> bool {
        self.get(cached.path.as_bytes())
            .is_some_and(|kept| Rc::ptr_eq(&kept, cached))
    }

    /// Keeps an cached, in place of one with the same path and of others if it must.
    pub fn insert(&self, cached: Rc<CachedFile>) {
        let path = cached.path.as_bytes();
        self.remove(path);
        if !self.takes(cached.weight().bytes) {
            return;
        }
        self.hold(cached.weight());
        self.entries
            .borrow_mut()
            .put(path.into(), Rc::clone(&cached));
        self.make_room();
    }

    /// Has `change` alter what an cached holds of coded forms. If that is more than there is room
    /// for, others go.
    pub fn adjust(&self, cached: &Rc<CachedFile>, change: impl FnOnce()) {
        let keeps = self.keeps(cached);
        let before = cached.weight();
        change();
        if keeps {
            self.held.set(self.held.get() - before);
            self.hold(cached.weight());
            self.make_room();
        }
    }

    /// Forgets a path.
    pub fn remove(&self, path: &[u8]) {
        let removed = self.entries.borrow_mut().pop(path);
        if let Some(cached) = removed {
            self.held.set(self.held.get() - cached.weight());
        }
    }

    /// Gives up the descriptors of the file that was used longest ago and has one that is
    /// not in use now; `false` if there is none.
    pub fn close_one(&self) -> bool {
        let idle = self
            .entries
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

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.borrow_mut().clear();
        self.held.set(Weight::default());
    }

    fn hold(&self, weight: Weight) {
        self.held.set(self.held.get() + weight);
    }

    /// Lets those used longest ago go until the others fit.
    fn make_room(&self) {
        loop {
            let held = self.held.get();
            if held.files <= self.most.files && held.bytes <= self.most.bytes {
                return;
            }
            let Some((_, oldest)) = self.entries.borrow_mut().pop_lru() else {
                return;
            };
            self.held.set(held - oldest.weight());
        }
    }
}
