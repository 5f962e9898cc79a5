//! `artifactstore manifest`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use artifactstore_registry::actions::request::{PackageCursor, PackageFilter};
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{PackageId, PackageName, ProducerName};
use artifactstore_registry::{Refusal, Registry};
use clap::ValueEnum;

use super::{CliError, Outcome, with_registry};
use crate::compose::cli_actor;
use crate::config::Settings;

/// Writes the manifest of a finalized package: of the latest finalized revision, when it is named by producer and package
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The producer (the bucket)
    #[arg(required_unless_present = "id", conflicts_with = "id")]
    producer: Option<String>,
    /// The package's name; the producer's root package when left out
    #[arg(default_value = "", hide_default_value = true)]
    package: String,
    /// The identifier of one revision of a package, instead of its names
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Canonical CBOR, which is the manifest, or its projection to JSON (JCS, RFC 8785)
    #[arg(long, value_enum, default_value_t = Format::Cbor)]
    format: Format,
    /// The file to write; the standard output when left out
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Cbor,
    Json,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    if args.format == Format::Cbor && args.output.is_none() && io::stdout().is_terminal() {
        let hint = "CBOR does not belong on a terminal: say -o FILE, or --format json";
        return Err(CliError::Other(hint.to_owned()));
    }
    let bytes = with_registry(settings, |registry| read(registry, args)).await?;
    let document = match args.format {
        Format::Cbor => bytes,
        Format::Json => {
            let damaged = |error| CliError::Other(format!("the stored manifest cannot be read: {error}"));
            let mut json = Manifest::decode(&bytes).map_err(damaged)?.to_json();
            // A file holds the projection and nothing else; on a terminal the prompt wants its own line.
            if args.output.is_none() && io::stdout().is_terminal() {
                json.push(b'\n');
            }
            json
        }
    };
    match &args.output {
        Some(path) => std::fs::write(path, document).map_err(|error| CliError::Unwritable(path.clone(), error))?,
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&document).and_then(|()| stdout.flush()).map_err(CliError::Output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(registry: Registry, args: &Args) -> Result<Vec<u8>, CliError> {
    let id = match (&args.id, &args.producer) {
        (Some(id), _) => PackageId::parse(id)?,
        (None, Some(producer)) => {
            latest(&registry, &ProducerName::parse(producer)?, PackageName::parse(&args.package)?).await?
        }
        (None, None) => return Err(CliError::Refused(Refusal::PackageMissing)),
    };
    Ok(registry.package_manifest(&cli_actor(), &id).await?)
}

/// How many revisions are asked for at once.
const PAGE: usize = 100;

/// The latest finalized revision.
async fn latest(registry: &Registry, producer: &ProducerName, name: PackageName) -> Result<PackageId, CliError> {
    let actor = cli_actor();
    let filter = PackageFilter { name: Some(name), finalized: None };
    let mut after: Option<PackageCursor> = None;
    let (mut sealed, mut found_any) = (None, false);
    loop {
        let page = registry.package_list(&actor, producer, &filter, after.as_ref(), PAGE).await?;
        let whole = page.len() == PAGE;
        for package in page {
            found_any = true;
            after = Some(PackageCursor { name: package.name, revision: package.revision });
            if package.seal.is_some() {
                sealed = Some(package.id);
            }
        }
        if !whole {
            break;
        }
    }
    let refusal = if found_any { Refusal::PackageOpen } else { Refusal::PackageMissing };
    sealed.ok_or(CliError::Refused(refusal))
}
