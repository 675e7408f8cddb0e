//! Runs a plan, or several in search of the knee, and shows the progress.

use super::args::LoadArgs;
use super::common::Session;
use super::error::CommandError;
use super::plan::spacing;
use crate::load::{self, KneeSearch, KneeStep, LoadError, Plan, Rate, Spacing, Summary, Verdict};

/// The rate at which the search for the knee begins.
const KNEE_FROM_PER_S: f64 = 1000.0;

/// Runs one load by the plan, or several in search of the knee.
pub(super) fn measure(
    args: &LoadArgs,
    plan: Plan,
    session: &mut Session,
) -> Result<Summary, CommandError> {
    let mut one = |plan: Plan| session.run(load::start(plan, args.common.pid.clone())?);
    let summary = match args.find_knee {
        None => one(plan),
        Some(ms) => find_knee(&plan, spacing(args), ms as f64 * 1e3, one),
    };
    Ok(summary?)
}

/// The summary of the load at the highest rate with a P99 within `p99_us`, or of the last load if
/// there is none; it lists all rates that were tried.
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
        steps.push(KneeStep {
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
        search.record(good);
    }
    // The load that ended the search matters more than the good ones before.
    let ended = last.as_ref().filter(|last| {
        best.is_none() || last.interrupted || last.verdict == Verdict::SaturatedClient
    });
    let mut summary = ended.cloned().or(best).unwrap_or_default();
    summary.knee_steps = steps;
    summary.knee_p99_limit_us = Some(p99_us);
    Ok(summary)
}
