//! The program `artifactstore` once more, built with failpoints under a name of its own, so that no test takes the one
//! for the other.

use std::process::ExitCode;

fn main() -> ExitCode {
    artifactstore_gateway::cli::run(std::env::args_os())
}
