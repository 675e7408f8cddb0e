//! The flight recorder's protocol over every order of its steps (loom): a reader beside the
//! writer never takes a torn record for a whole one.
//!
//! The protocol of src/observe/recorder.rs is restated here on loom's types, to be changed
//! together with it.

use std::array::from_fn;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

const CAPACITY: u64 = 2;
const RECORDS: u64 = 4;

struct Track {
    places: [[AtomicU64; 2]; CAPACITY as usize],
    head: AtomicU64,
}

impl Track {
    fn new() -> Self {
        Self {
            places: from_fn(|_| from_fn(|_| AtomicU64::new(0))),
            head: AtomicU64::new(0),
        }
    }

    /// `Writer::record`, of a record whose words are its number and twice that.
    fn record(&self, n: u64) {
        fence(Ordering::Release);
        let place = &self.places[(n % CAPACITY) as usize];
        place[0].store(n, Ordering::Relaxed);
        place[1].store(2 * n, Ordering::Relaxed);
        self.head.store(n + 1, Ordering::Release);
    }

    /// `Track::read`, with the number of each record.
    fn read(&self) -> Vec<(u64, [u64; 2])> {
        let end = self.head.load(Ordering::Acquire);
        let start = end.saturating_sub(CAPACITY);
        let copied: Vec<_> = (start..end)
            .map(|n| {
                let place = &self.places[(n % CAPACITY) as usize];
                (n, from_fn(|word| place[word].load(Ordering::Relaxed)))
            })
            .collect();
        fence(Ordering::Acquire);
        let later = self.head.load(Ordering::Relaxed);
        let whole_from = (later + 1).saturating_sub(CAPACITY).clamp(start, end);
        copied
            .into_iter()
            .filter(|(n, _)| *n >= whole_from)
            .collect()
    }
}

#[test]
fn a_record_that_is_given_out_is_whole() {
    loom::model(|| {
        let track = Arc::new(Track::new());
        let writer = {
            let track = Arc::clone(&track);
            thread::spawn(move || (0..RECORDS).for_each(|n| track.record(n)))
        };
        for (n, words) in track.read() {
            assert_eq!(words, [n, 2 * n]);
        }
        writer.join().unwrap();
        let left = track.read();
        assert_eq!(left, [(RECORDS - 1, [RECORDS - 1, 2 * (RECORDS - 1)])]);
    });
}
