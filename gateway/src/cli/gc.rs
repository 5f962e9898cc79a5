//! `artifactstore gc`.

use std::process::ExitCode;
use std::time::Duration;

use artifactstore_registry::actions::request::{CollectPhase, CollectSummary, Collection, Miscount};

use super::output::{self, Bar, Counted};
use super::{CliError, Outcome, with_registry};
use crate::compose::cli_actor;
use crate::config::Settings;

/// Collects what nothing keeps: versions that were superseded or deleted let go of their bytes, and what nothing refers to
/// is deleted once it was condemned for as long as the grace; so are objects that no event names. Gateways may serve
/// meanwhile. Done again, it goes on where it broke off
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what would be done now, and do nothing
    #[arg(long, conflicts_with = "recount")]
    dry_run: bool,
    /// How long what is condemned, or was left behind, is kept [default: the setting gc_grace_seconds]
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// Delete nothing: count the references to every blob anew and compare. Exit code 1 when a count is wrong
    #[arg(long, conflicts_with = "grace")]
    recount: bool,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    if args.recount {
        return recount(args.json, settings).await;
    }
    let grace = args.grace.map_or(settings.collect.grace, Duration::from_secs);
    let how = Collection { grace, dry: args.dry_run, under_lease: false };
    let bar = Bar::new(Counted::Steps);
    let summary = with_registry(settings, |registry| async move {
        let tell = |phase, summary: &CollectSummary| bar.say(describe(phase, summary));
        let outcome = registry.collect(&cli_actor(), &how, &tell).await;
        bar.finish();
        Ok(outcome?)
    })
    .await?;
    if args.json {
        output::json(&summary)?;
    } else {
        tell(&summary, args.dry_run)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(phase: CollectPhase, summary: &CollectSummary) -> String {
    match phase {
        CollectPhase::Finishing => format!("ending earlier sweeps: {} objects", summary.deleted_objects),
        CollectPhase::Releasing => format!("released {} versions", summary.released),
        CollectPhase::Condemning => {
            format!("condemned {} blobs, {} chunks", summary.condemned_blobs, summary.condemned_chunks)
        }
        CollectPhase::Sweeping => format!("deleted {} objects", summary.deleted_objects),
        CollectPhase::Walking => {
            format!("looked at {} objects, {} of no event", summary.examined_objects, summary.noted_orphans)
        }
    }
}

fn tell(summary: &CollectSummary, dry: bool) -> Result<(), CliError> {
    let would = if dry { "would have " } else { "" };
    output::line(format_args!("{would}released {} versions", summary.released))?;
    output::line(format_args!(
        "{would}condemned {} blobs and {} chunks",
        summary.condemned_blobs, summary.condemned_chunks
    ))?;
    output::line(format_args!(
        "{would}swept {} blobs and {} chunks, {would}deleted {} objects ({} bytes)",
        summary.swept_blobs, summary.swept_chunks, summary.deleted_objects, summary.deleted_bytes
    ))?;
    output::line(format_args!(
        "looked at {} objects: {would}noted {} that no event names, {would}swept {} of those noted before",
        summary.examined_objects, summary.noted_orphans, summary.swept_orphans
    ))?;
    if summary.left_objects > 0 {
        output::line(format_args!("{} objects could not be deleted now; the next run goes on", summary.left_objects))?;
    }
    if summary.waits_for_move {
        output::line("nothing was swept, because the bytes are being moved to another storage")?;
    }
    Ok(())
}

async fn recount(json: bool, settings: &Settings) -> Outcome {
    let bar = Bar::new(Counted::Pieces("blobs"));
    let summary = with_registry(settings, |registry| async move {
        let miscounted = |found: Miscount| {
            let Miscount { content_address, recorded, counted } = &found;
            let recorded = recorded.map_or_else(|| "no such blob".to_owned(), |count| count.to_string());
            let line = format!("blob {content_address}: recorded {recorded}, counted {counted}");
            bar.line(if json { serde_json::to_string(&found).unwrap_or_default() } else { line });
        };
        let outcome = registry.references_recount(&|progress| bar.show(progress), &miscounted).await;
        bar.finish();
        Ok(outcome?)
    })
    .await?;
    if json {
        output::json(&serde_json::json!({ "summary": summary }))?;
    } else {
        let verdict =
            if summary.wrong == 0 { "all as recorded".to_owned() } else { format!("{} wrong", summary.wrong) };
        output::line(format_args!("counted {} references to {} blobs: {verdict}", summary.references, summary.blobs))?;
    }
    Ok(if summary.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
