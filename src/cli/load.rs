//! `headwater load`: drive an HTTP server and measure it.

use std::process::ExitCode;

use super::message::{clear_progress, fail, report_failed, write_report};
use crate::load;
use args::LoadCommand;
use measure::measure;
use plan::plan;
use progress::show;

mod args;
mod checks;
mod common;
mod compare;
mod error;
mod hdr;
mod index;
mod live;
mod measure;
mod output;
mod plan;
mod progress;
mod rooms;
mod signals;
mod targets;
mod values;

pub use args::LoadArgs;

/// Runs the load and reports.
pub fn run(args: &LoadArgs) -> ExitCode {
    match &args.command {
        Some(LoadCommand::Compare(args)) => return compare::run(args),
        Some(LoadCommand::Index(args)) => return index::run(args),
        Some(LoadCommand::Live(args)) => return live::run(args),
        Some(LoadCommand::Rooms(args)) => return rooms::run(args),
        None => {}
    }
    if args.self_test {
        return self_test();
    }
    common::run(
        &args.common,
        || plan(args),
        |plan, session| measure(args, plan, session),
    )
}

fn self_test() -> ExitCode {
    let test = match load::self_test(show) {
        Ok(test) => test,
        Err(error) => return fail(&error, 1),
    };
    clear_progress();
    let (response, service) = (
        &test.summary.response_time_us,
        &test.summary.service_time_us,
    );
    let text = format!(
        "{}\n  The server stood still for {:.1} s: for the requests that were due meanwhile the P99 is \
         {} at least.\n  P99 of the response time {}, of the service time {}: the self-test {}.\n",
        test.summary,
        test.stop_s,
        load::timed(test.expected_p99_us),
        load::timed(response.p99),
        load::timed(service.p99),
        if test.passed() { "passed" } else { "FAILED" }
    );
    match write_report(&text) {
        Ok(()) if test.passed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => report_failed(&error),
    }
}
