//! The URLs that a load requests: from the command line, a file, or a log.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::args::LoadArgs;
use super::error::{CommandError, usage};
use crate::load::limits;
use crate::load::{self, ListedUrl, Log, Origin, Prepared, Replay, RequestSpec, Target};

/// The requests of a load, all to one server.
pub(super) struct Targets {
    pub origin: Origin,
    pub requests: Vec<(Prepared, f64)>,
    /// The URLs of the first ones, for a report.
    pub urls: Vec<String>,
    pub replay: Option<Replay>,
    /// The duration of a log replayed at its recorded times, or its number of requests at a rate.
    pub length_ns: Option<u64>,
    pub length: Option<u64>,
    pub notes: Vec<String>,
}

/// Reads the URLs that the command line names.
pub(super) fn targets(args: &LoadArgs, spec: &RequestSpec) -> Result<Targets, CommandError> {
    match (&args.urls_file, &args.replay) {
        (Some(path), _) => {
            let server = server(args, "--urls")?;
            let listed = load::read_urls(open("--urls", path)?, server.as_ref())
                .map_err(|error| usage(format_args!("{}{error}", name(path))))?;
            of_list(listed, spec, args.pipeline)
        }
        (None, Some(path)) => replayed(path, args, spec),
        (None, None) => of_list(on_the_command_line(args)?, spec, args.pipeline),
    }
}

fn on_the_command_line(args: &LoadArgs) -> Result<Vec<ListedUrl>, CommandError> {
    let (urls, weights) = (&args.urls, &args.weights);
    if !weights.is_empty() && weights.len() != urls.len() {
        return Err(usage(format_args!(
            "--weights has {} numbers for {} URLs; write one for each, such as --weights 3,1",
            weights.len(),
            urls.len()
        )));
    }
    let mut listed: Vec<ListedUrl> = Vec::with_capacity(urls.len());
    for (at, url) in urls.iter().enumerate() {
        let target = Target::parse(url).map_err(usage)?;
        if let Some(first) = listed.first()
            && first.target.origin != target.origin
        {
            return Err(usage(format_args!(
                "the URLs are of two servers, {} and {}; run one load for each",
                first.target.origin, target.origin
            )));
        }
        listed.push(ListedUrl {
            method: None,
            target,
            weight: weights.get(at).copied().unwrap_or(1.0),
        });
    }
    Ok(listed)
}

fn of_list(
    listed: Vec<ListedUrl>,
    spec: &RequestSpec,
    pipeline: usize,
) -> Result<Targets, CommandError> {
    let Some(first) = listed.first() else {
        return Err(usage("name a URL"));
    };
    let origin = first.target.origin.clone();
    let copies = match listed.len() <= limits::BURST_URLS_MAX {
        true => pipeline,
        false => 1,
    };
    let mut urls = Vec::new();
    let mut requests = Vec::with_capacity(listed.len());
    for url in &listed {
        let mut own;
        let spec = match &url.method {
            None => spec,
            Some(method) => {
                own = spec.clone();
                own.method = Some(method.clone());
                // A list may mix methods; the body is sent only with those that have one.
                if matches!(method.as_str(), "GET" | "HEAD") {
                    own.body = None;
                }
                &own
            }
        };
        let prepared = Prepared::new(&url.target, spec, copies).map_err(usage)?;
        if urls.len() < limits::URLS_LISTED_MAX {
            let method = url.method.as_ref().filter(|method| *method != "GET");
            let method = method.map_or_else(String::new, |method| format!("{method} "));
            urls.push(format!("{method}{}", url.target.url()));
        }
        requests.push((prepared, url.weight));
    }
    Ok(Targets {
        origin,
        requests,
        urls,
        replay: None,
        length_ns: None,
        length: None,
        notes: Vec::new(),
    })
}

fn replayed(path: &Path, args: &LoadArgs, spec: &RequestSpec) -> Result<Targets, CommandError> {
    let Some(origin) = server(args, "--replay")? else {
        return Err(usage(
            "--replay needs the server that the log's requests go to, such as http://localhost:8080",
        ));
    };
    if spec.method.is_some() || spec.body.is_some() {
        return Err(usage(
            "--replay sends what the log has; leave out --method and --data",
        ));
    }
    let log = Log::read(BufReader::new(open("--replay", path)?))
        .map_err(|error| usage(format_args!("{}{error}", name(path))))?;
    let listed = log.requests.iter().map(|request| {
        let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
        ListedUrl {
            method: Some(method.to_owned()),
            target: Target {
                origin: origin.clone(),
                path: path.to_owned(),
            },
            weight: 1.0,
        }
    });
    let mut targets = of_list(listed.collect(), spec, args.pipeline)?;
    targets.notes = log.notes();
    match args.rate {
        Some(_) => {
            targets.replay = Some(log.in_order());
            targets.length = Some(log.len() as u64);
        }
        None => {
            let speed = args.speed.unwrap_or(1.0);
            targets.replay = Some(log.at_its_times(speed));
            targets.length_ns = Some(log.length_ns(speed));
        }
    }
    Ok(targets)
}

/// The server that the command line names for the paths of a file.
fn server(args: &LoadArgs, flag: &str) -> Result<Option<Origin>, CommandError> {
    match &args.urls[..] {
        [] => Ok(None),
        [url] => Ok(Some(Target::parse(url).map_err(usage)?.origin)),
        _ => Err(usage(format_args!(
            "{flag}: what to ask for is in the file; the command line names its server alone, \
             such as http://localhost:8080"
        ))),
    }
}

fn open(flag: &str, path: &Path) -> Result<Box<dyn Read>, CommandError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(usage(format_args!(
            "{flag}: cannot read \"{}\": {error}",
            path.display()
        ))),
    }
}

fn name(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}
