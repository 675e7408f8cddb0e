//! The command line: one file per command.
//!
//! Exit status: 0 for success, 2 for a mistyped command line, 1 for anything
//! else that fails, with one sentence on standard error. `load` has more.

use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use message::{fail, print, print_json, say};

pub mod doctor;
mod flags;
pub mod keepalive;
mod listen;
pub mod load;
mod message;
pub mod resolve;
pub mod serve;
pub mod sysctl;

/// Width to which help text is wrapped on wider terminals.
const HELP_COLUMNS_MAX: usize = 100;

/// A file and stream server for Linux.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, arg_required_else_help = true)]
#[command(max_term_width = HELP_COLUMNS_MAX, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Keepalive(keepalive::KeepaliveArgs),
    Load(Box<load::LoadArgs>),
    Sysctl(sysctl::SysctlArgs),
    Doctor(doctor::DoctorArgs),
}

/// Parses the process's command line and runs its command.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Serve(args) => serve::run(&args),
            Command::Keepalive(args) => keepalive::run(&args),
            Command::Load(args) => load::run(&args),
            Command::Sysctl(args) => sysctl::run(&args),
            Command::Doctor(args) => doctor::run(&args),
        },
        Err(error) => usage(&error),
    }
}

/// Shows the requested help or version, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    if let Some(folder) = folder_in_place_of_a_command(error) {
        let sentence = format!("{folder} is no command; did you mean: headwater serve {folder}");
        return fail(&sentence, 2);
    }
    match error.print() {
        Err(failure) if !error.use_stderr() => message::report_failed(&failure),
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// The folder that stands where a command should, in quotes if a shell needs them.
fn folder_in_place_of_a_command(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(text)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-~+,".contains(c);
    let is_folder = text.contains('/') || Path::new(text).is_dir();
    is_folder.then(|| match text.chars().all(is_plain) {
        true => text.clone(),
        false => format!("{text:?}"),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// On a narrow terminal, clap wraps a paragraph that has line breaks once more, and an example
    /// that it wraps can't be copied.
    #[test]
    fn help_wraps_well() {
        let mut commands = vec![Cli::command()];
        let mut texts = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let Some(help) = command.get_after_help() else {
                continue;
            };
            texts += 1;
            let help = help.to_string();
            let lines: Vec<&str> = help.lines().collect();
            for line in lines.iter().filter(|line| line.starts_with(' ')) {
                assert!(line.len() <= HELP_COLUMNS_MAX, "{line}");
            }
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            for two in lines.windows(2) {
                let broken = is_prose(two[0]) && is_prose(two[1]) && !two[0].ends_with('.');
                assert!(!broken, "{}", two[1]);
            }
        }
        assert!(texts > 5);
    }
}
