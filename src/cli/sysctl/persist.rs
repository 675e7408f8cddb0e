//! `headwater sysctl persist`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::profile_args::{Where, load, refuse};
use crate::cli::print;
use crate::tuning::sysctl::{PERSIST_PATH, Plan, persist, persisted, unpersist};

const NOTES: &str = "\
The file holds the profile with its comments and with the values that apply would give this host: \
computed from its memory, and never worse than its present ones. systemd-sysctl and sysctl --system \
read it at every start. Without --yes it is shown and not written. It changes nothing now: see apply.

EXAMPLES:
  headwater sysctl persist file-server
  headwater sysctl persist file-server --yes
  headwater sysctl persist file-server --yes --output ./60-headwater.conf
  headwater sysctl persist --remove";

/// Set a profile at every start of the host
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct PersistArgs {
    /// A profile's name (see headwater sysctl list) or the path of a file
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    profile: Option<String>,
    /// Write the file
    #[arg(long, conflicts_with = "remove")]
    yes: bool,
    /// Remove the file again
    #[arg(long)]
    remove: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", env = "HEADWATER_SYSCTL_D", default_value = PERSIST_PATH)]
    output: PathBuf,
    /// Take the profile's value even where the host's is better
    #[arg(long)]
    allow_lower: bool,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: &PersistArgs) -> ExitCode {
    let path = args.output.display();
    let Some(profile) = &args.profile else {
        return match unpersist(&args.output) {
            Ok(true) => print(&format!("removed \"{path}\"\n")),
            Ok(false) => print(&format!("there is no \"{path}\"\n")),
            Err(error) => refuse(&error),
        };
    };
    let profile = match load(profile) {
        Ok(profile) => profile,
        Err(error) => return refuse(&error),
    };
    let plan = Plan::new(profile, &args.place.settings(), args.allow_lower);
    if !args.yes {
        return match persisted(&plan, &args.output) {
            Ok(text) => print(&format!("{text}\nTo write this to \"{path}\": --yes\n")),
            Err(error) => refuse(&error),
        };
    }
    match persist(&plan, &args.output) {
        Ok(()) => print(&format!(
            "wrote \"{path}\"; it takes effect at the next start, or now with: sysctl -p {path}\n"
        )),
        Err(error) => refuse(&error),
    }
}
