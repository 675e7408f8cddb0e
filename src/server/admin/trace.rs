//! `/debug/trace`: the events in the flight recorder.

use std::time::Duration;

use crate::observe::{Recorder, trace};

/// The events of the last `seconds`, or all recorded ones.
///
/// # Errors
/// A sentence, when nothing is recorded.
pub(super) fn json(recorder: &Recorder, seconds: Option<Duration>) -> Result<String, String> {
    if !recorder.is_on() {
        return Err("the flight recorder is off; start with --trace-buffer 2MiB".to_owned());
    }
    let snapshot = recorder.snapshot();
    let since_ns = seconds.map_or(0, |seconds| {
        let ns = u64::try_from(seconds.as_nanos()).unwrap_or(u64::MAX);
        snapshot.taken_ns.saturating_sub(ns)
    });
    let mut out = Vec::new();
    trace::write(&mut out, &snapshot, since_ns)
        .map_err(|error| format!("the trace could not be written: {error}"))?;
    String::from_utf8(out).map_err(|error| error.to_string())
}
