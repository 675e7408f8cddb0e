//! `headwater load compare`: two runs side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::de::DeserializeOwned;

use super::{STDOUT, write};
use crate::cli::fail;
use crate::limits;
use crate::load::{self, ComparisonReport, Summary};

/// Put two runs side by side: which differences are larger than the noise?
///
/// The noise is what the seconds of each run differ by. Both files are what --json has written.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The run to compare with
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The run to compare
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// Write a page with both runs over each other to this file; - for standard output in place of the
    /// table
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Prints the comparison.
pub(super) fn run(args: &CompareArgs) -> ExitCode {
    let (a, b): (Summary, Summary) = match (read(&args.a), read(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(text), _) | (_, Err(text)) => return fail(&text, 1),
    };
    let (name_a, name_b) = (args.a.to_string_lossy(), args.b.to_string_lossy());
    let comparison = load::compare((&name_a, &a), (&name_b, &b));
    let stdout = Path::new(STDOUT);
    let page = args.report.as_deref();
    let written = page.map_or(Ok(()), |path| {
        write(path, Ok(ComparisonReport(&comparison).to_string()))
    });
    let table = match page == Some(stdout) {
        true => Ok(()),
        false => write(stdout, Ok(comparison.to_string())),
    };
    match table.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text, 1),
    }
}

/// The summary in a file.
pub(super) fn read<S: DeserializeOwned>(path: &Path) -> Result<S, String> {
    let cannot = |error| format!("cannot read \"{}\": {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > limits::LOAD_JSON_BYTES_MAX {
        return Err(format!(
            "\"{}\" has {bytes} bytes, more than headwater load --json writes",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "\"{}\" is not what headwater load --json writes: {error}",
            path.display()
        )
    })
}
