//! `headwater sysctl apply`.

use std::process::ExitCode;

use clap::Args;

use super::profile_args::{Keep, Wanted, refuse};
use super::table::table;
use crate::cli::print;
use crate::tuning::sysctl::{OutOfReach, Outcome, apply};

const NOTES: &str = "\
Without --yes nothing is changed. With it, the present values are first written to a snapshot; \
then each setting is written and read back. If the kernel refuses one, all are restored (a setting \
with a - before it is skipped instead). Settings of the whole host that can't be set from a network \
namespace or container are skipped and listed. The settings last until the host restarts; see persist.

EXIT STATUS:
  0  the profile is set
  1  nothing is changed; one sentence says why
  3  the profile is set, except settings that can't be set from here

EXAMPLES:
  headwater sysctl apply file-server
  headwater sysctl apply file-server --yes
  headwater sysctl apply container --yes --state-dir /run/headwater";

/// Set the host's settings to those of a profile
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Make the changes
    #[arg(long)]
    yes: bool,
    /// Change nothing if one of the settings can't be set from here
    #[arg(long)]
    all_or_nothing: bool,
    #[command(flatten)]
    keep: Keep,
}

/// Exit status: the profile is set, except settings that can't be set from here.
const PARTLY: u8 = 3;

pub(super) fn run(args: &ApplyArgs) -> ExitCode {
    let (plan, state) = match (args.wanted.plan(), args.keep.state()) {
        (Ok(plan), Ok(state)) => (plan, state),
        (Err(error), _) | (_, Err(error)) => return refuse(&error),
    };
    let count = plan.changes().count();
    if !args.yes {
        let snapshot = state.path().display();
        let left_out = match plan.left_out().count() {
            0 => String::new(),
            left_out => format!("{left_out} can't be set from here and would be left out. "),
        };
        return print(&format!(
            "{}\n{count} settings would change, with what they are now in \"{snapshot}\". \
             {left_out}To do it: --yes\n",
            table(&plan)
        ));
    }
    let out_of_reach = match args.all_or_nothing {
        true => OutOfReach::Stop,
        false => OutOfReach::LeaveOut,
    };
    let settings = &mut args.wanted.place.settings();
    let applied = match apply(&plan, settings, &state, out_of_reach) {
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
    for row in plan.left_out() {
        out += &format!("{} is left out: {}\n", row.setting.key, row.verdict.words());
    }
    out += match applied.is_empty() {
        true => "nothing to change\n",
        false => "to put it back: headwater sysctl revert\n",
    };
    match print(&out) {
        ExitCode::SUCCESS if plan.left_out().next().is_some() => ExitCode::from(PARTLY),
        printed => printed,
    }
}
