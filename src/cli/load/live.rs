//! `headwater load live`: many readers of one object that grows, and how far they are behind.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::args::{bits, time};
use super::hdr::HdrLog;
use super::output::{STDOUT, exit_status, json, writable, write};
use super::plan::{Refusal, cpus, failed, processes, usage, within};
use super::rooms::{count, route};
use super::signals::Signals;
use crate::cli::fail;
use crate::cli::message::{clear_progress, show_progress};
use crate::limits;
use crate::load::live::{self, LivePlan, LiveSummary, WriteTo};
use crate::load::{self, Prepared, RequestSpec, Target, grouped, timed};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load live http://localhost:8080/live.ts --readers 1000 --write-file /srv/live.ts
  headwater load live http://localhost:8080/live.ts --readers 1000 --write-file /srv/live.ts \\
      --bitrate 8M --interval 40ms --poll 100ms -d 60s --pid $(pidof nginx)
  headwater load live http://localhost:8080/live/a --readers 500 --follow \\
      --write-url http://localhost:8080/live/a --write-method PUT
  headwater load live http://localhost:8080/live.ts --readers 100 --from-start \\
      --write-file /srv/live.ts --json run.json

We write the object ourselves, a piece every --interval whatever the server does, and every piece carries \
a mark. How far a reader is behind counts from when a piece was due to when the reader had all of it. \
With --poll it waits for its next question too: half of --poll on average. Pieces that were there \
before a reader came have no part in the times.

EXIT STATUS:
  0  every reader had every piece, whole, once and in order, at the bit rate that was asked for
  1  the load could not be run: nothing listens, the file cannot be written, a limit is too low
  2  the command line is mistyped
  3  pieces were missing, repeated or damaged, readers stalled, or requests failed
  4  the bit rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report is of what was measured so far";

/// Read along with an object that grows, and see how far readers are behind its writer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct LiveArgs {
    /// Where the object is read
    #[arg(value_name = "URL")]
    url: String,

    /// Readers, each with a connection of its own
    #[arg(long, value_name = "N", value_parser = count)]
    readers: usize,

    /// Write the object to this file, which the server serves; what is in it is lost
    #[arg(long, value_name = "PATH")]
    write_file: Option<PathBuf>,

    /// Write the object as the body of one request that lasts as long as the load
    #[arg(long, value_name = "URL")]
    write_url: Option<String>,

    /// Method of that request
    #[arg(
        long,
        value_name = "NAME",
        default_value = "PUT",
        requires = "write_url"
    )]
    write_method: String,

    /// Bits per second that are written, such as 800k or 8M
    #[arg(long, value_name = "RATE", value_parser = bits, default_value = "2M")]
    bitrate: f64,

    /// Write a piece so often
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "100ms")]
    interval: u64,

    /// A reader asks so often for what is new, with Range: bytes=N-
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "200ms")]
    poll: u64,

    /// Readers ask once, and read an answer that grows; --poll is then when they ask again if it ends
    #[arg(long)]
    follow: bool,

    /// Readers begin where the object does, not where it ends when they come
    #[arg(long)]
    from_start: bool,

    /// Readers come within this time, one after the other
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    join: u64,

    /// Readers come at random moments within that time, and not evenly
    #[arg(long)]
    join_at_random: bool,

    /// Nothing new for longer than this, though it was written, is a stall
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    stall: u64,

    /// How long to write and read
    #[arg(short, long, value_name = "TIME", value_parser = time, default_value = "10s")]
    duration: u64,

    /// Wait so long for what is not read when the last piece is written
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    grace: u64,

    /// Give up a connection, or an answer (with --follow, its head), after so long
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    timeout: u64,

    /// Threads, which share the readers
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// CPUs for the threads, as taskset takes them
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,

    /// Measure the CPU time of this local server and its children too
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Header line for every request, such as 'Authorization: Bearer x'
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Seed of the moments of --join-at-random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Write the figures as JSON to this file, - for standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the times of every second to this file, as a histogram log (HdrHistogram's V2 format,
    /// values in milliseconds; tags `due` and `written`)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
}

/// Runs the load and reports.
pub(super) fn run(args: &LiveArgs) -> ExitCode {
    let measured = plan(args).and_then(|plan| measure(args, plan));
    match measured {
        Ok(summary) => {
            let made = json(&summary);
            let json = args.json.as_deref().map(|path| write(path, made));
            let table = match args.json.as_deref() == Some(Path::new(STDOUT)) {
                true => Ok(()),
                false => write(Path::new(STDOUT), Ok(summary.to_string())),
            };
            if let Err(text) = table.and(json.unwrap_or(Ok(()))) {
                return fail(&text, 1);
            }
            // What a saturated client takes for a stall may be its own.
            let failed = summary.errors_total > 0;
            ExitCode::from(exit_status(summary.verdict, summary.interrupted, failed))
        }
        Err(Refusal::Usage(text)) => fail(&text, 2),
        Err(Refusal::Failed(text)) => fail(&text, 1),
        Err(Refusal::Load(error)) => fail(&error, 1),
    }
}

fn plan(args: &LiveArgs) -> Result<LivePlan, Refusal> {
    within("readers", args.readers, limits::LOAD_LIVE_READERS_MAX)?;
    within("threads", args.threads, limits::SHARDS_MAX)?;
    let piece_bytes = (args.bitrate / 8.0 * args.interval as f64 / 1e3).round() as usize;
    let (min, max) = (load::MARK_BYTES_MIN, limits::LOAD_LIVE_PIECE_BYTES_MAX);
    if !(min..=max).contains(&piece_bytes) {
        return Err(usage(format_args!(
            "--bitrate and --interval make pieces of {piece_bytes} bytes; {min} to {max} are possible; \
             choose another --interval"
        )));
    }
    if args.join >= args.duration {
        return Err(usage(
            "--join: readers must come before --duration is over; shorten the one or lengthen the other",
        ));
    }
    processes(&args.pid)?;
    let is_range = |line: &String| {
        let name = line.split(':').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("range")
    };
    if args.headers.iter().any(is_range) {
        return Err(usage("readers write the Range field; leave out yours"));
    }
    let target = Target::parse(&args.url).map_err(usage)?;
    let spec = RequestSpec {
        headers: args.headers.clone(),
        ..RequestSpec::default()
    };
    // What can't be sent is said here, once.
    Prepared::new(&target, &spec, 1).map_err(usage)?;
    let write_to = match (&args.write_file, &args.write_url) {
        (Some(path), None) => WriteTo::File(path.clone()),
        (None, Some(url)) => {
            let to = Target::parse(url);
            let to = to.map_err(|error| usage(format_args!("--write-url: {error}")))?;
            let method = args.write_method.clone();
            let spec = RequestSpec {
                method: Some(method.clone()),
                ..spec
            };
            Prepared::new(&to, &spec, 1).map_err(usage)?;
            WriteTo::Upload {
                route: route(to)?,
                method,
            }
        }
        (None, None) => {
            return Err(usage(
                "where is the object written? add --write-file PATH for a file that the server serves, \
                 or --write-url URL for an upload to it",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(usage(
                "--write-file and --write-url: the object has one writer; leave out one of them",
            ));
        }
    };
    Ok(LivePlan {
        read: route(target)?,
        write_to,
        headers: args.headers.clone(),
        readers: args.readers,
        piece_bytes,
        interval_ns: args.interval * 1_000_000,
        poll_ns: args.poll * 1_000_000,
        follow: args.follow,
        from_start: args.from_start,
        join_ns: args.join * 1_000_000,
        join_at_random: args.join_at_random,
        seed: args.seed,
        stall_ns: args.stall * 1_000_000,
        threads: args.threads.min(args.readers),
        cpus: args.cores.as_deref().map(cpus).transpose()?,
        duration_ns: args.duration * 1_000_000,
        timeout_ms: args.timeout,
        grace_ms: args.grace,
    })
}

fn measure(args: &LiveArgs, plan: LivePlan) -> Result<LiveSummary, Refusal> {
    let mut log = args
        .hdr
        .as_deref()
        .map(HdrLog::create)
        .transpose()
        .map_err(failed)?;
    if let Some(path) = &args.json {
        writable(path).map_err(failed)?;
    }
    let signals = Signals::take()?;
    let load = live::start(plan, args.pid.clone())?;
    signals.stop(load.stopper());
    let summary = load.finish(|progress| {
        let second = &progress.second;
        show_progress(format_args!(
            "{:>5.0} s  {:>10} pieces/s  {:>8.1} Mbit/s  behind P99 {:>8}  stalls {}  errors {}",
            second.at_s,
            grouped(second.pieces_per_s.round() as u64),
            second.bytes_per_s * 8.0 / 1e6,
            timed(second.behind_p99_us),
            grouped(second.stalls),
            grouped(progress.errors)
        ));
        if let Some(log) = &mut log {
            let histograms = [("due", progress.due), ("written", progress.written)];
            log.write(second.at_s, progress.length_s, &histograms);
        }
    });
    clear_progress();
    let mut summary = summary?;
    if let Some(log) = log {
        log.finish().map_err(failed)?;
    }
    summary.url.clone_from(&args.url);
    summary.command = std::env::args().collect::<Vec<_>>().join(" ");
    Ok(summary)
}
