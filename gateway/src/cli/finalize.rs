//! `artifactstore finalize`.

use std::process::ExitCode;

use artifactstore_registry::model::command::PackageChoice;
use artifactstore_registry::model::name::{PackageName, ProducerName};

use super::output::{self, shown};
use super::{Outcome, with_registry};
use crate::admin::shape::PackageShape;
use crate::compose::cli_actor;
use crate::config::Settings;

/// Finalizes a package: seals its files in a manifest; done again, it answers the same
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The producer (the bucket)
    producer: String,
    /// The package's name; the producer's root package when left out
    #[arg(default_value = "", hide_default_value = true)]
    package: String,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let choice = PackageChoice::Name(ProducerName::parse(&args.producer)?, PackageName::parse(&args.package)?);
    let package =
        with_registry(settings, |registry| async move { Ok(registry.package_finalize(&cli_actor(), choice).await?) })
            .await?;
    if args.json {
        output::json(&PackageShape::from(&package))?;
    } else {
        let digest = package.seal.as_ref().map(|seal| seal.manifest_digest.to_string()).unwrap_or_default();
        output::line(format_args!(
            "finalized {}/{} revision {}: {} files, {} bytes, id {}, manifest {digest}",
            package.producer,
            shown(package.name.as_str()),
            package.revision,
            package.file_count,
            package.size_bytes,
            package.id,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
