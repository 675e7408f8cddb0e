//! Distributions of times and lengths: one thread records, any thread reads.
//!
//! The counts lie in a log-linear array, as in HdrHistogram: each value below 64 has its own
//! bucket, and above that every power of two is divided into 64 buckets, so a value is exact to
//! within 1.6%. Recording a value takes one load and one store of a relaxed atomic. A reader
//! converts the counts to a [`hdrhistogram`] histogram: that crate's own type can't be read while
//! another thread writes, and its `SyncHistogram` makes the reader wait for every writer, which may
//! be asleep.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits;

/// The type to which a histogram is converted when it is read.
pub type Distribution = hdrhistogram::Histogram<u64>;

/// Bits of a value that are kept: 2^6 buckets to a power of two.
const KEPT_BITS: u32 = 6;
const STEPS: usize = 1 << KEPT_BITS;
/// Values from this one on are counted as one less than this: 18 minutes in ns.
const VALUES: u64 = 1 << 40;
const BUCKETS: usize = STEPS * (40 - KEPT_BITS as usize + 1);
/// The precision of the converted histograms: 0.8%, finer than the buckets.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Counts of values from one thread. Recording from a second thread is safe but may lose counts.
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }
}

fn bucket(value: u64) -> usize {
    let value = value.min(VALUES - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(KEPT_BITS + 1);
    (shift as usize) * STEPS + (value >> shift) as usize
}

/// The middle of the values of a bucket.
fn value(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1) as u32;
    let least = ((bucket - shift as usize * STEPS) as u64) << shift;
    least + ((1 << shift) >> 1)
}

fn add(counter: &AtomicU64, count: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(count);
    counter.store(sum, Ordering::Relaxed);
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn record(&self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    #[inline]
    pub fn record_n(&self, value: u64, count: u64) {
        // `bucket` is below `BUCKETS` for every value.
        if let Some(counter) = self.counts.get(bucket(value)) {
            add(counter, count);
            add(&self.sum, value.wrapping_mul(count));
        }
    }

    /// Adds what was counted so far to `total`.
    pub fn read_into(&self, total: &mut Total) {
        for (bucket, count) in self.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                total.distribution.saturating_record_n(value(bucket), count);
            }
        }
        total.sum = total.sum.wrapping_add(self.sum.load(Ordering::Relaxed));
    }
}

/// Histograms of several threads as one.
#[derive(Clone, Debug)]
pub struct Total {
    /// How often each value was counted: to within 1.6%, and at most 2^40.
    pub distribution: Distribution,
    /// The exact sum of all values.
    pub sum: u64,
}

impl Default for Total {
    fn default() -> Self {
        let distribution = Distribution::new_with_max(VALUES - 1, SIGNIFICANT_DIGITS);
        Self {
            // Fails only for bounds and digits that make no sense.
            distribution: distribution.unwrap_or_else(|e| panic!("a histogram's bounds: {e}")),
            sum: 0,
        }
    }
}

impl Total {
    /// The merged counts of these histograms.
    pub fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut total = Self::default();
        for histogram in histograms {
            histogram.read_into(&mut total);
        }
        total
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.distribution.len()
    }

    /// How many are not above `value`.
    pub fn count_up_to(&self, value: u64) -> u64 {
        self.distribution.count_between(0, value.min(VALUES - 1))
    }

    /// The values at [`limits::QUANTILES`].
    pub fn quantiles(&self) -> impl Iterator<Item = (f64, u64)> {
        limits::QUANTILES
            .map(|q| (q, self.distribution.value_at_quantile(q)))
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_follow_one_another_and_cover_all_values() {
        let mut last = 0;
        for exponent in 0..64 {
            for step in 0..128_u64 {
                let value = (1 << exponent) + ((step << exponent) >> 7);
                let bucket = bucket(value);
                assert!(bucket < BUCKETS);
                assert!(bucket == last || bucket == last + 1, "{value}");
                last = bucket;
            }
        }
        assert_eq!(last, BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_value_is_kept_to_within_its_step(x in 0..VALUES) {
            let kept = value(bucket(x));
            prop_assert!(kept.abs_diff(x) <= x / STEPS as u64, "{x} became {kept}");
            prop_assert_eq!(bucket(kept), bucket(x));
        }

        #[test]
        fn quantiles_of_several_threads_are_those_of_all_values(
            values in prop::collection::vec(prop::collection::vec(0..VALUES, 0..50), 1..5)
        ) {
            let histograms: Vec<Histogram> = values
                .iter()
                .map(|values| {
                    let histogram = Histogram::default();
                    values.iter().for_each(|&value| histogram.record(value));
                    histogram
                })
                .collect();
            let total = Total::of(&histograms);
            let mut all: Vec<u64> = values.concat();
            all.sort_unstable();
            prop_assert_eq!(total.count(), all.len() as u64);
            prop_assert_eq!(total.sum, all.iter().sum::<u64>());
            for (q, found) in total.quantiles().filter(|_| !all.is_empty()) {
                let rank = (q * all.len() as f64).ceil() as usize;
                let exact = all[rank.max(1) - 1];
                prop_assert!(found.abs_diff(exact) <= exact / 32 + 1, "{q}: {found} for {exact}");
            }
        }
    }

    #[test]
    fn what_is_beyond_the_scale_counts_as_the_most() {
        let histogram = Histogram::default();
        histogram.record(u64::MAX);
        let total = Total::of([&histogram]);
        assert_eq!(total.count(), 1);
        assert!(total.distribution.max() >= VALUES - VALUES / 64);
    }
}
