//! `artifactstore migrate`.

use std::process::ExitCode;

use artifactstore_registry::Error;
use artifactstore_registry::backends::error::Error as BytesError;

use super::output::{self, Bar, Counted};
use super::{CliError, Outcome};
use crate::compose::{self, FolderLock, OpenMode, Opened, StartError};
use crate::config::{Database, Secret, Settings};

/// Makes the registry's database, or brings its schema and the folder of the bytes up to date; done again, it changes nothing
///
/// With --from, the log of another registry is copied into this one, and the views are built from it. Bytes are not
/// copied. It can be broken off and done again: it goes on where it ended, and brings what came since.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Copy the registry of this database: sqlite:<path> or postgres://...
    #[arg(long, value_name = "URL")]
    from: Option<Secret>,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    match &args.from {
        Some(from) => copy(args, from, settings).await,
        None => migrate(args, settings).await,
    }
}

async fn migrate(args: &Args, settings: &Settings) -> Outcome {
    let opened = match compose::open_registry(settings, OpenMode::Existing).await {
        Err(
            StartError::RegistryMissing { .. }
            | StartError::Registry(
                Error::SchemaOlder | Error::RegistryMissing { .. } | Error::Bytes(BytesError::LayoutOlder(_)),
            ),
        ) => {
            // A gateway of the older version must not find the schema, or its objects, changed under it. Over PostgreSQL
            // it may be on any machine: whoever migrates there stops it first.
            let _lock = match settings.database {
                Database::Sqlite(_) => Some(FolderLock::take(&settings.data_dir)?),
                Database::Postgres(_) => None,
            };
            compose::open_registry(settings, OpenMode::Create).await?
        }
        opened => opened?,
    };
    let Opened { registry, schema_found, schema_now, place, .. } = opened;
    registry.stop().await;
    if args.json {
        output::json(&serde_json::json!({ "from": schema_found, "to": schema_now }))?;
    } else {
        match schema_found {
            None => output::line(format_args!("made {place} with schema {schema_now}"))?,
            Some(found) if found == schema_now => {
                output::line(format_args!("{place} has schema {schema_now} already"))?;
            }
            Some(found) => output::line(format_args!("brought {place} from schema {found} to {schema_now}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy(args: &Args, from: &Secret, settings: &Settings) -> Outcome {
    let from = Database::parse(from)
        .ok_or_else(|| CliError::Other("--from takes `sqlite:<path>` or `postgres://...`".to_owned()))?;
    if from == settings.database {
        return Err(CliError::Other("--from names the registry that it would be copied to".to_owned()));
    }
    let bar = Bar::new(Counted::Pieces("events"));
    let copied = compose::copy_registry(settings, &from, &|progress| bar.show(progress)).await;
    bar.finish();
    let copied = copied?;
    let (events, total) = (copied.events.events, copied.events.total);
    if args.json {
        output::json(&serde_json::json!({ "copied": events, "events": total }))?;
    } else {
        output::line(format_args!("copied {events} events to {}, which has {total} now", copied.place))?;
    }
    Ok(ExitCode::SUCCESS)
}
