//! How a server is observed, and what happens when a shard stalls.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::files::Watches;
use crate::limits;
use crate::observe::recorder::{Event, Record, Snapshot};
use crate::observe::{Recorder, trace};
use crate::runtime::Stall;

/// How a server is observed. By default nothing is recorded and stalls are only counted.
#[derive(Clone)]
pub struct Observation {
    /// What the shards' events go to.
    pub recorder: Recorder,
    /// A turn of a shard's loop that takes longer is a stall; `None`: no turn is.
    pub stall_limit: Option<Duration>,
    /// Where a trace is written when a shard stalls: at most [`limits::TRACE_FILES_MAX`] files, of
    /// which the oldest is replaced, and at most one in [`limits::TRACE_FILE_PAUSE_MS`].
    pub trace_dir: Option<PathBuf>,
    /// The watches on folders, whose counters are metrics; `None`: nothing is watched.
    pub watches: Option<Arc<Watches>>,
    /// Called with each line that an operator should read.
    pub report: Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>,
}

impl Default for Observation {
    fn default() -> Self {
        Self {
            recorder: Recorder::off(),
            stall_limit: Some(Duration::from_millis(limits::STALL_LIMIT_MS)),
            trace_dir: None,
            watches: None,
            report: Arc::new(|_| {}),
        }
    }
}

/// Reports stalls and writes traces of them.
pub(super) struct StallReporter {
    observation: Observation,
    /// When the next trace may be written.
    next_ns: u64,
}

impl StallReporter {
    pub(crate) fn new(observation: Observation) -> Self {
        Self {
            observation,
            next_ns: 0,
        }
    }

    /// A shard has stalled, or stalls, at `now_ns` by `CLOCK_MONOTONIC`.
    pub(crate) fn report(&mut self, stall: Stall, now_ns: u64) {
        let observation = &self.observation;
        let Some(dir) = observation.trace_dir.clone() else {
            return;
        };
        if !observation.recorder.is_on() || now_ns < self.next_ns {
            return;
        }
        self.next_ns = now_ns + limits::TRACE_FILE_PAUSE_MS * 1_000_000;
        let mut snapshot = observation.recorder.snapshot();
        add_ongoing(&mut snapshot, &stall);
        let report = Arc::clone(&observation.report);
        // On a separate thread, since the monitor has other shards to look at. Without a thread
        // there is no trace; the stall is counted all the same.
        let _ = thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || write_and_report(&dir, &snapshot, &stall, &*report));
    }
}

fn write_and_report(
    dir: &Path,
    snapshot: &Snapshot,
    stall: &Stall,
    report: &(dyn Fn(fmt::Arguments<'_>) + Send + Sync),
) {
    let Stall {
        shard,
        task,
        doing,
        lasted,
        ..
    } = stall;
    let held = format!("headwater: shard {shard} was held up for {lasted:?} by {task}, {doing}");
    match write_trace(dir, snapshot) {
        Ok(path) => report(format_args!("{held}; see {}", path.display())),
        Err(error) => report(format_args!(
            "{held}; no trace could be written to {}: {error}",
            dir.display()
        )),
    }
}

/// A stall that still lasts is in no buffer yet: the shard records it when it is over.
fn add_ongoing(snapshot: &mut Snapshot, stall: &Stall) {
    let name = format!("shard-{}", stall.shard);
    let mut tracks = snapshot.tracks.iter_mut();
    let track = tracks.find(|track| track.name == name);
    if let Some(track) = track.filter(|_| !stall.over) {
        track.records.push(Record {
            at_ns: stall.since_ns,
            event: Event::Stall,
            site: stall.task,
            id: stall.doing.number().into(),
            value: snapshot.taken_ns.saturating_sub(stall.since_ns),
        });
    }
}

/// Writes a trace in place of the oldest one, once there are enough.
fn write_trace(dir: &Path, snapshot: &Snapshot) -> io::Result<PathBuf> {
    let path = |n: usize| dir.join(format!("headwater-stall-{n}.json"));
    let age = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    // `None`, for one that is not there, is older than all others.
    let mut paths: Vec<PathBuf> = (0..limits::TRACE_FILES_MAX).map(path).collect();
    paths.sort_by_cached_key(age);
    let path = paths.swap_remove(0);
    // A reader sees the old one or the new one whole.
    let part = path.with_extension("part");
    let written = fs::File::create(&part).and_then(|file| trace::write(file, snapshot, 0));
    match written.and_then(|()| fs::rename(&part, &path)) {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}
