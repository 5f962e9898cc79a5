//! Deciding what goes by itself: by a lifecycle rule, or because its retention classes are over and say so.
//!
//! Whoever asks has looked without a lock. Here the same rule is evaluated on the state of the commit, by the time that
//! expiry goes by; and what then goes, goes as if somebody without the right to bypass had asked for it.
//!
//! Invariant: nothing that anything keeps goes by itself, and no revision of a package is opened for it.

use super::retention::{between, kept_between, sources};
use super::version::{check_unsealed, file_mark, of_file, version_remove};
use super::{Decision, file_path, file_remove, producer_of, upload_open};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::command::WriteCondition;
use crate::model::event::{Actor, Event, UploadAborted, VersionRemoved};
use crate::model::lifecycle::{DayLength, Expiry, LifecycleRule, Outdated, Traits};
use crate::model::name::{FileName, PackageId, PackageName, UploadId};
use crate::model::retention::outlived;
use crate::model::row::{File, Package, Producer, Sequence, Subresource, VersionChoice, Versioning};
use crate::model::state::State;

struct Expiring<'a> {
    state: &'a State,
    actor: &'a Actor,
    owner: &'a Producer,
    name: &'a FileName,
}

pub(super) fn expire(state: &State, actor: &Actor, name: &FileName, expiry: &Expiry) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, name)?;
    let expiring = Expiring { state, actor, owner, name };
    match expiry {
        Expiry::Class(version) => expiring.by_class(*version),
        // Somebody changed the rules since they were read.
        Expiry::Rule { document, .. } if !expiring.in_force(document) => Ok(Decision::default()),
        Expiry::Rule { rule, day, what, .. } => match what {
            Outdated::Current(version) => expiring.current(*version, (rule, *day)),
            Outdated::Noncurrent { version, since, front, spared } => {
                expiring.noncurrent((*version, *since, *front), spared, (rule, *day))
            }
            Outdated::LoneMarker(marker) => expiring.lone_marker(*marker, (rule, *day)),
            Outdated::Upload(upload) => Ok(expiring.upload(upload, (rule, *day))),
        },
    }
}

fn traits(file: &File) -> Traits<'_> {
    Traits { key: &file.name.key, size_bytes: file.size_bytes, tags: &file.attributes.tags }
}

impl Expiring<'_> {
    fn is_over(&self, until: Option<Timestamp>) -> bool {
        until.is_some_and(|until| until <= self.state.expiry())
    }

    fn in_force(&self, document: &str) -> bool {
        let row = self.state.subresources.get(&(self.owner.name.clone(), Subresource::Lifecycle));
        row.is_some_and(|row| row.document == document)
    }

    /// The revision that a name goes from: one that is open, or sealed and released.
    fn revision(&self, package: &PackageName) -> Result<PackageId, Refusal> {
        let latest = self.state.package_latest(&(self.owner.name.clone(), package.clone()));
        let latest = latest.ok_or(Refusal::PackageMissing)?;
        latest.removal_refusal().map_or_else(|| Ok(latest.id.clone()), Err)
    }

    fn current(&self, version: Sequence, (rule, day): (&LifecycleRule, DayLength)) -> Result<Decision, Refusal> {
        let file = self.state.file_current(self.name).filter(|file| file.sequence == version);
        let Some(file) = file.filter(|file| self.is_over(rule.current_until(traits(file), file.ingested_at, day)))
        else {
            return Ok(Decision::default());
        };
        let revision = self.revision(&file.package)?;
        file_remove(self.state, self.actor, self.name, (&WriteCondition::default(), false), &revision)
    }

    /// Whether an entry of the history has another one, or the name itself, in front of it.
    fn is_behind(&self, version: Sequence) -> bool {
        let newest = self.state.history_newest(self.name, version);
        self.state.file_current(self.name).is_some() || newest.is_some_and(|row| row.sequence > version)
    }

    /// Since when a delete marker is behind something, as far as is known: perhaps longer.
    fn marker_behind_since(&self, marker: Sequence) -> Option<Timestamp> {
        let named = self.state.file_current(self.name).map(|file| file.ingested_at);
        let others = self.state.history_behind(self.name, marker).map(|row| row.occurred_at);
        others.chain(named).min()
    }

    fn noncurrent(
        &self,
        (version, since, front): (Sequence, Timestamp, Sequence),
        spared: &[Sequence],
        (rule, day): (&LifecycleRule, DayLength),
    ) -> Result<Decision, Refusal> {
        let row = self.state.history.get(&(self.name.clone(), version)).filter(|_| self.is_behind(version));
        let Some(row) = row else { return Ok(Decision::default()) };
        let until = if row.marker {
            let since = self.marker_behind_since(version);
            since.and_then(|since| rule.noncurrent_marker_until(&self.name.key, since, day))
        } else {
            // It may have come forward meanwhile, and been replaced once more.
            let is_still = |file: &&File| file.ended_sequence.is_some_and(|ended| ended <= front);
            let file = self.state.files.get(&version).filter(is_still);
            file.and_then(|file| rule.noncurrent_until(traits(file), since, day))
        };
        let is_there = |spared: &Sequence| {
            *spared > version && self.state.history.get(&(self.name.clone(), *spared)).is_some_and(|row| !row.marker)
        };
        let fits = until.is_some_and(|(until, newer)| {
            self.is_over(Some(until)) && spared.len() >= newer && spared.iter().all(is_there)
        });
        if fits { self.version(version) } else { Ok(Decision::default()) }
    }

    fn lone_marker(&self, marker: Sequence, (rule, day): (&LifecycleRule, DayLength)) -> Result<Decision, Refusal> {
        let row = self.state.history.get(&(self.name.clone(), marker)).filter(|row| row.marker);
        let alone =
            self.state.file_current(self.name).is_none() && self.state.history_newest(self.name, marker).is_none();
        let until = row.filter(|_| alone).and_then(|row| rule.marker_until(&self.name.key, row.occurred_at, day));
        if self.is_over(until) { self.version(marker) } else { Ok(Decision::default()) }
    }

    /// Deletes one version, or delete marker, by its number.
    fn version(&self, version: Sequence) -> Result<Decision, Refusal> {
        let revision = self.revision(&file_path(self.owner, self.name)?.0)?;
        let (choice, condition) = (VersionChoice::Numbered(version), WriteCondition::default());
        version_remove(self.state, self.actor, (self.name, choice), (&condition, false), &revision)
    }

    fn upload(&self, upload: &UploadId, (rule, day): (&LifecycleRule, DayLength)) -> Decision {
        let open = upload_open(self.state, self.name, upload).ok();
        let until = open.and_then(|open| rule.upload_until(&self.name.key, open.created_at, day));
        if !self.is_over(until) {
            return Decision::default();
        }
        let aborted = UploadAborted { upload: upload.clone(), producer: self.owner.name.clone() };
        Event::UploadAborted(Box::new(aborted)).into()
    }

    /// Takes a version away whose classes are over. Where another version is behind it, a delete marker takes its place:
    /// what somebody replaced long ago does not come back by itself.
    fn by_class(&self, version: Sequence) -> Result<Decision, Refusal> {
        let state = self.state;
        let file = state.files.get(&version).filter(|file| {
            let is_there = file.deleted_sequence.is_none() && file.released_sequence.is_none();
            is_there && file.name == *self.name && file.sequence > self.owner.created_sequence
        });
        let is_over = |file: &File, between: &[&Package]| {
            outlived(&sources(state, Some(self.owner), file), between, &|name| state.class(name)).is_some()
        };
        let Some(file) = file.filter(|file| is_over(file, &[])) else { return Ok(Decision::default()) };
        check_unsealed(state, self.owner, &file.package, (&of_file(file), true))?;
        // What nobody looked at without a lock: the revisions in between that have it.
        let over = |file: &File| is_over(file, &between(state, Some(self.owner), file));
        let kept = kept_between(state, Some(self.owner), file);
        if !kept.is_empty() {
            return Err(Refusal::Kept(kept));
        }
        if !over(file) {
            return Ok(Decision::default());
        }
        let named = state.file_current(self.name).is_some_and(|current| current.sequence == version);
        let behind = named
            && self.owner.versioning != Versioning::Off
            && state.history_newest(self.name, version).is_some_and(|row| !row.marker);
        if !behind {
            return self.version(version);
        }
        // Where versioning is suspended, the marker takes the place of the null version, which need not be over.
        let null = state.history_null(self.name).filter(|_| self.owner.versioning == Versioning::Suspended);
        if null.and_then(|row| state.files.get(&row.sequence)).is_some_and(|null| !over(null)) {
            return Ok(Decision::default());
        }
        let revision = self.revision(&file.package)?;
        let mut decision = file_mark(state, self.owner, self.name, &WriteCondition::default(), &revision)?;
        decision.events.push(Event::VersionRemoved(Box::new(VersionRemoved {
            key: self.name.key.clone(),
            package: file.package.clone(),
            removes: version,
            reveals: None,
            producer: self.owner.name.clone(),
            package_id: revision,
            superseded: false,
        })));
        Ok(decision)
    }
}

#[cfg(test)]
mod tests;
