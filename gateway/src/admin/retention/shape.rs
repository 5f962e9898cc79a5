//! What the admin REST and the command line's `--json` show of retention.
//!
//! Times are RFC 3339 in UTC, and periods are `{"days":30}`, `{"years":7}` or `"forever"`.

use artifactstore_registry::actions::eligibility::{Eligibility, Simulation, UploadTold, VersionTold};
use artifactstore_registry::model::retention::{
    Afterwards, ClassRow, Hold, Keeping, Mode, Period, Reason, RetentionClass, Scope, Start,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use super::clock_shape::{ClockShape, JumpShape, jump_warning};
use crate::admin::extract::cursor;

/// How firmly something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RetentionMode)]
pub(crate) enum ModeShape {
    /// Its name may be removed at any time; its bytes stay for the period.
    None,
    /// It may be removed, and its period be shortened, by whoever may bypass governance and says so.
    Governance,
    /// Nobody removes it, and nobody shortens its period.
    Compliance,
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RetentionPeriod)]
pub(crate) enum PeriodShape {
    /// So many days of 24 hours, up to 36500.
    Days(u32),
    /// So many years of the calendar, up to 100.
    Years(u32),
    /// Without an end.
    Forever,
}

/// What begins the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RetentionStart)]
pub(crate) enum StartShape {
    /// The file's ingest.
    Ingest,
    /// The seal of the package that the file was written into.
    Finalize,
}

/// What follows when the period is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RetentionThen)]
pub(crate) enum ThenShape {
    /// Nothing goes by itself.
    Keep,
    /// It may go.
    Eligible,
    /// It goes.
    Delete,
}

/// Enums of the same words.
macro_rules! alike {
    ($($shape:ident = $model:ident { $($word:ident),* })*) => {
        $(impl From<$shape> for $model {
            fn from(shape: $shape) -> Self {
                match shape { $($shape::$word => Self::$word),* }
            }
        }
        impl From<$model> for $shape {
            fn from(model: $model) -> Self {
                match model { $($model::$word => Self::$word),* }
            }
        })*
    };
}

alike! {
    ModeShape = Mode { None, Governance, Compliance }
    StartShape = Start { Ingest, Finalize }
    ThenShape = Afterwards { Keep, Eligible, Delete }
}

impl From<PeriodShape> for Period {
    fn from(shape: PeriodShape) -> Self {
        match shape {
            PeriodShape::Days(days) => Self::Days(days),
            PeriodShape::Years(years) => Self::Years(years),
            PeriodShape::Forever => Self::Forever,
        }
    }
}

impl From<Period> for PeriodShape {
    fn from(period: Period) -> Self {
        match period {
            Period::Days(days) => Self::Days(days),
            Period::Years(years) => Self::Years(years),
            Period::Forever => Self::Forever,
        }
    }
}

/// A retention class.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RetentionClass)]
pub(crate) struct ClassShape {
    /// Its name.
    name: String,
    /// How firmly it keeps.
    mode: ModeShape,
    /// How long.
    period: PeriodShape,
    /// What begins the period.
    start: StartShape,
    /// What follows.
    then: ThenShape,
    /// For people.
    description: String,
    /// Whether its period may be shortened, in governance, by whoever may bypass it.
    may_shorten: bool,
    /// The event that set it last; 0 of one that was there from the beginning.
    event: u64,
}

impl From<&ClassRow> for ClassShape {
    fn from(row: &ClassRow) -> Self {
        let RetentionClass { mode, then, start, period, description, may_shorten } = row.class.clone();
        Self {
            name: row.name.to_string(),
            mode: mode.into(),
            period: period.into(),
            start: start.into(),
            then: then.into(),
            description,
            may_shorten,
            event: row.sequence,
        }
    }
}

/// That something is kept until then.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RetentionLock)]
pub(crate) struct LockShape {
    /// How firmly.
    mode: ModeShape,
    /// Until when.
    #[schema(format = DateTime)]
    retain_until: String,
    /// The event that set it.
    event: u64,
}

/// A retention class that something was given.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = GivenClass)]
pub(crate) struct GivenShape {
    /// The class.
    class: String,
    /// The event that gave it.
    event: u64,
}

/// A named reason to keep something.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldShape {
    /// Its name.
    pub(crate) name: String,
    /// Why it was placed.
    reason: String,
    /// Who placed it.
    actor: String,
    /// When.
    #[schema(format = DateTime)]
    placed_at: String,
    /// The event that placed it.
    event: u64,
}

impl From<&Hold> for HoldShape {
    fn from(hold: &Hold) -> Self {
        Self {
            name: hold.name.to_string(),
            reason: hold.reason.clone(),
            actor: hold.actor.clone(),
            placed_at: hold.placed_at.to_string(),
            event: hold.sequence,
        }
    }
}

/// What keeps one producer, package or version by itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = KeptBy)]
pub(crate) struct KeptByShape {
    /// Its lock.
    #[schema(required)]
    lock: Option<LockShape>,
    /// Its classes, in the order in which they were given.
    classes: Vec<GivenShape>,
    /// Its holds, in the order in which they were placed.
    holds: Vec<HoldShape>,
}

impl From<&Keeping> for KeptByShape {
    fn from(keeping: &Keeping) -> Self {
        let lock = keeping.lock.as_ref().map(|lock| LockShape {
            mode: lock.terms.mode.into(),
            retain_until: lock.terms.retain_until.to_string(),
            event: lock.sequence,
        });
        let given = |chosen: &artifactstore_registry::model::retention::Chosen| GivenShape {
            class: chosen.name.to_string(),
            event: chosen.sequence,
        };
        Self {
            lock,
            classes: keeping.classes.iter().map(given).collect(),
            holds: keeping.holds.iter().map(Into::into).collect(),
        }
    }
}

/// Whether something is meant for a version, its package or its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RetentionScope)]
pub(crate) enum ScopeShape {
    /// The version itself.
    File,
    /// Its package.
    Package,
    /// Its producer.
    Producer,
}

alike! {
    ScopeShape = Scope { File, Package, Producer }
}

/// One reason why something is kept. What does not belong to its kind is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonShape {
    /// `sealed`, `class`, `lock` or `hold`.
    kind: &'static str,
    /// The reason in words.
    text: String,
    /// The event to look up; 0 of what was there from the beginning.
    event: u64,
    /// Whether it forbids that the thing is removed, for one who does not bypass governance; else it keeps the bytes.
    forbids: bool,
    /// What was given the class, was locked or is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeShape>,
    /// The name of the class or the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// How firmly it keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<ModeShape>,
    /// Until when; left out without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Whether the period of the class is over, and nothing goes by itself in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<bool>,
    /// Why a hold was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Who placed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// The package that is finalized, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    /// Its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
}

impl From<&Reason> for ReasonShape {
    fn from(reason: &Reason) -> Self {
        let bare = |kind| Self {
            kind,
            text: reason.to_string(),
            event: reason.event(),
            forbids: reason.forbids(false),
            scope: None,
            name: None,
            mode: None,
            until: None,
            over: None,
            reason: None,
            actor: None,
            package: None,
            revision: None,
        };
        match reason {
            Reason::Sealed { package, revision, .. } => {
                Self { package: Some(package.clone()), revision: Some(*revision), ..bare("sealed") }
            }
            Reason::Class { class, mode, until, over, scope, .. } => Self {
                scope: Some((*scope).into()),
                name: Some(class.to_string()),
                mode: Some((*mode).into()),
                until: until.map(|until| until.to_string()),
                over: Some(*over),
                ..bare("class")
            },
            Reason::Lock { mode, until, scope, .. } => Self {
                scope: Some((*scope).into()),
                mode: Some((*mode).into()),
                until: Some(until.to_string()),
                ..bare("lock")
            },
            Reason::Hold { hold, reason, actor, scope, .. } => Self {
                scope: Some((*scope).into()),
                name: Some(hold.to_string()),
                reason: Some(reason.clone()),
                actor: Some(actor.clone()),
                ..bare("hold")
            },
        }
    }
}

/// A version of a file.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = VersionTold)]
pub(crate) struct VersionShape {
    /// Its producer; null when it is another tenant's.
    #[schema(required)]
    producer: Option<String>,
    /// Its key; null when it is another tenant's.
    #[schema(required)]
    key: Option<String>,
    /// Its number, which is that of the event that made it.
    event: u64,
    /// Why it is kept, where that is told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonShape>,
}

impl From<&VersionTold> for VersionShape {
    fn from(told: &VersionTold) -> Self {
        let own = !told.producer.as_str().is_empty();
        Self {
            producer: own.then(|| told.producer.to_string()),
            key: own.then(|| told.key.clone()),
            event: told.event,
            reasons: told.reasons.iter().map(Into::into).collect(),
        }
    }
}

/// An upload that has not come to its end.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = UploadTold)]
pub(crate) struct UploadShape {
    /// Its key.
    key: String,
    /// Its identifier.
    upload: String,
    /// The event that began it.
    event: u64,
}

impl From<&UploadTold> for UploadShape {
    fn from(told: &UploadTold) -> Self {
        Self { key: told.key.clone(), upload: told.upload.clone(), event: told.event }
    }
}

/// Whether something may go, and every reason why not.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Eligibility)]
pub(crate) struct EligibilityShape {
    /// Whether nothing forbids that it is removed: of a package, that it is released, and the page's files go.
    eligible: bool,
    /// Whether nothing would keep its bytes then, or those of the page's files.
    frees_bytes: bool,
    /// The time that expiry goes by.
    #[schema(format = DateTime)]
    as_of: String,
    /// Why it is kept.
    reasons: Vec<ReasonShape>,
    /// Of a package that is finalized and was not released: its seal. Nothing of it can be removed before it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<ReasonShape>,
    /// Of a package: those of the page's files that are kept one by one.
    files: Vec<VersionShape>,
    /// Of a package: how many those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_kept: Option<u64>,
    /// Other versions that have the same bytes, or some of those of the page's files, the first hundred of them: the bytes
    /// stay for these.
    references: Vec<VersionShape>,
    /// Whether there may be more of them.
    references_more: bool,
    /// Uploads to the key, or under the package, that have not come to their end.
    uploads: Vec<UploadShape>,
    /// Jumps of the clock that nobody has settled: expiry does not go along with them.
    clock_jumps: Vec<JumpShape>,
    /// Of a package: where the next page of its files begins; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl From<&Eligibility> for EligibilityShape {
    fn from(eligibility: &Eligibility) -> Self {
        Self {
            eligible: eligibility.eligible,
            frees_bytes: eligibility.frees_bytes,
            as_of: eligibility.as_of.to_string(),
            reasons: eligibility.reasons.iter().map(Into::into).collect(),
            seal: eligibility.seal.as_ref().map(Into::into),
            files: eligibility.files.iter().map(Into::into).collect(),
            files_kept: eligibility.files_kept,
            references: eligibility.references.iter().map(Into::into).collect(),
            references_more: eligibility.references_more,
            uploads: eligibility.uploads.iter().map(Into::into).collect(),
            clock_jumps: eligibility.clock_jumps.iter().map(Into::into).collect(),
            next_cursor: eligibility.next.as_ref().map(|key| cursor(&[key.as_str()])),
        }
    }
}

/// What a changed class would let go.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Simulation)]
pub(crate) struct SimulationShape {
    /// How many versions the class is among the reasons of now.
    versions_kept: u64,
    /// How many of those no class, lock or hold would keep any more. A seal does all the same, until it is released.
    versions_released: u64,
    /// Their bytes, those that others have as well among them.
    bytes_released: u64,
    /// The first hundred of them.
    versions: Vec<VersionShape>,
    /// How many packages no class, lock or hold of their own or of their producer would keep any more.
    packages_released: u64,
    /// The identifiers of the first hundred of them.
    packages: Vec<String>,
}

impl From<&Simulation> for SimulationShape {
    fn from(simulation: &Simulation) -> Self {
        Self {
            versions_kept: simulation.versions_kept,
            versions_released: simulation.versions_released,
            bytes_released: simulation.bytes_released,
            versions: simulation.versions.iter().map(Into::into).collect(),
            packages_released: simulation.packages_released,
            packages: simulation.packages.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::clock::Timestamp;
    use serde_json::json;

    #[test]
    fn periods_are_written_as_the_log_writes_them() {
        for (period, text) in [
            (Period::Days(30), r#"{"days":30}"#),
            (Period::Years(7), r#"{"years":7}"#),
            (Period::Forever, r#""forever""#),
        ] {
            assert_eq!(serde_json::to_string(&PeriodShape::from(period)).unwrap(), text);
            assert_eq!(serde_json::to_string(&period).unwrap(), text);
            let shape: PeriodShape = serde_json::from_str(text).unwrap();
            assert_eq!(Period::from(shape), period);
        }
    }

    #[test]
    fn a_reason_tells_what_belongs_to_its_kind_and_no_more() {
        let until = Timestamp(1_893_553_445_000_000);
        let lock = Reason::Lock { mode: Mode::Governance, until, scope: Scope::Package, event: 7 };
        assert_eq!(
            serde_json::to_value(ReasonShape::from(&lock)).unwrap(),
            json!({
                "kind": "lock", "event": 7, "forbids": true, "scope": "package", "mode": "governance",
                "until": "2030-01-02T03:04:05Z",
                "text": "the lock of its package (governance) keeps it until 2030-01-02T03:04:05Z (event 7)",
            })
        );
        let sealed = Reason::Sealed { package: "run-1".to_owned(), revision: 2, event: 9 };
        let told = serde_json::to_value(ReasonShape::from(&sealed)).unwrap();
        assert_eq!((&told["package"], &told["revision"], &told["scope"]), (&json!("run-1"), &json!(2), &json!(null)));
    }
}
