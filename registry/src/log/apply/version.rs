//! What facts about versions do to the views.
//!
//! Invariant: a producer's `history_count` is how many rows of the history it has, and a key whose history is not empty
//! has a name, or a delete marker in front.

use super::{Count, Fact, end_version, give_name, recount};
use crate::model::event::{FileMarked, FileTagged, SubresourceRemoved, SubresourceSet, VersionRemoved};
use crate::model::name::{FileName, ProducerName};
use crate::model::row::{HistoryRow, SubresourceRow, Versioning};
use crate::model::state::State;

fn put(state: &mut State, row: HistoryRow) {
    state.producers.change(&row.name.producer, |producer| producer.history_count += 1);
    state.history.put((row.name.clone(), row.sequence), row);
}

/// Whether new versions of a producer get numbers of their own in S3's eyes.
pub(super) fn versioned(state: &State, producer: &ProducerName) -> bool {
    state.producers.get(producer).is_some_and(|producer| producer.versioning == Versioning::Enabled)
}

/// Keeps in sight the version that is about to lose its name, where the producer keeps versions. The null version gives
/// way to a new one.
pub(super) fn keep_former(state: &mut State, name: &FileName) {
    let versioning = state.producers.get(&name.producer).map_or(Versioning::Off, |producer| producer.versioning);
    let Some(former) = state.file_current(name) else { return };
    let kept = match versioning {
        Versioning::Off => false,
        Versioning::Enabled => true,
        Versioning::Suspended => former.versioned,
    };
    if kept {
        let row = HistoryRow {
            name: name.clone(),
            sequence: former.sequence,
            marker: false,
            versioned: former.versioned,
            occurred_at: former.ingested_at,
        };
        put(state, row);
    }
}

pub(super) fn file_marked(state: &mut State, fact: Fact<'_>, marked: &FileMarked) {
    let name = FileName { producer: marked.producer.clone(), key: marked.key.clone() };
    keep_former(state, &name);
    let count = Count { added: None, removed: end_version(state, fact, &name) };
    recount(state, fact, &marked.producer, &marked.package_id, &count);
    lose_name(state, &name, marked.package.clone());
    let versioned = versioned(state, &marked.producer);
    put(state, HistoryRow { name, sequence: fact.sequence, marker: true, versioned, occurred_at: fact.occurred_at });
}

fn lose_name(state: &mut State, name: &FileName, package: crate::model::name::PackageName) {
    if let Some(members) = state.members.get_mut(&(name.producer.clone(), package)) {
        members.remove(&name.key);
    }
    state.names.remove(name.clone());
}

fn forget(state: &mut State, name: &FileName, sequence: u64) {
    let key = (name.clone(), sequence);
    if state.history.get(&key).is_some() {
        state.history.remove(key);
        state.producers.change(&name.producer, |row| row.history_count = row.history_count.saturating_sub(1));
    }
}

pub(super) fn version_removed(state: &mut State, fact: Fact<'_>, removed: &VersionRemoved) {
    let name = FileName { producer: removed.producer.clone(), key: removed.key.clone() };
    let mut count = Count { added: None, removed: None };
    if state.names.get(&name).is_some_and(|row| row.sequence == removed.removes) {
        count.removed = end_version(state, fact, &name);
        lose_name(state, &name, removed.package.clone());
    }
    forget(state, &name, removed.removes);
    if !removed.superseded {
        state.files.change(&removed.removes, |row| row.deleted_sequence = Some(fact.sequence));
    }
    if let Some(reveals) = removed.reveals
        && let Some(mut file) = state.files.get(&reveals).cloned()
    {
        forget(state, &name, reveals);
        count.added = Some(file.size_bytes);
        file.ended_sequence = None;
        give_name(state, file);
    }
    if count.added.is_some() || count.removed.is_some() {
        recount(state, fact, &removed.producer, &removed.package_id, &count);
    }
}

pub(super) fn file_tagged(state: &mut State, tagged: &FileTagged) {
    state.files.change(&tagged.version, |row| row.attributes.tags = tagged.tags.clone());
}

pub(super) fn subresource_set(state: &mut State, fact: Fact<'_>, set: &SubresourceSet) {
    let row = SubresourceRow {
        producer: set.producer.clone(),
        name: set.name,
        document: set.document.clone(),
        sequence: fact.sequence,
    };
    state.subresources.put((set.producer.clone(), set.name), row);
}

pub(super) fn subresource_removed(state: &mut State, removed: &SubresourceRemoved) {
    state.subresources.remove((removed.producer.clone(), removed.name));
}
