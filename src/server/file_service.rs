//! A folder as a service, and a server built from the configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::banner::Banner;
use super::error::ServeError;
use super::observation::Observation;
use super::options::ServerOptions;
use super::response_rules::{RuleError, response_rules};
use super::service::{Request, Service};
use super::start::{RunningServer, Server};
use super::task_pool::start_pool;
use crate::config::{CONGESTION_AUTO, Config, ETAG_MTIME};
use crate::files::{EtagMode, Files, FilesOptions, SharedWork, Watches};
use crate::http::mime::Types;
use crate::http::rules::ResponseRules;
use crate::http::{Coding, Head, ParseLimits, Response};
use crate::keepalive::{Policy, check};
use crate::limits;
use crate::net::activation;
use crate::net::address::ListenAddr;
use crate::net::listener::ListenerGroup;
use crate::net::options::ListenOptions;
use crate::net::retry::BindDeadline;
use crate::observe::Recorder;
use crate::observe::access_log::{
    self, AccessLog, Destination, Format, FormatError, QueryRule, Report, Rotation,
};
use crate::sys;
use crate::tasks::{Pool, SchedTrace};

/// Serves a folder.
struct FileService(Files);

impl Service for FileService {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        self.0.try_respond(head)
    }

    async fn call(&self, request: Request<'_>) -> Response {
        self.0.respond(&request.head).await
    }

    fn refused(&self, head: Option<&Head<'_>>, response: Response) -> Response {
        self.0.finish_refusal(head, response)
    }
}

/// An address to listen on, with its keepalive policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where to accept connections.
    pub address: ListenAddr,
    /// What to do about silent peers of the connections accepted there.
    pub keepalive: Policy,
}

/// Where a server listens and which CPUs it uses, resolved from the configuration's texts.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Addresses to bind; not bound where the service manager passes sockets (sd_listen_fds(3)).
    pub listen: Vec<Listen>,
    /// Address of the admin pages; `None`: there are none.
    pub admin: Option<ListenAddr>,
    /// CPUs of the shards, by number; each gets one pinned shard.
    pub cpus: Vec<usize>,
    /// CPUs that every thread of the task pool may use; one worker each if `tasks.workers` is 0.
    pub task_cpus: Vec<usize>,
}

/// Checks the rules about responses, which [`start`] reads again.
///
/// # Errors
/// The first text that can't be used.
pub fn check_rules(config: &Config) -> Result<(), RuleError> {
    response_rules(&config.responses).map(drop)
}

/// Binds and starts the server that a configuration describes.
///
/// # Errors
/// Everything that keeps it from serving: an address in use, a folder that
/// can't be opened, a driver that was asked for and that the host does not allow.
///
/// While it runs, what an operator should know is passed to `report`, a line at a time.
pub fn start(
    config: &Config,
    placement: Placement,
    report: impl Fn(fmt::Arguments<'_>) + Send + Sync + 'static,
) -> Result<(RunningServer, Banner), ServeError> {
    let (_, descriptors) = sys::rlimit::raise_open_files().map_err(|e| {
        ServeError::Service(format!("raising the limit of descriptors failed: {e}"))
    })?;
    let rules =
        response_rules(&config.responses).map_err(|e| ServeError::Service(e.to_string()))?;
    let mut options = server_options(config);
    let room = connections_room(config, placement.cpus.len(), descriptors);
    options.connections_max = options.connections_max.min(room);
    let deadline = BindDeadline::start();
    let (groups, ignored) = listeners(config, &placement, deadline)?;
    let server = Server::with_groups(placement.cpus.clone(), groups, options.clone())?;
    // Checked with the configuration.
    let driver = config.server.driver.as_deref();
    let driver = driver.and_then(|name| name.parse().ok());
    let mut server = server.with_driver(driver.unwrap_or_default());
    if let Some(admin) = &placement.admin {
        server = server.with_admin_until(deadline, admin)?;
    }
    let mut observation = observation(config, report);
    let access_log = access_log(config, placement.cpus.len(), &observation.report)?;
    if let Some(log) = access_log {
        server = server.with_access_log(log);
    }
    let pool = start_pool(&config.tasks, &placement.task_cpus, &observation.recorder)?;
    start_trace(config, &pool, &observation.report);
    let shared_work = Arc::new(SharedWork::new(&pool.handle())?);
    let watches = Arc::clone(shared_work.watches());
    observation.watches = Some(Arc::clone(&watches));
    server = server.observed(observation).with_tasks(pool);
    let root = config.server.root.clone();
    let shown = std::path::absolute(&root).unwrap_or_else(|_| root.clone());
    let mut banner = Banner {
        driver: None,
        addresses: server.addresses(),
        admin: server.admin_address(),
        access_log: shown_access_log(config),
        root: shown.display().to_string(),
        cpus: placement.cpus.clone(),
        kernel: sys::probe::kernel_release().unwrap_or_else(|_| "unknown".to_owned()),
        connections_max: options.connections_max,
        descriptors,
        idle_timeout_ms: options.idle_timeout_ms,
        warnings: ignored
            .into_iter()
            .chain(server.warnings())
            .chain(link_warning(config))
            .chain(keepalive_warnings(&placement.listen))
            .chain(watch_warning(&watches))
            .collect(),
    };
    let mut files = files_options(config, rules);
    // Cached files may take half of the descriptors that connections leave.
    let spare = usize::try_from(descriptors).unwrap_or(usize::MAX) - room;
    files.cache_files = files
        .cache_files
        .min(spare / 2 / placement.cpus.len().max(1));
    let running = server.start(move |shard| {
        let files = Files::new(shard, &root, files.clone(), &shared_work);
        files
            .map(FileService)
            .map_err(|e| ServeError::Service(e.to_string()))
    })?;
    banner.driver = running.driver();
    Ok((running, banner))
}

/// The sockets to listen on: those that the service manager passed, else those of the
/// configuration. With the former comes a warning if the configuration names addresses too.
fn listeners(
    config: &Config,
    placement: &Placement,
    deadline: BindDeadline,
) -> Result<(Vec<ListenerGroup>, Option<String>), ServeError> {
    let options = listen_options(config, &placement.cpus);
    let inherited = activation::inherited(placement.cpus.len(), &options)
        .map_err(|e| ServeError::Service(e.to_string()))?;
    match inherited.is_empty() {
        true => Ok((bind(placement, &options, deadline)?, None)),
        false => Ok((inherited, ignored_listen(config))),
    }
}

/// How many connections the limit of descriptors leaves room for: each needs one, and some are for
/// files and the program itself.
fn connections_room(config: &Config, shards: usize, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let cached = shards.saturating_mul(config.cache.files);
    descriptors
        .saturating_sub(cached)
        .saturating_sub(limits::DESCRIPTORS_RESERVED)
        .max(descriptors / 2)
}

fn listen_options(config: &Config, cpus: &[usize]) -> ListenOptions {
    ListenOptions {
        steer_by_cpu: config.server.steer_by_cpu.then(|| cpus.to_vec()),
        congestion: config
            .socket
            .congestion
            .clone()
            .filter(|name| name != CONGESTION_AUTO),
        unpaced_loopback: config.socket.congestion.as_deref() == Some(CONGESTION_AUTO),
        send_buffer_bytes: Some(config.socket.send_buffer_bytes).filter(|&bytes| bytes > 0),
        defer_accept_s: config.socket.defer_accept.then_some(limits::DEFER_ACCEPT_S),
        unix_mode: Some(config.socket.unix_mode),
        keepalive: Some(config.keepalive_policy()),
        ..ListenOptions::default()
    }
}

/// Starts the lines about the pool that --schedtrace asks for, if it does.
fn start_trace(config: &Config, pool: &Pool, report: &Report) {
    if config.observe.schedtrace > 0 {
        let trace = SchedTrace {
            period: Duration::from_millis(config.observe.schedtrace),
            detail: config.observe.scheddetail,
        };
        let report = Arc::clone(report);
        trace.start(&pool.handle(), move |text| {
            text.lines().for_each(|line| report(format_args!("{line}")));
        });
    }
}

fn bind(
    placement: &Placement,
    options: &ListenOptions,
    deadline: BindDeadline,
) -> Result<Vec<ListenerGroup>, ServeError> {
    let groups = placement.listen.iter().map(|listen| {
        let options = ListenOptions {
            keepalive: Some(listen.keepalive),
            ..options.clone()
        };
        Ok(ListenerGroup::bind_until(
            deadline,
            &listen.address,
            placement.cpus.len(),
            &options,
        )?)
    });
    groups.collect()
}

/// Says that addresses were configured which a socket-activated start does not listen on.
fn ignored_listen(config: &Config) -> Option<String> {
    let listen = &config.server.listen;
    (*listen != Config::default().server.listen).then(|| {
        format!(
            "the service manager passed the sockets to listen on, so --listen {} is ignored; \
             set the addresses with ListenStream= in the .socket unit",
            listen.join(", ")
        )
    })
}

/// Says that files outside of the folder may be shown, where they may.
fn link_warning(config: &Config) -> Option<String> {
    let sentence = "symbolic links that lead out of the folder are followed (--follow-links): \
                    anyone who may create links in it can publish any file that this process may read";
    config.server.follow_links.then(|| sentence.to_owned())
}

/// What contradicts itself in the keepalive policies, each sentence once.
fn keepalive_warnings(listen: &[Listen]) -> Vec<String> {
    let mut warnings = Vec::new();
    for listen in listen {
        for finding in check::findings(&listen.keepalive) {
            let sentence = format!("keepalive of {}: {}", listen.address, finding.sentence);
            let said = warnings
                .iter()
                .any(|w: &String| w.ends_with(&finding.sentence));
            if finding.weight == check::Weight::Warning && !said {
                warnings.push(sentence);
            }
        }
    }
    warnings
}

/// Why changes of files are not reported by the kernel, if so.
fn watch_warning(watches: &Watches) -> Vec<String> {
    let sentence = |error: &io::Error| {
        format!(
            "changes of files are noticed by looking only, every cache.revalidate_ms: inotify is \
             not to be had ({error}); raise fs.inotify.max_user_instances"
        )
    };
    watches.error().map(sentence).into_iter().collect()
}

fn observation(
    config: &Config,
    report: impl Fn(fmt::Arguments<'_>) + Send + Sync + 'static,
) -> Observation {
    let observe = &config.observe;
    Observation {
        recorder: Recorder::new(observe.trace_buffer_bytes),
        stall_limit: Some(Duration::from_millis(observe.stall_ms)).filter(|limit| !limit.is_zero()),
        trace_dir: observe.trace_dir.as_ref().map(PathBuf::from),
        report: Arc::new(report),
        ..Observation::default()
    }
}

/// Opens the access log, if there shall be one.
fn access_log(
    config: &Config,
    shards: usize,
    report: &Report,
) -> Result<Option<AccessLog>, ServeError> {
    let log = &config.access_log;
    let Some(file) = &log.file else {
        return Ok(None);
    };
    let options = access_log::Options {
        destination: Destination::from(PathBuf::from(file)),
        format: access_log_format(config).map_err(|e| ServeError::Service(e.to_string()))?,
        query: log
            .query
            .as_deref()
            .and_then(QueryRule::named)
            .unwrap_or_default(),
        rotation: Rotation {
            bytes: Some(log.rotate_bytes).filter(|&bytes| bytes > 0),
            age: Some(Duration::from_millis(log.rotate_age_ms)).filter(|age| !age.is_zero()),
            keep: log.keep,
        },
    };
    match AccessLog::start(options, shards, Arc::clone(report)) {
        Ok(log) => Ok(Some(log)),
        Err(e) => Err(ServeError::Service(e.to_string())),
    }
}

/// The access log as the banner shows it, if there is one.
fn shown_access_log(config: &Config) -> Option<String> {
    let log = &config.access_log;
    let place = match log.file.as_deref()? {
        "-" => "standard output".to_owned(),
        file => std::path::absolute(file)
            .map_or_else(|_| file.to_owned(), |path| path.display().to_string()),
    };
    Some(format!("{place} ({})", format_text(config)))
}

fn format_text(config: &Config) -> &str {
    config.access_log.format.as_deref().unwrap_or("combined")
}

/// The access log's format, understood.
///
/// # Errors
/// What is wrong with it.
pub fn access_log_format(config: &Config) -> Result<Format, FormatError> {
    Format::parse(format_text(config))
}

fn server_options(config: &Config) -> ServerOptions {
    ServerOptions {
        head: ParseLimits {
            head_bytes_max: config.limits.head_bytes,
            headers_max: config.limits.headers,
            uri_bytes_max: config.limits.uri_bytes,
        },
        body_bytes_max: config.limits.body_bytes,
        header_timeout_ms: config.timeouts.header_ms,
        body_timeout_ms: config.timeouts.body_ms,
        body_rate_bytes_per_s_min: config.timeouts.body_rate_bytes_per_s,
        half_close_timeout_ms: config.timeouts.half_close_ms,
        idle_timeout_ms: config.timeouts.idle_ms,
        send_period_ms: config.timeouts.send_period_ms,
        send_rate_bytes_per_s_min: config.timeouts.send_rate_bytes_per_s,
        drain_timeout_ms: config.timeouts.drain_ms,
        connections_max: config.limits.connections,
        connections_per_address_max: config.limits.connections_per_address,
        requests_per_connection_max: config.limits.requests_per_connection,
        adaptive_idle: config.keepalive.adaptive,
    }
}

fn files_options(config: &Config, rules: ResponseRules) -> FilesOptions {
    let compression = &config.compression;
    FilesOptions {
        browse: config.server.browse,
        hidden: config.server.hidden,
        follow_links: config.server.follow_links,
        types: Arc::new(Types::new(&config.types)),
        index: config.server.index.clone(),
        cache_files: config.cache.files,
        cache_bodies_bytes: config.cache.bodies_bytes,
        cache_body_bytes: config.cache.body_bytes,
        revalidate_ms: config.cache.revalidate_ms,
        listing_entries_max: config.server.listing_entries,
        compress: compression.enabled,
        precompressed: compression.precompressed,
        levels: Coding::ALL.map(|coding| match coding {
            Coding::Brotli => compression.brotli_level,
            Coding::Zstd => compression.zstd_level,
            Coding::Gzip => compression.gzip_level,
        }),
        compress_bytes_min: compression.bytes_min,
        compress_bytes_max: compression.bytes_max,
        digests: config.server.digests,
        etag: match config.server.etag.as_deref() {
            Some(ETAG_MTIME) => EtagMode::Mtime,
            _ => EtagMode::Inode,
        },
        work_wait_ms: config.timeouts.work_ms,
        rules: Arc::new(rules),
    }
}
