//! The common part of all kinds of load: makes seconds, progress and, at the end, a summary from
//! the shards' records.

use hdrhistogram::Histogram;

use super::error::LoadError;
use super::intervals::{Intervals, Merged, Recorded};
use super::shards::{Finished, Interval, Shards, StopHandle};

/// A last interval shorter than this is added to the totals and has no entry in the timeline.
const SHORT_S: f64 = 0.25;

/// The progress of a load, reported once a second.
pub struct Progress<'a> {
    /// From the beginning of the measured time to this second's end.
    pub at_s: f64,
    /// Length of this interval in seconds: about one, or less at the end.
    pub length_s: f64,
    /// The figures of the second as text for a terminal; `None` for a last interval that is too
    /// short for a rate.
    pub figures: Option<String>,
    /// The two distributions of times of the second, in nanoseconds, by their names in a histogram log.
    pub histograms: [(&'static str, &'a Histogram<u64>); 2],
}

/// A running load; `S` is its summary.
pub struct Load<S> {
    stop: StopHandle,
    finish: Box<Finish<S>>,
}

type Finish<S> = dyn FnOnce(&mut dyn FnMut(&Progress<'_>)) -> Result<S, LoadError>;

impl<S> Load<S> {
    /// A handle to end the load early.
    pub fn stopper(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Waits for the end; `each` gets the progress of every second.
    ///
    /// # Errors
    /// When there was nothing to measure, because no connection could be made or nothing could be
    /// written, or when a shard failed.
    pub fn finish(self, mut each: impl FnMut(&Progress<'_>)) -> Result<S, LoadError> {
        (self.finish)(&mut each)
    }
}

/// A kind of load.
pub(super) trait Kind: Sized + 'static {
    /// A shard's record of an interval.
    type Record: Recorded + Send + 'static;
    /// The figures that a shard reports once, at its end.
    type End: Send + 'static;
    /// A second of the summary's timeline.
    type Second: 'static;
    type Summary;

    /// The second that all shards have recorded in an interval.
    fn second(&self, interval: &Merged<Self::Record>) -> Self::Second;

    /// The figures of a second as text for a terminal, with `total` of all seconds so far.
    fn figures(second: &Self::Second, total: &Self::Record) -> String;

    /// The two distributions of a record, by their names in a histogram log.
    fn histograms(record: &Self::Record) -> [(&'static str, &Histogram<u64>); 2];

    /// Makes the summary from all records.
    ///
    /// # Errors
    /// The error in `finished`, or another failure of the load.
    fn summary(
        self,
        collected: Collected<Self>,
        finished: Result<Finished<Self::End>, LoadError>,
    ) -> Result<Self::Summary, LoadError>;
}

/// All seconds of a load.
pub(super) struct Collected<K: Kind> {
    pub total: K::Record,
    pub timeline: Vec<K::Second>,
}

/// The load of this kind that runs on these shards.
pub(super) fn load<K: Kind>(kind: K, shards: Shards<K::Record, K::End>) -> Load<K::Summary> {
    Load {
        stop: shards.stop.clone(),
        finish: Box::new(move |each| {
            let mut collector = Collector::new(kind, shards.threads());
            let finished = shards.finish(|interval| collector.add(interval, each));
            collector.finish(finished, each)
        }),
    }
}

/// Collects the intervals of all shards.
struct Collector<K: Kind> {
    kind: K,
    intervals: Intervals<K::Record>,
    collected: Collected<K>,
}

impl<K: Kind> Collector<K> {
    fn new(kind: K, threads: usize) -> Self {
        Self {
            kind,
            intervals: Intervals::of(threads),
            collected: Collected {
                total: K::Record::new(),
                timeline: Vec::new(),
            },
        }
    }

    /// Takes a shard's interval; reports progress once all shards have reported it.
    fn add(&mut self, interval: Interval<K::Record>, each: &mut dyn FnMut(&Progress<'_>)) {
        if let Some(merged) = self.intervals.add(interval) {
            self.take(&merged, each);
        }
    }

    fn take(&mut self, merged: &Merged<K::Record>, each: &mut dyn FnMut(&Progress<'_>)) {
        let Collected { total, timeline } = &mut self.collected;
        total.add_later(&merged.record);
        let second = self.kind.second(merged);
        let is_short = merged.length_s < SHORT_S;
        each(&Progress {
            at_s: merged.at_s,
            length_s: merged.length_s,
            figures: (!is_short).then(|| K::figures(&second, total)),
            histograms: K::histograms(&merged.record),
        });
        if !is_short {
            timeline.push(second);
        }
    }

    fn finish(
        mut self,
        finished: Result<Finished<K::End>, LoadError>,
        each: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<K::Summary, LoadError> {
        while let Some(merged) = self.intervals.rest() {
            self.take(&merged, each);
        }
        self.kind.summary(self.collected, finished)
    }
}
