//! `artifactstore lifecycle`.

use std::process::ExitCode;

use artifactstore_registry::actions::request::{LifecycleRun, LifecycleSummary};

use super::output::{self, Bar, Counted};
use super::{CliError, Outcome, with_registry};
use crate::compose::cli_actor;
use crate::config::Settings;
use crate::s3::lifecycle_rules;

/// Lets go what goes by itself: by the lifecycle rules of buckets, and because retention classes are over and say so.
/// Whatever anything keeps stays. A gateway that serves does this by itself, every lifecycle_interval_seconds
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what would go now, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let how = LifecycleRun { day: settings.lifecycle.day, dry: args.dry_run };
    let bar = Bar::new(Counted::Steps);
    let summary = with_registry(settings, |registry| async move {
        let tell = |summary: &LifecycleSummary| bar.say(format!("looked at {}", summary.examined));
        let outcome = registry.lifecycle_run(&cli_actor(), &how, &lifecycle_rules, &tell).await;
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

fn tell(summary: &LifecycleSummary, dry: bool) -> Result<(), CliError> {
    let would = if dry { "would have " } else { "" };
    output::line(format_args!(
        "looked at {} versions and uploads; {} buckets have rules",
        summary.examined, summary.producers_with_rules
    ))?;
    output::line(format_args!(
        "{would}removed {} names, {would}put delete markers in front of {}",
        summary.removed_names, summary.marked_names
    ))?;
    output::line(format_args!(
        "{would}removed {} older versions and {} delete markers, {would}given up {} uploads",
        summary.removed_versions, summary.removed_markers, summary.aborted_uploads
    ))?;
    output::line(format_args!(
        "{would}let go of {} versions whose retention classes are over",
        summary.outlived_versions
    ))?;
    output::line(format_args!("{} would have gone, and are kept", summary.kept))?;
    if summary.unreadable_rules > 0 {
        output::line(format_args!(
            "the rules of {} buckets cannot be understood, and nothing went by them",
            summary.unreadable_rules
        ))?;
    }
    Ok(())
}
