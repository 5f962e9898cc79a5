//! The program `artifactstore`: hands its arguments to the command line, and its outcome to the shell.

use std::process::ExitCode;

/// Requests free on one thread what another one allocated, and SQLite copies every column: the system's allocator spends
/// a third of a listing on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    artifactstore_gateway::cli::run(std::env::args_os())
}
