//! `headwater load`: drive an HTTP server and measure it.

use std::io::Write;
use std::process::ExitCode;

use super::fail;
use crate::load::{self, Summary, Verdict};
use args::LoadCommand;
use hdr::HdrLog;
use measure::{clear, measure, show};
use plan::{Refusal, plan};

mod args;
mod compare;
mod hdr;
mod measure;
mod plan;
mod targets;

pub use args::LoadArgs;

/// Runs the load and reports.
pub fn run(args: &LoadArgs) -> ExitCode {
    if let Some(LoadCommand::Compare(args)) = &args.command {
        return compare::run(args);
    }
    if args.self_test {
        return self_test();
    }
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(Refusal::Usage(text)) => return fail(&text, 2),
        Err(Refusal::Load(error)) => return fail(&error, 1),
    };
    let log = match args.hdr.as_deref().map(HdrLog::create).transpose() {
        Ok(log) => log,
        Err(text) => return fail(&text, 1),
    };
    match measure(args, plan, log) {
        Ok(summary) => report(args, &summary),
        Err(Refusal::Usage(text)) => fail(&text, 1),
        Err(Refusal::Load(error)) => fail(&error, 1),
    }
}

fn self_test() -> ExitCode {
    let test = match load::self_test(show) {
        Ok(test) => test,
        Err(error) => return fail(&error, 1),
    };
    clear();
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
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) if test.passed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => fail(&format_args!("cannot write to standard output: {error}"), 1),
    }
}

fn report(args: &LoadArgs, summary: &Summary) -> ExitCode {
    let to_stdout = args
        .json
        .as_deref()
        .is_some_and(|path| path.as_os_str() == "-");
    let mut written = Ok(());
    if let Some(path) = &args.json {
        written = json(summary).and_then(|text| match to_stdout {
            true => std::io::stdout().write_all(text.as_bytes()),
            false => std::fs::write(path, text),
        });
    }
    if !to_stdout && let Err(error) = write!(std::io::stdout(), "{summary}") {
        return fail(&format_args!("cannot write to standard output: {error}"), 1);
    }
    if let (Err(error), Some(path)) = (written, &args.json) {
        return fail(
            &format_args!("cannot write \"{}\": {error}", path.display()),
            1,
        );
    }
    ExitCode::from(match summary.verdict {
        _ if summary.interrupted => 130,
        _ if summary.errors_total > 0 => 3,
        Verdict::Good => 0,
        Verdict::Errors => 3,
        Verdict::RateNotReached => 4,
        Verdict::SaturatedClient => 5,
    })
}

fn json(summary: &Summary) -> std::io::Result<String> {
    Ok(serde_json::to_string_pretty(summary)? + "\n")
}
