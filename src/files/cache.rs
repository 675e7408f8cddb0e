//! What a shard remembers of its files, bounded in number and in bytes.

use std::cell::{Cell, RefCell};
use std::ops::{Add, Sub};
use std::rc::Rc;

use lru::LruCache;

use super::entry::Entry;

/// What something takes of the cache.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Weight {
    /// Places: one for each file, and one for each further descriptor.
    pub files: usize,
    /// Bytes of bodies in memory.
    pub bytes: usize,
}

impl Weight {
    /// That of a descriptor.
    pub const DESCRIPTOR: Weight = Weight { files: 1, bytes: 0 };

    /// That of bytes in memory.
    pub fn of_bytes(bytes: usize) -> Weight {
        Weight { files: 0, bytes }
    }
}

impl Add for Weight {
    type Output = Weight;

    fn add(self, other: Weight) -> Weight {
        Weight {
            files: self.files + other.files,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sub for Weight {
    type Output = Weight;

    fn sub(self, other: Weight) -> Weight {
        Weight {
            files: self.files - other.files,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// Files by their path below the root; the one used longest ago goes first.
#[derive(Debug)]
pub struct Cache {
    entries: RefCell<LruCache<Box<[u8]>, Rc<Entry>>>,
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

    /// Whether an entry with this much in memory would be kept.
    pub fn takes(&self, memory_bytes: usize) -> bool {
        self.most.files > 0 && memory_bytes <= self.most.bytes
    }

    /// The entry of a path, which is now the one used last.
    #[inline]
    pub fn get(&self, path: &[u8]) -> Option<Rc<Entry>> {
        self.entries.borrow_mut().get(path).map(Rc::clone)
    }

    /// Whether this very entry is kept; it is now the one used last.
    pub fn keeps(&self, entry: &Rc<Entry>) -> bool {
        self.get(entry.path.as_bytes())
            .is_some_and(|kept| Rc::ptr_eq(&kept, entry))
    }

    /// Keeps an entry, in place of one with the same path and of others if it must.
    pub fn insert(&self, entry: Rc<Entry>) {
        let path = entry.path.as_bytes();
        self.remove(path);
        if !self.takes(entry.weight().bytes) {
            return;
        }
        self.hold(entry.weight());
        self.entries
            .borrow_mut()
            .put(path.into(), Rc::clone(&entry));
        self.make_room();
    }

    /// Has `change` alter what an entry holds of coded forms. If that is more than there is room
    /// for, others go.
    pub fn adjust(&self, entry: &Rc<Entry>, change: impl FnOnce()) {
        let keeps = self.keeps(entry);
        let before = entry.weight();
        change();
        if keeps {
            self.held.set(self.held.get() - before);
            self.hold(entry.weight());
            self.make_room();
        }
    }

    /// Forgets a path.
    pub fn remove(&self, path: &[u8]) {
        let removed = self.entries.borrow_mut().pop(path);
        if let Some(entry) = removed {
            self.held.set(self.held.get() - entry.weight());
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
            .find(|(_, entry)| entry.holds_idle_descriptor())
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
