//! A bucket's lifecycle rules: which of its versions, delete markers and uploads are over, and since when.
//!
//! What the rules are written in, floor 2 knows; here is what they mean. Whatever a rule lets go is let go by the commit
//! only, which evaluates the same rule on the state that it has.
//!
//! Invariant: no rule lets anything go earlier than S3 does: days end at the midnight behind them.

use std::sync::Arc;

use super::cbor::TextMap;
use super::name::{Key, UploadId};
use super::row::Sequence;
use crate::clock::Timestamp;

/// The most newer versions that a rule can spare, as S3 has it.
pub const NEWER_LIMIT: usize = 100;

/// How long a day of a lifecycle rule is. Only a suite of tests has reason to want one that is not of 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayLength(i64);

impl DayLength {
    /// Twenty-four hours.
    pub const REAL: Self = Self(86_400_000_000);

    /// So many seconds.
    #[must_use]
    pub fn of_seconds(seconds: u32) -> Self {
        Self(i64::from(seconds) * 1_000_000)
    }

    /// Whether it is a day as the calendar has it.
    #[must_use]
    pub fn is_real(self) -> bool {
        self == Self::REAL
    }

    /// When so many days behind a moment are over: at the midnight (UTC) behind them, as S3 counts; where days are not
    /// real, at once.
    #[must_use]
    pub fn after(self, begun: Timestamp, days: u32) -> Timestamp {
        let over = begun.0.saturating_add(self.0.saturating_mul(i64::from(days)));
        if !self.is_real() {
            return Timestamp(over);
        }
        Timestamp(over.div_euclid(self.0).saturating_add(1).saturating_mul(self.0))
    }
}

/// What a rule is about: what fits all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// What keys begin with.
    pub prefix: String,
    /// Tags that a version has, all of them.
    pub tags: Vec<(String, String)>,
    /// Versions that have more bytes than this.
    pub larger_than_bytes: Option<u64>,
    /// Versions that have fewer bytes than this.
    pub smaller_than_bytes: Option<u64>,
}

/// When the version that has a name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// So many days behind its ingest; a delete marker with nothing behind it goes then, too.
    Days(u32),
    /// From then on, whenever it was ingested; a delete marker with nothing behind it, too.
    Date(Timestamp),
    /// No version does, and delete markers as soon as nothing is behind them.
    LoneMarkers,
}

/// When versions go that were superseded or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoncurrentExpiration {
    /// So many days behind the moment at which they ceased to be current.
    pub days: u32,
    /// Only when so many newer ones of their key are noncurrent as well.
    pub newer: usize,
}

/// A rule that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name, unique in its bucket.
    pub id: String,
    /// What it is about.
    pub filter: RuleFilter,
    /// What becomes of current versions.
    pub expiration: Option<Expiration>,
    /// What becomes of the others.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// How many days behind its beginning an upload is given up.
    pub abort_days: Option<u32>,
}

/// What a rule looks at in a version.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its tags.
    pub tags: &'a TextMap,
}

impl RuleFilter {
    /// Whether a version fits.
    #[must_use]
    pub fn fits(&self, version: Traits<'_>) -> bool {
        version.key.as_str().starts_with(&self.prefix)
            && self.tags.iter().all(|(name, value)| version.tags.get(name) == Some(value))
            && self.larger_than_bytes.is_none_or(|limit| version.size_bytes > limit)
            && self.smaller_than_bytes.is_none_or(|limit| version.size_bytes < limit)
    }

    /// Whether a delete marker, or an upload, fits: it has a key and nothing else.
    #[must_use]
    pub fn fits_bare(&self, key: &Key) -> bool {
        let of_key_only = self.tags.is_empty() && self.larger_than_bytes.is_none() && self.smaller_than_bytes.is_none();
        of_key_only && key.as_str().starts_with(&self.prefix)
    }
}

impl LifecycleRule {
    /// When a current version goes that was ingested then; `None` when it does not go by this rule.
    #[must_use]
    pub fn current_until(&self, version: Traits<'_>, ingested_at: Timestamp, day: DayLength) -> Option<Timestamp> {
        let expiration = self.expiration.filter(|_| self.filter.fits(version))?;
        match expiration {
            Expiration::Days(days) => Some(day.after(ingested_at, days)),
            Expiration::Date(date) => Some(date),
            Expiration::LoneMarkers => None,
        }
    }

    /// When a delete marker goes that was made then and has nothing behind it.
    #[must_use]
    pub fn marker_until(&self, key: &Key, made_at: Timestamp, day: DayLength) -> Option<Timestamp> {
        let expiration = self.expiration.filter(|_| self.filter.fits_bare(key))?;
        Some(match expiration {
            Expiration::Days(days) => day.after(made_at, days),
            Expiration::Date(date) => date,
            Expiration::LoneMarkers => made_at,
        })
    }

    /// When a version goes that is not current since then, and how many newer ones are to be spared.
    #[must_use]
    pub fn noncurrent_until(
        &self,
        version: Traits<'_>,
        since: Timestamp,
        day: DayLength,
    ) -> Option<(Timestamp, usize)> {
        let noncurrent = self.noncurrent.filter(|_| self.filter.fits(version))?;
        Some((day.after(since, noncurrent.days), noncurrent.newer))
    }

    /// The same for a delete marker that is not in front.
    #[must_use]
    pub fn noncurrent_marker_until(&self, key: &Key, since: Timestamp, day: DayLength) -> Option<(Timestamp, usize)> {
        let noncurrent = self.noncurrent.filter(|_| self.filter.fits_bare(key))?;
        Some((day.after(since, noncurrent.days), noncurrent.newer))
    }

    /// When an upload is given up that began then.
    #[must_use]
    pub fn upload_until(&self, key: &Key, created_at: Timestamp, day: DayLength) -> Option<Timestamp> {
        let days = self.abort_days.filter(|_| self.filter.fits_bare(key))?;
        Some(day.after(created_at, days))
    }

    /// Whether it says anything about versions or delete markers.
    #[must_use]
    pub const fn is_about_versions(&self) -> bool {
        self.expiration.is_some() || self.noncurrent.is_some()
    }
}

/// The rule by which something goes first, and when, of what each says about it.
pub fn first(
    rules: &[Arc<LifecycleRule>],
    until: impl Fn(&LifecycleRule) -> Option<Timestamp>,
) -> Option<(Timestamp, &Arc<LifecycleRule>)> {
    rules.iter().filter_map(|rule| Some((until(rule)?, rule))).min_by_key(|(at, _)| *at)
}

/// The prefixes that the rules are about, none of which begins with another.
#[must_use]
pub fn prefixes<'r>(rules: impl IntoIterator<Item = &'r LifecycleRule>) -> Vec<&'r str> {
    let mut all: Vec<&str> = rules.into_iter().map(|rule| rule.filter.prefix.as_str()).collect();
    all.sort_unstable();
    let mut apart: Vec<&str> = Vec::new();
    for prefix in all {
        if !apart.last().is_some_and(|last| prefix.starts_with(last)) {
            apart.push(prefix);
        }
    }
    apart
}

/// What is over by a rule, as whoever looked without a lock saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outdated {
    /// The version that has the name.
    Current(Sequence),
    /// A version, or a delete marker, that is behind another.
    Noncurrent {
        /// Its number.
        version: Sequence,
        /// Since when it is behind.
        since: Timestamp,
        /// What is right in front of it, and was made then.
        front: Sequence,
        /// The versions in between that the rule spares. As long as they are there, it may go.
        spared: Vec<Sequence>,
    },
    /// A delete marker with nothing behind it.
    LoneMarker(Sequence),
    /// An upload that nobody completed.
    Upload(UploadId),
}

/// Why something is to go by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expiry {
    /// A rule of its bucket says so.
    Rule {
        /// The rule.
        rule: Arc<LifecycleRule>,
        /// The document that it stands in. It counts as long as that is the one in force.
        document: Arc<str>,
        /// How long its days are.
        day: DayLength,
        /// What goes.
        what: Outdated,
    },
    /// Its retention classes say so: all of them are over and let go of names as well.
    Class(Sequence),
}

#[cfg(test)]
mod tests;
