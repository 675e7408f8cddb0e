//! The value of the Date field, read from the wall clock once a second.

use std::cell::Cell;

use crate::http::DateValue;
use crate::sys;

/// A shard's date, refreshed when its second is over.
pub(super) struct Clock {
    date: Cell<DateValue>,
    /// By the monotonic clock.
    stale_at_ms: Cell<u64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            date: Cell::new(DateValue::from_unix(0)),
            stale_at_ms: Cell::new(0),
        }
    }

    /// The date now, where `now_ms` is the monotonic clock.
    pub(crate) fn date(&self, now_ms: u64) -> DateValue {
        if now_ms >= self.stale_at_ms.get() {
            let (seconds, nanoseconds) = sys::time::realtime();
            self.date.set(DateValue::from_unix(seconds));
            self.stale_at_ms
                .set(now_ms + 1000 - u64::from(nanoseconds) / 1_000_000);
        }
        self.date.get()
    }
}
