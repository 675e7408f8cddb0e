//! An atomic cell for a `&'static` reference.

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An `Option<&'static T>` that any thread may read and write.
pub struct AtomicRef<T: 'static> {
    pointer: AtomicPtr<T>,
    holds: PhantomData<&'static T>,
}

impl<T> AtomicRef<T> {
    /// A cell without a reference.
    pub const fn empty() -> Self {
        Self {
            pointer: AtomicPtr::new(ptr::null_mut()),
            holds: PhantomData,
        }
    }

    /// The reference that the cell holds.
    pub fn load(&self, order: Ordering) -> Option<&'static T> {
        Self::from_pointer(self.pointer.load(order))
    }

    /// Stores `value`.
    pub fn store(&self, value: Option<&'static T>, order: Ordering) {
        self.pointer.store(Self::to_pointer(value), order);
    }

    /// Stores `value` and returns the previous one.
    pub fn swap(&self, value: Option<&'static T>, order: Ordering) -> Option<&'static T> {
        Self::from_pointer(self.pointer.swap(Self::to_pointer(value), order))
    }

    fn to_pointer(value: Option<&'static T>) -> *mut T {
        value.map_or(ptr::null_mut(), |value| ptr::from_ref(value).cast_mut())
    }

    fn from_pointer(pointer: *mut T) -> Option<&'static T> {
        // SAFETY: the pointer is null or was made from a `&'static T` by `to_pointer`, and is
        // only ever used as that shared reference again. What crosses threads is a `&T`, for
        // which `holds` asks `T: Sync`.
        unsafe { pointer.as_ref() }
    }
}

// SAFETY: it gives out `&'static T` on every thread that has it, and nothing else, which is what
// `T: Sync` allows; the pointer itself is exchanged atomically.
unsafe impl<T: Sync> Sync for AtomicRef<T> {}
// SAFETY: as for `Sync`: it owns nothing but a shared reference.
unsafe impl<T: Sync> Send for AtomicRef<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        static WORDS: [&str; 2] = ["one", "two"];
        let place = AtomicRef::empty();
        assert!(place.load(Ordering::Relaxed).is_none());
        place.store(Some(&WORDS[0]), Ordering::Relaxed);
        assert_eq!(place.load(Ordering::Relaxed), Some(&WORDS[0]));
        assert_eq!(
            place.swap(Some(&WORDS[1]), Ordering::Relaxed),
            Some(&WORDS[0])
        );
        assert_eq!(place.swap(None, Ordering::Relaxed), Some(&WORDS[1]));
        assert!(place.load(Ordering::Relaxed).is_none());
    }
}
