//! `headwater load`: drive an HTTP server and measure it.

use std::path::Path;
use std::process::ExitCode;

use super::message::{clear_progress, fail, report_failed, write_report};
use crate::load::{self, Report, Summary};
use args::LoadCommand;
use hdr::HdrLog;
use measure::{measure, show};
use output::{STDOUT, exit_status, json, writable, write};
use plan::{Refusal, plan};

mod args;
mod compare;
mod hdr;
mod index;
mod live;
mod measure;
mod output;
mod plan;
mod rooms;
mod signals;
mod targets;

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
    if args.json.as_deref() == Some(Path::new(STDOUT)) && args.report == args.json {
        return fail(&"--json and --report cannot both go to standard output", 2);
    }
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(Refusal::Usage(text)) => return fail(&text, 2),
        Err(Refusal::Failed(text)) => return fail(&text, 1),
        Err(Refusal::Load(error)) => return fail(&error, 1),
    };
    let log = match args.hdr.as_deref().map(HdrLog::create).transpose() {
        Ok(log) => log,
        Err(text) => return fail(&text, 1),
    };
    for path in [&args.json, &args.report].into_iter().flatten() {
        if let Err(text) = writable(path) {
            return fail(&text, 1);
        }
    }
    match measure(args, plan, log) {
        Ok(summary) => finish(args, &summary),
        Err(Refusal::Usage(text) | Refusal::Failed(text)) => fail(&text, 1),
        Err(Refusal::Load(error)) => fail(&error, 1),
    }
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

fn finish(args: &LoadArgs, summary: &Summary) -> ExitCode {
    let page = || Ok(Report(summary).to_string());
    let json = args.json.as_deref().map(|path| write(path, json(summary)));
    let page = args.report.as_deref().map(|path| write(path, page()));
    let table = match to_stdout(args) {
        true => Ok(()),
        false => write(Path::new(STDOUT), Ok(summary.to_string())),
    };
    // The table comes first: it is what a full disk does not take away.
    for written in [Some(table), json, page].into_iter().flatten() {
        if let Err(text) = written {
            return fail(&text, 1);
        }
    }
    let failed = summary.errors_total > 0;
    ExitCode::from(exit_status(summary.verdict, summary.interrupted, failed))
}

/// Whether something else takes the table's place.
fn to_stdout(args: &LoadArgs) -> bool {
    let files = [&args.json, &args.report].into_iter().flatten();
    files.into_iter().any(|path| path.as_os_str() == STDOUT)
}
