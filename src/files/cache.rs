//! What a shard remembers of its files, bounded in number and in bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lru::LruCache;

use super::entry::Entry;

/// Files by their path below the root; the one used longest ago goes first.
#[derive(Debug)]
pub struct Cache {
    entries: RefCell<LruCache<Box<[u8]>, Rc<Entry>>>,
    files_max: usize,
    memory_bytes: Cell<usize>,
    memory_bytes_max: usize,
}

impl Cache {
    /// Keeps at most `files_max` files, and of their bodies at most `memory_bytes_max` bytes.
    pub fn new(files_max: usize, memory_bytes_max: usize) -> Cache {
        Cache {
            entries: RefCell::new(LruCache::unbounded()),
            files_max,
            memory_bytes: Cell::new(0),
            memory_bytes_max,
        }
    }

    /// Whether an entry with this much in memory would be kept.
    pub fn takes(&self, memory_bytes: usize) -> bool {
        self.files_max > 0 && memory_bytes <= self.memory_bytes_max
    }

    /// The entry of a path, which is now the one used last.
    #[inline]
    pub fn get(&self, path: &[u8]) -> Option<Rc<Entry>> {
        self.entries.borrow_mut().get(path).map(Rc::clone)
    }

    /// Keeps an entry, in place of one with the same path and of others if it must.
    pub fn insert(&self, entry: Rc<Entry>) {
        let path = entry.path.as_bytes();
        self.remove(path);
        let bytes = entry.memory_bytes();
        if !self.takes(bytes) {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        while entries.len() >= self.files_max
            || self.memory_bytes.get() + bytes > self.memory_bytes_max
        {
            let Some((_, oldest)) = entries.pop_lru() else {
                break;
            };
            self.forget_bytes(&oldest);
        }
        self.memory_bytes.set(self.memory_bytes.get() + bytes);
        entries.put(path.into(), entry);
    }

    /// Forgets a path.
    pub fn remove(&self, path: &[u8]) {
        let removed = self.entries.borrow_mut().pop(path);
        if let Some(entry) = removed {
            self.forget_bytes(&entry);
        }
    }

    /// Gives up the descriptor of the file that was used longest ago and is not
    /// in use now; `false` if there is none.
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
        self.memory_bytes.set(0);
    }

    fn forget_bytes(&self, entry: &Entry) {
        self.memory_bytes
            .set(self.memory_bytes.get() - entry.memory_bytes());
    }
}
