//! `headwater sysctl diff`.

use std::process::ExitCode;

use clap::Args;

use super::profile_args::{Wanted, refuse};
use super::table::{Line, table};
use crate::cli::{print, print_json};

const VERDICTS: &str = "\
VERDICTS:
  same                it has the wanted value
  better than wanted  it stays, unless --allow-lower
  would change        apply would write it
  not on this kernel  there is no such setting, or this network namespace does not show it
  not permitted       this process may not write it
  refused             it must not be set; the reason is given below the table

A - before a key: apply skips it where it can't be set.

EXAMPLES:
  headwater sysctl diff file-server
  headwater sysctl diff ./mine.conf --json";

/// Compare a profile with the host's settings; changes nothing
#[derive(Debug, Args)]
#[command(after_help = VERDICTS)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Print JSON: an array with an object for each setting
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DiffArgs) -> ExitCode {
    match args.wanted.plan() {
        Ok(plan) if args.json => print_json(&plan.rows.iter().map(Line::from).collect::<Vec<_>>()),
        Ok(plan) => print(&table(&plan)),
        Err(error) => refuse(&error),
    }
}
