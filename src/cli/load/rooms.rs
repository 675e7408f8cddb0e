//! `headwater load rooms`: many subscribers over WebSocket, and what reaches them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::args::time;
use super::hdr::HdrLog;
use super::output::{STDOUT, exit_status, json, writable, write};
use super::plan::{Refusal, cpus, failed, processes, usage, within};
use super::signals::Signals;
use crate::cli::fail;
use crate::cli::message::{clear_progress, show_progress};
use crate::config::Unit;
use crate::limits;
use crate::load::rooms::{self, PublishBy, RoomsPlan, RoomsSummary, Route};
use crate::load::{
    self, LoadError, Prepared, Rate, RequestSpec, RoomsReport, Spacing, Target, grouped, timed,
};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load rooms --subscribers 1000 --publishers 4 --rate 100 \\
      --sub-url ws://localhost:8080/sub/a --pub-url http://localhost:8080/pub/a
  headwater load rooms --rooms 50 --subscribers 10k --publishers 50 --rate 2k --poisson \\
      --sub-url ws://localhost:8080/sub/{room} --pub-url http://localhost:8080/pub/{room} -d 60s \\
      --report rooms.html
  headwater load rooms --subscribers 100 --publishers 10 --rate 500 \\
      --sub-url ws://localhost:8080/room --pub-url ws://localhost:8080/room

Every message is due at its time, whatever the server does, and carries a mark by which a subscriber \
knows it again anywhere in the text that it gets. The delivery time counts from when the message was due, \
the transit time from when it was sent. What has not come --grace after the last message is lost.

EXIT STATUS:
  0  everything was delivered, once and in order, at the rate that was asked for
  1  the load could not be run: nothing listens, no WebSocket is there, a limit is too low
  2  the command line is mistyped
  3  deliveries were lost, doubled, reordered or damaged, or connections failed
  4  the rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report is of what was measured so far";

/// Publish messages into rooms, and see who gets them and when
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct RoomsArgs {
    /// Where subscribers listen: ws://host[:port]/path; {room} in it stands for a room's number
    #[arg(long, value_name = "URL")]
    sub_url: String,

    /// Where publishers send to: http://... by requests, ws://... as WebSocket messages
    #[arg(long, value_name = "URL")]
    pub_url: String,

    /// Method of the publishers' requests
    #[arg(long, value_name = "NAME", default_value = "POST")]
    pub_method: String,

    /// Subscribers, spread evenly over the rooms
    #[arg(long, value_name = "N", value_parser = count)]
    subscribers: usize,

    /// Publishers, spread evenly over the rooms; each waits for the answer to a request before it
    /// sends the next [default: one for each room]
    #[arg(long, value_name = "N", value_parser = count)]
    publishers: Option<usize>,

    /// Rooms, numbered from 0
    #[arg(long, value_name = "N", value_parser = count, default_value = "1")]
    rooms: usize,

    /// Messages per second of all publishers: 20k, a ramp 1k..10k, or steps 1k,2k,4k
    #[arg(short = 'R', long, value_name = "RATE")]
    rate: Rate,

    /// Let messages fall due at random, as from many independent people, and not evenly
    #[arg(long)]
    poisson: bool,

    /// Bytes of a message; its mark takes 92
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "128")]
    size: usize,

    /// How long to measure, after the warm-up
    #[arg(short, long, value_name = "TIME", value_parser = time, default_value = "10s")]
    duration: u64,

    /// Publish so long before measuring
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    warmup: u64,

    /// Wait so long for deliveries when the last message is published
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    grace: u64,

    /// Give up a connection with its handshake, or a publisher's request, after so long
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    timeout: u64,

    /// Threads, which share subscribers and publishers
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// CPUs for the threads, as taskset takes them
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,

    /// Measure the CPU time of this local server and its children too
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Header line for every request, such as 'Origin: http://localhost'
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Seed of the moments of --poisson
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Write the figures as JSON to this file, - for standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write a page with plots and all facts of the run to this file, - for standard output in place of
    /// the table
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    /// Write the times of every second to this file, as a histogram log (HdrHistogram's V2 format,
    /// values in milliseconds; tags `delivery` and `transit`)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
}

/// Runs the load and reports.
pub(super) fn run(args: &RoomsArgs) -> ExitCode {
    if args.json.as_deref() == Some(Path::new(STDOUT)) && args.report == args.json {
        return fail(&"--json and --report cannot both go to standard output", 2);
    }
    let measured = plan(args).and_then(|plan| measure(args, plan));
    match measured {
        Ok(summary) => {
            let made = json(&summary);
            let json = args.json.as_deref().map(|path| write(path, made));
            let page = || Ok(RoomsReport(&summary).to_string());
            let page = args.report.as_deref().map(|path| write(path, page()));
            let mut files = [&args.json, &args.report].into_iter().flatten();
            let table = match files.any(|path| path.as_os_str() == STDOUT) {
                true => Ok(()),
                false => write(Path::new(STDOUT), Ok(summary.to_string())),
            };
            for written in [Some(table), json, page].into_iter().flatten() {
                if let Err(text) = written {
                    return fail(&text, 1);
                }
            }
            let failed = summary.wrong() > 0;
            ExitCode::from(exit_status(summary.verdict, summary.interrupted, failed))
        }
        Err(Refusal::Usage(text)) => fail(&text, 2),
        Err(Refusal::Failed(text)) => fail(&text, 1),
        Err(Refusal::Load(error)) => fail(&error, 1),
    }
}

fn plan(args: &RoomsArgs) -> Result<RoomsPlan, Refusal> {
    let publishers = args.publishers.unwrap_or(args.rooms);
    within("threads", args.threads, limits::SHARDS_MAX)?;
    for (flag, count) in [
        ("subscribers", args.subscribers),
        ("publishers", publishers),
        ("rooms", args.rooms),
    ] {
        within(flag, count, limits::LOAD_ROOMS_CLIENTS_MAX)?;
    }
    if publishers < args.rooms || args.subscribers < args.rooms {
        return Err(usage(format_args!(
            "{} rooms need as many subscribers and publishers at least",
            args.rooms
        )));
    }
    let pairs = args
        .subscribers
        .saturating_mul(publishers.div_ceil(args.rooms));
    if pairs > limits::LOAD_ROOMS_PAIRS_MAX {
        return Err(usage(format_args!(
            "{pairs} pairs of a subscriber and a publisher of its room are too many to keep account \
             of, {} are possible; use fewer publishers or more rooms",
            limits::LOAD_ROOMS_PAIRS_MAX
        )));
    }
    processes(&args.pid)?;
    let (subscribe, _) = target("--sub-url", &args.sub_url)?;
    let (publish, publish_by_websocket) = target("--pub-url", &args.pub_url)?;
    let named = |target: &Target| target.path.contains("{room}");
    if args.rooms > 1 && !(named(&subscribe) && named(&publish)) {
        return Err(usage(
            "--rooms: both URLs need {room} where the room's number goes",
        ));
    }
    let spec = RequestSpec {
        method: Some(args.pub_method.clone()),
        headers: args.headers.clone(),
        ..RequestSpec::default()
    };
    // What can't be sent is said here, once.
    Prepared::new(&publish, &spec, 1).map_err(usage)?;
    Ok(RoomsPlan {
        subscribe: route(subscribe)?,
        publish: route(publish)?,
        publish_by: match publish_by_websocket {
            true => PublishBy::WebSocket,
            false => PublishBy::Request(args.pub_method.clone()),
        },
        headers: args.headers.clone(),
        subscribers: args.subscribers,
        publishers,
        rooms: args.rooms,
        size: args.size,
        rate: args.rate.clone(),
        spacing: match args.poisson {
            true => Spacing::Poisson,
            false => Spacing::Constant,
        },
        threads: args.threads,
        cpus: args.cores.as_deref().map(cpus).transpose()?,
        duration_ns: args.duration * 1_000_000,
        warmup_ns: args.warmup * 1_000_000,
        timeout_ms: args.timeout,
        grace_ms: args.grace,
        seed: args.seed,
    })
}

/// A URL, and whether it is a WebSocket's.
fn target(flag: &str, url: &str) -> Result<(Target, bool), Refusal> {
    let of = |url: &str| Target::parse(url).map_err(|error| usage(format_args!("{flag}: {error}")));
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => {
            Ok((of(&format!("http://{rest}"))?, true))
        }
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => Err(usage(format_args!(
            "{flag}: TLS is not spoken; use ws:// instead of wss://"
        ))),
        _ => Ok((of(url)?, false)),
    }
}

pub(super) fn route(target: Target) -> Result<Route, Refusal> {
    let addresses = target
        .origin
        .resolve()
        .map_err(|error| LoadError::Resolve {
            host: target.origin.host.clone(),
            error,
        })?;
    Ok(Route { addresses, target })
}

fn measure(args: &RoomsArgs, plan: RoomsPlan) -> Result<RoomsSummary, Refusal> {
    let mut log = args
        .hdr
        .as_deref()
        .map(HdrLog::create)
        .transpose()
        .map_err(failed)?;
    for path in [&args.json, &args.report].into_iter().flatten() {
        writable(path).map_err(failed)?;
    }
    let signals = Signals::take()?;
    let load = rooms::start(plan, args.pid.clone())?;
    signals.stop(load.stopper());
    let summary = load.finish(|progress| {
        let second = &progress.second;
        show_progress(format_args!(
            "{:>5.0} s  {:>10} published/s  {:>10} delivered/s  P99 {:>8}  errors {}",
            second.at_s,
            grouped(second.published_per_s.round() as u64),
            grouped(second.deliveries_per_s.round() as u64),
            timed(second.delivery_p99_us),
            grouped(progress.errors)
        ));
        if let Some(log) = &mut log {
            let histograms = [
                ("delivery", progress.delivery),
                ("transit", progress.transit),
            ];
            log.write(second.at_s, progress.length_s, &histograms);
        }
    });
    clear_progress();
    let mut summary = summary?;
    if let Some(log) = log {
        log.finish().map_err(failed)?;
    }
    summary.sub_url.clone_from(&args.sub_url);
    summary.pub_url.clone_from(&args.pub_url);
    summary.command = std::env::args().collect::<Vec<_>>().join(" ");
    Ok(summary)
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.as_bytes() {
        [.., b'k' | b'K'] => (&text[..text.len() - 1], 1000),
        [.., b'm' | b'M'] => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<usize>().ok();
    let number = number.and_then(|number| number.checked_mul(factor));
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| "is not a number from 1 on, such as 100 or 10k".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let (min, max) = (load::MARK_BYTES_MIN, limits::LOAD_MESSAGE_BYTES_MAX);
    let bytes = Unit::Bytes.parse(text).map_err(|error| error.to_string())?;
    match usize::try_from(bytes) {
        Ok(bytes) if (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(format!("is out of range; choose from {min} to {max}")),
    }
}
