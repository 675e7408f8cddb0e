//! Containment of foreign code: the tasks, destructors and wakers that users of the runtime bring.
//!
//! A panic in such code ends that one call. It neither ends the shard nor skips the rest of what
//! the shard is doing. Foreign values are therefore dropped one at a time (while one destructor
//! unwinds, a second panic aborts the process), and never while the driver or another part of the
//! shard is borrowed, since their destructors may use the shard
//! (docs/decisions/045-containing-foreign-code.md).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Foreign code panicked, and the panic hook has reported it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Calls foreign code and contains its panic.
pub(super) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(discard)
}

/// Drops a foreign value and contains its destructor's panic.
pub(super) fn drop_contained<T>(value: T) -> Result<(), Panicked> {
    contain(|| drop(value))
}

/// Drops foreign values one by one; returns how many destructors panicked.
pub(super) fn drop_each<T>(values: impl IntoIterator<Item = T>) -> usize {
    contain_each(values, drop)
}

/// Wakes foreign wakers one by one and leaves the vector empty; returns how many panicked.
pub(super) fn wake_each(wakers: &mut Vec<Waker>) -> usize {
    contain_each(wakers.drain(..), Waker::wake)
}

/// Calls `each` for every value, even if a call panics; returns how many did. It enters
/// `catch_unwind` once for all values and again after each panic, so that the usual case pays for
/// one entry.
pub(super) fn contain_each<T>(values: impl IntoIterator<Item = T>, each: impl Fn(T)) -> usize {
    let mut values = values.into_iter();
    let mut panics = 0;
    while contain(|| values.by_ref().for_each(&each)).is_err() {
        panics += 1;
    }
    panics
}

/// Drops a panic's payload, which is foreign too. If that panics in turn, the second payload is
/// leaked: a chain of destructors that each panic with a new payload would not end.
fn discard(payload: Box<dyn Any + Send>) -> Panicked {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    Panicked
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::resume_unwind;

    use super::*;

    /// Panics when it is dropped, with a payload that does the same, `depth` times.
    struct Nested(u32);

    impl Drop for Nested {
        fn drop(&mut self) {
            if self.0 > 0 {
                resume_unwind(Box::new(Nested(self.0 - 1)));
            }
        }
    }

    #[test]
    fn payloads_that_panic_are_contained_too() {
        for depth in 0..4 {
            let payload = Box::new(Nested(depth));
            let call = || -> () { resume_unwind(payload) };
            assert_eq!(contain(call), Err(Panicked));
            assert_eq!(drop_contained(Nested(depth)).is_err(), depth > 0);
        }
    }

    #[test]
    fn every_value_has_its_turn() {
        let calls = Cell::new(0);
        let panics = contain_each(0..10, |n| {
            calls.set(calls.get() + 1);
            if n % 3 == 0 {
                resume_unwind(Box::new(Nested(2)));
            }
        });
        assert_eq!((calls.get(), panics), (10, 4));
        assert_eq!(drop_each([Nested(1), Nested(0), Nested(3)]), 2);
    }
}
