//! Makes a plan of the command line.

use std::net::SocketAddr;

use super::args::LoadArgs;
use super::targets::targets;
use crate::cli::resolve;
use crate::limits;
use crate::load::{
    self, LoadError, Plan, PlayerOptions, Prepared, RangePattern, RangeSpec, Ranges, RequestSpec,
    Spacing,
};
use crate::sys::{cpu, process};

/// Length of a load that looks for the knee.
const KNEE_STEP_NS: u64 = 3_000_000_000;

/// Why no plan can be made of the command line.
pub(super) enum Refusal {
    Usage(String),
    /// What was asked for can't be done.
    Failed(String),
    Load(LoadError),
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

pub(super) fn usage(error: impl ToString) -> Refusal {
    Refusal::Usage(error.to_string())
}

pub(super) fn failed(error: impl ToString) -> Refusal {
    Refusal::Failed(error.to_string())
}

pub(super) fn plan(args: &LoadArgs) -> Result<Plan, Refusal> {
    within(
        "connections",
        args.connections,
        limits::LOAD_CONNECTIONS_MAX,
    )?;
    within("threads", args.threads, limits::SHARDS_MAX)?;
    within("pipeline", args.pipeline, limits::LOAD_PIPELINE_MAX)?;
    let cpus = args.cores.as_deref().map(cpus).transpose()?;
    processes(&args.pid)?;
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
    let targets = targets(args, &spec)?;
    let origin = &targets.origin;
    let addresses = origin.resolve().map_err(|error| LoadError::Resolve {
        host: origin.host.clone(),
        error,
    })?;
    let ranges = args
        .ranges
        .map(|spec| ranges(args, spec, &addresses, &targets.requests))
        .transpose()?;
    let defaults = Plan::new(addresses, targets.requests);
    Ok(Plan {
        connections: args.connections,
        threads: args.threads.min(args.connections),
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
            // A log at a rate is gone through once, unless more is asked for.
            None => args.requests.or(targets.length),
            Some(_) => args.requests,
        },
        timeout_ms: args.timeout,
        rate: args.rate.clone().map(|rate| (rate, spacing(args))),
        seed: args.seed,
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

/// How ranges are asked for. Asks the server what there is.
fn ranges(
    args: &LoadArgs,
    spec: RangeSpec,
    addresses: &[SocketAddr],
    requests: &[(Prepared, f64)],
) -> Result<Ranges, Refusal> {
    let is_range = |line: &String| {
        let name = line.split(':').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("range")
    };
    if args.headers.iter().any(is_range) {
        return Err(usage("--ranges writes the Range field; leave out yours"));
    }
    if requests
        .iter()
        .any(|(request, _)| !request.one().starts_with(b"GET "))
    {
        return Err(usage("--ranges is about GET; leave out other methods"));
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
        return Err(usage("--player-… is about --ranges player"));
    }
    let defaults = PlayerOptions::default();
    Ok(Ranges {
        spec,
        sizes: load::ask_sizes(addresses, requests, spec, args.timeout)?,
        player: PlayerOptions {
            bits_per_s: args.player_bitrate,
            seek_ms: args
                .player_seek
                .map_or(defaults.seek_ms, |ms| Some(ms).filter(|ms| *ms > 0)),
            buffer_ms: args.player_buffer.unwrap_or(defaults.buffer_ms),
        },
    })
}

/// Whether these processes are there.
pub(super) fn processes(pids: &[u32]) -> Result<(), Refusal> {
    match pids.iter().find(|&&pid| !process::exists(pid)) {
        Some(pid) => Err(usage(format_args!("--pid: there is no process {pid}"))),
        None => Ok(()),
    }
}

pub(super) fn within(flag: &str, value: usize, max: usize) -> Result<(), Refusal> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(usage(format_args!(
            "--{flag}: {value} is out of range; choose from 1 to {max}"
        ))),
    }
}

pub(super) fn cpus(list: &str) -> Result<Vec<usize>, Refusal> {
    let cpus = cpu::parse_list(list).map_err(|error| usage(format_args!("--cores: {error}")))?;
    let allowed = cpu::allowed().map_err(|error| LoadError::Io {
        what: "asking for the allowed CPUs",
        error,
    })?;
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(cpus),
        Some(cpu) => Err(usage(format_args!(
            "--cores: this process may not run on CPU {cpu}; choose from {}",
            resolve::ranges(&allowed)
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
