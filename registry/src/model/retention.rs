//! Why things are kept, and until when: classes, locks and holds, and the time that expiry goes by.
//!
//! Invariant: whatever keeps a version is told by [`reasons`]; nothing else decides whether one may go.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::{ClassName, HoldName};
use super::row::Sequence;
use crate::clock::Timestamp;

mod reason;
mod reckoning;

pub use reckoning::{QUIET_MICROS, Reckoning, accounting, believed_micros, wrong_since};

pub use reason::{ClassOf, Reason, Scope, Sources, latest_reasons, outlived, package_reasons, reasons};

/// How firmly something is kept; the later, the firmer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its name may be removed at any time; its bytes stay for the period.
    None,
    /// It may be removed, and its period be shortened, by whoever has the permission to and says so.
    Governance,
    /// Nobody removes it, and nobody shortens its period.
    Compliance,
}

impl Mode {
    /// As stores, clients and the log write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }

    /// Reads what [`Mode::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Governance, Self::Compliance].into_iter().find(|it| it.as_str() == text)
    }
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// So many days of 24 hours.
    Days(u32),
    /// So many years of the calendar; what begins on 29 February ends on 1 March where there is none.
    Years(u32),
    /// Without an end.
    Forever,
}

/// The tag whose value is the name of a retention class that the file is given.
pub const CLASS_TAG: &str = "artifact-retention-class";

/// The longest period in days: S3's own.
pub const PERIOD_DAYS_LIMIT: u32 = 36_500;
/// The longest period in years.
pub const PERIOD_YEARS_LIMIT: u32 = 100;

impl Period {
    /// When it ends, begun then; `None` when it does not.
    #[must_use]
    pub fn after(self, begun: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Days(days) => Some(Timestamp(begun.0.saturating_add(i64::from(days) * 86_400_000_000))),
            Self::Years(years) => Some(begun.plus_years(years)),
            Self::Forever => None,
        }
    }

    /// Its unit and how many of it, as stores write them.
    pub(crate) const fn to_words(self) -> (&'static str, u32) {
        match self {
            Self::Days(days) => ("days", days),
            Self::Years(years) => ("years", years),
            Self::Forever => ("forever", 0),
        }
    }

    pub(crate) fn from_words(unit: &str, count: u32) -> Option<Self> {
        Some(match unit {
            "days" => Self::Days(count),
            "years" => Self::Years(count),
            "forever" => Self::Forever,
            _ => return None,
        })
    }

    /// Whether it can be a class's.
    #[must_use]
    pub const fn is_sensible(self) -> bool {
        match self {
            Self::Days(days) => days >= 1 && days <= PERIOD_DAYS_LIMIT,
            Self::Years(years) => years >= 1 && years <= PERIOD_YEARS_LIMIT,
            Self::Forever => true,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(1) => f.write_str("1 day"),
            Self::Days(days) => write!(f, "{days} days"),
            Self::Years(1) => f.write_str("1 year"),
            Self::Years(years) => write!(f, "{years} years"),
            Self::Forever => f.write_str("forever"),
        }
    }
}

/// What begins the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The file's ingest.
    Ingest,
    /// The seal of the package that the file was written into; until then the class keeps nothing.
    Finalize,
}

impl Start {
    /// As stores write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Finalize => "finalize",
        }
    }

    /// Reads what [`Start::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ingest, Self::Finalize].into_iter().find(|it| it.as_str() == text)
    }
}

/// What follows when the period is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Afterwards {
    /// Nothing goes by itself: bytes go when somebody removes that very version.
    Keep,
    /// It may go: bytes without a name are collected, names stay until somebody removes them.
    Eligible,
    /// It goes: names are removed, bytes are collected.
    Delete,
}

impl Afterwards {
    /// As stores write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Eligible => "eligible",
            Self::Delete => "delete",
        }
    }

    /// Reads what [`Afterwards::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Keep, Self::Eligible, Self::Delete].into_iter().find(|it| it.as_str() == text)
    }
}

/// A rule with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionClass {
    /// How firmly.
    pub mode: Mode,
    /// What follows.
    #[serde(default = "eligible")]
    pub then: Afterwards,
    /// What begins the period.
    #[serde(default = "ingest")]
    pub start: Start,
    /// How long.
    pub period: Period,
    /// For people; at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether the period, on a class of governance, may be shortened by whoever has the permission to.
    #[serde(default)]
    pub may_shorten: bool,
}

const fn eligible() -> Afterwards {
    Afterwards::Eligible
}

const fn ingest() -> Start {
    Start::Ingest
}

impl RetentionClass {
    /// A class of the words that stores write: mode, start and what follows; the unit and the count of the period.
    pub(crate) fn from_words((mode, start, then): (&str, &str, &str), (unit, count): (&str, u32)) -> Option<Self> {
        let (mode, start) = (Mode::parse(mode)?, Start::parse(start)?);
        let (then, period) = (Afterwards::parse(then)?, Period::from_words(unit, count)?);
        Some(Self { mode, then, start, period, description: String::new(), may_shorten: false })
    }

    pub(crate) fn with(self, description: String, may_shorten: bool) -> Self {
        Self { description, may_shorten, ..self }
    }

    /// Whether everything that the other keeps, this one keeps as firmly and as long.
    #[must_use]
    pub fn keeps_all_of(&self, other: &Self) -> bool {
        // Both from the same moment: a leap day makes years longer or shorter by one.
        let longer = |ours: Period, theirs: Period| match (ours, theirs) {
            (Period::Forever, _) => true,
            (_, Period::Forever) => false,
            (Period::Days(a), Period::Days(b)) | (Period::Years(a), Period::Years(b)) => a >= b,
            (Period::Days(a), Period::Years(b)) => u64::from(a) >= u64::from(b) * 366,
            (Period::Years(a), Period::Days(b)) => u64::from(a) * 365 >= u64::from(b),
        };
        let begins = self.start == other.start
            || (self.start, other.start) == (Start::Ingest, Start::Finalize) && {
                // Begun earlier, it also ends earlier.
                self.period == Period::Forever
            };
        let follows = self.then == other.then || self.then == Afterwards::Keep || other.then == Afterwards::Delete;
        self.mode >= other.mode && longer(self.period, other.period) && begins && follows
    }
}

/// A class as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Its name.
    pub name: ClassName,
    /// The rule.
    pub class: RetentionClass,
    /// The event that set it last; 0 of one that was there from the beginning.
    pub sequence: Sequence,
}

/// A class of a producer for keys that begin so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// The class.
    pub class: ClassName,
    /// What the keys begin with.
    pub prefix: String,
}

/// That something is kept until then: what S3 calls a retention of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockTerms {
    /// How firmly; never [`Mode::None`].
    pub mode: Mode,
    /// Until when.
    pub retain_until: Timestamp,
}

/// A lock, and the event that set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The terms.
    pub terms: LockTerms,
    /// The event.
    pub sequence: Sequence,
}

/// A class that something was given, and the event that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The class.
    pub name: ClassName,
    /// The event.
    pub sequence: Sequence,
}

/// A named reason to keep something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub name: HoldName,
    /// Who placed it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The event that placed it.
    pub sequence: Sequence,
    /// When.
    pub placed_at: Timestamp,
}

/// What keeps one producer, package or version by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// The lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Holds, in the order in which they were placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// Classes, in the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Chosen>,
}

impl Keeping {
    /// Whether it keeps nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lock.is_none() && self.holds.is_empty() && self.classes.is_empty()
    }

    /// A hold by its name.
    #[must_use]
    pub fn hold(&self, name: &HoldName) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.name == *name)
    }

    /// Gives a class, if it was not given yet.
    pub fn choose(&mut self, name: &ClassName, sequence: Sequence) {
        if self.classes.iter().all(|chosen| chosen.name != *name) {
            self.classes.push(Chosen { name: name.clone(), sequence });
        }
    }
}

/// What a file is given to be kept by when it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockTerms>,
    /// Classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassName>,
    /// Whether it has the hold that S3 calls legal hold.
    #[serde(default, skip_serializing_if = "is_false")]
    pub legal_hold: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Retention {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lock.is_none() && self.classes.is_empty() && !self.legal_hold
    }

    /// What the version is kept by from then on.
    #[must_use]
    pub fn kept(&self, sequence: Sequence, actor: &str, at: Timestamp) -> Keeping {
        let legal = || Hold {
            name: HoldName::legal(),
            actor: actor.to_owned(),
            reason: "S3 legal hold".to_owned(),
            sequence,
            placed_at: at,
        };
        Keeping {
            lock: self.lock.map(|terms| Lock { terms, sequence }),
            holds: self.legal_hold.then(legal).into_iter().collect(),
            classes: self.classes.iter().map(|name| Chosen { name: name.clone(), sequence }).collect(),
        }
    }
}

/// A moment at which the clock went further than time did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockJump {
    /// The event that recorded it.
    pub sequence: Sequence,
    /// The time that was trusted last.
    pub from: Timestamp,
    /// The time that the clock showed.
    pub to: Timestamp,
    /// The event by which an operator settled it; its own, when it was believed.
    pub settled_sequence: Option<Sequence>,
    /// Whether the clock was right, as the operator said, or as was believed.
    pub genuine: bool,
}

/// How far the clock may be believed in all, as long as nobody vouches for it, and how far expiry goes behind before it
/// stands still.
pub const CLOCK_LIMIT: Duration = Duration::from_hours(24);

impl ClockJump {
    /// Whether the time in between was believed by a process that began, and nobody has vouched for it.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.settled_sequence == Some(self.sequence)
    }

    /// Whether an operator said that the clock was wrong.
    #[must_use]
    pub const fn is_wrong(&self) -> bool {
        self.settled_sequence.is_some() && !self.genuine
    }

    /// Whether it says no more than until when the time is accounted for.
    #[must_use]
    pub fn is_account(&self) -> bool {
        self.is_believed() && self.length_micros() < 60_000_000
    }

    /// How far the clock went, in microseconds.
    #[must_use]
    pub const fn length_micros(&self) -> i64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// Whether expiry goes behind by it, if nothing else does, and does not stand still.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.length_micros() <= limit_micros()
    }
}

/// How long the limit is in microseconds.
#[must_use]
pub fn limit_micros() -> i64 {
    i64::try_from(CLOCK_LIMIT.as_micros()).unwrap_or(i64::MAX)
}

/// The time that expiry goes by: behind the log's own by as much as the clock jumped and nobody has settled, at most by the
/// limit, and from there on standing still; and never ahead of the clock where an operator said that it had been wrong.
/// Jumps come in the order in which they were recorded.
#[must_use]
pub fn expiry_time<'a>(now: Timestamp, clock: Timestamp, jumps: impl IntoIterator<Item = &'a ClockJump>) -> Timestamp {
    let (mut time, mut stands, mut behind) = (now, Timestamp(i64::MAX), 0_i64);
    for jump in jumps {
        match (jump.settled_sequence, jump.genuine) {
            (None, _) => {
                let with_it = behind.saturating_add(jump.length_micros());
                if with_it <= limit_micros() {
                    behind = with_it;
                } else {
                    stands = stands.min(Timestamp(jump.from.0.saturating_sub(behind)));
                }
            }
            // The log's own time went along with the wrong clock; it counts again once the clock has come past it.
            (Some(_), false) if clock < jump.to => time = time.min(clock),
            (Some(_), _) => {}
        }
    }
    Timestamp(time.0.saturating_sub(behind)).min(stands)
}

#[cfg(test)]
mod tests {
    use super::{ClockJump, expiry_time};
    use crate::clock::Timestamp;

    const HOUR: i64 = 3_600_000_000;

    fn jump(sequence: u64, from: i64, to: i64, settled: Option<(u64, bool)>) -> ClockJump {
        let (settled_sequence, genuine) = settled.map_or((None, false), |(event, genuine)| (Some(event), genuine));
        ClockJump { sequence, from: Timestamp(from * HOUR), to: Timestamp(to * HOUR), settled_sequence, genuine }
    }

    fn expiry(now: i64, clock: i64, jumps: &[ClockJump]) -> i64 {
        expiry_time(Timestamp(now * HOUR), Timestamp(clock * HOUR), jumps).0 / HOUR
    }

    #[test]
    fn expiry_goes_behind_by_what_nobody_has_settled_and_stands_still_beyond_a_day() {
        let small = [jump(1, 100, 123, None)];
        assert_eq!((expiry(123, 123, &small), expiry(130, 130, &small)), (100, 107));
        let several = [small[0].clone(), jump(2, 130, 131, None), jump(3, 140, 141, None)];
        assert_eq!(expiry(150, 150, &several[..2]), 126, "a day in all");
        assert_eq!((expiry(141, 141, &several), expiry(500, 500, &several)), (116, 116), "and no more");
        let large = [jump(1, 100, 125, None)];
        assert_eq!((expiry(125, 125, &large), expiry(500, 500, &large)), (100, 100));
        let genuine = [jump(1, 100, 123, Some((2, true))), jump(3, 130, 131, None)];
        assert_eq!(expiry(150, 150, &genuine), 149);
        let wrong = [jump(1, 100, 500, Some((2, false)))];
        assert_eq!((expiry(500, 101, &wrong), expiry(501, 501, &wrong)), (101, 501));
        let believed = [jump(1, 100, 123, Some((1, true)))];
        assert!(believed[0].is_believed() && !genuine[0].is_believed());
        assert_eq!(expiry(150, 150, &believed), 150);
    }
}
