//! `artifactstore version`.

use std::process::ExitCode;

use super::{Outcome, output};
use crate::VERSION;

/// Says which version this is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.json {
        output::json(&serde_json::json!({ "name": "artifactstore", "version": VERSION }))?;
    } else {
        output::line(format_args!("artifactstore {VERSION}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
