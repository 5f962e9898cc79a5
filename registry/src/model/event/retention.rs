//! Facts about why things are kept: classes, retention, holds, locks, and the clock that they are measured by.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::model::name::{ClassName, FileName, HoldName, Key, PackageId, PackageName, ProducerName};
use crate::model::retention::{LockTerms, RetentionClass};
use crate::model::row::Sequence;

/// What something is kept by is said of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One version of a file.
    File {
        /// The key.
        key: Key,
        /// The package's name.
        package: PackageName,
        /// The version.
        version: Sequence,
        /// The producer.
        producer: ProducerName,
    },
    /// A revision of a package.
    Package {
        /// The package's name.
        package: PackageName,
        /// The producer.
        producer: ProducerName,
        /// The revision.
        package_id: PackageId,
    },
    /// A producer, with all that it has and gets.
    Producer(ProducerName),
}

impl Subject {
    /// The producer.
    #[must_use]
    pub const fn producer(&self) -> &ProducerName {
        match self {
            Self::File { producer, .. } | Self::Package { producer, .. } | Self::Producer(producer) => producer,
        }
    }

    /// The package's name, if it is about one.
    #[must_use]
    pub const fn package(&self) -> Option<&PackageName> {
        match self {
            Self::File { package, .. } | Self::Package { package, .. } => Some(package),
            Self::Producer(_) => None,
        }
    }

    /// The file's name, if it is about one.
    #[must_use]
    pub fn name(&self) -> Option<FileName> {
        match self {
            Self::File { key, producer, .. } => Some(FileName { producer: producer.clone(), key: key.clone() }),
            Self::Package { .. } | Self::Producer(_) => None,
        }
    }
}

/// A retention class was made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSet {
    /// Its name.
    pub name: ClassName,
    /// What it is from now on.
    pub class: RetentionClass,
    /// Why it was changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What keeps a producer, package or version was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSet {
    /// Classes that it is given besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adds: Vec<ClassName>,
    /// The lock from now on; none when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockTerms>,
    /// Classes that are taken from it, because a lock takes their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<ClassName>,
    /// Why it was changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    pub subject: Subject,
    /// Whether governance was bypassed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bypassed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A hold was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// Its name.
    pub name: HoldName,
    /// Why.
    pub reason: String,
    /// What it keeps.
    pub subject: Subject,
}

/// A hold was released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Its name.
    pub name: HoldName,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it kept.
    pub subject: Subject,
}

/// S3's Object Lock was enabled for a producer. It cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEnabled {
    /// The producer.
    pub producer: ProducerName,
}

/// The files of a finalized package, and of the revisions before it, may be removed. Its seal and manifest stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageReleased {
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The package's name.
    pub package: PackageName,
    /// The producer.
    pub producer: ProducerName,
    /// The revision.
    pub package_id: PackageId,
}

/// The clock went further than time did. Expiry goes behind by as much, or stands still, until somebody settles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockJumped {
    /// The time that the clock showed.
    pub to: Timestamp,
    /// The time that was trusted last.
    pub from: Timestamp,
    /// Whether it is believed all the same: a process began, and nothing can prove what lies in between, which is little.
    #[serde(default, skip_serializing_if = "is_false")]
    pub believed: bool,
}

/// A process that had watched the clock meanwhile noted what is known of the time: the log had gone on, or nobody had
/// written for long, or a process that began beside it had to believe what this one knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockNoted {
    /// Until when this accounts for the time: what the clock showed, but for what is too much to be believed.
    pub shown: Timestamp,
    /// Events by which a clock was believed, and in whose place this one comes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proves: Vec<Sequence>,
    /// The time that is certain: what lies in between is believed, and nothing besides. Events of earlier versions do
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certain: Option<Timestamp>,
}

/// An operator said whether the clock was right. What had been believed, and was, is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSettled {
    /// The event that recorded the jump.
    pub jump: Sequence,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it was right.
    pub genuine: bool,
}
