//! `headwater load compare`: two runs side by side.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::fail;
use crate::load::{self, Summary};

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
}

/// Prints the comparison.
pub(super) fn run(args: &CompareArgs) -> ExitCode {
    let (a, b) = match (read(&args.a), read(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(text), _) | (_, Err(text)) => return fail(&text, 1),
    };
    let (name_a, name_b) = (args.a.to_string_lossy(), args.b.to_string_lossy());
    let comparison = load::compare((&name_a, &a), (&name_b, &b));
    match write!(std::io::stdout(), "{comparison}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("cannot write to standard output: {error}"), 1),
    }
}

fn read(path: &Path) -> Result<Summary, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read \"{}\": {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "\"{}\" is not what headwater load --json writes: {error}",
            path.display()
        )
    })
}
