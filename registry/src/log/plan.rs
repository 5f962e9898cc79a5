//! Which rows a command or an event touches, so that a batch loads them all in a few set-based reads.
//!
//! Two rounds for commands: which package a key belongs to depends on its producer's settings.

pub mod collect;
pub mod erase;
pub mod scrub;

use std::collections::BTreeSet;

use artifactstore_backends::recipe::LocatedChunk;

use crate::model::command::{Command, FileIngest, PackageChoice, SubjectChoice};
use crate::model::event::{Event, PackageFinalized, StoredManifest, Subject};
use crate::model::lifecycle::{Expiry, Outdated};
use crate::model::name::{FileName, Key, PackageId, ProducerName};
use crate::model::retention::CLASS_TAG;
use crate::model::row::{HistoryRow, Subresource, VersionChoice, Versioning};
use crate::model::state::{State, Touched};

/// What must be known before anything else: producers, and packages named by identifier.
pub fn first_round(command: &Command, touched: &mut Touched) {
    match command {
        Command::ProducerCreate { producer, .. }
        | Command::ProducerConfigure { producer, .. }
        | Command::ProducerDelete { producer }
        | Command::VersioningSet { producer, .. }
        | Command::LockConfigure { producer, .. }
        | Command::SubresourceSet { producer, .. } => {
            touched.producers.insert(producer.clone());
        }
        Command::FileIngest(ingest) => {
            touched.producers.insert(ingest.name.producer.clone());
        }
        Command::FileDescribe { name, .. }
        | Command::FileRemove { name, .. }
        | Command::VersionRemove { name, .. }
        | Command::FileTag { name, .. }
        | Command::UploadCreate { name, .. }
        | Command::PartIngest { name, .. }
        | Command::UploadAbort { name, .. } => {
            touched.producers.insert(name.producer.clone());
        }
        Command::KeyCreate { id, .. } | Command::KeyRotate { id, .. } | Command::KeyRevoke { id } => {
            touched.access_keys.insert(id.clone());
        }
        Command::PackageFinalize { package: PackageChoice::Name(producer, _), .. } => {
            touched.producers.insert(producer.clone());
        }
        Command::PackageFinalize { package: PackageChoice::Id(id), .. } => {
            touched.packages.insert(id.clone());
        }
        Command::StorageDirect { .. } | Command::StorageClose { .. } | Command::StorageEnd { .. } => {
            touched.moves = true;
        }
        Command::RetentionSet { subject, .. }
        | Command::HoldPlace { subject, .. }
        | Command::HoldRelease { subject, .. } => match subject {
            SubjectChoice::File(name, _) => {
                touched.producers.insert(name.producer.clone());
            }
            SubjectChoice::Package(id) => {
                touched.packages.insert(id.clone());
            }
            SubjectChoice::Producer(producer) => {
                touched.producers.insert(producer.clone());
            }
        },
        Command::PackageRelease { package, .. } => {
            touched.packages.insert(package.clone());
        }
        Command::ClassSet { .. } | Command::ClockSettle { .. } | Command::ClockNote { .. } => touched.retention = true,
        Command::Collect { step, .. } => collect::first_round(step, touched),
        Command::Erase { erase, .. } => {
            touched.producers.insert(erase.name.producer.clone());
            touched.moves = true;
            touched.retention = true;
        }
        Command::Expire { name, .. } => {
            touched.producers.insert(name.producer.clone());
        }
        Command::Scrub(step) => scrub::step(step, touched),
    }
}

/// Everything else.
pub fn second_round(command: &Command, state: &State, touched: &mut Touched) {
    match command {
        Command::ProducerCreate { settings, .. } | Command::ProducerConfigure { settings, .. } => {
            touched.retention |= settings.retention_class.is_some() || !settings.retention_rules.is_empty();
        }
        Command::LockConfigure { .. } => touched.retention = true,
        Command::RetentionSet { subject, .. }
        | Command::HoldPlace { subject, .. }
        | Command::HoldRelease { subject, .. } => {
            touched.retention = true;
            match subject {
                SubjectChoice::File(name, version) => version_of(name, *version, state, touched),
                SubjectChoice::Package(id) => package_by_id(id, state, touched),
                SubjectChoice::Producer(_) => {}
            }
        }
        Command::PackageRelease { package, .. } => release(package, state, touched),
        Command::ClassSet { .. }
        | Command::ClockSettle { .. }
        | Command::ClockNote { .. }
        | Command::ProducerDelete { .. }
        | Command::KeyCreate { .. }
        | Command::KeyRotate { .. }
        | Command::KeyRevoke { .. }
        | Command::StorageDirect { .. }
        | Command::StorageClose { .. }
        | Command::StorageEnd { .. }
        | Command::Scrub(_)
        | Command::VersioningSet { .. } => {}
        Command::Collect { step, .. } => collect::second_round(step, state, touched),
        Command::Erase { erase, .. } => version_of(&erase.name, erase.version, state, touched),
        Command::Expire { name, expiry, .. } => expired(name, expiry, state, touched),
        Command::SubresourceSet { producer, name, .. } => {
            touched.subresources.insert((producer.clone(), *name));
        }
        Command::VersionRemove { name, version, .. } => version_of(name, Some(*version), state, touched),
        Command::FileTag { name, version, tags } => {
            touched.retention |= tags.get(CLASS_TAG).is_some();
            version_of(name, *version, state, touched);
        }
        Command::FileIngest(ingest) => file_ingest(ingest, state, touched),
        Command::FileDescribe { name, .. } | Command::FileRemove { name, .. } => {
            file(name, state, touched);
        }
        Command::UploadCreate { name, upload, .. } => {
            file(name, state, touched);
            touched.uploads.insert(upload.clone());
        }
        Command::PartIngest { upload, number, stored, copied_from, .. } => {
            touched.files.extend(copied_from.as_ref().map(|source| source.sequence));
            touched.uploads.insert(upload.clone());
            touched.parts.insert((upload.clone(), *number));
            touched.chunks.extend(stored.recipe.chunks.iter().map(|chunk| chunk.address));
            places(&stored.written, touched);
        }
        Command::UploadAbort { upload, .. } => {
            touched.uploads.insert(upload.clone());
        }
        Command::PackageFinalize { package, prepared, .. } => {
            touched.moves = true;
            let key = match package {
                PackageChoice::Name(producer, name) => Some((producer.clone(), name.clone())),
                PackageChoice::Id(id) => {
                    state.packages.get(id).map(|package| (package.producer.clone(), package.name.clone()))
                }
            };
            if let Some(key) = key {
                touched.producers.insert(key.0.clone());
                touched.latest.insert(key.clone());
                if prepared.is_none() {
                    touched.members.insert(key);
                    // The manifest says what the package is kept by.
                    touched.retention = true;
                }
            }
            if let Some(PackageFinalized::Stored(stored)) = prepared.as_ref().map(|prepared| &prepared.fact) {
                stored_manifest(stored, touched);
            }
        }
    }
}

fn release(id: &PackageId, state: &State, touched: &mut Touched) {
    touched.retention = true;
    package_by_id(id, state, touched);
    // With a revision those before it are released.
    let package = state.packages.get(id).map(|package| (package.producer.clone(), package.name.clone()));
    touched.keepers.extend(package);
}

fn package_by_id(id: &PackageId, state: &State, touched: &mut Touched) {
    if let Some(package) = state.packages.get(id) {
        touched.producers.insert(package.producer.clone());
        touched.latest.insert((package.producer.clone(), package.name.clone()));
    }
}

/// What must be known besides of a version that a command would take from sight, if anything keeps it: why it is kept,
/// and since when. To be asked again with what it brought, until it asks for nothing new.
pub fn third_round(command: &Command, state: &State, touched: &mut Touched) {
    let (name, version) = match command {
        Command::Erase { erase, .. } => return erase::third_round(erase, state, touched),
        Command::FileIngest(ingest) => (&ingest.name, None),
        Command::FileDescribe { name, .. } | Command::FileRemove { name, .. } => (name, None),
        Command::VersionRemove { name, version, .. }
        | Command::RetentionSet { subject: SubjectChoice::File(name, Some(version)), .. } => (name, Some(*version)),
        Command::Expire { name, expiry, .. } => (name, expiring(expiry)),
        _ => return,
    };
    let Some(owner) = state.producers.get(&name.producer) else { return };
    if version.is_none() && owner.versioning == Versioning::Enabled {
        // The version that has the name stays in sight.
        return;
    }
    let named = state.names.find(name).map(|row| row.sequence);
    let numbered = match version {
        Some(VersionChoice::Numbered(sequence)) => Some(sequence),
        Some(VersionChoice::Null) | None => None,
    };
    let null = if state.histories.contains(name) { state.history_null(name) } else { None };
    let entry = match version {
        Some(VersionChoice::Numbered(sequence)) => state.history.find(&(name.clone(), sequence)),
        Some(VersionChoice::Null) => null,
        None => None,
    };
    if let Some(marker) = entry.filter(|entry| entry.marker) {
        of_marker(marker, state, touched);
    }
    let null = null.map(|row| row.sequence);
    for file in [named, numbered, null].into_iter().flatten().filter_map(|sequence| state.files.find(&sequence)) {
        touched.packages.insert(file.package_id.clone());
        let package = (name.producer.clone(), file.package.clone());
        let written_into = state.packages.find(&file.package_id);
        let latest = state.latest.get(&package);
        let latest = latest.and_then(|id| state.packages.find(id.as_ref()?));
        let packages = [written_into, latest].into_iter().flatten().map(|package| &package.keeping);
        touched.retention |= packages.chain([&file.keeping, &owner.keeping]).any(|keeping| !keeping.is_empty());
        touched.latest.insert(package.clone());
        // Nothing goes that any revision keeps, those in between among them, if there are any.
        if written_into.zip(latest).is_none_or(|(first, latest)| first.is_apart_from(latest)) {
            touched.retention |= state.keepers.contains(&package) && state.keepers(&package).next().is_some();
            touched.keepers.insert(package);
        }
    }
}

/// What must be known besides of a delete marker: one from before the latest revision goes when those before that were
/// released.
fn of_marker(marker: &HistoryRow, state: &State, touched: &mut Touched) {
    let Some((package, _)) = state.package_of(&marker.name) else { return };
    let latest = state.latest.get(&package).and_then(|id| state.packages.find(id.as_ref()?));
    if latest.is_none_or(|latest| marker.sequence < latest.opened_sequence) {
        touched.keepers.insert(package.clone());
    }
    touched.latest.insert(package);
}

/// The version that is to go by itself, if it is one that is meant by its number.
const fn expiring(expiry: &Expiry) -> Option<VersionChoice> {
    match expiry {
        Expiry::Class(version)
        | Expiry::Rule { what: Outdated::Noncurrent { version, .. } | Outdated::LoneMarker(version), .. } => {
            Some(VersionChoice::Numbered(*version))
        }
        Expiry::Rule { what: Outdated::Current(_) | Outdated::Upload(_), .. } => None,
    }
}

fn expired(name: &FileName, expiry: &Expiry, state: &State, touched: &mut Touched) {
    touched.retention = true;
    if let Expiry::Rule { .. } = expiry {
        touched.subresources.insert((name.producer.clone(), Subresource::Lifecycle));
    }
    match expiry {
        Expiry::Rule { what: Outdated::Upload(upload), .. } => {
            touched.uploads.insert(upload.clone());
        }
        Expiry::Rule { what: Outdated::Noncurrent { spared, .. }, .. } => {
            touched.history.extend(spared.iter().map(|version| (name.clone(), *version)));
            version_of(name, expiring(expiry), state, touched);
        }
        Expiry::Class(_) | Expiry::Rule { .. } => version_of(name, expiring(expiry), state, touched),
    }
}

/// How many of a key's newest entries the removal of one needs: itself, and what comes forward. Of several removals in
/// a batch each needs as many more.
const ENTRIES_PER_REMOVAL: usize = 2;

fn version_of(name: &FileName, version: Option<VersionChoice>, state: &State, touched: &mut Touched) {
    file(name, state, touched);
    if let Some(version) = version {
        touched.history_of(name.clone(), ENTRIES_PER_REMOVAL);
        if let VersionChoice::Numbered(sequence) = version {
            touched.files.insert(sequence);
            touched.history.insert((name.clone(), sequence));
        }
    }
}

fn file(name: &FileName, state: &State, touched: &mut Touched) {
    touched.names.insert(name.clone());
    // Where versioning is suspended, a new version takes the place of the null version, wherever that is.
    if state.producers.get(&name.producer).is_some_and(|owner| owner.versioning == Versioning::Suspended) {
        touched.history_of(name.clone(), 0);
    }
    if let Some((key, _)) = state.package_of(name) {
        touched.latest.insert(key);
    }
}

fn file_ingest(ingest: &FileIngest, state: &State, touched: &mut Touched) {
    file(&ingest.name, state, touched);
    touched.blobs.insert(ingest.content.content_address);
    touched.files.extend(ingest.copied_from.as_ref().map(|source| source.sequence));
    places(&ingest.content.written, touched);
    touched.retention |= !ingest.retention.is_empty() || ingest.attributes.tags.get(CLASS_TAG).is_some();
    if let Some(recipe) = &ingest.content.recipe {
        touched.chunks.extend(recipe.chunks.iter().map(|chunk| chunk.address));
    }
    if let Some((upload, _)) = &ingest.upload {
        touched.uploads.insert(upload.clone());
    }
}

/// What is asked of places that are to be recorded: whether the backend takes any, and whether the name is free.
fn places(written: &[LocatedChunk], touched: &mut Touched) {
    touched.moves |= !written.is_empty();
    touched.swept.extend(written.iter().map(|located| located.location.object));
}

fn stored_manifest(stored: &StoredManifest, touched: &mut Touched) {
    touched.blobs.insert(stored.manifest_address);
    touched.chunks.extend(stored.chunks.chunks.iter().map(|chunk| chunk.address));
    places(&stored.written, touched);
}

/// What applying an event touches.
pub fn event(event: &Event, touched: &mut Touched) {
    touched.producers.extend(event.producer());
    match event {
        Event::ProducerCreated(_)
        | Event::ProducerConfigured(_)
        | Event::ProducerDeleted(_)
        | Event::VersioningSet(_)
        | Event::SubresourceSet(_)
        | Event::SubresourceRemoved(_) => {}
        Event::PackageOpened(fact) => {
            touched.packages.insert(fact.package_id.clone());
            touched.packages.extend(fact.previous_id.clone());
        }
        Event::PackageFinalized(fact) => match &**fact {
            PackageFinalized::Inline(manifest) => {
                touched.packages.insert(PackageId::trusted(&manifest.package.id));
            }
            PackageFinalized::Stored(stored) => {
                touched.packages.insert(stored.package_id.clone());
                stored_manifest(stored, touched);
            }
        },
        Event::FileIngested(fact) => {
            touched.packages.insert(fact.package_id.clone());
            touched.names.insert(fact.name());
            touched.blobs.insert(fact.content_address);
            touched.chunks.extend(fact.written.iter().map(|located| located.chunk.address));
            touched.uploads.extend(fact.upload.clone());
        }
        Event::FileDescribed(fact) => named(&fact.package_id, &fact.producer, &fact.key, touched),
        Event::FileRemoved(fact) => named(&fact.package_id, &fact.producer, &fact.key, touched),
        Event::FileMarked(fact) => named(&fact.package_id, &fact.producer, &fact.key, touched),
        Event::FileTagged(fact) => touched.files.extend([fact.version]),
        Event::VersionRemoved(fact) => {
            let name = FileName { producer: fact.producer.clone(), key: fact.key.clone() };
            touched.packages.insert(fact.package_id.clone());
            touched.files.insert(fact.removes);
            touched.files.extend(fact.reveals);
            touched.history.insert((name.clone(), fact.removes));
            touched.history.extend(fact.reveals.map(|sequence| (name.clone(), sequence)));
            touched.names.insert(name);
        }
        Event::UploadCreated(fact) => touched.uploads.extend([fact.upload.clone()]),
        Event::PartIngested(fact) => {
            touched.uploads.insert(fact.upload.clone());
            touched.parts.insert((fact.upload.clone(), fact.number));
            touched.chunks.extend(fact.written.iter().map(|located| located.chunk.address));
        }
        Event::UploadAborted(fact) => touched.uploads.extend([fact.upload.clone()]),
        Event::KeyCreated(fact) => touched.access_keys.extend([fact.id.clone()]),
        Event::KeyRotated(fact) => touched.access_keys.extend([fact.id.clone()]),
        Event::KeyRevoked(fact) => touched.access_keys.extend([fact.id.clone()]),
        Event::StorageDirected(_) | Event::StorageClosed(_) | Event::StorageMoved(_) => touched.moves = true,
        Event::RetentionSet(fact) => subject(&fact.subject, touched),
        Event::HoldPlaced(fact) => subject(&fact.subject, touched),
        Event::HoldReleased(fact) => subject(&fact.subject, touched),
        Event::LockEnabled(_) => {}
        Event::PackageReleased(fact) => {
            touched.packages.insert(fact.package_id.clone());
        }
        Event::ClassSet(_) | Event::ClockJumped(_) | Event::ClockSettled(_) | Event::ClockNoted(_) => {
            touched.retention = true;
        }
        Event::VersionReleased(fact) => collect::released(fact, touched),
        Event::BlobCondemned(fact) => touched.blobs.extend([fact.content_address]),
        Event::ChunkCondemned(fact) => touched.chunks.extend(&fact.chunks),
        Event::SweepBegun(fact) => collect::begun(fact, touched),
        Event::SweepEnded(fact) => touched.swept.extend(&fact.objects),
        Event::ObjectOrphaned(_) => {}
        Event::ScrubBegun(_) | Event::ScrubAdvanced(_) | Event::ScrubEnded(_) => touched.scrubs = true,
        Event::ObjectDamaged(fact) => scrub::damaged(fact, touched),
        Event::ObjectRecovered(fact) => scrub::recovered(fact, touched),
        Event::ChunkRelocated(fact) => scrub::relocated(fact, touched),
        Event::FileErased(fact) => erase::erased(fact, touched),
    }
}

fn named(package: &PackageId, producer: &ProducerName, key: &Key, touched: &mut Touched) {
    touched.packages.insert(package.clone());
    touched.names.insert(FileName { producer: producer.clone(), key: key.clone() });
}

fn subject(subject: &Subject, touched: &mut Touched) {
    match subject {
        Subject::File { version, .. } => {
            touched.files.insert(*version);
        }
        Subject::Package { package_id, .. } => {
            touched.packages.insert(package_id.clone());
        }
        Subject::Producer(_) => {}
    }
}

/// What replaying an event touches: as [`event`] says, less what the event itself tells to be absent. A fact that takes
/// its name from nobody, or names a blob or a chunk for the first time, was decided on a state that did not have them.
/// That state is the one before the batch only if no event of the batch mentioned them before.
pub fn replayed(event: &Event, state: &mut State, touched: &mut Touched) {
    match event {
        Event::FileIngested(fact) => {
            note(&mut touched.producers, &fact.producer);
            note(&mut touched.packages, &fact.package_id);
            touched.uploads.extend(fact.upload.clone());
            let name = fact.name();
            if fact.supersedes.is_some() {
                touched.names.insert(name);
            } else if !touched.names.contains(&name) {
                state.names.load(name, None);
            }
            match &fact.chunks {
                Some(_) if touched.blobs.contains(&fact.content_address) => {}
                Some(_) => state.blobs.load(fact.content_address, None),
                // It refers to one more name, and may have been condemned.
                None => drop(touched.blobs.insert(fact.content_address)),
            }
            absent_chunks(&fact.written, state, touched);
            // Those of its chunks that were there may have been condemned.
            let chunks = fact.chunks.iter().flat_map(|recipe| &recipe.chunks).map(|chunk| chunk.address);
            touched.chunks.extend(chunks.filter(|chunk| !state.chunks.is_loaded(chunk)));
        }
        Event::PartIngested(fact) => {
            touched.producers.insert(fact.producer.clone());
            touched.uploads.insert(fact.upload.clone());
            touched.parts.insert((fact.upload.clone(), fact.number));
            absent_chunks(&fact.written, state, touched);
            let chunks = fact.chunks.chunks.iter().map(|chunk| chunk.address);
            touched.chunks.extend(chunks.filter(|chunk| !state.chunks.is_loaded(chunk)));
        }
        other => self::event(other, touched),
    }
}

/// Most events of a batch are about what the one before was about.
fn note<K: Ord + Clone>(keys: &mut BTreeSet<K>, key: &K) {
    if !keys.contains(key) {
        keys.insert(key.clone());
    }
}

fn absent_chunks(written: &[LocatedChunk], state: &mut State, touched: &Touched) {
    for LocatedChunk { chunk, .. } in written {
        if !touched.chunks.contains(&chunk.address) {
            state.chunks.load(chunk.address, None);
        }
    }
}
