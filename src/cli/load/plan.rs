//! Builds the plan of a load from the command line.

use super::args::LoadArgs;
use super::checks::within;
use super::error::{CommandError, usage};
use super::targets::targets;
use crate::load::limits;
use crate::load::{
    self, Address, Plan, PlayerOptions, Prepared, RangePattern, RangeSpec, Ranges, RequestSpec,
    Spacing,
};

/// Length of each load in the search for the knee.
const KNEE_STEP_NS: u64 = 3_000_000_000;

pub(super) fn plan(args: &LoadArgs) -> Result<Plan, CommandError> {
    within("connections", args.connections, limits::CONNECTIONS_MAX)?;
    within("pipeline", args.pipeline, limits::PIPELINE_MAX)?;
    let cpus = args.common.check()?;
    if args.poisson && args.rate.is_none() && args.find_knee.is_none() {
        return Err(usage("--poisson needs a rate; add --rate or --find-knee"));
    }
    let spec = RequestSpec {
        method: args.method.clone(),
        headers: args.common.headers.clone(),
        body: args.data.as_deref().map(body).transpose()?,
        close: args.connection_per_request,
    };
    let targets = targets(args, &spec)?;
    let addresses = args.common.addresses(&targets.origin)?;
    let ranges = args
        .ranges
        .map(|spec| ranges(args, spec, &addresses, &targets.requests))
        .transpose()?;
    let defaults = Plan::new(addresses, targets.requests);
    Ok(Plan {
        connections: args.connections,
        threads: args.common.threads.min(args.connections),
        cpus,
        pipeline: args.pipeline,
        connection_per_request: args.connection_per_request,
        duration_ns: match (args.duration.map(|ms| ms * 1_000_000), args.requests) {
            (given, _) if targets.length_ns.is_some() => {
                targets.length_ns.min(given.or(Some(u64::MAX)))
            }
            (Some(ns), _) => Some(ns),
            (None, Some(_)) => None,
            (None, None) if targets.length.is_some() => None,
            (None, None) if args.find_knee.is_some() => Some(KNEE_STEP_NS),
            (None, None) => defaults.duration_ns,
        },
        warmup_ns: args.warmup.unwrap_or(0) * 1_000_000,
        requests_max: match args.duration {
            // A log at a rate is replayed once, unless -n or -d is given.
            None => args.requests.or(targets.length),
            Some(_) => args.requests,
        },
        timeout_ms: args.common.timeout,
        rate: args.rate.clone().map(|rate| (rate, spacing(args))),
        seed: args.common.seed,
        check: args.check,
        replay: targets.replay,
        ranges,
        urls: targets.urls,
        notes: targets.notes,
        ..defaults
    })
}

pub(super) fn spacing(args: &LoadArgs) -> Spacing {
    match args.poisson {
        true => Spacing::Poisson,
        false => Spacing::Constant,
    }
}

/// The ranges of the load. Asks the server for the objects' sizes.
fn ranges(
    args: &LoadArgs,
    spec: RangeSpec,
    addresses: &[Address],
    requests: &[(Prepared, f64)],
) -> Result<Ranges, CommandError> {
    if args.common.writes_field("range") {
        return Err(usage("--ranges writes the Range field; leave out yours"));
    }
    if requests
        .iter()
        .any(|(request, _)| !request.one().starts_with(b"GET "))
    {
        return Err(usage("--ranges needs GET; leave out other methods"));
    }
    let is_player = spec.pattern == RangePattern::Player;
    let paced = args.rate.is_some() || args.find_knee.is_some();
    if is_player && (paced || args.pipeline > 1 || args.connection_per_request) {
        return Err(usage(
            "--ranges player: players set their own pace, one request after the other on one connection; \
             leave out --rate, --find-knee, --pipeline and --connection-per-request",
        ));
    }
    let of_players =
        args.player_bitrate.is_some() || args.player_seek.is_some() || args.player_buffer.is_some();
    if !is_player && of_players {
        return Err(usage("--player-… needs --ranges player"));
    }
    let defaults = PlayerOptions::default();
    Ok(Ranges {
        spec,
        sizes: load::ask_sizes(addresses, requests, spec, args.common.timeout)?,
        player: PlayerOptions {
            bits_per_s: args.player_bitrate,
            seek_ms: args
                .player_seek
                .map_or(defaults.seek_ms, |ms| Some(ms).filter(|ms| *ms > 0)),
            buffer_ms: args.player_buffer.unwrap_or(defaults.buffer_ms),
        },
    })
}

fn body(data: &str) -> Result<Vec<u8>, CommandError> {
    let Some(path) = data.strip_prefix('@') else {
        return Ok(data.as_bytes().to_vec());
    };
    let fail =
        |error: std::io::Error| usage(format_args!("--data: cannot read \"{path}\": {error}"));
    let bytes = std::fs::metadata(path).map_err(fail)?.len();
    if bytes > limits::BODY_BYTES_MAX as u64 {
        return Err(usage(format_args!(
            "--data: \"{path}\" has {bytes} bytes; a body may have {}",
            limits::BODY_BYTES_MAX
        )));
    }
    std::fs::read(path).map_err(fail)
}
