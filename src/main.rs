//! The program `headwater`: parses the command line and runs one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::cli::main()
}
