use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::writer::Message;
use super::*;
use crate::limits;

const PATIENCE: Duration = Duration::from_secs(10);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn start(path: &Path, rotation: Rotation) -> (AccessLog, Arc<Mutex<String>>) {
    let said: Arc<Mutex<String>> = Arc::default();
    let hear = Arc::clone(&said);
    let options = Options {
        destination: path.to_owned().into(),
        format: Format::parse("$connection $request $bytes_sent").unwrap(),
        query: QueryRule::Redact,
        rotation,
    };
    let report = Arc::new(move |text: std::fmt::Arguments<'_>| {
        hear.lock().unwrap().push_str(&text.to_string());
    });
    (AccessLog::start(options, 2, report).unwrap(), said)
}

/// Records a request of 100 bytes.
fn note(log: &ShardLog, connection: u64, request: &str) {
    let mut record = Record::new(connection, 1, None, 0);
    record.sent_bytes = 100;
    log.record(&record, std::iter::once(Some(request.as_bytes())));
}

/// Hands over all that was recorded so far.
fn hand_over(log: &ShardLog) {
    log.tick();
    log.tick();
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn records_become_lines_in_their_order() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    assert!(log.of_shard(0).is_none() && log.of_shard(2).is_none());
    // More than there are batches for, so that they come back and are used again.
    let count = 3 * limits::ACCESS_LOG_BATCHES * limits::ACCESS_LOG_BATCH_RECORDS;
    for number in 0..count {
        note(&shard, number as u64, "GET / HTTP/1.1");
    }
    drop(shard);
    let lost = log.finish();
    let lines = lines(&path);
    assert_eq!(lines.len() as u64 + lost, count as u64);
    assert_eq!(lost, log.stats().shed.iter().sum::<u64>());
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted(), "lines changed places");
    assert!(
        lines
            .iter()
            .all(|line| line.ends_with(" GET / HTTP/1.1 100"))
    );
}

#[test]
fn a_record_is_handed_over_by_the_second_tick() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(1).unwrap();
    note(&shard, 1, "a");
    assert!(shard.tick(), "the first tick keeps it within reach");
    assert!(!shard.tick());
    eventually("a line", || lines(&path) == ["1 a 100"]);
    assert_eq!(log.finish(), 0);
}

#[test]
fn what_was_not_sent_is_taken_back() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    note(&shard, 1, "first");
    shard.tick();
    for request in ["second", "third"] {
        note(&shard, 1, request);
        note(&shard, 2, request);
    }
    assert!(shard.take_back(3, 50).is_empty());
    // All of the third and a part of the second; then all of the first.
    let taken = shard.take_back(1, 130);
    assert_eq!(
        taken.iter().map(|t| t.missing_bytes).collect::<Vec<_>>(),
        [30, 100]
    );
    let more = shard.take_back(1, 1000);
    assert_eq!(more.len(), 1);
    for mut back in taken {
        back.unfinished.record.sent_bytes -= back.missing_bytes;
        shard.finish(back.unfinished);
    }
    drop(shard);
    assert_eq!(log.finish(), 0);
    let mut lines = lines(&path);
    lines.sort();
    assert_eq!(
        lines,
        ["1 second 70", "1 third 0", "2 second 100", "2 third 100"]
    );
}

#[test]
fn a_batch_whose_records_are_all_taken_back_is_used_again() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    for number in 0..2 * limits::ACCESS_LOG_BATCHES {
        note(&shard, 1, "a");
        if number % 2 == 0 {
            assert!(shard.tick());
        }
        assert_eq!(shard.take_back(1, 100).len(), 1);
        assert!(!shard.tick());
    }
    note(&shard, 2, "b");
    hand_over(&shard);
    eventually("a line", || lines(&path) == ["2 b 100"]);
    assert_eq!(log.stats().shed, [0, 0]);
    drop(shard);
    assert_eq!(log.finish(), 0);
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_record_after_one_that_was_taken_back_wakes_the_tick() {
    let dir = folder();
    let (log, _) = start(&dir.path().join("log"), Rotation::default());
    let shard = log.of_shard(0).unwrap();
    note(&shard, 1, "a");
    assert_eq!(shard.take_back(1, 100).len(), 1);
    assert!(!shard.tick());
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(shard.poll_any(&mut cx).is_pending());
    note(&shard, 1, "b");
    assert!(woken.0.load(Ordering::Relaxed));
    assert!(shard.poll_any(&mut cx).is_ready());
}

#[test]
fn a_renamed_or_removed_file_is_made_anew() {
    let dir = folder();
    let (path, old) = (dir.path().join("log"), dir.path().join("old"));
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    note(&shard, 1, "a");
    hand_over(&shard);
    eventually("a line", || lines(&path).len() == 1);
    fs::rename(&path, &old).unwrap();
    eventually("a new file", || path.exists());
    note(&shard, 2, "b");
    hand_over(&shard);
    eventually("a line", || lines(&path) == ["2 b 100"]);
    fs::rename(&path, &old).unwrap();
    note(&shard, 3, "c");
    hand_over(&shard);
    log.reopen();
    eventually("a reopened file", || path.exists());
    fs::remove_file(&path).unwrap();
    eventually("another file", || path.exists());
    drop(shard);
    assert_eq!(log.finish(), 0);
}

/// Whatever moment the file is renamed at, each line is in exactly one of the two.
#[test]
fn no_line_is_lost_or_doubled_by_reopening() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    let mut noted = 0;
    for generation in 0..40 {
        for _ in 0..500 {
            noted += 1;
            note(&shard, noted, "x");
        }
        hand_over(&shard);
        let renamed = fs::rename(&path, dir.path().join(format!("old{generation}")));
        log.reopen();
        assert!(renamed.is_ok() || generation > 0);
        eventually("a new file", || path.exists());
    }
    drop(shard);
    assert_eq!(log.finish(), 0);
    let mut all: Vec<u64> = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        all.extend(
            text.lines()
                .map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap()),
        );
    }
    all.sort();
    assert_eq!(all, (1..=noted).collect::<Vec<_>>());
}

#[test]
fn a_log_is_rotated_by_size_and_old_ones_go() {
    let dir = folder();
    let path = dir.path().join("log");
    let rotation = Rotation {
        bytes: Some(30),
        age: None,
        keep: 2,
    };
    let (log, _) = start(&path, rotation);
    let shard = log.of_shard(0).unwrap();
    for number in 1..=9 {
        note(&shard, number, "ten");
        hand_over(&shard);
        eventually("a written line", || log.stats().lines == number);
    }
    drop(shard);
    log.finish();
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1", "log.2"]);
    // `1 ten 100\n` has ten bytes.
    assert_eq!(lines(&path), ["7 ten 100", "8 ten 100", "9 ten 100"]);
    assert_eq!(
        lines(&dir.path().join("log.1")),
        ["4 ten 100", "5 ten 100", "6 ten 100"]
    );
    assert_eq!(
        lines(&dir.path().join("log.2")),
        ["1 ten 100", "2 ten 100", "3 ten 100"]
    );
}

#[test]
fn a_log_is_rotated_by_age() {
    let dir = folder();
    let path = dir.path().join("log");
    let rotation = Rotation {
        age: Some(Duration::ZERO),
        ..Rotation::default()
    };
    let (log, _) = start(&path, rotation);
    let shard = log.of_shard(0).unwrap();
    for number in 1..=2 {
        note(&shard, number, "x");
        hand_over(&shard);
        eventually("a written line", || log.stats().lines == number);
    }
    drop(shard);
    log.finish();
    assert_eq!(lines(&path), ["2 x 100"]);
    assert_eq!(lines(&dir.path().join("log.1")), ["1 x 100"]);
}

/// More records than the shard's batches hold; they are taken at once, whatever the writer does.
fn overfill(shard: &ShardLog) -> u64 {
    let count = 2 * limits::ACCESS_LOG_BATCHES * limits::ACCESS_LOG_BATCH_RECORDS;
    (0..count).for_each(|number| note(shard, number as u64, "GET / HTTP/1.1"));
    count as u64
}

#[test]
fn a_full_disk_sheds_lines_and_holds_nobody_up() {
    let (log, said) = start(Path::new("/dev/full"), Rotation::default());
    let shard = log.of_shard(0).unwrap();
    let mut noted = overfill(&shard);
    assert!(log.stats().shed[0] > 0);
    eventually("an error", || log.stats().errors > 0);
    noted += overfill(&shard);
    hand_over(&shard);
    drop(shard);
    assert_eq!(log.finish(), noted, "not one line could be written");
    let said = said.lock().unwrap().clone();
    assert!(said.contains("/dev/full: No space left"), "{said}");
    assert_eq!(said.matches("were dropped").count(), 1, "{said}");
}

/// The writer is stuck in a write that neither ends nor fails.
#[test]
fn an_operator_hears_of_a_stuck_writer_and_that_it_goes_on() {
    let said: Arc<Mutex<String>> = Arc::default();
    let hear = Arc::clone(&said);
    let report = Arc::new(move |text: std::fmt::Arguments<'_>| {
        hear.lock().unwrap().push_str(&text.to_string());
    });
    let format = Format::parse("$request").unwrap();
    let shared = Shared::new(format, "log".to_owned(), report, 1);
    let (messages, taken) = sync_channel(limits::ACCESS_LOG_BATCHES);
    let (back, returned) = sync_channel(limits::ACCESS_LOG_BATCHES);
    let shard = ShardLog::new(Arc::clone(&shared), 0, returned, messages);
    for _ in 0..limits::ACCESS_LOG_BATCHES {
        note(&shard, 1, "a");
        hand_over(&shard);
    }
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(shard.poll_any(&mut cx).is_pending());
    note(&shard, 1, "b");
    assert!(woken.0.load(Ordering::Relaxed));
    assert!(shard.poll_any(&mut cx).is_ready());
    assert!(shard.tick(), "it looks until there is a batch again");
    eventually("a message", || !said.lock().unwrap().is_empty());
    let stuck = "not written fast enough; 1 lines were dropped since the start, as a shard keeps \
                 at most 16 batches";
    assert!(said.lock().unwrap().contains(stuck));
    shared.tell_if_caught_up();
    assert!(!said.lock().unwrap().contains("written again"));
    let Ok(Message::Batch(mut batch)) = taken.recv() else {
        panic!("no batch");
    };
    batch.clear();
    back.try_send(batch).unwrap();
    assert!(!shard.tick());
    assert!(shard.poll_any(&mut cx).is_pending());
    shared.written_lines.add(limits::ACCESS_LOG_BATCHES as u64);
    let again = "lines are written again; 1 were dropped";
    eventually("another message", || {
        shared.tell_if_caught_up();
        said.lock().unwrap().contains(again)
    });
    shared.tell_if_caught_up();
    assert_eq!(said.lock().unwrap().matches(again).count(), 1);
    note(&shard, 1, "c");
    assert_eq!(shared.shed_lines(), 1);
}

#[test]
fn a_fifo_that_nobody_reads_holds_nobody_up_and_is_written_once_somebody_does() {
    let dir = folder();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (log, said) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    let noted = overfill(&shard);
    let shed = log.stats().shed[0];
    assert!(shed > 0);
    eventually("a message", || !said.lock().unwrap().is_empty());
    assert!(said.lock().unwrap().contains("nobody reads it"));
    let reader = thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(&path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    });
    drop(shard);
    let lost = log.finish();
    let text = reader.join().unwrap();
    assert_eq!(text.lines().count() as u64 + lost, noted);
    assert!(
        text.lines()
            .all(|line| line.ends_with(" GET / HTTP/1.1 100"))
    );
    assert!(said.lock().unwrap().contains("lines are written again"));
}

/// A pipe takes a part of a line where it is full; the rest follows, and the line is whole.
#[test]
fn a_slow_reader_gets_whole_lines() {
    let dir = folder();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reading = path.clone();
    let reader = thread::spawn(move || {
        let mut file = fs::File::open(&reading).unwrap();
        let (mut text, mut piece) = (Vec::new(), [0; 777]);
        loop {
            match file.read(&mut piece).unwrap() {
                0 => return String::from_utf8(text).unwrap(),
                count => text.extend_from_slice(&piece[..count]),
            }
        }
    });
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    let request = "x".repeat(3000);
    for number in 0..300 {
        note(&shard, number, &request);
    }
    drop(shard);
    assert_eq!(log.finish(), 0);
    drop(log);
    let text = reader.join().unwrap();
    assert_eq!(text.lines().count(), 300);
    assert!(text.lines().all(|line| line.ends_with("x 100")));
}

#[test]
fn a_log_that_cannot_be_opened_says_so() {
    let dir = folder();
    let options = Options {
        destination: dir.path().to_owned().into(),
        format: Format::parse("combined").unwrap(),
        query: QueryRule::Keep,
        rotation: Rotation::default(),
    };
    let error = AccessLog::start(options, 1, Arc::new(|_| {}))
        .err()
        .unwrap();
    let said = error.to_string();
    assert!(
        said.contains("cannot open the access log /") && said.contains("directory"),
        "{said}"
    );
}

#[test]
fn long_texts_are_cut_and_no_field_is_missed() {
    let dir = folder();
    let path = dir.path().join("log");
    let (log, _) = start(&path, Rotation::default());
    let shard = log.of_shard(0).unwrap();
    note(&shard, 1, &"y".repeat(100_000));
    note(&shard, 2, "");
    drop(shard);
    assert_eq!(log.finish(), 0);
    let lines = lines(&path);
    assert_eq!(
        lines[0].len(),
        "1  100".len() + limits::ACCESS_LOG_TEXT_BYTES_MAX
    );
    assert_eq!(lines[1], "2  100");
}
