//! `headwater sysctl show`.

use std::process::ExitCode;

use clap::Args;

use super::profile_args::{load, refuse};
use crate::cli::print;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater sysctl show file-server                 with the values of this host
  headwater sysctl show file-server --raw           the profile's text, as a start for your own
  headwater sysctl show file-server | sysctl -p -";

/// Print a profile, each setting with its reason and its risk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// A profile's name (see headwater sysctl list) or the path of a file
    profile: String,
    /// The profile's text, with the lines that define how values are computed
    #[arg(long)]
    raw: bool,
}

pub(super) fn run(args: &ShowArgs) -> ExitCode {
    match load(&args.profile) {
        Ok(profile) if args.raw => print(&profile.text),
        Ok(profile) => print(&profile.with_values(|setting| setting.value.clone())),
        Err(error) => refuse(&error),
    }
}
