//! `headwater keepalive`: explains a keepalive policy, and shows the keepalive options of live
//! connections.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod explain;
mod show;

/// Explain a keepalive policy, or show the options of live connections
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct KeepaliveArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(explain::ExplainArgs),
    Show(show::ShowArgs),
}

/// Runs the command.
pub fn run(args: &KeepaliveArgs) -> ExitCode {
    match &args.command {
        Command::Explain(args) => explain::run(args),
        Command::Show(args) => show::run(args),
    }
}
