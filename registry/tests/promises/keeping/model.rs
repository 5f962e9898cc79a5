//! What was promised, by the days and words of whoever promised it. It is not made of the rules that decide, so that it can be
//! compared with them.
//!
//! Invariant: nothing in here asks the registry.

use std::collections::BTreeSet;

use artifactstore_registry::model::name::PackageId;
use artifactstore_registry::model::retention::{Afterwards, Mode, Period, RetentionClass, Start};

pub(super) const DAY: i64 = 86_400;

/// What is given a class, a lock or a hold. Of versions those that there are count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Version(usize),
    Package(usize),
    Producer,
}

/// A class, as the model knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) mode: Mode,
    pub(super) days: i64,
    pub(super) start: Start,
    pub(super) may_shorten: bool,
}

pub(super) const RULES: [Rule; 4] = [
    Rule { name: "soft", mode: Mode::Governance, days: 15, start: Start::Ingest, may_shorten: true },
    Rule { name: "hard", mode: Mode::Compliance, days: 10, start: Start::Ingest, may_shorten: false },
    Rule { name: "late", mode: Mode::Compliance, days: 8, start: Start::Finalize, may_shorten: false },
    Rule { name: "mild", mode: Mode::None, days: 12, start: Start::Ingest, may_shorten: false },
];

impl Rule {
    pub(super) fn class(self) -> RetentionClass {
        RetentionClass {
            mode: self.mode,
            then: Afterwards::Eligible,
            start: self.start,
            period: Period::Days(u32::try_from(self.days).unwrap()),
            description: String::new(),
            may_shorten: self.may_shorten,
        }
    }
}

/// What a version, a package or the producer was given itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// Whether it is of compliance, and until when.
    pub(super) lock: Option<(bool, i64)>,
    pub(super) classes: Vec<usize>,
    pub(super) holds: BTreeSet<u8>,
}

/// What keeps something now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keeps {
    pub(super) hold: bool,
    pub(super) compliance: bool,
    pub(super) governance: bool,
    pub(super) mild: bool,
}

impl Keeps {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            hold: self.hold || other.hold,
            compliance: self.compliance || other.compliance,
            governance: self.governance || other.governance,
            mild: self.mild || other.mild,
        }
    }

    pub(super) fn forbids(self, bypass: bool) -> bool {
        self.hold || self.compliance || (self.governance && !bypass)
    }

    pub(super) fn anything(self) -> bool {
        self.forbids(false) || self.mild
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Shown,
    /// Somebody removed it by its number.
    Removed,
    /// It let go of its bytes.
    Released,
    Erased,
}

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) key: usize,
    pub(super) content: u8,
    pub(super) born: i64,
    pub(super) given: Given,
    pub(super) is: Is,
}

impl Version {
    pub(super) const fn package(&self) -> usize {
        if self.key == 2 { 1 } else { 0 }
    }

    pub(super) const fn has_bytes(&self) -> bool {
        matches!(self.is, Is::Shown | Is::Removed)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    pub(super) id: Option<PackageId>,
    pub(super) given: Given,
    pub(super) sealed_at: Option<i64>,
    pub(super) released: bool,
}

impl Package {
    pub(super) const fn is_shut(&self) -> bool {
        self.sealed_at.is_some() && !self.released
    }
}

/// Everything that there is, and what keeps it.
pub(super) struct Model {
    pub(super) now: i64,
    pub(super) rules: [Rule; 4],
    /// The class that new files are given.
    pub(super) default: Option<usize>,
    pub(super) versions: Vec<Version>,
    pub(super) packages: [Package; 2],
    pub(super) producer: Given,
}

impl Model {
    pub(super) fn begin(now: i64) -> Self {
        let packages = [Package::default(), Package::default()];
        Self { now, rules: RULES, default: None, versions: Vec::new(), packages, producer: Given::default() }
    }

    /// What keeps something by what it was given, where a period that begins so began then.
    fn keeps_by(&self, given: &Given, begun: impl Fn(Start) -> Option<i64>) -> Keeps {
        let mut keeps = Keeps { hold: !given.holds.is_empty(), ..Keeps::default() };
        if let Some((firm, _)) = given.lock.filter(|(_, until)| *until > self.now) {
            if firm { keeps.compliance = true } else { keeps.governance = true }
        }
        for rule in given.classes.iter().map(|class| self.rules[*class]) {
            if begun(rule.start).is_some_and(|begun| begun + rule.days * DAY > self.now) {
                match rule.mode {
                    Mode::None => keeps.mild = true,
                    Mode::Governance => keeps.governance = true,
                    Mode::Compliance => keeps.compliance = true,
                }
            }
        }
        keeps
    }

    pub(super) fn keeps(&self, version: &Version) -> Keeps {
        let package = &self.packages[version.package()];
        let begun = |start| if start == Start::Ingest { Some(version.born) } else { package.sealed_at };
        let of_producer = |start| (start == Start::Ingest).then_some(version.born);
        let own = self.keeps_by(&version.given, begun).and(self.keeps_by(&package.given, begun));
        own.and(self.keeps_by(&self.producer, of_producer))
    }

    pub(super) fn keeps_package(&self, package: &Package) -> Keeps {
        let begun = |_| package.sealed_at;
        self.keeps_by(&package.given, begun).and(self.keeps_by(&self.producer, begun))
    }

    /// The version of a number from a step, if there is any.
    pub(super) const fn chosen(&self, number: usize) -> Option<usize> {
        if self.versions.is_empty() { None } else { Some(number % self.versions.len()) }
    }

    pub(super) fn given(&mut self, whose: Whose) -> &mut Given {
        match whose {
            Whose::Version(number) => {
                let count = self.versions.len();
                &mut self.versions[number % count].given
            }
            Whose::Package(package) => &mut self.packages[package].given,
            Whose::Producer => &mut self.producer,
        }
    }

    /// Whether it can be given anything, or lose it.
    pub(super) fn is_there(&self, whose: Whose) -> bool {
        match whose {
            Whose::Version(number) => self.chosen(number).is_some_and(|at| self.versions[at].is == Is::Shown),
            Whose::Package(package) => !self.packages[package].released,
            Whose::Producer => true,
        }
    }

    /// Whether a lock may take the place of what something was given, and the classes that go for it.
    pub(super) fn may_lock(&self, whose: Whose, lock: Option<(bool, i64)>, bypass: bool) -> Option<Vec<usize>> {
        let (given, born, sealed_at) = match whose {
            Whose::Version(number) => {
                let version = &self.versions[self.chosen(number)?];
                (&version.given, version.born, self.packages[version.package()].sealed_at)
            }
            Whose::Package(package) => (&self.packages[package].given, self.now, self.packages[package].sealed_at),
            Whose::Producer => (&self.producer, self.now, None),
        };
        if lock.is_some() && given.lock == lock {
            return Some(Vec::new());
        }
        if let Some((firm, until)) = given.lock.filter(|(_, until)| *until > self.now) {
            let extends = lock.is_some_and(|(as_firm, to)| as_firm == firm && to >= until);
            if !extends && (firm || !bypass) {
                return None;
            }
        }
        let mut dropped = Vec::new();
        for which in &given.classes {
            let rule = self.rules[*which];
            let begun = if rule.start == Start::Ingest { Some(born) } else { sealed_at };
            let Some(until) = begun.map(|begun| begun + rule.days * DAY).filter(|until| *until > self.now) else {
                continue;
            };
            let keeps_all = lock.is_some_and(|(firm, to)| to >= until && (firm || rule.mode == Mode::Governance));
            match rule.mode {
                Mode::None => {}
                _ if keeps_all => {}
                Mode::Governance if bypass && rule.may_shorten => dropped.push(*which),
                Mode::Governance | Mode::Compliance => return None,
            }
        }
        Some(dropped)
    }
}
