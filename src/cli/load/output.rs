//! Writes the results of a load: a table, files, and the exit status.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::cli::message::write_report;
use crate::load::Verdict;

/// The file that is standard output.
pub(super) const STDOUT: &str = "-";

/// A summary as `--json` writes it.
pub(super) fn json(summary: &impl Serialize) -> std::io::Result<String> {
    Ok(serde_json::to_string_pretty(summary)? + "\n")
}

/// Writes a text to a file, or to standard output.
pub(super) fn write(path: &Path, made: std::io::Result<String>) -> Result<(), String> {
    let stdout = path.as_os_str() == STDOUT;
    made.and_then(|text| match stdout {
        // A reader that closes early (`| head`) does not change the load's result.
        true => write_report(&text).or_else(|error| match error.kind() {
            ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        }),
        false => std::fs::write(path, text),
    })
    .map_err(|error| match stdout {
        true => format!("cannot write to standard output: {error}"),
        false => cannot_write(path, &error),
    })
}

/// Whether a file can be written; checked before the load, which may take hours.
pub(super) fn writable(path: &Path) -> Result<(), String> {
    if path.as_os_str() == STDOUT {
        return Ok(());
    }
    let options = &mut std::fs::OpenOptions::new();
    let opened = options.create(true).append(true).open(path);
    opened.map(drop).map_err(|error| cannot_write(path, &error))
}

pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write \"{}\": {error}", path.display())
}

/// The exit status of a load that was measured.
pub(super) fn exit_status(verdict: Verdict, interrupted: bool, failed: bool) -> u8 {
    match verdict {
        _ if interrupted => 130,
        _ if failed => 3,
        Verdict::Good => 0,
        Verdict::Errors => 3,
        Verdict::RateNotReached => 4,
        Verdict::SaturatedClient => 5,
    }
}
