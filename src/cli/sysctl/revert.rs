//! `headwater sysctl revert`.

use std::process::ExitCode;

use clap::Args;

use super::profile_args::{Keep, Where, refuse};
use crate::cli::{fail, print};
use crate::tuning::sysctl::{Back, BackFrom, Reverted, revert};

const NOTES: &str = "\
Every setting of the snapshot is restored to its value before the first apply, also after an interrupted \
apply or revert. The snapshot is removed once all of them are restored.

EXAMPLES:
  headwater sysctl revert
  headwater sysctl revert --dry-run";

/// Restore what apply has changed
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct RevertArgs {
    /// Show what would be restored; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    keep: Keep,
}

pub(super) fn run(args: &RevertArgs) -> ExitCode {
    let state = match args.keep.state() {
        Ok(state) => state,
        Err(error) => return refuse(&error),
    };
    let back = match revert(&mut args.place.settings(), &state, args.dry_run) {
        Ok(Reverted::Back(back)) => back,
        Ok(Reverted::Nothing) => {
            return print(&format!(
                "nothing to put back: there is no \"{}\"\n",
                state.path().display()
            ));
        }
        Ok(Reverted::EarlierBoot) => {
            return print(
                "nothing to put back: the host has restarted since, and what was applied is gone\n",
            );
        }
        Err(error) => return refuse(&error),
    };
    let out: String = back.iter().map(line).collect();
    let printed = print(&out);
    let stuck = back.iter().filter(|one| one.outcome.is_err()).count();
    if stuck > 0 {
        let snapshot = state.path().display();
        return fail(
            &format_args!("{stuck} settings are not back; the snapshot stays in \"{snapshot}\""),
            1,
        );
    }
    printed
}

fn line(one: &Back) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (key, was) = (&one.key, words(&one.was));
    match &one.outcome {
        Ok(BackFrom::Unchanged) => format!("{key} = {was} (it was so)\n"),
        Ok(BackFrom::Ours(now)) => format!("{key} = {was} (from {})\n", words(now)),
        Ok(BackFrom::Other(now)) => format!(
            "{key} = {was} (from {}, which headwater had not asked for)\n",
            words(now)
        ),
        Err(why) => format!("{key} is not back at {was}: {why}\n"),
    }
}
