//! The program `artifactstore`: hands its arguments to the command line, and its outcome to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    artifactstore_gateway::cli::run(std::env::args_os())
}
