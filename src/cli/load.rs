//! `headwater load`: drive an HTTP server and measure it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::{Args, Subcommand};

use super::fail;
use crate::config::Unit;
use crate::limits;
use crate::load::{
    self, KneeSearch, LoadError, Origin, Plan, Prepared, Progress, Rate, RequestSpec, Spacing,
    Step, Stop, Summary, Target, Verdict,
};
use crate::sys::signal::{self, Signal};
use crate::sys::{cpu, process};
use hdr::HdrLog;

mod compare;
mod hdr;

/// Length of a load that looks for the knee.
const KNEE_STEP_NS: u64 = 3_000_000_000;
/// The rate at which that begins.
const KNEE_FROM_PER_S: f64 = 1000.0;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load http://localhost:8080/                    10 connections for 10 s, as fast as they go
  headwater load http://localhost:8080/ -c 64 -d 30s -t 2 --cores 2,3
  headwater load http://localhost:8080/ -c 64 --rate 20k    20,000 requests/s, come what may
  headwater load http://localhost:8080/ --rate 1k..10k --poisson -d 60s --json run.json
  headwater load http://localhost:8080/ -c 64 --pipeline 16
  headwater load http://localhost:8080/ -X POST --data @body.json -H 'Content-Type: application/json'
  headwater load http://localhost:8080/ --pid $(pidof nginx)
  headwater load http://localhost:8080/ -c 64 --find-knee 10ms
  headwater load --self-test
  headwater load compare before.json after.json             is it faster, or is that noise?

Without --rate every connection waits for its answer before it asks again (a closed loop): that finds
the most a server gives. With --rate requests are due at their time whatever the server does (an open
loop): that finds what clients would see, and the response time counts from when a request was due.

EXIT STATUS:
  0  every request was answered, at the rate that was asked for
  1  the load could not be run: nothing listens, the name does not resolve, a limit is too low
  2  the command line is mistyped
  3  requests failed, or were answered with 4xx or 5xx
  4  the rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report is of what was measured so far";

/// Load an HTTP server and measure how it answers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LoadArgs {
    /// What to ask for; several, of one server, take turns at random
    #[arg(required_unless_present = "self_test", value_name = "URL")]
    urls: Vec<String>,

    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    connections: usize,

    /// Threads, each with an io_uring of its own and its share of the connections
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// How long to measure, after the warm-up [default: 10s, or until --requests are sent]
    #[arg(short, long, value_name = "TIME", value_parser = time, overrides_with = "duration")]
    duration: Option<u64>,

    /// Stop after so many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,

    /// Requests per second, due whatever the server does: 20k, a ramp 1k..10k, or steps 1k,2k,4k
    #[arg(short = 'R', long, value_name = "RATE")]
    rate: Option<Rate>,

    /// Let requests fall due at random, as from many independent clients, and not evenly
    #[arg(long)]
    poisson: bool,

    /// Find the highest rate at which the P99 of the response time stays within this: loads of
    /// --duration each [default: 3s], from 1,000 requests per second on
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["rate", "requests", "hdr"])]
    find_knee: Option<u64>,

    /// Requests that may be under way on one connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline: usize,

    /// Make a new connection for every request
    #[arg(long, conflicts_with = "pipeline")]
    connection_per_request: bool,

    /// Send so long before measuring; not with --requests, which may all be sent by then
    #[arg(long, value_name = "TIME", value_parser = time, overrides_with = "warmup")]
    #[arg(conflicts_with = "requests")]
    warmup: Option<u64>,

    /// Give up a request without its whole answer after so long
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    timeout: u64,

    /// Seed of all that is random; a run with the same seed sends the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Request method [default: GET, or POST with --data]
    #[arg(
        short = 'X',
        visible_short_alias = 'm',
        long,
        visible_alias = "request",
        value_name = "NAME"
    )]
    method: Option<String>,

    /// Header line such as 'Accept: text/html'; 'Accept:' leaves it out
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Request body, or @FILE to read it from; in chunks with -H 'Transfer-Encoding: chunked'
    #[arg(long, value_name = "DATA")]
    data: Option<String>,

    /// Compare every body, by length and checksum, with the first one that the URL gave
    #[arg(long)]
    check: bool,

    /// CPUs for the threads, as taskset takes them
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,

    /// Measure the CPU time of this local server and its children too
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Check that the generator tells the truth: load a small server of its own that stands still
    /// for 1.4 s, and see whether the P99 shows it
    #[arg(long, exclusive = true)]
    self_test: bool,

    /// Write the figures as JSON to this file, - for standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the times of every second to this file, as a histogram log (HdrHistogram's V2 format,
    /// values in milliseconds; tags `response` and `service`)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<LoadCommand>,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    Compare(compare::CompareArgs),
}

fn time(text: &str) -> Result<u64, String> {
    let ms = Unit::Millis
        .parse(text)
        .map_err(|error| error.to_string())?;
    match ms {
        1..=limits::TIMEOUT_MS_CEILING => Ok(ms),
        _ => Err("is out of range; choose from 1ms to 24h".to_owned()),
    }
}

/// Why no plan can be made of the command line.
enum Refusal {
    Usage(String),
    Load(LoadError),
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

fn usage(error: impl ToString) -> Refusal {
    Refusal::Usage(error.to_string())
}

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

fn plan(args: &LoadArgs) -> Result<Plan, Refusal> {
    let (origin, targets) = targets(&args.urls)?;
    within(
        "connections",
        args.connections,
        limits::LOAD_CONNECTIONS_MAX,
    )?;
    within("threads", args.threads, limits::SHARDS_MAX)?;
    within("pipeline", args.pipeline, limits::LOAD_PIPELINE_MAX)?;
    let cpus = args.cores.as_deref().map(cpus).transpose()?;
    if let Some(pid) = args.pid.iter().find(|&&pid| !process::exists(pid)) {
        return Err(usage(format_args!("--pid: there is no process {pid}")));
    }
    if args.poisson && args.rate.is_none() && args.find_knee.is_none() {
        return Err(usage(
            "--poisson is about a rate; add --rate or --find-knee",
        ));
    }
    let spec = RequestSpec {
        method: args.method.clone(),
        headers: args.headers.clone(),
        body: args.data.as_deref().map(body).transpose()?,
        close: args.connection_per_request,
    };
    let mut requests = Vec::with_capacity(targets.len());
    for target in &targets {
        let prepared = Prepared::new(target, &spec, args.pipeline).map_err(usage)?;
        requests.push((prepared, 1.0));
    }
    let addresses = origin.resolve().map_err(|error| LoadError::Resolve {
        host: origin.host.clone(),
        error,
    })?;
    let defaults = Plan::new(addresses, requests);
    Ok(Plan {
        connections: args.connections,
        threads: args.threads.min(args.connections),
        cpus,
        pipeline: args.pipeline,
        connection_per_request: args.connection_per_request,
        duration_ns: match (args.duration, args.requests) {
            (Some(ms), _) => Some(ms * 1_000_000),
            (None, Some(_)) => None,
            (None, None) if args.find_knee.is_some() => Some(KNEE_STEP_NS),
            (None, None) => defaults.duration_ns,
        },
        warmup_ns: args.warmup.unwrap_or(0) * 1_000_000,
        requests_max: args.requests,
        timeout_ms: args.timeout,
        rate: args.rate.clone().map(|rate| (rate, spacing(args))),
        seed: args.seed,
        check: args.check,
        ..defaults
    })
}

fn spacing(args: &LoadArgs) -> Spacing {
    match args.poisson {
        true => Spacing::Poisson,
        false => Spacing::Constant,
    }
}

fn targets(urls: &[String]) -> Result<(Origin, Vec<Target>), Refusal> {
    let targets = urls
        .iter()
        .map(|url| Target::parse(url))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage)?;
    let Some(first) = targets.first() else {
        return Err(usage("name a URL"));
    };
    if let Some(other) = targets.iter().find(|target| target.origin != first.origin) {
        return Err(usage(format_args!(
            "the URLs are of two servers, {} and {}; run one load for each",
            first.origin, other.origin
        )));
    }
    Ok((first.origin.clone(), targets))
}

fn within(flag: &str, value: usize, max: usize) -> Result<(), Refusal> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(usage(format_args!(
            "--{flag}: {value} is out of range; choose from 1 to {max}"
        ))),
    }
}

fn cpus(list: &str) -> Result<Vec<usize>, Refusal> {
    let cpus = cpu::parse_list(list).map_err(|error| usage(format_args!("--cores: {error}")))?;
    let allowed = cpu::allowed().map_err(|error| LoadError::Io {
        what: "asking for the allowed CPUs",
        error,
    })?;
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(cpus),
        Some(cpu) => Err(usage(format_args!(
            "--cores: this process may not run on CPU {cpu}; choose from {}",
            super::resolve::ranges(&allowed)
        ))),
    }
}

fn body(data: &str) -> Result<Vec<u8>, Refusal> {
    let Some(path) = data.strip_prefix('@') else {
        return Ok(data.as_bytes().to_vec());
    };
    let fail =
        |error: std::io::Error| usage(format_args!("--data: cannot read \"{path}\": {error}"));
    let bytes = std::fs::metadata(path).map_err(fail)?.len();
    if bytes > limits::LOAD_BODY_BYTES_MAX as u64 {
        return Err(usage(format_args!(
            "--data: \"{path}\" has {bytes} bytes; a body may have {}",
            limits::LOAD_BODY_BYTES_MAX
        )));
    }
    std::fs::read(path).map_err(fail)
}

fn measure(args: &LoadArgs, plan: Plan, log: Option<HdrLog>) -> Result<Summary, Refusal> {
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
    summary.urls.clone_from(&args.urls);
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
    Ok(summary)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on a terminal, that is written over every second.
fn show(progress: &Progress<'_>) {
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
fn clear() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
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
