//! `headwater serve`: serve a folder.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Args;

use super::flags::FieldFlags;
use super::resolve::{Resolved, ranges, resolve};
use super::{fail, print, say};
use crate::config::{self, Config, ConfigError, Effective, FlagValue};
use crate::limits;
use crate::observe::access_log::AccessLog;
use crate::server::Stopper;
use crate::server::file_service::{self, Placement};
use crate::sys::signal::{self, Signal};
use crate::tuning::doctor::{self, Asked, Host};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater serve                              this folder on port 8080
  headwater serve dist --port 3000 --preset spa,immutable-assets
  headwater serve /srv/videos -p 80 --browse --preset hls
  headwater serve /srv --listen 127.0.0.1:8080 --listen unix:/run/headwater.sock
  headwater serve /srv --cores 0-3 --cache-bytes 256MiB
  headwater serve /srv --access-log /var/log/headwater.log --access-log-format json
  headwater serve --cors https://player.example --header '*.mp4: Cache-Control: max-age=3600'
  headwater serve --config /etc/headwater.toml --check

Sizes are written 64KiB, 1MB or 4096, times 75s, 500ms or 2m.
Every flag has a variable (--idle-timeout is HEADWATER_IDLE_TIMEOUT, DIR is HEADWATER_ROOT) \
and a key in the file; a flag wins over a variable, and a variable over the file.
PORT=8080 means --listen :8080 when neither a flag nor HEADWATER_LISTEN names an address.";

/// Serve a folder over HTTP
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Port to listen on at every address: short for --listen :PORT
    #[arg(
        short,
        long,
        value_name = "PORT",
        conflicts_with = "listen",
        help_heading = "Listening"
    )]
    port: Option<u16>,

    /// Read this TOML file [env: HEADWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check the configuration and the folder, then exit
    #[arg(long)]
    check: bool,

    /// Print the configuration in effect as TOML, then exit
    #[arg(long, conflicts_with = "check")]
    print_config: bool,

    #[command(flatten)]
    fields: FieldFlags,
}

/// Builds the configuration of `args` and the environment as `env` answers for it.
///
/// # Errors
/// As [`config::read`].
pub fn config_from(
    args: &ServeArgs,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Effective, ConfigError> {
    let mut flags = args.fields.given.clone();
    flags.extend(args.port.and_then(FlagValue::port));
    config::read(&flags, env, args.config.as_deref())
}

/// Runs the command until the server stops.
pub fn run(args: &ServeArgs) -> ExitCode {
    let effective = match config_from(args, |name| std::env::var_os(name)) {
        Ok(effective) => effective,
        Err(error) => return refuse(&error),
    };
    if args.print_config {
        return print(&effective.to_toml());
    }
    let resolved = match effective.check_folders().and_then(|()| resolve(&effective)) {
        Ok(resolved) => resolved,
        Err(error) => return refuse(&error),
    };
    if args.check {
        let server = &effective.config.server;
        let root = std::path::absolute(&server.root).unwrap_or_else(|_| server.root.clone());
        return print(&format!(
            "headwater: the configuration is good: \"{}\" on {}, CPUs {}\n",
            root.display(),
            server.listen.join(", "),
            ranges(&resolved.cpus)
        ));
    }
    serve(&effective.config, resolved)
}

fn serve(config: &Config, resolved: Resolved) -> ExitCode {
    // Before the first thread starts, so that all threads leave the signals to the one that waits.
    if let Err(error) = signal::block() {
        return fail(&format_args!("cannot take over the signals: {error}"), 1);
    }
    let Resolved {
        listen,
        admin,
        cpus,
        task_cpus,
    } = resolved;
    let shards = cpus.clone();
    let (running, banner) = match file_service::start(
        config,
        Placement {
            listen,
            admin,
            cpus,
            task_cpus,
        },
        say,
    ) {
        Ok(started) => started,
        Err(error) => return fail(&error, 1),
    };
    say(format_args!("{banner}"));
    for finding in doctor::examine_at_start(&host(shards, config)) {
        say(format_args!(
            "warning: {}: {}",
            finding.area,
            finding.sentence()
        ));
    }
    let stopper = running.stopper();
    let drain_ms = config.timeouts.drain_ms;
    let access_log = running.access_log();
    thread::spawn(move || obey_signals(&stopper, drain_ms, access_log.as_ref()));
    match running.join() {
        Ok(end) => {
            if end.cut.total() > 0 {
                say(format_args!("headwater: {}", end.cut));
            }
            if !end.tasks.is_clean() {
                say(format_args!("headwater: {}", end.tasks));
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, 1),
    }
}

/// This host, as described by its files in /proc and /sys.
fn host(cpus: Vec<usize>, config: &Config) -> Host {
    let asked = Asked {
        cpus,
        backlog: limits::BACKLOG.unsigned_abs(),
        connections: config.limits.connections as u64,
        profile: doctor::PROFILE.to_owned(),
    };
    Host::tree("/", asked)
}

/// The first SIGTERM, SIGINT or SIGQUIT drains, the second ends the server at once. SIGUSR1 reopens
/// the access log.
fn obey_signals(stopper: &Stopper, drain_ms: u64, access_log: Option<&AccessLog>) {
    while let Ok(signal) = signal::wait() {
        match signal {
            Signal::Terminate | Signal::Interrupt | Signal::Quit if stopper.is_draining() => {
                say(format_args!("headwater: ending now"));
                return stopper.now();
            }
            Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                stopper.drain();
                say(format_args!(
                    "headwater: stopping: finishing what runs, for at most {} s; \
                     a second signal ends it now",
                    drain_ms.div_ceil(1000)
                ));
            }
            Signal::Hangup => {
                say(format_args!(
                    "headwater: SIGHUP: the configuration is read at the start only; restart to change it"
                ));
            }
            Signal::User1 => access_log.into_iter().for_each(AccessLog::reopen),
            Signal::User2 => {}
        }
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    fail(error, if error.is_usage() { 2 } else { 1 })
}
