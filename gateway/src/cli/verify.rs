//! `artifactstore verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use artifactstore_registry::actions::request::{Finding, VerifySummary};
use artifactstore_registry::backends::digest::ContentAddress;

use super::output::{self, Bar, Counted, shown};
use super::{CliError, Outcome, verify_offline, with_registry};
use crate::config::Settings;

/// Re-reads every stored blob, manifest and event and compares them with their digests; with --manifest and --dir, checks
/// a downloaded package instead, with no server and no registry. Exit code 1 when anything is wrong
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A downloaded manifest, manifest.cbor or manifest.json, to check a folder by
    #[arg(long, value_name = "FILE", requires = "dir")]
    manifest: Option<PathBuf>,
    /// The folder with the package's files, each at its relative path
    #[arg(long, value_name = "FOLDER", requires = "manifest")]
    dir: Option<PathBuf>,
    /// The digest that the manifest must have, blake3:<64 hex>
    #[arg(long, value_name = "DIGEST", requires = "manifest")]
    digest: Option<ContentAddress>,
    /// What was erased of the package, as GET /v1/packages/{id}/erasures answers: those files may be missing
    #[arg(long, value_name = "FILE", requires = "manifest")]
    erasures: Option<PathBuf>,
    /// Take files of the folder that the manifest does not name for wrong, too
    #[arg(long, requires = "manifest")]
    strict: bool,
    /// Answer with JSON: a line for each finding, and one for the summary
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let sound = match (&args.manifest, &args.dir) {
        (Some(manifest), Some(dir)) => {
            let request = verify_offline::Request {
                manifest: manifest.clone(),
                dir: dir.clone(),
                digest: args.digest,
                erasures: args.erasures.clone(),
                strict: args.strict,
            };
            offline(request, args.json).await?
        }
        _ => online(settings, args.json).await?,
    };
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn online(settings: &Settings, json: bool) -> Result<bool, CliError> {
    let bar = Bar::new(Counted::Bytes);
    let summary = with_registry(settings, |registry| async move {
        let tell = |finding: Finding| {
            let line = if json { serde_json::to_string(&finding).unwrap_or_default() } else { describe(&finding) };
            bar.line(line);
        };
        let outcome = registry.verify(&|progress| bar.show(progress), &tell).await;
        bar.finish();
        Ok(outcome?)
    })
    .await?;
    if json {
        output::json(&serde_json::json!({ "summary": summary }))?;
    } else {
        let VerifySummary { blobs, bytes, manifests, erased, events, damaged } = summary;
        let verdict = if damaged == 0 { "all as it should be".to_owned() } else { format!("{damaged} damaged") };
        let verdict = if erased == 0 { verdict } else { format!("{verdict}, {erased} erased") };
        output::line(format_args!(
            "verified {blobs} blobs ({bytes} bytes), {manifests} manifests, {events} events: {verdict}"
        ))?;
    }
    Ok(summary.damaged == 0)
}

fn describe(finding: &Finding) -> String {
    match finding {
        Finding::BlobDamaged { content_address, problem, files, manifests } => {
            let manifests: Vec<String> = manifests.iter().map(|id| format!("the manifest of package {id}")).collect();
            let all: Vec<String> = files.iter().map(|file| shown(file)).chain(manifests).collect();
            format!("blob {content_address}: {}; files: {}", shown(problem), all.join(", "))
        }
        Finding::FilesDamaged { content_address, files } => {
            let files: Vec<String> = files.iter().map(|file| shown(file)).collect();
            format!("blob {content_address}: more files: {}", files.join(", "))
        }
        Finding::FileErased { package, relative_path, version, event, reason } => format!(
            "package {package}: {} (version {version}) was erased by event {event}: {}; that is no damage",
            shown(relative_path),
            shown(reason)
        ),
        Finding::ManifestDamaged { package, problem } => format!("manifest of package {package}: {}", shown(problem)),
        Finding::ChainBroken { sequence, problem } => format!("event {sequence}: {}", shown(problem)),
    }
}

async fn offline(request: verify_offline::Request, json: bool) -> Result<bool, CliError> {
    let bar = Bar::new(Counted::Bytes);
    // Reading and hashing block; the runtime's own threads stay free for Ctrl-C.
    let work = tokio::task::spawn_blocking(move || {
        let tell = |finding: &verify_offline::Finding| {
            bar.line(if json { serde_json::to_string(finding).unwrap_or_default() } else { finding.to_string() });
        };
        let report = verify_offline::check(&request, &|progress| bar.show(progress), &tell);
        bar.finish();
        report
    });
    let report = work.await.map_err(|error| CliError::Other(format!("the check was cut short: {error}")))??;
    if json {
        output::json(&serde_json::json!({ "summary": report }))?;
    } else {
        output::line(format_args!("manifest {}", report.manifest_digest))?;
        let verdict =
            if report.wrong == 0 { "all as the manifest says".to_owned() } else { format!("{} wrong", report.wrong) };
        let verdict = if report.erased == 0 { verdict } else { format!("{verdict}, {} erased", report.erased) };
        output::line(format_args!(
            "verified {} files ({} bytes) of {}/{} revision {}: {verdict}",
            report.files,
            report.bytes,
            shown(&report.producer),
            shown(&report.package),
            report.revision,
        ))?;
    }
    Ok(report.wrong == 0)
}
