//! `artifactstore storage`.

use std::process::ExitCode;

use artifactstore_backends::transfer::{Mismatch, TransferOptions, TransferProgress, transfer};
use artifactstore_registry::Error;
use artifactstore_registry::actions::request::Progress;
use clap::Subcommand;

use super::output::{self, Bar, Counted};
use super::{CliError, Outcome};
use crate::compose::Storage;
use crate::config::{Settings, StorageKind};

/// Looks after the storage of the bytes
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Copy(CopyArgs),
}

/// Copies every object to the other storage that the settings describe, and reads each back there; a gateway may go on
/// serving. Done again, it copies what is missing. The gateway keeps the storage it has. Exit code 1 when an object is
/// damaged
#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// Where to: `local` or `s3`, as the settings describe it; the other one than --storage names
    #[arg(long, value_name = "KIND", value_parser = StorageKind::parse)]
    to: StorageKind,
    /// How many objects are on their way at once
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    /// Read back what is there already, too, and copy again what is damaged
    #[arg(long)]
    compare_present: bool,
    /// Answer with JSON: a line for each damaged object, and one for the summary
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let Action::Copy(args) = args.action;
    if args.to == settings.storage {
        return Err(CliError::Other("--to names the storage that is in use: there is nothing to copy".to_owned()));
    }
    let from = Storage::open(settings, settings.storage).await?.backend();
    let to = Storage::open(settings, args.to).await?.backend();
    let options = TransferOptions { at_once: usize::from(args.at_once), compare_present: args.compare_present };
    let bar = Bar::new(Counted::Pieces("objects"));
    let show = |progress: TransferProgress| {
        // How many there are is known at the end only.
        bar.show(Progress { done: progress.examined, total: progress.examined, ..Progress::default() });
    };
    let tell = |mismatch: Mismatch| {
        bar.line(if args.json {
            serde_json::to_string(&mismatch).unwrap_or_default()
        } else {
            format!("object {} is damaged in {}", mismatch.object, mismatch.backend)
        });
    };
    let outcome = transfer(&*from, &*to, &options, &show, &tell).await;
    bar.finish();
    let done = outcome.map_err(Error::Bytes)?;
    if args.json {
        output::json(&serde_json::json!({ "summary": done }))?;
    } else {
        output::line(format_args!(
            "examined {} objects: copied {} ({} bytes), {} were there, {} damaged",
            done.examined, done.copied, done.copied_bytes, done.present, done.damaged
        ))?;
    }
    Ok(if done.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
