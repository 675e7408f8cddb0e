//! `headwater load rooms`: many subscribers over WebSocket, and the messages that reach them.

use std::process::ExitCode;

use clap::Args;

use super::checks::within;
use super::common::{self, CommonArgs};
use super::error::{CommandError, usage};
use super::values::{count, size, time};
use crate::load::rooms::{self, PublishBy, RoomsPlan};
use crate::load::{Prepared, Rate, RequestSpec, Spacing, Target, limits};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load rooms --subscribers 1000 --publishers 4 --rate 100 \\
      --sub-url ws://localhost:8080/sub/a --pub-url http://localhost:8080/pub/a
  headwater load rooms --rooms 50 --subscribers 10k --publishers 50 --rate 2k --poisson \\
      --sub-url ws://localhost:8080/sub/{room} --pub-url http://localhost:8080/pub/{room} -d 60s \\
      --report rooms.html
  headwater load rooms --subscribers 100 --publishers 10 --rate 500 \\
      --sub-url ws://localhost:8080/room --pub-url ws://localhost:8080/room

Every message is due at a fixed time, however fast the server is, and carries a tag by which a \
subscriber recognises it anywhere in a received text. The delivery time counts from when the message was \
due, the transit time from when it was sent. What has not arrived --grace after the last message is lost.

EXIT STATUS:
  0  everything was delivered, once and in order, at the requested rate
  1  the load could not be run: nothing listens, there is no WebSocket, a limit is too low
  2  the command line is mistyped
  3  deliveries were lost, doubled, reordered or damaged, or connections failed
  4  the rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report covers the time until then";

/// Publish messages to the chat rooms of a server, and measure their deliveries
///
/// For servers with WebSocket rooms, such as nginx with nchan; headwater serve has none yet.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub(crate) struct RoomsArgs {
    /// URL of the subscribers: ws://host[:port]/path; {room} in it is replaced by a room's number
    #[arg(long, value_name = "URL")]
    sub_url: String,

    /// URL of the publishers: http://... for requests, ws://... for WebSocket messages
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

    /// Make messages due at random times, as from many independent people, instead of evenly
    #[arg(long)]
    poisson: bool,

    /// Bytes of a message, of which the message tag takes 92
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "128")]
    size: usize,

    /// How long to measure, after the warm-up
    #[arg(short, long, value_name = "TIME", value_parser = time, default_value = "10s")]
    duration: u64,

    /// Publish for this time before measuring
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    warmup: u64,

    /// Wait this long for deliveries when the last message is published
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    grace: u64,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the load and reports.
pub(super) fn run(args: &RoomsArgs) -> ExitCode {
    common::run(
        &args.common,
        || plan(args),
        |plan, session| {
            let load = rooms::start(plan, args.common.pid.clone())?;
            let mut summary = session.run(load)?;
            summary.sub_url.clone_from(&args.sub_url);
            summary.pub_url.clone_from(&args.pub_url);
            Ok(summary)
        },
    )
}

fn plan(args: &RoomsArgs) -> Result<RoomsPlan, CommandError> {
    let publishers = args.publishers.unwrap_or(args.rooms);
    let cpus = args.common.check()?;
    for (flag, count) in [
        ("subscribers", args.subscribers),
        ("publishers", publishers),
        ("rooms", args.rooms),
    ] {
        within(flag, count, limits::ROOMS_CLIENTS_MAX)?;
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
    if pairs > limits::ROOMS_PAIRS_MAX {
        return Err(usage(format_args!(
            "{pairs} pairs of a subscriber and a publisher of its room are too many to keep account \
             of, {} are possible; use fewer publishers or more rooms",
            limits::ROOMS_PAIRS_MAX
        )));
    }
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
        headers: args.common.headers.clone(),
        ..RequestSpec::default()
    };
    // Reports a request that can't be sent here, once, before any task makes it.
    Prepared::new(&publish, &spec, 1).map_err(usage)?;
    Ok(RoomsPlan {
        subscribe: args.common.route(subscribe)?,
        publish: args.common.route(publish)?,
        publish_by: match publish_by_websocket {
            true => PublishBy::WebSocket,
            false => PublishBy::Request(args.pub_method.clone()),
        },
        headers: args.common.headers.clone(),
        subscribers: args.subscribers,
        publishers,
        rooms: args.rooms,
        size: args.size,
        rate: args.rate.clone(),
        spacing: match args.poisson {
            true => Spacing::Poisson,
            false => Spacing::Constant,
        },
        threads: args.common.threads,
        cpus,
        duration_ns: args.duration * 1_000_000,
        warmup_ns: args.warmup * 1_000_000,
        timeout_ms: args.common.timeout,
        grace_ms: args.grace,
        seed: args.common.seed,
    })
}

/// A URL, and whether it is one of a WebSocket.
fn target(flag: &str, url: &str) -> Result<(Target, bool), CommandError> {
    let of = |url: &str| Target::parse(url).map_err(|error| usage(format_args!("{flag}: {error}")));
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => {
            Ok((of(&format!("http://{rest}"))?, true))
        }
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => Err(usage(format_args!(
            "{flag}: TLS is not supported; use ws:// instead of wss://"
        ))),
        _ => Ok((of(url)?, false)),
    }
}
