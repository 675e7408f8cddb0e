//! `headwater doctor`: checks the host for what slows a server down or limits it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{fail, print, print_json};
use crate::limits;
use crate::sys::cpu;
use crate::tuning::doctor::{self, Asked, Finding, Host, Severity, examine};

const NOTES: &str = "\
It changes nothing. Each finding says what it costs and how to fix it, the worst first; then \
one line for each area in which all is well.

EXIT STATUS:
  0  nothing worse than notes
  1  a warning: it costs speed or connections
  2  critical: the server does not start, or is open to attacks; also a mistyped command line

EXAMPLES:
  headwater doctor
  headwater doctor --cores 0-7 --profile live-stream
  headwater doctor --json
  headwater doctor --root /host            where a container sees the host's /proc and /sys";

/// Examine this host: worst findings first, with the cost and the fix of each
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct DoctorArgs {
    /// CPUs that the server would use, as for serve [default: all allowed]
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Compare the settings with this profile (see headwater sysctl list)
    #[arg(long, default_value = doctor::PROFILE)]
    profile: String,
    /// Print JSON: an array with an object for each finding
    #[arg(long)]
    json: bool,
    /// Read /proc and /sys below this folder; skips the checks that need this host's kernel
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Serialize)]
struct Line<'a> {
    severity: String,
    area: &'a str,
    finding: &'a str,
    cost: &'a str,
    fix: Option<&'a str>,
}

/// Runs the command.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let cpus = match &args.cores {
        Some(list) => cpu::parse_list(list).map_err(|error| (error.to_string(), 2)),
        None => {
            cpu::allowed().map_err(|error| (format!("cannot tell which CPUs are ours: {error}"), 1))
        }
    };
    let cpus = match cpus {
        Ok(cpus) => cpus,
        Err((error, status)) => return fail(&error, status),
    };
    let asked = Asked {
        cpus,
        backlog: limits::BACKLOG.unsigned_abs(),
        connections: limits::CONNECTIONS_MAX as u64,
        profile: args.profile.clone(),
    };
    let host = match &args.root {
        Some(root) => Host::tree(root, asked),
        None => Host::here(asked),
    };
    let found = examine(&host);
    let printed = match args.json {
        true => print_json(&found.iter().map(line).collect::<Vec<_>>()),
        false => print(&page(&found, Paint::wanted())),
    };
    match found.first().map(|worst| worst.severity) {
        _ if printed != ExitCode::SUCCESS => printed,
        Some(Severity::Critical) => ExitCode::from(2),
        Some(Severity::Warning) => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}

fn line(finding: &Finding) -> Line<'_> {
    Line {
        severity: finding.severity.to_string(),
        area: finding.area,
        finding: &finding.what,
        cost: &finding.cost,
        fix: finding.fix.as_deref(),
    }
}

/// Colours, if the terminal supports them and NO_COLOR is unset (no-color.org).
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn wanted() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!refused && std::io::stdout().is_terminal())
    }

    fn paint(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1;36",
            Severity::Fine => "32",
        };
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn page(found: &[Finding], paint: Paint) -> String {
    let mut out = String::new();
    let bad = found
        .iter()
        .filter(|finding| finding.severity != Severity::Fine);
    for finding in bad {
        let label = paint.paint(finding.severity, &format!("{:<8}", finding.severity));
        out += &format!("{label}  {}: {}\n", finding.area, finding.what);
        if !finding.cost.is_empty() {
            out += &format!("          costs  {}\n", finding.cost);
        }
        if let Some(fix) = &finding.fix {
            out += &format!("          fix    {fix}\n");
        }
    }
    let mut fine: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in found
        .iter()
        .filter(|finding| finding.severity == Severity::Fine)
    {
        fine.entry(finding.area).or_default().push(&finding.what);
    }
    if !out.is_empty() && !fine.is_empty() {
        out.push('\n');
    }
    for (area, what) in fine {
        let label = paint.paint(Severity::Fine, &format!("{:<8}", Severity::Fine));
        out += &format!("{label}  {area}: {}\n", what.join("; "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_the_fine_in_one_line() {
        let finding = |severity, area, what: &str| Finding {
            severity,
            area,
            what: what.to_owned(),
            cost: if severity == Severity::Fine {
                ""
            } else {
                "time"
            }
            .to_owned(),
            fix: (severity != Severity::Fine).then(|| "do it".to_owned()),
        };
        let found = [
            finding(Severity::Warning, "a", "slow"),
            finding(Severity::Fine, "b", "good"),
            finding(Severity::Fine, "b", "better"),
        ];
        assert_eq!(
            page(&found, Paint(false)),
            "warning   a: slow\n          costs  time\n          fix    do it\n\nok        b: good; better\n"
        );
        assert!(page(&found, Paint(true)).starts_with("\x1b[1;33mwarning \x1b[0m  a: slow\n"));
    }
}
