//! Deciding about versions: which one is meant, whether it may go, and what S3 shows in its place.
//!
//! Invariant: whatever keeps a version from being deleted says so in [`check_unsealed`] or [`check_removable`].

use super::retention::{check_removable, check_replaceable};
use super::{Decision, check_condition, file_path, file_remove, package_for_removal, producer_of, producer_owned};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::cbor::TextMap;
use crate::model::command::WriteCondition;
use crate::model::event::{
    Actor, Event, FileMarked, FileTagged, SubresourceRemoved, SubresourceSet, VersionRemoved, VersioningSet,
};
use crate::model::name::{FileName, PackageId, PackageName, ProducerName};
use crate::model::retention::CLASS_TAG;
use crate::model::row::{File, Package, Producer, Sequence, Subresource, VersionChoice, Versioning};
use crate::model::state::State;

/// A version, or a delete marker, that a command means.
pub(super) struct Meant<'a> {
    sequence: Sequence,
    /// Nothing for a marker.
    pub(super) file: Option<&'a File>,
    pub(super) made_at: Timestamp,
}

pub(super) fn of_file(file: &File) -> Meant<'_> {
    Meant { sequence: file.sequence, file: Some(file), made_at: file.ingested_at }
}

pub(super) fn meant<'a>(
    state: &'a State,
    owner: &Producer,
    name: &FileName,
    choice: VersionChoice,
) -> Option<Meant<'a>> {
    let current = state.file_current(name);
    match choice {
        VersionChoice::Null => current.filter(|file| !file.versioned).map(of_file).or_else(|| {
            let row = state.history_null(name)?;
            Some(Meant { sequence: row.sequence, file: state.files.get(&row.sequence), made_at: row.occurred_at })
        }),
        VersionChoice::Numbered(sequence) => {
            if let Some(row) = state.history.get(&(name.clone(), sequence))
                && row.marker
            {
                return Some(Meant { sequence, file: None, made_at: row.occurred_at });
            }
            // Versions from before the producer was created are those of a deleted one, perhaps of another tenant.
            let shown = |file: &&File| {
                let is_there = file.deleted_sequence.is_none() && file.released_sequence.is_none();
                file.name == *name && is_there && file.sequence > owner.created_sequence
            };
            state.files.get(&sequence).filter(shown).map(of_file)
        }
    }
}

/// Refuses to delete a version, or to change what it carries, because a sealed package has it; to delete it may be
/// allowed since.
pub(super) fn check_unsealed(
    state: &State,
    owner: &Producer,
    package: &PackageName,
    (version, deletes): (&Meant<'_>, bool),
) -> Result<(), Refusal> {
    let Some(latest) = state.package_latest(&(owner.name.clone(), package.clone())) else { return Ok(()) };
    let released = deletes && latest.released_sequence.is_some();
    if let Some(refusal) = latest.refusal().filter(|_| !released) {
        return Err(refusal);
    }
    let let_go = || deletes && is_released_before(state, latest, version);
    if version.sequence < latest.opened_sequence && !released && !let_go() {
        // Every revision before an open one is finalized.
        let (producer, package) = (owner.name.clone(), package.to_string());
        return Err(Refusal::VersionSealed { producer, package, revision: latest.revision.saturating_sub(1) });
    }
    Ok(())
}

/// Whether the revision before the latest was released, and with it all that were sealed and can have this version, or
/// were sealed without what this delete marker hides.
fn is_released_before(state: &State, latest: &Package, version: &Meant<'_>) -> bool {
    let asked_of_all = || {
        let package = (latest.producer.clone(), latest.name.clone());
        state.is_released_from(&package, latest.revision.saturating_sub(1))
    };
    // A marker does not say which revision it was put into.
    let Some(file) = version.file else { return asked_of_all() };
    let Some(written_into) = state.packages.find(&file.package_id) else { return false };
    if written_into.is_apart_from(latest) { asked_of_all() } else { written_into.released_sequence.is_some() }
}

/// The event that takes the null version out of a key's history, where a new null version is about to come. That is no
/// deletion, so that nothing which keeps versions keeps it from happening.
pub(super) fn null_replaced(
    state: &State,
    owner: &Producer,
    name: &FileName,
    (package, package_id): (&PackageName, &PackageId),
) -> Option<Event> {
    if owner.versioning != Versioning::Suspended {
        return None;
    }
    let row = state.history_null(name)?;
    Some(Event::VersionRemoved(Box::new(VersionRemoved {
        key: name.key.clone(),
        package: package.clone(),
        removes: row.sequence,
        reveals: None,
        producer: name.producer.clone(),
        package_id: package_id.clone(),
        superseded: true,
    })))
}

/// Deletes a key where versions are kept: a marker comes in front of them.
pub(super) fn file_mark(
    state: &State,
    owner: &Producer,
    name: &FileName,
    condition: &WriteCondition,
    fresh: &PackageId,
) -> Result<Decision, Refusal> {
    let (package, _) = file_path(owner, name)?;
    let former = state.file_current(name);
    if former.is_none() && !condition.is_empty() {
        return Err(Refusal::FileMissing);
    }
    check_condition(former, condition)?;
    check_replaceable(state, owner, name, former)?;
    let (mut events, package_id) = package_for_removal(state, owner, &package, fresh)?;
    events.extend(null_replaced(state, owner, name, (&package, &package_id)));
    events.push(Event::FileMarked(Box::new(FileMarked {
        key: name.key.clone(),
        hides: former.map(|file| file.sequence),
        package,
        producer: name.producer.clone(),
        package_id,
    })));
    Ok(Decision { events, ..Decision::default() })
}

pub(super) fn version_remove(
    state: &State,
    actor: &Actor,
    (name, choice): (&FileName, VersionChoice),
    (condition, bypass): (&WriteCondition, bool),
    fresh: &PackageId,
) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, name)?;
    let (package, _) = file_path(owner, name)?;
    let current = state.file_current(name);
    let is_named = |sequence| current.is_some_and(|file| file.sequence == sequence);
    // What was superseded where versions are not kept has a number, and S3 does not show it: there is nothing to hide.
    let shown =
        |target: &Meant<'_>| is_named(target.sequence) || state.history.get(&(name.clone(), target.sequence)).is_some();
    // Of one that was erased there is nothing to be read or changed; its place among the versions can be given up.
    let erased = || match choice {
        VersionChoice::Numbered(sequence) => state.files.get(&sequence).filter(|file| file.name == *name).map(of_file),
        VersionChoice::Null => None,
    };
    let Some(target) = meant(state, owner, name, choice).or_else(erased).filter(shown) else {
        return if condition.is_empty() { Ok(Decision::default()) } else { Err(Refusal::FileMissing) };
    };
    let named = is_named(target.sequence);
    if named && owner.versioning == Versioning::Off {
        return file_remove(state, actor, name, (condition, bypass), fresh);
    }
    check_condition(target.file, condition)?;
    check_unsealed(state, owner, &package, (&target, true))?;
    if let Some(file) = target.file {
        check_removable(state, owner, file, bypass)?;
    }
    let latest = state.package_latest(&(owner.name.clone(), package.clone())).ok_or(Refusal::PackageMissing)?;
    // What is behind the version that has the name, or behind the marker that stands in front, comes forward.
    let newest = state.history_newest(name, target.sequence);
    let in_front =
        current.is_none() && newest.is_none_or(|row| row.sequence < target.sequence) && target.file.is_none();
    let reveals = newest.filter(|row| (named || in_front) && !row.marker).map(|row| row.sequence);
    Ok(Event::VersionRemoved(Box::new(VersionRemoved {
        key: name.key.clone(),
        package,
        removes: target.sequence,
        reveals,
        producer: name.producer.clone(),
        package_id: latest.id.clone(),
        superseded: false,
    }))
    .into())
}

pub(super) fn file_tag(
    state: &State,
    actor: &Actor,
    (name, choice): (&FileName, Option<VersionChoice>),
    tags: &TextMap,
) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, name)?;
    let (package, _) = file_path(owner, name)?;
    let target = match choice {
        None => of_file(state.file_current(name).ok_or(Refusal::FileMissing)?),
        Some(choice) => meant(state, owner, name, choice).ok_or(Refusal::VersionMissing)?,
    };
    let file = target.file.ok_or(Refusal::MarkerMeant { made_at: target.made_at })?;
    if file.attributes.tags == *tags {
        return Ok(Decision::default());
    }
    check_unsealed(state, owner, &package, (&target, false))?;
    let mut events = vec![Event::FileTagged(Box::new(FileTagged {
        key: name.key.clone(),
        tags: tags.clone(),
        package,
        version: file.sequence,
        producer: name.producer.clone(),
    }))];
    events.extend(super::retention::tagged(state, file, tags.get(CLASS_TAG))?);
    Ok(Decision { events, ..Decision::default() })
}

pub(super) fn versioning_set(
    state: &State,
    actor: &Actor,
    producer: &ProducerName,
    versioning: Versioning,
) -> Result<Decision, Refusal> {
    let there = producer_owned(state, actor, producer)?;
    if there.versioning == versioning {
        return Ok(Decision::default());
    }
    if versioning == Versioning::Off {
        let reason = "versioning can be suspended, and not be taken back".to_owned();
        return Err(Refusal::SettingInvalid { setting: "versioning", reason });
    }
    if there.object_lock {
        return Err(Refusal::LockNeedsVersioning);
    }
    Ok(Event::VersioningSet(Box::new(VersioningSet { producer: producer.clone(), versioning })).into())
}

pub(super) fn subresource_set(
    state: &State,
    actor: &Actor,
    (producer, name): (&ProducerName, Subresource),
    document: Option<&String>,
) -> Result<Decision, Refusal> {
    producer_owned(state, actor, producer)?;
    let there = state.subresources.get(&(producer.clone(), name)).map(|row| &row.document);
    if there == document {
        return Ok(Decision::default());
    }
    let producer = producer.clone();
    Ok(match document {
        Some(document) => {
            Event::SubresourceSet(Box::new(SubresourceSet { name, document: document.clone(), producer })).into()
        }
        None => Event::SubresourceRemoved(Box::new(SubresourceRemoved { name, producer })).into(),
    })
}
