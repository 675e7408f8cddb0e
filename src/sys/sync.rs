//! The synchronisation types of the algorithms that loom checks: the standard library's, or loom's.
//!
//! A build of the unit tests with `RUSTFLAGS="--cfg headwater_loom"` replaces the types below by
//! those of loom, which then runs a model over the orders in which its threads can interleave. So a
//! model runs the code that ships, not a copy (`scripts/loom.sh` runs all of them; tokio does the
//! same in its `loom` module). The cfg has its own name because plain `loom` also changes
//! dependencies, and it is not a feature because cargo unites the features that a build's crates
//! ask for. It takes effect in unit tests only: everywhere else the library is built on the
//! standard library.
//!
//! Use these types in code that a model runs, and the standard library's elsewhere: loom's can't
//! live in a `static` and exist within a model only.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(all(test, headwater_loom))]
pub use loom::{
    cell::UnsafeCell,
    hint,
    sync::{Condvar, Mutex, MutexGuard, atomic},
};
#[cfg(not(all(test, headwater_loom)))]
pub use std::{
    hint,
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};

#[cfg(not(all(test, headwater_loom)))]
pub use tracked::UnsafeCell;

#[cfg(all(test, headwater_loom))]
pub mod model;

/// Loom's threads. Time does not pass in a model, so a wait with a time-out never times out.
#[cfg(all(test, headwater_loom))]
pub mod thread {
    pub use loom::thread::*;

    /// Parks without a time-out.
    pub fn park_timeout(_: std::time::Duration) {
        park();
    }
}

/// Locks a mutex and ignores poison.
///
/// For data that is valid after every statement under the lock, so that a panic can't leave it
/// inconsistent.
pub fn lock<M: Lock>(mutex: &M) -> M::Guard<'_> {
    mutex.lock_ignoring_poison()
}

/// Locks for reading and ignores poison, as [`lock`] does.
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing and ignores poison, as [`lock`] does.
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A mutex, the standard library's or loom's, for [`lock`].
pub trait Lock {
    /// What unlocks it when dropped.
    type Guard<'a>
    where
        Self: 'a;

    /// Waits for the lock, whether or not a thread panicked while it held it.
    fn lock_ignoring_poison(&self) -> Self::Guard<'_>;
}

impl<T> Lock for std::sync::Mutex<T> {
    type Guard<'a>
        = std::sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn lock_ignoring_poison(&self) -> Self::Guard<'_> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Lock> Lock for Arc<M> {
    type Guard<'a>
        = M::Guard<'a>
    where
        M: 'a;

    fn lock_ignoring_poison(&self) -> Self::Guard<'_> {
        (**self).lock_ignoring_poison()
    }
}

#[cfg(all(test, headwater_loom))]
impl<T> Lock for loom::sync::Mutex<T> {
    type Guard<'a>
        = loom::sync::MutexGuard<'a, T>
    where
        T: 'a;

    fn lock_ignoring_poison(&self) -> Self::Guard<'_> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(all(test, headwater_loom)))]
mod tracked {
    /// [`std::cell::UnsafeCell`] with the interface of loom's, which reports accesses that overlap.
    #[derive(Debug, Default)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell that holds this value.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `read` with a pointer that it may read through.
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// Calls `write` with a pointer that it may write through.
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}
