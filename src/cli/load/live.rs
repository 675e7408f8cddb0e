//! `headwater load live`: many readers of one growing object, and how far they are behind its
//! writer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::checks::within;
use super::common::{self, CommonArgs};
use super::error::{CommandError, usage};
use super::values::{bits, count, time};
use crate::load::live::{self, LivePlan, WriteTo};
use crate::load::{MESSAGE_TAG_BYTES_MIN, Prepared, RequestSpec, Target, limits};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load live http://localhost:8080/live.ts --readers 1000 --write-file /srv/live.ts
  headwater load live http://localhost:8080/live.ts --readers 1000 --write-file /srv/live.ts \\
      --bitrate 8M --interval 40ms --poll 100ms -d 60s --pid $(pidof nginx)
  headwater load live http://localhost:8080/live/a --readers 500 --follow \\
      --write-url http://localhost:8080/live/a --write-method PUT
  headwater load live http://localhost:8080/live.ts --readers 100 --from-start \\
      --write-file /srv/live.ts --json run.json --report run.html

The load writes the object itself, a piece every --interval however fast the server is, and every piece \
is a message tag. The time behind counts from when a piece was due to when the reader had all of it. \
With --poll it includes the wait for the reader's next request: half of --poll on average. Pieces that \
were written before a reader joined are left out of the times.

EXIT STATUS:
  0  every reader had every piece, whole, once and in order, at the requested bit rate
  1  the load could not be run: nothing listens, the file cannot be written, a limit is too low
  2  the command line is mistyped
  3  pieces were missing, repeated or damaged, readers stalled, or requests failed
  4  the bit rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report covers the time until then";

/// Read a growing object, and measure how far readers are behind its writer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(crate) struct LiveArgs {
    /// URL from which the object is read
    #[arg(value_name = "URL")]
    url: String,

    /// Readers, each with its own connection
    #[arg(long, value_name = "N", value_parser = count)]
    readers: usize,

    /// Write the object to this file, which the server serves; its content is overwritten
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

    /// Time from one piece to the next
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "100ms")]
    interval: u64,

    /// Interval at which a reader requests new bytes, with Range: bytes=N-
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "200ms")]
    poll: u64,

    /// Each reader sends one request and reads a growing answer; if that ends, it sends another
    /// after --poll
    #[arg(long)]
    follow: bool,

    /// Readers begin at the object's beginning, not at its end when they join
    #[arg(long)]
    from_start: bool,

    /// Readers join within this time, one after the other
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    join: u64,

    /// Readers join at random moments within that time, instead of evenly
    #[arg(long)]
    join_at_random: bool,

    /// A reader has a stall when it gets nothing new for longer than this, although a piece was
    /// written
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    stall: u64,

    /// How long to write and read
    #[arg(short, long, value_name = "TIME", value_parser = time, default_value = "10s")]
    duration: u64,

    /// Wait this long for readers to read the rest after the last piece is written
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    grace: u64,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the load and reports.
pub(super) fn run(args: &LiveArgs) -> ExitCode {
    common::run(
        &args.common,
        || plan(args),
        |plan, session| {
            let load = live::start(plan, args.common.pid.clone())?;
            let mut summary = session.run(load)?;
            summary.url.clone_from(&args.url);
            Ok(summary)
        },
    )
}

fn plan(args: &LiveArgs) -> Result<LivePlan, CommandError> {
    within("readers", args.readers, limits::LIVE_READERS_MAX)?;
    let cpus = args.common.check()?;
    let piece_bytes = (args.bitrate / 8.0 * args.interval as f64 / 1e3).round() as usize;
    let (min, max) = (MESSAGE_TAG_BYTES_MIN, limits::LIVE_PIECE_BYTES_MAX);
    if !(min..=max).contains(&piece_bytes) {
        return Err(usage(format_args!(
            "--bitrate and --interval make pieces of {piece_bytes} bytes; {min} to {max} are possible; \
             choose another --interval"
        )));
    }
    if args.join >= args.duration {
        return Err(usage(
            "--join: readers must join before --duration is over; shorten the one or lengthen the other",
        ));
    }
    if args.common.writes_field("range") {
        return Err(usage("readers write the Range field; leave out yours"));
    }
    let target = Target::parse(&args.url).map_err(usage)?;
    let spec = RequestSpec {
        headers: args.common.headers.clone(),
        ..RequestSpec::default()
    };
    // Reports a request that can't be sent here, once, before any task makes it.
    Prepared::new(&target, &spec, 1).map_err(usage)?;
    let write_to = write_to(args, spec)?;
    Ok(LivePlan {
        read: args.common.route(target)?,
        write_to,
        headers: args.common.headers.clone(),
        readers: args.readers,
        piece_bytes,
        interval_ns: args.interval * 1_000_000,
        poll_ns: args.poll * 1_000_000,
        follow: args.follow,
        from_start: args.from_start,
        join_ns: args.join * 1_000_000,
        join_at_random: args.join_at_random,
        seed: args.common.seed,
        stall_ns: args.stall * 1_000_000,
        threads: args.common.threads.min(args.readers),
        cpus,
        duration_ns: args.duration * 1_000_000,
        timeout_ms: args.common.timeout,
        grace_ms: args.grace,
    })
}

/// Where the writer writes: a file, or uploads that are requests of the form `spec`.
fn write_to(args: &LiveArgs, spec: RequestSpec) -> Result<WriteTo, CommandError> {
    match (&args.write_file, &args.write_url) {
        (Some(path), None) => Ok(WriteTo::File(path.clone())),
        (None, Some(url)) => {
            let to = Target::parse(url);
            let to = to.map_err(|error| usage(format_args!("--write-url: {error}")))?;
            let method = args.write_method.clone();
            let spec = RequestSpec {
                method: Some(method.clone()),
                ..spec
            };
            Prepared::new(&to, &spec, 1).map_err(usage)?;
            Ok(WriteTo::Upload {
                route: args.common.route(to)?,
                method,
            })
        }
        (None, None) => Err(usage(
            "where is the object written? add --write-file PATH for a file that the server serves, \
             or --write-url URL for an upload to it",
        )),
        (Some(_), Some(_)) => Err(usage(
            "--write-file and --write-url: the object has one writer; leave out one of them",
        )),
    }
}
