//! `artifactstore migrate`.

use std::process::ExitCode;

use artifactstore_registry::Error;

use super::{Outcome, output};
use crate::compose::{self, FolderLock, OpenMode, Opened, StartError};
use crate::config::Settings;

/// Makes the registry's database, or brings its schema up to date; done again, it changes nothing
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let opened = match compose::open_registry(settings, OpenMode::Existing).await {
        Err(StartError::RegistryMissing { .. } | StartError::Registry(Error::SchemaOlder)) => {
            // A gateway of the older version must not find the schema changed under it.
            let _lock = FolderLock::take(&settings.data_dir)?;
            compose::open_registry(settings, OpenMode::Create).await?
        }
        opened => opened?,
    };
    let Opened { registry, schema_found, schema_now, .. } = opened;
    registry.stop().await;
    if args.json {
        output::json(&serde_json::json!({ "from": schema_found, "to": schema_now }))?;
    } else {
        let path = settings.database_path.display();
        match schema_found {
            None => output::line(format_args!("made {path} with schema {schema_now}"))?,
            Some(found) if found == schema_now => output::line(format_args!("{path} has schema {schema_now} already"))?,
            Some(found) => output::line(format_args!("brought {path} from schema {found} to {schema_now}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
