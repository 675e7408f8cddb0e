//! `headwater sysctl apply`.

use std::process::ExitCode;

use clap::Args;

use super::table::table;
use super::{Keep, Wanted, refuse};
use crate::cli::print;
use crate::tuning::sysctl::{Outcome, apply};

const NOTES: &str = "\
Without --yes nothing is changed. With it, what the settings are is first written to a snapshot; \
then each is written and read back. If the kernel refuses one, all are put back (a setting with a \
- before it is passed over instead). The settings last until the host restarts; see persist.

EXAMPLES:
  headwater sysctl apply file-server
  headwater sysctl apply file-server --yes
  headwater sysctl apply container --yes --state-dir /run/headwater";

/// Change the host's settings to a profile's
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct ApplyArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Do it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    keep: Keep,
}

pub(super) fn run(args: &ApplyArgs) -> ExitCode {
    let (plan, state) = match (args.wanted.plan(), args.keep.state()) {
        (Ok(plan), Ok(state)) => (plan, state),
        (Err(error), _) | (_, Err(error)) => return refuse(&error),
    };
    let count = plan.changes().count();
    if !args.yes {
        let snapshot = state.path().display();
        return print(&format!(
            "{}\n{count} settings would change, with what they are now in \"{snapshot}\". \
             To do it: --yes\n",
            table(&plan)
        ));
    }
    let applied = match apply(&plan, &mut args.wanted.place.settings(), &state) {
        Ok(applied) => applied,
        Err(error) => return refuse(&error),
    };
    let mut out = String::new();
    for one in &applied {
        let was = one.was.split_whitespace().collect::<Vec<_>>().join(" ");
        out += &match &one.outcome {
            Outcome::Set => format!("{} = {} (was {was})\n", one.key, one.asked),
            Outcome::Altered(read) => format!(
                "{} = {read} (was {was}): the kernel made that of {}\n",
                one.key, one.asked
            ),
            Outcome::PassedOver(why) => {
                format!(
                    "{} stays {was}: {} was refused: {why}\n",
                    one.key, one.asked
                )
            }
        };
    }
    out += &match applied.is_empty() {
        true => "nothing to change\n".to_owned(),
        false => "to put it back: headwater sysctl revert\n".to_owned(),
    };
    print(&out)
}
