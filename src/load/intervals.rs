//! Merges the records of several shards for the same second.

use std::collections::VecDeque;

use super::shards::Interval;

/// A shard's record of an interval.
pub(super) trait Recorded {
    /// An empty record.
    fn new() -> Self;

    /// Adds another shard's record of the same interval.
    fn add(&mut self, other: &Self);

    /// Adds the record of a later interval.
    fn add_later(&mut self, other: &Self) {
        self.add(other);
    }
}

/// Intervals that not all shards have reported yet, from the next one on.
pub(super) struct Intervals<R> {
    threads: usize,
    open: VecDeque<Option<PartialInterval<R>>>,
    merged: usize,
    at_s: f64,
}

struct PartialInterval<R> {
    shards: usize,
    length_s: f64,
    record: R,
}

/// An interval of all shards.
pub(super) struct Merged<R> {
    pub record: R,
    /// From the beginning of the measured time to its end.
    pub at_s: f64,
    pub length_s: f64,
}

impl<R> Merged<R> {
    /// A count of this interval as a rate per second.
    pub(crate) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.length_s.max(1e-9)
    }
}

impl<R: Recorded> Intervals<R> {
    /// Of `threads` shards.
    pub(crate) fn of(threads: usize) -> Self {
        Self {
            threads,
            open: VecDeque::new(),
            merged: 0,
            at_s: 0.0,
        }
    }

    /// Takes a shard's interval; returns the merged one once all shards have reported it.
    pub(crate) fn add(&mut self, interval: Interval<R>) -> Option<Merged<R>> {
        let at = interval.number.checked_sub(self.merged)?;
        if self.open.len() <= at {
            self.open.resize_with(at + 1, || None);
        }
        let length_s = interval.length.as_secs_f64();
        match &mut self.open[at] {
            Some(open) => {
                open.shards += 1;
                open.length_s = open.length_s.max(length_s);
                open.record.add(&interval.record);
            }
            none => {
                *none = Some(PartialInterval {
                    shards: 1,
                    length_s,
                    record: interval.record,
                });
            }
        }
        match self.open.front() {
            Some(Some(open)) if open.shards == self.threads => self.rest(),
            _ => None,
        }
    }

    /// At the end: the next of those that not all shards have reported.
    pub(crate) fn rest(&mut self) -> Option<Merged<R>> {
        loop {
            self.merged += 1;
            if let Some(PartialInterval {
                length_s, record, ..
            }) = self.open.pop_front()?
            {
                self.at_s += length_s;
                return Some(Merged {
                    record,
                    at_s: self.at_s,
                    length_s,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Recorded for u64 {
        fn new() -> Self {
            0
        }

        fn add(&mut self, other: &Self) {
            *self += other;
        }
    }

    fn interval(number: usize, record: u64) -> Interval<u64> {
        Interval {
            record,
            number,
            length: Duration::from_secs(1 + record),
        }
    }

    fn plain(merged: Option<Merged<u64>>) -> Option<(u64, f64, f64)> {
        merged.map(|merged| (merged.record, merged.at_s, merged.length_s))
    }

    #[test]
    fn an_interval_is_whole_when_the_last_shard_has_told_of_it() {
        let mut intervals = Intervals::of(2);
        assert_eq!(plain(intervals.add(interval(0, 1))), None);
        // One shard is ahead.
        assert_eq!(plain(intervals.add(interval(1, 3))), None);
        assert_eq!(plain(intervals.add(interval(0, 2))), Some((3, 3.0, 3.0)));
        assert_eq!(plain(intervals.add(interval(1, 4))), Some((7, 8.0, 5.0)));
        // Seconds that only one shard has reported come at the end, and a gap is passed over.
        assert_eq!(plain(intervals.add(interval(3, 0))), None);
        assert_eq!(plain(intervals.rest()), Some((0, 9.0, 1.0)));
        assert_eq!(plain(intervals.rest()), None);
        assert_eq!(
            plain(intervals.add(interval(0, 9))),
            None,
            "it was merged before"
        );
    }
}
