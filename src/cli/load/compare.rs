//! `headwater load compare`: runs side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{STDOUT, write};
use crate::cli::fail;
use crate::load::{self, AnySummary, ComparisonReport, limits};

/// Compare runs with the first one: which differences are larger than the noise?
///
/// The noise is the variation between the seconds of each run. The files are written by --json: of
/// requests, of rooms, or of live readers, all of one kind.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The run to compare with, then the runs to compare
    #[arg(value_name = "RUN.json", num_args = 2.., required = true)]
    runs: Vec<PathBuf>,
    /// Write a page with all runs over each other to this file; - for standard output in place of the
    /// table
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Prints the comparison.
pub(super) fn run(args: &CompareArgs) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text, 1),
    }
}

fn try_run(args: &CompareArgs) -> Result<(), String> {
    let runs: Vec<AnySummary> = args
        .runs
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let names: Vec<_> = args
        .runs
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    let named = names.iter().map(|name| &**name).zip(&runs).collect();
    let comparison = load::compare(named).map_err(|error| error.to_string())?;
    let stdout = Path::new(STDOUT);
    if args.report.as_deref() != Some(stdout) {
        write(stdout, Ok(comparison.to_string()))?;
    }
    match &args.report {
        Some(path) => write(path, Ok(ComparisonReport(&comparison).to_string())),
        None => Ok(()),
    }
}

/// The summary in a file.
pub(super) fn read(path: &Path) -> Result<AnySummary, String> {
    let cannot = |error| format!("cannot read \"{}\": {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > limits::JSON_BYTES_MAX {
        return Err(format!(
            "\"{}\" has {bytes} bytes, more than headwater load --json writes",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    AnySummary::from_json(&text).map_err(|error| {
        format!(
            "\"{}\" is not what headwater load --json writes: {error}",
            path.display()
        )
    })
}
