//! The eras of a cache.

/// The time between two changes after which any path may lead elsewhere. What was looked up in an
/// earlier era is looked up again before it is used.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Era(u64);

impl Era {
    /// The era after this one.
    pub(crate) fn next(self) -> Era {
        Era(self.0 + 1)
    }
}
