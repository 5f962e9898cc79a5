//! `artifactstore gc`.

use std::process::ExitCode;
use std::time::Duration;

use super::{CliError, Outcome, output, with_registry};
use crate::compose::FolderLock;
use crate::config::{Database, Settings};

/// Deletes stored objects that no event names: what refused or interrupted uploads left behind. The gateway must be
/// stopped: only so is an object that no event names one that no upload is about to name
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only objects that were written at least so many seconds ago; an upload that still runs may be as old as it took
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    older_than: u64,
    /// Over PostgreSQL: every gateway of this registry is stopped, which cannot be seen from here
    #[arg(long)]
    all_gateways_stopped: bool,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    if matches!(settings.database, Database::Postgres(_)) && !args.all_gateways_stopped {
        let words = "stop every gateway of this registry, and say so with --all-gateways-stopped";
        return Err(CliError::Other(words.to_owned()));
    }
    let _lock = FolderLock::take(&settings.data_dir)?;
    let older_than = Duration::from_secs(args.older_than);
    let summary =
        with_registry(settings, |registry| async move { Ok(registry.orphans_sweep(older_than).await?) }).await?;
    if args.json {
        output::json(&summary)?;
    } else {
        output::line(format_args!("examined {} objects, deleted {}", summary.examined, summary.deleted))?;
    }
    Ok(ExitCode::SUCCESS)
}
