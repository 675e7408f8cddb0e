//! Wakers that are a single word, without a reference count and without memory to free.

use std::task::{RawWaker, RawWakerVTable, Waker};

/// The function that a waker calls with its word, on any thread.
pub trait WakeWord {
    /// Wakes the task that `word` names. May be called at any time, even long after that task has
    /// ended.
    fn wake(word: usize);
}

/// A waker that hands `word` to `W` when it is woken.
pub fn word_waker<W: WakeWord>(word: usize) -> Waker {
    // SAFETY: the functions of the table only read the word itself, never through it as an
    // address, so they are sound on any thread at any time; clone and drop have nothing to count.
    unsafe { Waker::from_raw(raw::<W>(std::ptr::without_provenance(word))) }
}

fn raw<W: WakeWord>(word: *const ()) -> RawWaker {
    RawWaker::new(word, const { &vtable::<W>() })
}

const fn vtable<W: WakeWord>() -> RawWakerVTable {
    RawWakerVTable::new(
        raw::<W>,
        |word| W::wake(word.addr()),
        |word| W::wake(word.addr()),
        |_| {},
    )
}
