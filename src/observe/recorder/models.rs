//! Loom models of the recorder: every order in which its writer and a reader can interleave, with
//! every value that the memory model lets the reader see.

use loom::thread;

use super::*;
use crate::sys::sync::model::every_order;

/// The fewest slots in which a record can be whole: the next one to be written counts as torn.
const CAPACITY: usize = 2;
const RECORDS: u64 = 3;

/// A record whose every word follows from its number, so that a mixture of two shows.
fn numbered(n: u64) -> Record {
    Record {
        at_ns: n,
        event: Event::Spawn,
        site: CallSite::from_number(n as u32),
        id: n,
        value: n,
    }
}

#[test]
fn a_record_that_is_given_out_is_whole() {
    every_order(|| {
        let track = Arc::new(Track::new("writer".to_owned(), CAPACITY));
        let writer = Writer::on(Some(Arc::clone(&track)));
        let writer = thread::spawn(move || {
            for n in 0..RECORDS {
                let r = numbered(n);
                writer.record(r.at_ns, r.event, r.site, r.id, r.value);
            }
        });
        let (lost, records) = track.read();
        for (n, record) in (lost..).zip(records) {
            assert_eq!(record, numbered(n));
        }
        writer.join().unwrap();
        assert_eq!(track.read(), (RECORDS - 1, vec![numbered(RECORDS - 1)]));
    });
}
