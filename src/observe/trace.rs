//! A recorder's events in the Trace Event Format, which Perfetto (ui.perfetto.dev) and
//! chrome://tracing open.
//!
//! The format is that of "Trace Event Format" by the Chromium project, JSON object form: complete
//! events (`X`) for what a thread did, instants (`i`), nestable asynchronous events (`b`, `n`, `e`)
//! for operations in the kernel, which overlap, and metadata (`M`) for names. Times are
//! microseconds of `CLOCK_MONOTONIC`. Every `b` has its `e`: an operation still in flight ends with
//! the snapshot, marked as unfinished.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::call_site::CallSite;
use super::recorder::{Event, Record, Snapshot, TrackSnapshot};

/// One event of the trace.
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    cat: &'static str,
    ph: &'static str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The scope of an instant: its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: Value,
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Writes `snapshot` as a trace, without events that ended before `since_ns`.
///
/// # Errors
/// Those of `out`.
pub fn write(out: impl Write, snapshot: &Snapshot, since_ns: u64) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let pid = std::process::id();
    let lost: Map<String, Value> = snapshot
        .tracks
        .iter()
        .map(|track| (track.name.clone(), track.lost.into()))
        .collect();
    let about = json!({
        "program": concat!("headwater ", env!("CARGO_PKG_VERSION")),
        "clock": "CLOCK_MONOTONIC",
        "overwritten": lost,
    });
    write!(
        out,
        "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":["
    )?;
    let process = json!({"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": "headwater"}});
    write!(out, "\n{process}")?;
    let mut names = Names::default();
    for (index, track) in snapshot.tracks.iter().enumerate() {
        let tid = index + 1;
        for (name, value) in [
            ("thread_name", json!({"name": track.name})),
            ("thread_sort_index", json!({"sort_index": tid})),
        ] {
            let meta = json!({"name": name, "ph": "M", "pid": pid, "tid": tid, "args": value});
            write!(out, ",\n{meta}")?;
        }
        let mut track = TrackWriter {
            out: &mut out,
            names: &mut names,
            pid,
            tid,
        };
        track.write(&snapshot.tracks[index], since_ns, snapshot.taken_ns)?;
    }
    out.write_all(b"\n]}\n")?;
    out.flush()
}

/// The texts of sites, each made once.
#[derive(Default)]
struct Names(HashMap<CallSite, String>);

impl Names {
    fn get(&mut self, site: CallSite) -> &str {
        self.0.entry(site).or_insert_with(|| site.to_string())
    }
}

/// The duration of a record's event, for events that are recorded at their end.
fn duration(record: &Record) -> Option<u64> {
    match record.event {
        Event::Run | Event::RunBatch | Event::Park | Event::Stall => Some(record.value),
        _ => None,
    }
}

/// Writes the events of one thread.
struct TrackWriter<'a, W> {
    out: &'a mut W,
    names: &'a mut Names,
    pid: u32,
    tid: usize,
}

impl<W: Write> TrackWriter<'_, W> {
    fn write(&mut self, track: &TrackSnapshot, since_ns: u64, taken_ns: u64) -> io::Result<()> {
        let mut records: Vec<&Record> = track
            .records
            .iter()
            .filter(|record| record.at_ns + duration(record).unwrap_or(0) >= since_ns)
            .collect();
        // An event that encloses others may begin at the same time as the first of them and must
        // precede it.
        records.sort_by_key(|record| (record.at_ns, Reverse(duration(record).unwrap_or(0))));
        let mut open: HashMap<u64, &Record> = HashMap::new();
        for record in records {
            match record.event {
                Event::Submit => {
                    if let Some(earlier) = open.insert(record.id, record) {
                        self.end_unfinished(earlier, record.at_ns)?;
                    }
                    self.operation("b", record, json!({}))?;
                }
                Event::Progress | Event::Complete => {
                    let result = json!({"result": record.value as i64});
                    let (ph, submitted) = match record.event {
                        Event::Complete => ("e", open.remove(&record.id)),
                        _ => ("n", open.get(&record.id).copied()),
                    };
                    match submitted {
                        Some(submitted) => {
                            let site = submitted.site;
                            self.operation(ph, &Record { site, ..*record }, result)?;
                        }
                        None => self.instant(record, "completion", "ring", result)?,
                    }
                }
                _ => self.of_thread(record)?,
            }
        }
        let mut open: Vec<&Record> = open.into_values().collect();
        open.sort_by_key(|record| (record.at_ns, record.id));
        for record in open {
            self.end_unfinished(record, taken_ns.max(record.at_ns))?;
        }
        Ok(())
    }

    fn of_thread(&mut self, record: &Record) -> io::Result<()> {
        let Record {
            site, id, value, ..
        } = *record;
        match record.event {
            Event::Spawn => self.instant(record, "spawn", "task", json!({"task": id})),
            Event::Steal => self.instant(
                record,
                "steal",
                "worker",
                json!({"from": id, "tasks": value}),
            ),
            Event::HandOff => self.instant(
                record,
                "hand-off",
                "worker",
                json!({"from": id, "tasks": value}),
            ),
            Event::Park => self.span(record, "park", "worker", json!({"completions": id})),
            Event::Stall => {
                let doing = CallSite::from_number(id as u32);
                let args = json!({"task": self.names.get(site), "doing": doing.to_string()});
                self.span(record, "stall", "stall", args)
            }
            _ => {
                let name = self.names.get(site).to_owned();
                let args = match record.event {
                    Event::RunBatch => json!({"tasks": id}),
                    _ => json!({"task": id}),
                };
                self.span(record, &name, "task", args)
            }
        }
    }

    fn span(
        &mut self,
        record: &Record,
        name: &str,
        cat: &'static str,
        args: Value,
    ) -> io::Result<()> {
        self.event(TraceEvent {
            name,
            cat,
            ph: "X",
            ts: micros(record.at_ns),
            dur: Some(micros(record.value)),
            pid: self.pid,
            tid: self.tid,
            id: None,
            s: None,
            args,
        })
    }

    fn instant(
        &mut self,
        record: &Record,
        name: &str,
        cat: &'static str,
        mut args: Value,
    ) -> io::Result<()> {
        if record.site.is_known() {
            args["site"] = self.names.get(record.site).into();
        }
        self.event(TraceEvent {
            name,
            cat,
            ph: "i",
            ts: micros(record.at_ns),
            dur: None,
            pid: self.pid,
            tid: self.tid,
            id: None,
            s: Some("t"),
            args,
        })
    }

    /// Writes a step in the life of an operation. Rings use the same numbers, so the thread is part
    /// of the id.
    fn operation(&mut self, ph: &'static str, record: &Record, args: Value) -> io::Result<()> {
        let name = self.names.get(record.site).to_owned();
        self.event(TraceEvent {
            name: &name,
            cat: "ring",
            ph,
            ts: micros(record.at_ns),
            dur: None,
            pid: self.pid,
            tid: self.tid,
            id: Some(format!("{}:{:x}", self.tid, record.id)),
            s: None,
            args,
        })
    }

    fn end_unfinished(&mut self, submitted: &Record, at_ns: u64) -> io::Result<()> {
        let end = Record {
            at_ns,
            ..*submitted
        };
        self.operation("e", &end, json!({"unfinished": true}))
    }

    fn event(&mut self, event: TraceEvent<'_>) -> io::Result<()> {
        self.out.write_all(b",\n")?;
        serde_json::to_writer(&mut *self.out, &event).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests;
