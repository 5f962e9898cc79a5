//! What is over, of a producer's versions as a listing tells them: by key, of one key newest first.
//!
//! Invariant: what is remembered between two entries is about one key, and bounded.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::model::lifecycle::{DayLength, LifecycleRule, NEWER_LIMIT, Outdated, Traits, first};
use crate::model::name::Key;
use crate::model::row::{ListedVersion, Sequence};

/// Something that is over by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) rule: Arc<LifecycleRule>,
    pub(super) what: Outdated,
    /// Whether it is a delete marker.
    pub(super) marker: bool,
}

/// A walk over versions.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    rules: &'a [Arc<LifecycleRule>],
    day: DayLength,
    expiry: Timestamp,
    key: Option<Key>,
    /// The entry before, and when it was made, which is when this one ceased to be current.
    front: (Sequence, Timestamp),
    /// The newest versions of the key that are not current.
    newer: Vec<Sequence>,
    /// A delete marker in front, as long as nothing was seen behind it, and when it was made.
    lone: Option<(Sequence, Timestamp)>,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(rules: &'a [Arc<LifecycleRule>], day: DayLength, expiry: Timestamp) -> Self {
        Self { rules, day, expiry, key: None, front: (0, Timestamp(0)), newer: Vec::new(), lone: None }
    }

    /// Takes the next entry, and adds what is known to be over by now.
    pub(super) fn take(&mut self, entry: &ListedVersion, found: &mut Vec<Found>) {
        let listed = &entry.listed;
        let version = Traits { key: &listed.key, size_bytes: listed.size_bytes, tags: &listed.attributes.tags };
        if self.key.as_ref() == Some(&listed.key) {
            self.lone = None;
            self.noncurrent(entry, version, found);
        } else {
            self.end(found);
            self.key = Some(listed.key.clone());
            self.newer.clear();
            if entry.marker {
                self.lone = Some((entry.sequence, listed.ingested_at));
            } else {
                let over = first(self.rules, |rule| rule.current_until(version, listed.ingested_at, self.day));
                self.add(&listed.key, over, (Outdated::Current(entry.sequence), false), found);
            }
        }
        self.front = (entry.sequence, listed.ingested_at);
    }

    fn noncurrent(&mut self, entry: &ListedVersion, version: Traits<'_>, found: &mut Vec<Found>) {
        let until = |rule: &LifecycleRule| {
            let (until, newer) = if entry.marker {
                rule.noncurrent_marker_until(version.key, self.front.1, self.day)?
            } else {
                rule.noncurrent_until(version, self.front.1, self.day)?
            };
            (self.newer.len() >= newer).then_some(until)
        };
        if let Some((at, rule)) = first(self.rules, until) {
            let newer = rule.noncurrent.map_or(0, |noncurrent| noncurrent.newer);
            let spared = self.newer.iter().take(newer).copied().collect();
            let what =
                Outdated::Noncurrent { version: entry.sequence, since: self.front.1, front: self.front.0, spared };
            self.add(version.key, Some((at, rule)), (what, entry.marker), found);
        }
        if !entry.marker && self.newer.len() < NEWER_LIMIT {
            self.newer.push(entry.sequence);
        }
    }

    /// Ends the key, or the walk: a delete marker that nothing came behind is alone.
    pub(super) fn end(&mut self, found: &mut Vec<Found>) {
        if let (Some((marker, made_at)), Some(key)) = (self.lone.take(), &self.key) {
            let over = first(self.rules, |rule| rule.marker_until(key, made_at, self.day));
            self.add(key, over, (Outdated::LoneMarker(marker), true), found);
        }
    }

    fn add(
        &self,
        key: &Key,
        over: Option<(Timestamp, &Arc<LifecycleRule>)>,
        (what, marker): (Outdated, bool),
        found: &mut Vec<Found>,
    ) {
        if let Some((_, rule)) = over.filter(|(at, _)| *at <= self.expiry) {
            found.push(Found { key: key.clone(), rule: Arc::clone(rule), what, marker });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attributes::Attributes;
    use crate::model::lifecycle::{Expiration, NoncurrentExpiration, RuleFilter};
    use crate::model::row::Listed;

    const SECOND: i64 = 1_000_000;

    fn entry(key: &str, sequence: Sequence, marker: bool, seconds: i64) -> ListedVersion {
        let listed = Listed {
            key: Key::parse(key).unwrap(),
            size_bytes: 1,
            etag: String::new(),
            attributes: Attributes::default(),
            ingested_at: Timestamp(seconds * SECOND),
        };
        ListedVersion { sequence, marker, versioned: true, listed }
    }

    fn rule(expiration: Option<Expiration>, noncurrent: Option<(u32, usize)>) -> Arc<LifecycleRule> {
        let noncurrent = noncurrent.map(|(days, newer)| NoncurrentExpiration { days, newer });
        let filter = RuleFilter::default();
        Arc::new(LifecycleRule { id: "r".to_owned(), filter, expiration, noncurrent, abort_days: None })
    }

    fn walked(rules: &[Arc<LifecycleRule>], now: i64, entries: &[ListedVersion]) -> Vec<Outdated> {
        let mut found = Vec::new();
        let mut walk = Walk::new(rules, DayLength::of_seconds(1), Timestamp(now * SECOND));
        entries.iter().for_each(|entry| walk.take(entry, &mut found));
        walk.end(&mut found);
        found.into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn current_versions_go_by_their_age_and_noncurrent_ones_by_that_of_what_is_in_front() {
        let rules = [rule(Some(Expiration::Days(5)), Some((2, 0)))];
        let entries = [entry("a", 9, false, 6), entry("a", 3, false, 1), entry("b", 4, false, 5)];
        let old = Outdated::Noncurrent { version: 3, since: Timestamp(6 * SECOND), front: 9, spared: Vec::new() };
        assert_eq!(walked(&rules, 7, &entries), []);
        assert_eq!(walked(&rules, 8, &entries), std::slice::from_ref(&old));
        assert_eq!(walked(&rules, 10, &entries), [old.clone(), Outdated::Current(4)]);
        assert_eq!(walked(&rules, 11, &entries), [Outdated::Current(9), old, Outdated::Current(4)]);
    }

    #[test]
    fn so_many_newer_ones_are_spared_and_delete_markers_are_none_of_them() {
        let rules = [rule(None, Some((1, 2)))];
        let entries: Vec<_> =
            (0..6).map(|at| entry("a", 16 - at, at == 2, 0)).chain([entry("b", 1, false, 0)]).collect();
        let spared = vec![15, 13];
        let gone = |version| {
            let (since, front) = (Timestamp(0), version + 1);
            Outdated::Noncurrent { version, since, front, spared: spared.clone() }
        };
        assert_eq!(walked(&rules, 9, &entries), [gone(12), gone(11)]);
    }

    #[test]
    fn a_delete_marker_goes_when_nothing_is_behind_it() {
        let lone = [entry("a", 9, true, 6), entry("b", 8, true, 6), entry("b", 3, false, 1), entry("c", 7, true, 6)];
        let at_once = [rule(Some(Expiration::LoneMarkers), None)];
        assert_eq!(walked(&at_once, 6, &lone), [Outdated::LoneMarker(9), Outdated::LoneMarker(7)]);
        let later = [rule(Some(Expiration::Days(3)), None)];
        assert_eq!(walked(&later, 8, &lone), []);
        assert_eq!(walked(&later, 9, &lone), [Outdated::LoneMarker(9), Outdated::LoneMarker(7)]);
        // A marker that is behind something goes as a version does.
        let behind = [entry("a", 9, false, 6), entry("a", 8, true, 5), entry("a", 3, false, 1)];
        let gone = |version, front, since| {
            let since = Timestamp(since * SECOND);
            Outdated::Noncurrent { version, since, front, spared: vec![] }
        };
        assert_eq!(walked(&[rule(None, Some((1, 0)))], 9, &behind), [gone(8, 9, 6), gone(3, 8, 5)]);
    }
}
