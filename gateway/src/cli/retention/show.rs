//! Retention in lines for people. What came from outside is escaped: a reason may hold anything.

use artifactstore_registry::actions::eligibility::{Eligibility, Simulation, VersionTold};
use artifactstore_registry::actions::retention::ClockReport;
use artifactstore_registry::model::retention::{ClassRow, ClockJump, Keeping, RetentionClass};
use artifactstore_registry::model::row::Package;

use super::CliError;
use crate::admin::retention::shape::jump_warning;
use crate::cli::output::{line, shown};

/// A class in a line.
pub(super) fn class(row: &ClassRow) -> Result<(), CliError> {
    let RetentionClass { mode, then, start, period, description, may_shorten } = &row.class;
    let (name, mode, start, then) = (&row.name, mode.as_str(), start.as_str(), then.as_str());
    let shorten = if *may_shorten { ", may be shortened" } else { "" };
    let event = row.sequence;
    let what = shown(description);
    line(format_args!("{name}: {mode}, {period} from {start}, then {then}{shorten} (event {event}): {what}"))
}

/// What keeps a thing by itself, a line each.
pub(super) fn keeping(keeping: &Keeping) -> Result<(), CliError> {
    if keeping.is_empty() {
        return line("kept by nothing of its own");
    }
    for chosen in &keeping.classes {
        line(format_args!("class {} (event {})", chosen.name, chosen.sequence))?;
    }
    if let Some(lock) = &keeping.lock {
        let (mode, until) = (lock.terms.mode.as_str(), lock.terms.retain_until);
        line(format_args!("lock ({mode}) until {until} (event {})", lock.sequence))?;
    }
    for hold in &keeping.holds {
        let (actor, reason) = (shown(&hold.actor), shown(&hold.reason));
        line(format_args!("hold {} by {actor}: {reason} (event {})", hold.name, hold.sequence))?;
    }
    Ok(())
}

fn version(told: &VersionTold) -> String {
    if told.producer.as_str().is_empty() {
        return format!("a file of another tenant (event {})", told.event);
    }
    format!("{}/{} (event {})", told.producer, shown(&told.key), told.event)
}

/// Yes or no, and every reason.
pub(super) fn eligibility(eligibility: &Eligibility) -> Result<(), CliError> {
    line(match (eligibility.eligible, eligibility.frees_bytes) {
        (true, true) => "yes: it may be removed, and nothing keeps its bytes then",
        (true, false) => "yes: it may be removed, and its bytes stay",
        (false, _) => "no: it is kept",
    })?;
    for reason in &eligibility.reasons {
        line(shown(&reason.to_string()))?;
    }
    if let Some(seal) = &eligibility.seal {
        line(format_args!("{}: before its files can be removed, it has to be released", shown(&seal.to_string())))?;
    }
    for file in &eligibility.files {
        let reasons: Vec<String> = file.reasons.iter().map(|reason| shown(&reason.to_string())).collect();
        line(format_args!("{}: {}", version(file), reasons.join("; ")))?;
    }
    let (kept, told) = (eligibility.files_kept.unwrap_or(0), eligibility.files.len() as u64);
    if kept > told {
        line(format_args!("{} more files are kept one by one", kept - told))?;
    }
    for reference in &eligibility.references {
        line(format_args!("the same bytes are those of {}", version(reference)))?;
    }
    if eligibility.references_more {
        line("there may be more files that have the same bytes")?;
    }
    for upload in &eligibility.uploads {
        line(format_args!("the upload {} of {} is open (event {})", upload.upload, shown(&upload.key), upload.event))?;
    }
    for warning in eligibility.clock_jumps.iter().filter_map(jump_warning) {
        line(warning)?;
    }
    Ok(())
}

/// What a changed class would let go.
pub(super) fn simulation(simulation: &Simulation) -> Result<(), CliError> {
    line(format_args!(
        "of {} versions that the class keeps {} would be released ({} bytes), and {} packages",
        simulation.versions_kept, simulation.versions_released, simulation.bytes_released, simulation.packages_released,
    ))?;
    for told in &simulation.versions {
        line(version(told))?;
    }
    for package in &simulation.packages {
        line(format_args!("package {package}"))?;
    }
    Ok(())
}

/// That a package was released.
pub(super) fn released(package: &Package) -> Result<(), CliError> {
    let (producer, name, revision) = (&package.producer, shown(package.name.as_str()), package.revision);
    let event = package.released_sequence.unwrap_or_default();
    line(format_args!("released the files of {producer}/{name} revision {revision} (event {event})"))
}

/// A jump of the clock in a line.
pub(super) fn jump(jump: &ClockJump) -> Result<(), CliError> {
    if jump.sequence == 0 {
        return line(format_args!("jump from {} to {} (recorded by the next event)", jump.from, jump.to));
    }
    let settled = match (jump.settled_sequence, jump.genuine) {
        (None, _) if jump.is_small() => "not settled: expiry goes behind by as much".to_owned(),
        (None, _) => "not settled: expiry stands still".to_owned(),
        (Some(_), true) if jump.is_believed() => "believed, though nothing proves it".to_owned(),
        (Some(event), true) => format!("genuine (event {event})"),
        (Some(event), false) => format!("wrong (event {event})"),
    };
    line(format_args!("jump from {} to {} (event {}): {settled}", jump.from, jump.to, jump.sequence))
}

/// The clock, and its jumps a line each.
pub(super) fn clock(report: &ClockReport) -> Result<(), CliError> {
    line(format_args!("the clock shows {}; expiry goes by {}", report.shown, report.expiry))?;
    report.jumps.iter().try_for_each(jump)
}
