//! `headwater sysctl`: the kernel's settings by profile.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod apply;
mod check;
mod diff;
mod list;
mod persist;
mod profile_args;
mod revert;
mod show;
mod table;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater sysctl list                        the names of the profiles
  headwater sysctl diff file-server            what a profile would change on this host
  headwater sysctl apply file-server           the same, with the snapshot's path
  headwater sysctl apply file-server --yes     set the profile, until the host restarts
  headwater sysctl revert                      restore all settings
  headwater sysctl persist file-server --yes   set it at every start of the host
  headwater sysctl check file-server --json    for a monitor

PROFILE is a name of the list or the path of a file in the form of sysctl.d(5): ./mine.conf";

/// Show, apply and revert profiles of the kernel's settings
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct SysctlArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Diff(diff::DiffArgs),
    Apply(apply::ApplyArgs),
    Check(check::CheckArgs),
    Revert(revert::RevertArgs),
    Persist(persist::PersistArgs),
}

/// Runs the command.
pub fn run(args: &SysctlArgs) -> ExitCode {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Check(args) => check::run(args),
        Command::Revert(args) => revert::run(args),
        Command::Persist(args) => persist::run(args),
    }
}
