//! `headwater sysctl`: the kernel's settings by profile.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::fail;
use crate::tuning::sysctl::{Machine, Plan, ProcSys, Profile, STATE_DIR, State};

mod apply;
mod check;
mod diff;
mod list;
mod persist;
mod revert;
mod show;
mod table;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater sysctl list                        the profiles there are
  headwater sysctl diff file-server            what one of them would change here
  headwater sysctl apply file-server           the same, and what it would write where
  headwater sysctl apply file-server --yes     change it, until the host restarts
  headwater sysctl revert                      put everything back
  headwater sysctl persist file-server         change it at every start of the host
  headwater sysctl check file-server --json    for a monitor

PROFILE is a name of the list or the path of a file in the form of sysctl.d(5): ./mine.conf";

/// Show, apply and take back profiles of the kernel's settings
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

/// Where the settings are.
#[derive(Debug, Args)]
struct Where {
    /// The tree of settings to use, if not the kernel's own
    #[arg(long, value_name = "DIR", env = "HEADWATER_PROC_SYS", default_value = ProcSys::ROOT)]
    proc_sys: PathBuf,
}

impl Where {
    fn settings(&self) -> ProcSys {
        ProcSys::new(&self.proc_sys)
    }
}

/// Where snapshots are kept.
#[derive(Debug, Args)]
struct Keep {
    /// Folder for what the settings were before they were changed
    #[arg(long, value_name = "DIR", env = "HEADWATER_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl Keep {
    fn state(&self) -> Result<State, String> {
        State::new(&self.state_dir)
            .map_err(|e| format!("cannot tell which network namespace this is: {e}"))
    }
}

/// A profile, beside what the host has.
#[derive(Debug, Args)]
struct Wanted {
    /// A profile's name (see headwater sysctl list) or the path of a file
    profile: String,
    /// Take the profile's value also where the host's own is better
    #[arg(long)]
    allow_lower: bool,
    #[command(flatten)]
    place: Where,
}

impl Wanted {
    fn plan(&self) -> Result<Plan, String> {
        let profile = load(&self.profile)?;
        Ok(Plan::new(profile, &self.place.settings(), self.allow_lower))
    }
}

fn load(name: &str) -> Result<Profile, String> {
    let machine = Machine::read("/proc".as_ref())
        .map_err(|e| format!("cannot read how much memory the host has from /proc: {e}"))?;
    Profile::load(name, machine).map_err(|e| e.to_string())
}

fn refuse(error: &impl Display) -> ExitCode {
    fail(error, 1)
}
