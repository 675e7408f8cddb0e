//! Output buffers: a connection takes one to send from and gives it back as soon as the kernel has
//! taken the bytes, so that an idle connection holds none.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// A shard's pool of growable output buffers.
pub struct OutputPool {
    free: RefCell<Vec<Vec<u8>>>,
    /// Buffers kept for reuse; what comes back beyond that is freed.
    kept_max: usize,
    /// A buffer that has grown beyond this is freed rather than kept.
    capacity_max: usize,
}

impl OutputPool {
    /// A pool that keeps up to `kept_max` buffers of up to `capacity_max` bytes each.
    pub fn new(kept_max: usize, capacity_max: usize) -> Rc<Self> {
        Rc::new(Self {
            free: RefCell::new(Vec::with_capacity(kept_max)),
            kept_max,
            capacity_max,
        })
    }

    /// Takes an empty buffer.
    pub fn take(self: &Rc<Self>) -> OutputBuf {
        let bytes = self.free.borrow_mut().pop().unwrap_or_default();
        OutputBuf {
            bytes,
            pool: Rc::clone(self),
        }
    }

    /// Buffers waiting to be reused.
    pub fn kept(&self) -> usize {
        self.free.borrow().len()
    }
}

/// A growable byte buffer that goes back to its pool when dropped.
pub struct OutputBuf {
    bytes: Vec<u8>,
    pool: Rc<OutputPool>,
}

impl Deref for OutputBuf {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for OutputBuf {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for OutputBuf {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut free = self.pool.free.borrow_mut();
        if bytes.capacity() > 0
            && bytes.capacity() <= self.pool.capacity_max
            && free.len() < self.pool.kept_max
        {
            bytes.clear();
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_reused_empty() {
        let pool = OutputPool::new(2, 64);
        let mut buf = pool.take();
        buf.extend_from_slice(b"hello");
        let at = buf.as_ptr();
        drop(buf);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), at);
    }

    #[test]
    fn what_is_too_large_or_too_many_is_freed() {
        let pool = OutputPool::new(1, 64);
        let mut large = pool.take();
        large.reserve(65);
        drop(large);
        assert_eq!(pool.kept(), 0);
        let (mut a, mut b) = (pool.take(), pool.take());
        a.push(1);
        b.push(1);
        drop((a, b));
        assert_eq!(pool.kept(), 1);
    }
}
