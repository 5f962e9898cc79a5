//! `artifactstore storage`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::backend::Backend;
use artifactstore_backends::transfer::{Mismatch, TransferOptions, TransferProgress, transfer};
use artifactstore_registry::actions::relocate::{Relocated, Relocation, Telling};
use artifactstore_registry::actions::request::Progress;
use artifactstore_registry::model::storage::{Storage as Moves, StorageMove};
use artifactstore_registry::{Error, Registry};
use clap::Subcommand;

use super::output::{self, Bar, Counted};
use super::{CliError, Outcome, with_registry};
use crate::compose::{OpenMode, Storage, cli_actor};
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
    Status(StatusArgs),
}

/// Moves the bytes to another storage while gateways serve them: copies every object and reads it back there, has new
/// bytes written there, copies the rest, and switches by an event of the log. First name both kinds of storage in the
/// setting storage of every gateway, and restart them. Broken off anywhere, everything is served, and the same command
/// goes on. Exit code 1 when an object is damaged; nothing is switched then
#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// Where to: `local` or `s3`, as the settings describe it. From one bucket to another the way leads over a folder
    #[arg(long, value_name = "KIND", value_parser = StorageKind::parse)]
    to: StorageKind,
    /// Only copy: the gateways keep the storage they have
    #[arg(long)]
    copy_only: bool,
    /// How long uploads that began before new bytes went to the new storage have to end; later ones are told to come
    /// again
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=86_400))]
    settle_seconds: u64,
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

/// Tells where bytes are written to, and which moves there were
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    match args.action {
        Action::Copy(args) => copy(args, settings).await,
        Action::Status(args) => {
            let begins = settings.storage.first().map_or("local", |kind| kind.name());
            let moves = with_registry(settings, |registry| async move { Ok(registry.storage().await?) }).await?;
            status(&moves, begins, args.json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn copy(args: CopyArgs, settings: &Settings) -> Outcome {
    let from = match args.to {
        StorageKind::Local => StorageKind::S3,
        StorageKind::S3 => StorageKind::Local,
    };
    if args.copy_only {
        return copy_only(&args, from, settings).await;
    }
    if !settings.storage.contains(&args.to) || !settings.storage.contains(&from) {
        let both = format!("{},{}", from.name(), args.to.name());
        return Err(CliError::Other(format!(
            "say storage = \"{both}\" in the settings of every gateway and of this command, and restart the gateways \
             first; or --copy-only"
        )));
    }
    with_registry(settings, |registry| async move { move_to(&args, from, settings, &registry).await }).await
}

async fn move_to(args: &CopyArgs, from: StorageKind, settings: &Settings, registry: &Registry) -> Outcome {
    let begins = settings.storage.first().map_or("local", |kind| kind.name());
    let now = registry.storage().await?;
    let under_way = now.last().is_some_and(|row| row.ended_sequence.is_none());
    if now.written_to().unwrap_or(begins) == args.to.name() && !under_way {
        let other = match args.to {
            StorageKind::S3 => "; to another bucket, move to a folder first, or copy it with the gateways stopped",
            StorageKind::Local => "; to another folder, copy it with the gateway stopped",
        };
        return Err(CliError::Other(format!("--to names the storage that is in use: there is nothing to move{other}")));
    }
    let (from, to) = opened(settings, from, args.to).await?;
    let shown = Shown { bar: Bar::new(Counted::Pieces("objects")), json: args.json };
    let telling = Telling {
        progress: &|progress| shown.progress(progress),
        mismatch: &|mismatch| shown.mismatch(&mismatch),
        step: &|step| shown.step(step),
    };
    let how = Relocation { transfer: transfer_options(args), settle: Duration::from_secs(args.settle_seconds) };
    let outcome = registry.storage_move(&cli_actor(), (&*from, &*to), &how, telling).await;
    shown.bar.finish();
    let Relocated { objects, row } = outcome?;
    let switched = row.as_ref().and_then(|row| row.ended_sequence).filter(|_| objects.damaged == 0);
    if args.json {
        output::json(&serde_json::json!({ "summary": objects, "switched": switched.is_some(), "move": row }))?;
    } else {
        summary(&objects)?;
        let to = args.to.name();
        match switched {
            Some(event) => output::line(format_args!("event {event}: everything is served from {to}"))?,
            None => {
                output::line("nothing was switched, because of the damaged objects; `verify` tells whose they are")?
            }
        }
    }
    Ok(if switched.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both ends, as they are: gateways may be at work in either.
async fn opened(
    settings: &Settings,
    from: StorageKind,
    to: StorageKind,
) -> Result<(Arc<dyn Backend>, Arc<dyn Backend>), CliError> {
    let from = Storage::open(settings, from, OpenMode::Existing).await?;
    let to = Storage::open(settings, to, OpenMode::Existing).await?;
    Ok((from.backend(), to.backend()))
}

async fn copy_only(args: &CopyArgs, from: StorageKind, settings: &Settings) -> Outcome {
    let (from, to) = opened(settings, from, args.to).await?;
    let shown = Shown { bar: Bar::new(Counted::Pieces("objects")), json: args.json };
    let (show, tell) = (|progress| shown.progress(progress), |mismatch: Mismatch| shown.mismatch(&mismatch));
    let outcome = transfer(&*from, &*to, &transfer_options(args), &show, &tell).await;
    shown.bar.finish();
    let done = outcome.map_err(Error::Bytes)?;
    if args.json {
        output::json(&serde_json::json!({ "summary": done }))?;
    } else {
        summary(&done)?;
    }
    Ok(if done.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn transfer_options(args: &CopyArgs) -> TransferOptions {
    TransferOptions { at_once: usize::from(args.at_once), compare_present: args.compare_present }
}

/// What is told while objects are copied.
struct Shown {
    bar: Bar,
    json: bool,
}

impl Shown {
    fn progress(&self, progress: TransferProgress) {
        // How many there are is known at the end only.
        self.bar.show(Progress { done: progress.examined, total: progress.examined, ..Progress::default() });
    }

    fn mismatch(&self, mismatch: &Mismatch) {
        self.bar.line(if self.json {
            serde_json::to_string(mismatch).unwrap_or_default()
        } else {
            format!("object {} is damaged in {}", mismatch.object, mismatch.backend)
        });
    }

    fn step(&self, step: &str) {
        if !self.json {
            self.bar.line(step);
        }
    }
}

fn summary(done: &TransferProgress) -> Result<(), CliError> {
    output::line(format_args!(
        "examined {} objects: copied {} ({} bytes), {} were there, {} damaged",
        done.examined, done.copied, done.copied_bytes, done.present, done.damaged
    ))
}

fn status(moves: &Moves, begins: &str, json: bool) -> Result<(), CliError> {
    let written_to = moves.written_to().unwrap_or(begins);
    if json {
        return output::json(
            &serde_json::json!({ "written_to": written_to, "needed": moves.needed(), "moves": moves.all() }),
        );
    }
    output::line(format_args!("new bytes are written to {written_to}"))?;
    moves.all().iter().try_for_each(|row| output::line(told(row)))
}

fn told(row: &StorageMove) -> String {
    let StorageMove { sequence, from, to, .. } = row;
    let far = match (row.closed_sequence, row.ended_sequence) {
        (_, Some(ended)) => format!("ended by event {ended}"),
        (Some(closed), None) => format!("{from} closed by event {closed}, not ended"),
        (None, None) => "not ended".to_owned(),
    };
    format!("event {sequence}: from {from} to {to}, {far}")
}
