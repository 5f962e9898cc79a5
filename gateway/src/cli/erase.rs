//! `artifactstore erase`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use artifactstore_registry::actions::erase::ErasureOutcome;
use artifactstore_registry::model::command::Erase;

use super::output::{self, shown};
use super::retention::parse_file;
use super::{CliError, Outcome, with_registry};
use crate::admin::retention::erase::ErasedShape;
use crate::compose::cli_actor;
use crate::config::Settings;

/// Erases the bytes of a file for good, because somebody has a right to that. What the file was stays in the log, and a
/// finalized package keeps its manifest, which shows the gap. Compliance and holds forbid it
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "BUCKET/KEY")]
    file: String,
    /// The version of that file, by number, or `null`; also one that was superseded or removed
    #[arg(long, value_name = "N")]
    version: Option<String>,
    /// Why: for the log, and for whoever asks for the file
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who demanded it, for the log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    requested_by: String,
    /// Erase every version that has the same bytes, too
    #[arg(long)]
    all_copies: bool,
    /// Bypass governance
    #[arg(long)]
    bypass_governance: bool,
    /// Say what would be erased, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Answer with JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let (name, version) = parse_file(&args.file, args.version.as_deref())?;
    let order = Erase {
        name,
        version,
        reason: args.reason,
        requested_by: args.requested_by,
        all_copies: args.all_copies,
        bypass: args.bypass_governance,
    };
    let ask = !args.yes && !args.dry_run;
    if ask && !io::stdin().is_terminal() {
        return Err(CliError::Other("nobody is there to be asked: say --yes, or --dry-run first".to_owned()));
    }
    let outcome = with_registry(settings, |registry| async move {
        let would = registry.file_erase(&cli_actor(), order.clone(), true).await?;
        if args.dry_run || (ask && !agreed(&would)?) {
            return Ok(Err(would));
        }
        Ok(Ok(registry.file_erase(&cli_actor(), order, false).await?))
    })
    .await?;
    let (outcome, done) = match &outcome {
        Ok(outcome) => (outcome, true),
        Err(would) => (would, false),
    };
    if args.json { output::json(&ErasedShape::from(outcome)) } else { tell(outcome, done) }?;
    Ok(if done || args.dry_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn names(outcome: &ErasureOutcome) -> impl Iterator<Item = String> + '_ {
    outcome.versions.iter().map(|erased| {
        let name = &erased.name;
        format!("{}/{} version {}", name.producer, shown(name.key.as_str()), erased.version)
    })
}

/// Names what would be erased, and waits for a yes.
fn agreed(would: &ErasureOutcome) -> Result<bool, CliError> {
    let mut error = io::stderr().lock();
    for name in names(would) {
        writeln!(error, "{name}").map_err(CliError::Output)?;
    }
    write!(error, "Erase these bytes for good? Type yes: ").map_err(CliError::Output)?;
    error.flush().map_err(CliError::Output)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(CliError::System)?;
    Ok(answer.trim() == "yes")
}

fn tell(outcome: &ErasureOutcome, done: bool) -> Result<(), CliError> {
    let before = if outcome.recorded_before { " before" } else { "" };
    for (name, erased) in names(outcome).zip(&outcome.versions) {
        match erased.event.filter(|_| done) {
            Some(event) => output::line(format_args!("erased{before} {name} (event {event})"))?,
            None => output::line(format_args!("would have erased {name}"))?,
        }
    }
    if !done {
        return Ok(());
    }
    output::line(format_args!("deleted {} objects ({} bytes)", outcome.deleted_objects, outcome.deleted_bytes))?;
    if outcome.left_objects > 0 {
        output::line(format_args!("{} objects could not be deleted now; the next gc goes on", outcome.left_objects))?;
    }
    if outcome.shared_bytes > 0 {
        output::line(format_args!("{} bytes stay: they are part of other content, too", outcome.shared_bytes))?;
    }
    if outcome.stored_again {
        output::line("the same content was stored again meanwhile, and is there: erase that, too")?;
    }
    Ok(())
}
