//! Runs a plan, or several in search of the knee, and shows how it is doing.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::args::LoadArgs;
use super::hdr::HdrLog;
use super::plan::{Refusal, spacing, usage};
use crate::load::{
    self, KneeSearch, LoadError, Plan, Progress, Rate, Spacing, Step, Stop, Summary, Verdict,
};
use crate::sys::signal::{self, Signal};

/// The rate at which that begins.
const KNEE_FROM_PER_S: f64 = 1000.0;

pub(super) fn measure(
    args: &LoadArgs,
    plan: Plan,
    log: Option<HdrLog>,
) -> Result<Summary, Refusal> {
    // Before the first thread, so that all of them leave the signals to one.
    signal::block().map_err(|error| LoadError::Io {
        what: "taking over the signals",
        error,
    })?;
    let stop = Arc::new(Mutex::new(None));
    let told = Arc::clone(&stop);
    thread::spawn(move || obey_signals(&told));
    let mut log = log;
    let mut one = |plan: Plan| {
        let load = load::start(plan, args.pid.clone())?;
        *lock(&stop) = Some(load.stopper());
        load.finish(|progress| {
            show(progress);
            if let Some(log) = &mut log {
                log.write(progress);
            }
        })
    };
    let summary = match args.find_knee {
        None => one(plan),
        Some(ms) => find_knee(&plan, spacing(args), ms as f64 * 1e3, one),
    };
    clear();
    let mut summary = summary?;
    if let Some(log) = log {
        log.finish().map_err(usage)?;
    }
    summary.command = std::env::args().collect::<Vec<_>>().join(" ");
    Ok(summary)
}

/// The summary of the load at the highest rate with a P99 within `p99_us`, or of the last one
/// where none is; with all that were tried.
fn find_knee(
    plan: &Plan,
    spacing: Spacing,
    p99_us: f64,
    mut one: impl FnMut(Plan) -> Result<Summary, LoadError>,
) -> Result<Summary, LoadError> {
    let mut search = KneeSearch::from(KNEE_FROM_PER_S);
    let (mut steps, mut best, mut last) = (Vec::new(), None, None);
    while let Some(rate) = search.next() {
        let mut plan = plan.clone();
        plan.rate = Some((Rate::constant(rate), spacing));
        let summary = one(plan)?;
        let p99 = summary.response_time_us.p99;
        let good = summary.verdict == Verdict::Good && p99 <= p99_us;
        let over = summary.interrupted || summary.verdict == Verdict::SaturatedClient;
        steps.push(Step {
            asked_rate_per_s: rate,
            rate_per_s: summary.rate_per_s,
            response_p99_us: p99,
            good,
        });
        match good {
            true => best = Some(summary),
            false => last = Some(summary),
        }
        if over {
            break;
        }
        search.tell(good);
    }
    // What ended the search matters more than what it found before.
    let ended = last.as_ref().filter(|last| {
        best.is_none() || last.interrupted || last.verdict == Verdict::SaturatedClient
    });
    let mut summary = ended.cloned().or(best).unwrap_or_default();
    summary.knee_steps = steps;
    summary.knee_p99_limit_us = Some(p99_us);
    Ok(summary)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on a terminal, that is written over every second.
pub(super) fn show(progress: &Progress<'_>) {
    if progress.short || !std::io::stderr().is_terminal() {
        return;
    }
    let second = &progress.second;
    eprint!(
        "\r\x1b[K{:>5.0} s  {:>10}/s  P99 {:>8}  errors {}",
        second.at_s,
        load::grouped(second.rate_per_s.round() as u64),
        load::timed(second.response_p99_us),
        load::grouped(progress.errors)
    );
    let _ = std::io::stderr().flush();
}

/// Takes the last such line away.
pub(super) fn clear() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// The first SIGINT or SIGTERM stops sending, the second waits for nothing.
fn obey_signals(stop: &Mutex<Option<Stop>>) {
    while let Ok(signal) = signal::wait() {
        match (signal, &*lock(stop)) {
            (Signal::Hangup | Signal::User1 | Signal::User2, _) | (_, None) => {}
            (_, Some(stop)) if stop.is_told() => stop.now(),
            (_, Some(stop)) => stop.soon(),
        }
    }
}
