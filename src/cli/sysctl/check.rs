//! `headwater sysctl check`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::profile_args::{Wanted, refuse};
use super::table::Line;
use crate::cli::{print, print_json};
use crate::tuning::sysctl::{Plan, Unsafe, Verdict, unsafe_now};

const STATUS: &str = "\
EXIT STATUS, as for monitoring plugins:
  0  OK        every setting has the profile's value, or a better one
  1  WARNING   some setting has not
  2  CRITICAL  the host has an unsafe value (tcp_timestamps = 0, for one), whatever the profile
               says; also a mistyped command line
  3  UNKNOWN   the profile can't be read

EXAMPLES:
  headwater sysctl check file-server
  headwater sysctl check /etc/headwater/mine.conf --json";

/// Show by the exit status whether the host has a profile's settings
#[derive(Debug, Args)]
#[command(after_help = STATUS)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Print JSON: status, profile, settings, dangers
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    profile: &'a str,
    settings: Vec<Line<'a>>,
    dangers: Vec<Danger<'a>>,
}

#[derive(Serialize)]
struct Danger<'a> {
    key: &'a str,
    now: &'a str,
    reason: &'a str,
}

const UNKNOWN: u8 = 3;

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let plan = match args.wanted.plan() {
        Ok(plan) => plan,
        Err(error) => {
            let _ = refuse(&error);
            return ExitCode::from(UNKNOWN);
        }
    };
    let bad = unsafe_now(&args.wanted.place.settings());
    let (status, code) = status(&plan, &bad);
    let printed = match args.json {
        true => print_json(&Report {
            status,
            profile: &plan.profile.name,
            settings: plan.rows.iter().map(Line::from).collect(),
            dangers: bad.iter().map(line).collect(),
        }),
        false => print(&format!("{status}: {}\n", sentence(&plan, &bad))),
    };
    match printed == ExitCode::SUCCESS {
        true => ExitCode::from(code),
        false => ExitCode::from(UNKNOWN),
    }
}

fn line(bad: &Unsafe) -> Danger<'_> {
    Danger {
        key: bad.key,
        now: &bad.now,
        reason: bad.reason,
    }
}

fn status(plan: &Plan, bad: &[Unsafe]) -> (&'static str, u8) {
    if !bad.is_empty() {
        ("CRITICAL", 2)
    } else if off(plan).next().is_some() {
        ("WARNING", 1)
    } else {
        ("OK", 0)
    }
}

/// Settings whose value is neither the wanted one nor better.
fn off(plan: &Plan) -> impl Iterator<Item = String> {
    plan.rows.iter().filter_map(|row| {
        let is = match &row.verdict {
            Verdict::Same | Verdict::Better => return None,
            Verdict::Missing | Verdict::NotPermitted if row.setting.optional => return None,
            // Its value can't be read from here.
            _ if row.is_out_of_reach() && row.now.is_none() => return None,
            Verdict::Change(_) => row.now.as_deref().unwrap_or("-"),
            verdict => verdict.words(),
        };
        let is = is.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(format!(
            "{} is {is}, not {}",
            row.setting.key, row.setting.value
        ))
    })
}

/// The one line that monitors show.
fn sentence(plan: &Plan, bad: &[Unsafe]) -> String {
    let unsafe_ones = bad
        .iter()
        .map(|one| format!("{} is {}: {}", one.key, one.now, one.reason));
    let all: Vec<String> = unsafe_ones.chain(off(plan)).collect();
    match all.is_empty() {
        true => format!("{} settings of {}", plan.rows.len(), plan.profile.name),
        false => all.join("; "),
    }
}
