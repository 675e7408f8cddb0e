//! A line about the scheduler at regular intervals, in the format of Go's `GODEBUG=schedtrace`, so
//! that tools for that read it: a P is a processor, an M a thread, a G a task.

use std::fmt::{self, Write};
use std::time::Duration;

use super::snapshot::{Snapshot, WorkerSnapshot};
use super::{Handle, WorkerState};

/// A periodic trace of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedTrace {
    /// The time between two lines.
    pub period: Duration,
    /// Whether to add a line for each processor, thread and running task.
    pub detail: bool,
}

impl SchedTrace {
    /// Makes the pool's monitor pass the lines to `print`, the first one at once.
    pub fn start(self, pool: &Handle, mut print: impl FnMut(&str) + Send + 'static) {
        // A weak handle, since the pool owns this closure.
        let watched = pool.downgrade();
        let mut began_ns = None;
        pool.watch(move |now_ns| {
            let began_ns = *began_ns.get_or_insert(now_ns);
            let since = Duration::from_nanos(now_ns.saturating_sub(began_ns));
            let snapshot = watched.upgrade()?.snapshot();
            print(&self.text(&snapshot, since));
            Some(self.period)
        });
    }

    /// The lines about one moment, `since` after the start of the trace.
    pub fn text(self, snapshot: &Snapshot, since: Duration) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = write_summary(&mut out, snapshot, since);
        if self.detail {
            let _ = write_detail(&mut out, snapshot);
        }
        out
    }
}

/// The threads that have a processor, in the order of the processors.
fn by_place(snapshot: &Snapshot) -> Vec<Option<&WorkerSnapshot>> {
    let mut processors = vec![None; snapshot.workers];
    for thread in &snapshot.threads_by_number {
        if let Some(processor) = thread
            .processor
            .and_then(|processor| processors.get_mut(processor))
        {
            *processor = Some(thread);
        }
    }
    processors
}

fn write_list(out: &mut String, numbers: impl Iterator<Item = u64>) -> fmt::Result {
    out.push('[');
    for (index, number) in numbers.enumerate() {
        let space = if index > 0 { " " } else { "" };
        write!(out, "{space}{number}")?;
    }
    out.push(']');
    Ok(())
}

fn write_summary(out: &mut String, snapshot: &Snapshot, since: Duration) -> fmt::Result {
    let Snapshot {
        workers,
        idle,
        threads,
        searching,
        ..
    } = snapshot;
    let processors = by_place(snapshot);
    let queued: usize = processors
        .iter()
        .flatten()
        .map(|thread| thread.queued)
        .sum();
    let common = snapshot.interactive + snapshot.background;
    // There is work and an idle processor, but none searches.
    let needed = *idle > 0 && *searching == 0 && queued + common > 0;
    write!(
        out,
        "SCHED {}ms: gomaxprocs={workers} idleprocs={idle} threads={threads} spinningthreads={searching} \
         needspinning={} idlethreads={} runqueue={common} ",
        since.as_millis(),
        u8::from(needed),
        snapshot.spare + idle,
    )?;
    let of = |count: fn(&WorkerSnapshot) -> u64| {
        let processors = processors.clone();
        processors
            .into_iter()
            .map(move |thread| thread.map_or(0, count))
    };
    write_list(out, of(|thread| thread.queued as u64))?;
    out.push_str(" schedticks=");
    write_list(out, of(|thread| thread.polls))?;
    out.push('\n');
    Ok(())
}

fn write_detail(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    for (processor, thread) in by_place(snapshot).into_iter().enumerate() {
        match thread {
            Some(thread) => writeln!(
                out,
                "  P{processor}: status={} schedtick={} m={} runqsize={}",
                state(thread.state),
                thread.polls,
                thread.number,
                thread.queued
            )?,
            None => writeln!(
                out,
                "  P{processor}: status=idle schedtick=0 m=nil runqsize=0"
            )?,
        }
    }
    for thread in &snapshot.threads_by_number {
        let processor = thread
            .processor
            .map_or("nil".to_owned(), |processor| processor.to_string());
        let task = thread.task.as_ref();
        let task = task.map_or("nil".to_owned(), |task| task.id.to_string());
        let spinning = thread.state == WorkerState::Searching;
        let blocked = thread.state == WorkerState::Blocked;
        writeln!(
            out,
            "  M{}: p={processor} curg={task} spinning={spinning} blocked={blocked} status={} steals={} parks={}",
            thread.number,
            state(thread.state),
            thread.steals,
            thread.parks
        )?;
    }
    for thread in &snapshot.threads_by_number {
        let Some(task) = &thread.task else { continue };
        writeln!(
            out,
            "  G{}: status={} m={} class={} age={}ms site={}{}",
            task.id,
            task.state.name(),
            thread.number,
            task.class,
            task.age.as_millis(),
            task.site,
            if task.overrun { " overrun" } else { "" }
        )?;
    }
    Ok(())
}

fn state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Running => "running",
        WorkerState::Searching => "searching",
        WorkerState::Parked => "idle",
        WorkerState::Held => "held",
        WorkerState::Blocked => "blocked",
        WorkerState::Waiting => "waiting",
        WorkerState::Spare => "spare",
    }
}
