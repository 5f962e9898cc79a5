//! The reasons why a version is kept, each with the event to look up.
//!
//! Invariant: a reason is left out only when its period is over and lets go, or when it never began.

use std::fmt;

use serde::Serialize;

use super::{Afterwards, ClassRow, Keeping, Lock, LockTerms, Mode, Start};
use crate::clock::Timestamp;
use crate::model::name::{ClassName, HoldName};
use crate::model::row::{File, Package, Producer, Sequence};

/// Whether something is meant for a version, its package or its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The version itself.
    File,
    /// Its package.
    Package,
    /// Its producer.
    Producer,
}

/// One reason why a version is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Reason {
    /// A finalized package has it.
    Sealed {
        /// The package's name; empty for the root package.
        package: String,
        /// The revision.
        revision: u32,
        /// The event that finalized it.
        event: Sequence,
    },
    /// A class keeps it.
    Class {
        /// The class.
        class: ClassName,
        /// How firmly.
        mode: Mode,
        /// Until when; `None` without an end.
        until: Option<Timestamp>,
        /// Whether the period is over, and it is kept because nothing goes by itself in this class.
        over: bool,
        /// What was given the class.
        scope: Scope,
        /// The event that gave it.
        event: Sequence,
    },
    /// A lock keeps it.
    Lock {
        /// How firmly.
        mode: Mode,
        /// Until when.
        until: Timestamp,
        /// What was locked.
        scope: Scope,
        /// The event that set it.
        event: Sequence,
    },
    /// A hold keeps it.
    Hold {
        /// The hold.
        hold: HoldName,
        /// Why it was placed.
        reason: String,
        /// Who placed it.
        actor: String,
        /// What it was placed on.
        scope: Scope,
        /// The event that placed it.
        event: Sequence,
    },
}

impl Reason {
    /// Whether it keeps the version from being removed, for one who may, or may not, bypass governance.
    #[must_use]
    pub fn forbids(&self, bypass: bool) -> bool {
        match self {
            Self::Sealed { .. } | Self::Hold { .. } => true,
            Self::Class { over: true, .. } => false,
            Self::Class { mode, .. } | Self::Lock { mode, .. } => match mode {
                Mode::None => false,
                Mode::Governance => !bypass,
                Mode::Compliance => true,
            },
        }
    }

    /// Whether its period is over, and it keeps only from going by itself.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Class { over: true, .. })
    }

    /// Whether it is the version's own, and not its package's or its producer's.
    #[must_use]
    pub const fn is_of_file(&self) -> bool {
        match self {
            Self::Sealed { .. } => false,
            Self::Class { scope, .. } | Self::Lock { scope, .. } | Self::Hold { scope, .. } => {
                matches!(scope, Scope::File)
            }
        }
    }

    /// The event to look up.
    #[must_use]
    pub const fn event(&self) -> Sequence {
        match self {
            Self::Sealed { event, .. }
            | Self::Class { event, .. }
            | Self::Lock { event, .. }
            | Self::Hold { event, .. } => *event,
        }
    }
}

fn until_text(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "without an end".to_owned(), |until| format!("until {until}"))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |scope: Scope| match scope {
            Scope::File => "",
            Scope::Package => " of its package",
            Scope::Producer => " of its producer",
        };
        match self {
            Self::Sealed { package, revision, event } => {
                write!(f, "revision {revision} of the package {package:?} is finalized (event {event})")
            }
            Self::Class { class, over: true, scope, event, .. } => {
                write!(f, "the class {class}{} lets nothing go by itself (event {event})", of(*scope))
            }
            Self::Class { class, mode, until, scope, event, .. } => {
                let (mode, until) = (mode.as_str(), until_text(*until));
                write!(f, "the class {class}{} ({mode}) keeps it {until} (event {event})", of(*scope))
            }
            Self::Lock { mode, until, scope, event } => {
                let mode = mode.as_str();
                write!(f, "the lock{} ({mode}) keeps it until {until} (event {event})", of(*scope))
            }
            Self::Hold { hold, reason, actor, scope, event } => {
                write!(f, "the hold {hold}{} by {actor} keeps it: {reason} (event {event})", of(*scope))
            }
        }
    }
}

/// Everything that a version can be kept by.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The version.
    pub file: &'a File,
    /// Its producer, if there is one still.
    pub producer: Option<&'a Producer>,
    /// The revisions of its package that count: that it was written into, and the latest.
    pub packages: [Option<&'a Package>; 2],
    /// The time that expiry goes by.
    pub expiry: Timestamp,
}

/// The class of a name, for who has them all.
pub type ClassOf<'f, 'c> = &'f dyn Fn(&ClassName) -> Option<&'c ClassRow>;

/// What keeps a version, each with whose it is and with the seal that its periods may begin with.
fn keepings<'a>(sources: &Sources<'a>) -> Vec<(&'a Keeping, Scope, Option<Timestamp>)> {
    let Sources { file, producer, packages: [written_into, latest], .. } = *sources;
    let sealed_at = |package: &Package| package.seal.as_ref().map(|seal| seal.finalized_at);
    let mut keepings = vec![(&file.keeping, Scope::File, written_into.and_then(sealed_at))];
    let latest = latest.filter(|latest| written_into.is_none_or(|package| package.id != latest.id));
    let packages = [written_into, latest].into_iter().flatten();
    keepings.extend(packages.map(|package| (&package.keeping, Scope::Package, sealed_at(package))));
    keepings.extend(producer.map(|producer| (&producer.keeping, Scope::Producer, None)));
    keepings
}

fn begun(file: &File, start: Start, finalized_at: Option<Timestamp>) -> Option<Timestamp> {
    match start {
        Start::Ingest => Some(file.ingested_at),
        Start::Finalize => finalized_at,
    }
}

/// Every reason why a version is kept, its seal left out.
#[must_use]
pub fn reasons(sources: &Sources<'_>, class: ClassOf<'_, '_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (keeping, scope, finalized_at) in keepings(sources) {
        let from = |start| begun(sources.file, start, finalized_at);
        reasons.extend(of_keeping(keeping, scope, &from, sources.expiry, class));
    }
    reasons
}

/// The class by which a version goes by itself: every class that it, its packages or its producer have is over and says
/// that names go then, and nothing else keeps it. Of several the one that was over last. One that has yet to begin, or
/// that leaves it to somebody to remove names, wins over those; and so do those of the revisions in between that have
/// it.
#[must_use]
pub fn outlived(sources: &Sources<'_>, between: &[&Package], class: ClassOf<'_, '_>) -> Option<ClassName> {
    let mut last: Option<(Timestamp, &ClassName)> = None;
    let sealed_at = |package: &Package| package.seal.as_ref().map(|seal| seal.finalized_at);
    let own = keepings(sources).into_iter().map(|(keeping, _, finalized_at)| (keeping, finalized_at));
    for (keeping, finalized_at) in own.chain(between.iter().map(|it| (&it.keeping, sealed_at(it)))) {
        for row in keeping.classes.iter().filter_map(|chosen| class(&chosen.name)) {
            let until = row.class.period.after(begun(sources.file, row.class.start, finalized_at)?)?;
            if until > sources.expiry || row.class.then != Afterwards::Delete {
                return None;
            }
            last = last.max(Some((until, &row.name)));
        }
    }
    let (_, name) = last?;
    reasons(sources, class).is_empty().then(|| name.clone())
}

/// Every reason why a package is kept, its seal left out, and what keeps its files one by one. A period that begins with
/// the ingest of a file began, for the last of them, no later than with the seal.
#[must_use]
pub fn package_reasons(
    package: &Package,
    producer: Option<&Producer>,
    expiry: Timestamp,
    class: ClassOf<'_, '_>,
) -> Vec<Reason> {
    let finalized_at = package.seal.as_ref().map(|seal| seal.finalized_at);
    let mut reasons = of_keeping(&package.keeping, Scope::Package, &|_| finalized_at, expiry, class);
    if let Some(producer) = producer {
        reasons.extend(of_keeping(&producer.keeping, Scope::Producer, &|_| finalized_at, expiry, class));
    }
    reasons
}

/// Every reason why the latest revision of a package keeps what an earlier one has. A period that begins with the
/// ingest of a file began, for the last of those, no later than with the seal of the earlier one.
#[must_use]
pub fn latest_reasons(latest: &Package, earlier: &Package, expiry: Timestamp, class: ClassOf<'_, '_>) -> Vec<Reason> {
    let sealed_at = |package: &Package| package.seal.as_ref().map(|seal| seal.finalized_at);
    let begun = |start: Start| match start {
        Start::Ingest => sealed_at(earlier),
        Start::Finalize => sealed_at(latest),
    };
    of_keeping(&latest.keeping, Scope::Package, &begun, expiry, class)
}

fn of_keeping(
    keeping: &Keeping,
    scope: Scope,
    begun: &dyn Fn(Start) -> Option<Timestamp>,
    expiry: Timestamp,
    class: ClassOf<'_, '_>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for chosen in &keeping.classes {
        let Some(row) = class(&chosen.name) else { continue };
        let Some(begun) = begun(row.class.start) else { continue };
        let until = row.class.period.after(begun);
        let over = until.is_some_and(|until| until <= expiry);
        if over && row.class.then != Afterwards::Keep {
            continue;
        }
        let (class, mode, event) = (row.name.clone(), row.class.mode, chosen.sequence);
        reasons.push(Reason::Class { class, mode, until, over, scope, event });
    }
    if let Some(Lock { terms, sequence }) = &keeping.lock
        && terms.retain_until > expiry
    {
        let LockTerms { mode, retain_until } = *terms;
        reasons.push(Reason::Lock { mode, until: retain_until, scope, event: *sequence });
    }
    reasons.extend(keeping.holds.iter().map(|hold| Reason::Hold {
        hold: hold.name.clone(),
        reason: hold.reason.clone(),
        actor: hold.actor.clone(),
        scope,
        event: hold.sequence,
    }));
    reasons
}
