//! `artifactstore retention`.

mod class;
mod show;

use std::process::ExitCode;

use artifactstore_registry::Registry;
use artifactstore_registry::actions::eligibility::Eligibility;
use artifactstore_registry::actions::retention::RetentionOrder;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{ClassName, FileName, HoldName, PackageId, ProducerName};
use artifactstore_registry::model::retention::{LockTerms, Mode};
use artifactstore_registry::model::row::VersionChoice;
use clap::{ArgGroup, Subcommand, ValueEnum};

use super::output;
use super::{CliError, Outcome, with_registry};
use crate::admin::retention::shape::{
    ClassShape, ClockShape, EligibilityShape, JumpShape, KeptByShape, SimulationShape,
};
use crate::admin::retention::{parse_moment, parse_version};
use crate::admin::shape::PackageShape;
use crate::compose::cli_actor;
use crate::config::Settings;

/// Shows and changes what is kept, until when and why: classes, locks, holds, and the clock
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Answer with JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the retention classes by name, a line each
    Classes,
    /// Makes a class, or changes what is said of one and leaves the rest as it is
    SetClass {
        /// The class's name
        name: String,
        #[command(flatten)]
        changes: class::Changes,
        #[command(flatten)]
        right: Right,
    },
    /// Says what a class would let go if it were so, and changes nothing
    Simulate {
        /// The class's name
        name: String,
        #[command(flatten)]
        changes: class::Changes,
    },
    /// Says whether a file or a package may go, and every reason why not; exit code 0 for yes, 1 for no
    #[command(disable_version_flag = true, group = ArgGroup::new("subject").required(true).args(["file", "package"]))]
    Explain {
        /// The file
        #[arg(value_name = "BUCKET/KEY")]
        file: Option<String>,
        /// The version of that file, by number, or `null`; also one that was superseded or removed
        #[arg(long, value_name = "N", requires = "file", conflicts_with = "package")]
        version: Option<String>,
        /// A package instead, by the identifier of its revision
        #[arg(long, value_name = "ID")]
        package: Option<String>,
    },
    /// Gives a file or a package a class besides those that it has, or locks it until a time
    #[command(
        disable_version_flag = true,
        group = ArgGroup::new("subject").required(true).args(["file", "package"]),
        group = ArgGroup::new("change").required(true).args(["class", "until", "unlock"]),
    )]
    Retain {
        /// The file
        #[arg(value_name = "BUCKET/KEY")]
        file: Option<String>,
        /// The version of that file, by number, or `null`
        #[arg(long, value_name = "N", requires = "file", conflicts_with = "package")]
        version: Option<String>,
        /// A package instead, by the identifier of its revision
        #[arg(long, value_name = "ID")]
        package: Option<String>,
        /// The class
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Until when it is locked, as in 2035-12-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// How firmly it is locked; governance when not said
        #[arg(long, value_enum, conflicts_with_all = ["class", "unlock"])]
        mode: Option<LockMode>,
        /// Take the lock from it
        #[arg(long)]
        unlock: bool,
        #[command(flatten)]
        right: Right,
    },
    /// Places a hold on a file, a package or a producer; one that is there already stays as it is
    #[command(disable_version_flag = true, group = subject())]
    Hold {
        /// The hold's name: lower-case letters, digits and hyphens
        name: String,
        #[command(flatten)]
        target: Target,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Releases a hold of a file, a package or a producer
    #[command(disable_version_flag = true, group = subject())]
    ReleaseHold {
        /// The hold's name
        name: String,
        #[command(flatten)]
        target: Target,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Lets the files of a finalized package be removed, as far as nothing keeps them one by one
    Release {
        /// The identifier of the package's revision
        package: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Shows the clock, the time that expiry goes by, and the jumps of the clock
    Clock,
    /// Says of a jump of the clock whether the clock was right, so that expiry goes on
    #[command(group = ArgGroup::new("verdict").required(true).args(["genuine", "wrong"]))]
    SettleClock {
        /// The event that recorded the jump
        event: u64,
        /// The clock was right: the time did pass
        #[arg(long)]
        genuine: bool,
        /// The clock was wrong, and is right again: expiry waits until time has come that far
        #[arg(long)]
        wrong: bool,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}

fn subject() -> ArgGroup {
    ArgGroup::new("subject").required(true).args(["file", "package", "producer"])
}

/// By what right something is changed.
#[derive(Debug, clap::Args)]
struct Right {
    /// Let it be kept less than now, where governance keeps it
    #[arg(long)]
    bypass_governance: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// What is held.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Target {
    /// The file
    #[arg(value_name = "BUCKET/KEY")]
    file: Option<String>,
    /// The version of that file, by number, or `null`
    #[arg(long, value_name = "N", requires = "file", conflicts_with_all = ["package", "producer"])]
    version: Option<String>,
    /// A package instead, by the identifier of its revision
    #[arg(long, value_name = "ID")]
    package: Option<String>,
    /// A producer instead, with all that it has and gets
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LockMode {
    /// It can be shortened with --bypass-governance
    Governance,
    /// It can only be extended
    Compliance,
}

impl Target {
    fn subject(self) -> Result<SubjectChoice, CliError> {
        match (self.producer, self.package, self.file) {
            (Some(producer), None, None) => Ok(SubjectChoice::Producer(ProducerName::parse(&producer)?)),
            (None, package, file) => chosen(file.as_deref(), self.version.as_deref(), package.as_deref()),
            _ => Err(unclear()),
        }
    }
}

fn unclear() -> CliError {
    CliError::Other("say one thing: BUCKET/KEY, --package or --producer".to_owned())
}

fn chosen(file: Option<&str>, version: Option<&str>, package: Option<&str>) -> Result<SubjectChoice, CliError> {
    match (file, package) {
        (Some(file), None) => {
            let (name, version) = parse_file(file, version)?;
            Ok(SubjectChoice::File(name, version))
        }
        (None, Some(id)) => Ok(SubjectChoice::Package(PackageId::parse(id)?)),
        _ => Err(unclear()),
    }
}

/// `guide-board/run-42/report.xml`
pub(super) fn parse_file(text: &str, version: Option<&str>) -> Result<(FileName, Option<VersionChoice>), CliError> {
    let wrong = || CliError::Other(format!("{text:?} is not of the form BUCKET/KEY"));
    let (bucket, key) = text.split_once('/').ok_or_else(wrong)?;
    let version = version.map(|version| {
        let wrong = || CliError::Other(format!("{version:?} is no version: it is a decimal number, or null"));
        parse_version(version).ok_or_else(wrong)
    });
    Ok((FileName::parse(bucket, key)?, version.transpose()?))
}

fn change(
    class: Option<&str>,
    until: Option<&str>,
    mode: Option<LockMode>,
    unlock: bool,
) -> Result<RetentionChange, CliError> {
    match (class, until) {
        (Some(class), None) => Ok(RetentionChange::Class(ClassName::parse(class)?)),
        (None, Some(until)) => {
            let wrong = || CliError::Other(format!("{until:?} is no time: write it as 2035-12-31T00:00:00Z"));
            let retain_until = parse_moment(until).ok_or_else(wrong)?;
            let mode = match mode {
                None | Some(LockMode::Governance) => Mode::Governance,
                Some(LockMode::Compliance) => Mode::Compliance,
            };
            Ok(RetentionChange::Lock(Some(LockTerms { mode, retain_until })))
        }
        (None, None) if unlock => Ok(RetentionChange::Lock(None)),
        _ => Err(CliError::Other("say one change: --class, --until or --unlock".to_owned())),
    }
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    with_registry(settings, |registry| act(registry, args)).await
}

async fn act(registry: Registry, args: Args) -> Outcome {
    let actor = cli_actor();
    match args.action {
        Action::Classes => {
            for row in &registry.class_list().await? {
                if args.json { output::json(&ClassShape::from(row)) } else { show::class(row) }?;
            }
        }
        Action::SetClass { name, changes, right } => {
            let name = ClassName::parse(&name)?;
            let class = changes.applied_to(class::present(&registry, &name).await?)?;
            let row = registry.class_set(&actor, &name, class, (right.bypass_governance, right.reason)).await?;
            if args.json { output::json(&ClassShape::from(&row)) } else { show::class(&row) }?;
        }
        Action::Simulate { name, changes } => {
            let name = ClassName::parse(&name)?;
            let class = changes.applied_to(Some(registry.class_stat(&name).await?.class))?;
            let simulation = registry.class_simulate(&name, class).await?;
            if args.json { output::json(&SimulationShape::from(&simulation)) } else { show::simulation(&simulation) }?;
        }
        Action::Explain { file, version, package } => {
            let eligibility = match chosen(file.as_deref(), version.as_deref(), package.as_deref())? {
                SubjectChoice::Package(id) => explained(&registry, &actor, &id).await?,
                SubjectChoice::File(name, version) => registry.file_eligibility(&actor, &name, version).await?,
                SubjectChoice::Producer(_) => return Err(unclear()),
            };
            if args.json {
                output::json(&EligibilityShape::from(&eligibility))
            } else {
                show::eligibility(&eligibility)
            }?;
            return Ok(if eligibility.eligible { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Retain { file, version, package, class, until, mode, unlock, right } => {
            let order = RetentionOrder {
                subject: chosen(file.as_deref(), version.as_deref(), package.as_deref())?,
                change: change(class.as_deref(), until.as_deref(), mode, unlock)?,
                bypass: right.bypass_governance,
                reason: right.reason,
            };
            let keeping = registry.retention_set(&actor, order).await?;
            if args.json { output::json(&KeptByShape::from(&keeping)) } else { show::keeping(&keeping) }?;
        }
        Action::Hold { name, target, reason } => {
            let keeping = registry.hold_place(&actor, target.subject()?, &HoldName::parse(&name)?, reason).await?;
            if args.json { output::json(&KeptByShape::from(&keeping)) } else { show::keeping(&keeping) }?;
        }
        Action::ReleaseHold { name, target, reason } => {
            let keeping = registry.hold_release(&actor, target.subject()?, &HoldName::parse(&name)?, reason).await?;
            if args.json { output::json(&KeptByShape::from(&keeping)) } else { show::keeping(&keeping) }?;
        }
        Action::Release { package, reason } => {
            let released = registry.package_release(&actor, &PackageId::parse(&package)?, reason).await?;
            if args.json { output::json(&PackageShape::from(&released)) } else { show::released(&released) }?;
        }
        Action::Clock => {
            let report = registry.clock_report().await?;
            if args.json { output::json(&ClockShape::from(&report)) } else { show::clock(&report) }?;
        }
        Action::SettleClock { event, genuine, wrong: _, reason } => {
            let jump = registry.clock_settle(&actor, event, genuine, reason).await?;
            if args.json { output::json(&JumpShape::from(&jump)) } else { show::jump(&jump) }?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How many files of a package are asked about at once, and how many are told of.
const EXPLAIN_PAGE: usize = 1_000;
const FILES_TOLD: usize = 100;

/// Whether a package may go with all its files: every page of the answer, and of each kind of thing the first hundred.
async fn explained(registry: &Registry, actor: &Actor, id: &PackageId) -> Result<Eligibility, CliError> {
    let mut whole = registry.package_eligibility(actor, id, None, EXPLAIN_PAGE).await?;
    while let Some(after) = whole.next.take() {
        let page = registry.package_eligibility(actor, id, Some(&after), EXPLAIN_PAGE).await?;
        whole.eligible &= page.eligible;
        whole.frees_bytes &= page.frees_bytes;
        whole.files_kept = Some(whole.files_kept.unwrap_or(0) + page.files_kept.unwrap_or(0));
        whole.files.extend(page.files);
        whole.files.truncate(FILES_TOLD);
        let others = page.references.into_iter().filter(|other| !whole.references.contains(other)).collect::<Vec<_>>();
        whole.references.extend(others);
        whole.references_more |= page.references_more || whole.references.len() > FILES_TOLD;
        whole.references.truncate(FILES_TOLD);
        whole.next = page.next;
    }
    whole.files.truncate(FILES_TOLD);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Result<Action, clap::Error> {
        Line::try_parse_from(std::iter::once("x").chain(line.split(' '))).map(|line| line.args.action)
    }

    #[test]
    fn one_thing_is_meant_and_one_change() {
        for line in [
            "explain lab/run-1/a --version 7",
            "explain --package 00000000-0000-4000-8000-000000000000",
            "retain lab/a --class permanent",
            "retain lab/a --until 2035-01-01T00:00:00Z --mode compliance",
            "retain --package 00000000-0000-4000-8000-000000000000 --unlock --bypass-governance",
            "hold case-42 --producer lab --reason court",
            "release-hold case-42 lab/a --version null",
            "settle-clock 7 --wrong",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {}", parsed(line).unwrap_err());
        }
        for line in [
            "explain",
            "explain lab/a --package x",
            "explain --version 7 --package x",
            "retain lab/a",
            "retain lab/a --class permanent --unlock",
            "retain lab/a --class permanent --mode compliance",
            "hold case-42 --reason court",
            "hold case-42 lab/a",
            "settle-clock 7",
            "settle-clock 7 --genuine --wrong",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_file_is_a_bucket_and_a_key() {
        let (name, version) = parse_file("lab/run-1/a=b/c", Some("7")).unwrap();
        assert_eq!((name.producer.as_str(), name.key.as_str()), ("lab", "run-1/a=b/c"));
        assert_eq!(version, Some(VersionChoice::Numbered(7)));
        for (file, version) in [("lab", None), ("lab/", None), ("LAB/a", None), ("lab/a", Some("new"))] {
            assert!(parse_file(file, version).is_err(), "{file} {version:?}");
        }
    }

    #[test]
    fn a_lock_is_of_governance_when_nothing_is_said() {
        let terms = |mode| match change(None, Some("2035-01-01T00:00:00Z"), mode, false).unwrap() {
            RetentionChange::Lock(terms) => terms.map(|terms| terms.mode),
            RetentionChange::Class(_) => None,
        };
        assert_eq!(terms(None), Some(Mode::Governance));
        assert_eq!(terms(Some(LockMode::Compliance)), Some(Mode::Compliance));
        assert!(change(None, Some("next year"), None, false).is_err());
    }
}
