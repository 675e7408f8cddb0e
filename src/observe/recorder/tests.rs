use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::*;

const CAPACITY: usize = limits::RECORDER_RECORDS_MIN;

fn recorder() -> Recorder {
    Recorder::new(CAPACITY * RECORD_BYTES)
}

/// A record whose every word follows from its number, so that a mixture of two shows.
fn numbered(n: u64) -> Record {
    Record {
        at_ns: n,
        event: Event::ALL[(n % Event::ALL.len() as u64) as usize],
        site: CallSite::from_number((n as u32).wrapping_mul(7)),
        id: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        value: !n,
    }
}

fn write(writer: &Writer, n: u64) {
    let r = numbered(n);
    writer.record(r.at_ns, r.event, r.site, r.id, r.value);
}

fn only_track(recorder: &Recorder) -> TrackSnapshot {
    let mut tracks = recorder.snapshot().tracks;
    assert_eq!(tracks.len(), 1);
    tracks.remove(0)
}

proptest! {
    #[test]
    fn the_last_events_are_kept_in_order(counts in prop::collection::vec(0..300_u64, 1..6)) {
        let recorder = recorder();
        let writer = recorder.track("w");
        let mut written = 0;
        for count in counts {
            (written..written + count).for_each(|n| write(&writer, n));
            written += count;
            let track = only_track(&recorder);
            // The slot that is written next counts as torn.
            let first = written.saturating_sub(CAPACITY as u64 - 1);
            prop_assert_eq!(track.lost, first);
            let expected: Vec<Record> = (first..written).map(numbered).collect();
            prop_assert_eq!(track.records, expected);
        }
    }
}

#[test]
fn a_reader_beside_the_writer_sees_whole_records_only() {
    const RECORDS: u64 = 300_000;
    let recorder = recorder();
    let writer = recorder.track("w");
    let done = AtomicBool::new(false);
    let (mut looks, mut seen) = (0_u64, 0_u64);
    thread::scope(|scope| {
        scope.spawn(|| {
            let writer = writer;
            (0..RECORDS).for_each(|n| write(&writer, n));
            done.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !done.load(Ordering::Acquire) {
            let track = only_track(&recorder);
            for (n, record) in (track.lost..).zip(&track.records) {
                assert_eq!(*record, numbered(n));
            }
            let end = track.lost + track.records.len() as u64;
            assert!(end >= last, "time goes forward");
            last = end;
            looks += 1;
            seen += track.records.len() as u64;
        }
    });
    assert_eq!(only_track(&recorder).lost, RECORDS - CAPACITY as u64 + 1);
    // Both depend on the machine; printed as a check that reads and writes did overlap.
    println!("{looks} looks, {seen} records");
}

#[test]
fn threads_that_have_ended_are_remembered_but_not_all_of_them() {
    let recorder = recorder();
    let kept = recorder.track("kept");
    for n in 0..3 * limits::RECORDER_RETIRED_MAX {
        write(&recorder.track(format!("ended-{n}")), n as u64);
    }
    let tracks = recorder.snapshot().tracks;
    assert!(tracks.len() <= limits::RECORDER_RETIRED_MAX + 2);
    assert_eq!(tracks[0].name, "kept");
    let last = format!("ended-{}", 3 * limits::RECORDER_RETIRED_MAX - 1);
    assert_eq!(tracks.last().unwrap().name, last);
    assert_eq!(tracks.last().unwrap().records.len(), 1);
    drop(kept);
}

#[test]
fn a_recorder_that_is_off_keeps_nothing() {
    for recorder in [Recorder::off(), Recorder::new(CAPACITY * RECORD_BYTES - 1)] {
        assert!(!recorder.is_on());
        let writer = recorder.track("w");
        assert!(!writer.is_on());
        write(&writer, 1);
        assert!(recorder.snapshot().tracks.is_empty());
    }
}

#[test]
fn a_buffer_is_a_power_of_two_of_records_within_what_was_asked_for() {
    for (bytes, capacity) in [(2048, 64), (4095, 64), (4096, 128), (100_000, 2048)] {
        assert_eq!(Recorder::new(bytes).0.capacity, capacity, "{bytes}");
    }
}
