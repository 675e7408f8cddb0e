//! Arguments that several commands share: a profile, where the settings are, where snapshots are kept.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::fail;
use crate::tuning::sysctl::{Machine, Plan, ProcSys, Profile, STATE_DIR, State};

/// The tree of settings.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// The tree of settings to use, if not the kernel's own
    #[arg(long, value_name = "DIR", env = "HEADWATER_PROC_SYS", default_value = ProcSys::ROOT)]
    proc_sys: PathBuf,
}

impl Where {
    pub(super) fn settings(&self) -> ProcSys {
        ProcSys::new(&self.proc_sys)
    }
}

/// The folder of snapshots.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// Folder for snapshots of the settings before they are changed
    #[arg(long, value_name = "DIR", env = "HEADWATER_STATE_DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl Keep {
    pub(super) fn state(&self) -> Result<State, String> {
        State::new(&self.state_dir)
            .map_err(|e| format!("cannot tell which network namespace this is: {e}"))
    }
}

/// A profile to compare with the host's settings.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// A profile's name (see headwater sysctl list) or the path of a file
    profile: String,
    /// Take the profile's value even where the host's is better
    #[arg(long)]
    allow_lower: bool,
    #[command(flatten)]
    pub(super) place: Where,
}

impl Wanted {
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let profile = load(&self.profile)?;
        Ok(Plan::new(profile, &self.place.settings(), self.allow_lower))
    }
}

pub(super) fn load(name: &str) -> Result<Profile, String> {
    let machine = Machine::read("/proc".as_ref())
        .map_err(|e| format!("cannot read how much memory the host has from /proc: {e}"))?;
    Profile::load(name, machine).map_err(|e| e.to_string())
}

pub(super) fn refuse(error: &impl Display) -> ExitCode {
    fail(error, 1)
}
