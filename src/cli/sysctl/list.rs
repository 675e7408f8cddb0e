//! `headwater sysctl list`.

use std::process::ExitCode;

use clap::Args;

use super::profile_args::{load, refuse};
use crate::cli::print;
use crate::tuning::sysctl::BUILT_IN;

/// List the profiles
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

pub(super) fn run(_: &ListArgs) -> ExitCode {
    let mut out = String::new();
    for (name, _) in BUILT_IN {
        match load(name) {
            Ok(profile) => {
                let count = profile.settings.len();
                out += &format!("{name:<17} {count:>2} settings  {}\n", profile.about());
            }
            Err(error) => return refuse(&error),
        }
    }
    print(&out)
}
