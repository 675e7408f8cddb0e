//! Common parts of the commands for all kinds of load: flags, and running a plan to its results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::checks::{cpus, processes, within};
use super::error::{CommandError, failed, usage};
use super::hdr::HdrLog;
use super::output::{STDOUT, exit_status, json, writable, write};
use super::progress::show;
use super::signals::Signals;
use super::values::time;
use crate::cli::message::{clear_progress, fail};
use crate::limits::SHARDS_MAX;
use crate::load::rooms::Route;
use crate::load::{Address, ConnectTo, Load, LoadError, Origin, RunSummary, Target};

/// Flags that all kinds of load have.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// Threads, each with its own io_uring and a share of the connections
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub threads: usize,

    /// CPUs for the threads, as taskset takes them
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,

    /// Connect to HOST2:PORT2 where a URL says HOST1:PORT1, which stays the Host field, as with
    /// curl; an empty HOST1 or PORT1 matches any, an empty HOST2 or PORT2 keeps the URL's
    #[arg(long, value_name = "HOST1:PORT1:HOST2:PORT2")]
    connect_to: Vec<ConnectTo>,

    /// Time-out for a connection, and for a request until its whole answer
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    pub timeout: u64,

    /// Seed of the random numbers; runs with the same seed send the same requests
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Header line for every request, such as 'Accept: text/html'; 'Accept:' removes it
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    pub headers: Vec<String>,

    /// Also measure the CPU time of this local server and its children
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,

    /// Write the figures as JSON to this file, - for standard output in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the times of every second to this file, as a histogram log (HdrHistogram's V2 format,
    /// values in milliseconds; a tag for each kind of time)
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,

    /// Write a page with plots and all facts of the run to this file; - for standard output in place
    /// of the table
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

impl CommonArgs {
    /// Checks the flags that all loads have; returns the CPUs of `--cores`.
    pub(crate) fn check(&self) -> Result<Option<Vec<usize>>, CommandError> {
        within("threads", self.threads, SHARDS_MAX)?;
        processes(&self.pid)?;
        self.cores.as_deref().map(cpus).transpose()
    }

    /// The addresses of a server, from `--connect-to` if that names it.
    pub(crate) fn addresses(&self, origin: &Origin) -> Result<Vec<Address>, CommandError> {
        let to = ConnectTo::apply(&self.connect_to, origin);
        let addresses = to.resolve().map_err(|error| LoadError::Resolve {
            host: to.host.clone(),
            error,
        })?;
        Ok(addresses)
    }

    /// A server's path with the server's addresses.
    pub(crate) fn route(&self, target: Target) -> Result<Route, CommandError> {
        let addresses = self.addresses(&target.origin)?;
        Ok(Route { addresses, target })
    }

    /// Whether a header line sets that field.
    pub(crate) fn writes_field(&self, name: &str) -> bool {
        let names = self
            .headers
            .iter()
            .filter_map(|line| line.split(':').next());
        names
            .into_iter()
            .any(|written| written.trim().eq_ignore_ascii_case(name))
    }

    fn outputs(&self) -> impl Iterator<Item = &Path> {
        let outputs = [&self.json, &self.report].into_iter().flatten();
        outputs.map(PathBuf::as_path)
    }
}

/// A measurement: handles the signals, and shows and logs every second of one load or several.
pub(super) struct Session {
    signals: Signals,
    log: Option<HdrLog>,
}

impl Session {
    fn begin(common: &CommonArgs) -> Result<Self, CommandError> {
        let log = common.hdr.as_deref().map(HdrLog::create).transpose();
        let log = log.map_err(failed)?;
        for path in common.outputs() {
            writable(path).map_err(failed)?;
        }
        let signals = Signals::take()?;
        Ok(Self { signals, log })
    }

    /// Runs a load to its end.
    pub(crate) fn run<S>(&mut self, load: Load<S>) -> Result<S, LoadError> {
        self.signals.stop(load.stopper());
        let summary = load.finish(|progress| {
            show(progress);
            if let Some(log) = &mut self.log {
                log.write(progress.at_s, progress.length_s, &progress.histograms);
            }
        });
        clear_progress();
        summary
    }
}

/// Makes a plan, runs it, and writes the table and the files.
pub(super) fn run<P, S: RunSummary>(
    common: &CommonArgs,
    plan: impl FnOnce() -> Result<P, CommandError>,
    measure: impl FnOnce(P, &mut Session) -> Result<S, CommandError>,
) -> ExitCode {
    match try_run(common, plan, measure).and_then(|summary| finish(common, &summary)) {
        Ok(status) => ExitCode::from(status),
        Err(CommandError::Usage(text)) => fail(&text, 2),
        Err(CommandError::Failed(text)) => fail(&text, 1),
        Err(CommandError::Load(error)) => fail(&error, 1),
    }
}

fn try_run<P, S: RunSummary>(
    common: &CommonArgs,
    plan: impl FnOnce() -> Result<P, CommandError>,
    measure: impl FnOnce(P, &mut Session) -> Result<S, CommandError>,
) -> Result<S, CommandError> {
    if common
        .outputs()
        .filter(|path| path.as_os_str() == STDOUT)
        .count()
        > 1
    {
        return Err(usage(
            "--json and --report cannot both go to standard output",
        ));
    }
    let plan = plan()?;
    let mut session = Session::begin(common)?;
    let mut summary = measure(plan, &mut session)?;
    if let Some(log) = session.log {
        log.finish().map_err(failed)?;
    }
    summary.set_command(std::env::args().collect::<Vec<_>>().join(" "));
    Ok(summary)
}

/// Writes the results; returns the exit status.
fn finish(common: &CommonArgs, summary: &impl RunSummary) -> Result<u8, CommandError> {
    // The table is printed first, so that it is there even if the disk is full.
    if common.outputs().all(|path| path.as_os_str() != STDOUT) {
        write(Path::new(STDOUT), Ok(summary.to_string())).map_err(failed)?;
    }
    if let Some(path) = &common.json {
        write(path, json(summary)).map_err(failed)?;
    }
    if let Some(path) = &common.report {
        write(path, Ok(summary.page())).map_err(failed)?;
    }
    Ok(exit_status(
        summary.verdict(),
        summary.interrupted(),
        summary.has_errors(),
    ))
}
