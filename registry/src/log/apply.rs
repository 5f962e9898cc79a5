//! What a fact does to the views. Live writes and replay share it, so that any view may be dropped and rebuilt.
//!
//! Invariant: applying never refuses; what could be refused was decided before the fact was written.

mod collect;
mod erase;
mod retention;
mod scrub;
mod version;

use artifactstore_backends::digest::ContentAddress;
use artifactstore_backends::recipe::LocatedChunk;

use self::collect::Referred;
use crate::clock::Timestamp;
use crate::model::access::AccessKey;
use crate::model::event::{
    Event, FileDescribed, FileIngested, FileRemoved, KeyCreated, PackageFinalized, PackageOpened, PartIngested,
    ProducerCreated, UploadCreated,
};
use crate::model::name::{FileName, PackageId, ProducerName, TenantName, UploadId};
use crate::model::retention::Keeping;
use crate::model::row::{
    ChunkPlace, File, Package, Part, Producer, Seal, Sequence, Subresource, Upload, UploadState, Versioning,
};
use crate::model::state::{NameRow, State};
use crate::model::storage::StorageMove;

/// A fact and its place in the log.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    /// Its number.
    pub sequence: Sequence,
    /// When it was committed.
    pub occurred_at: Timestamp,
    /// Whose it is.
    pub tenant: &'a TenantName,
    /// Who asked.
    pub actor: &'a str,
    /// The fact.
    pub event: &'a Event,
    /// Its payload as the log holds it.
    pub payload: &'a [u8],
}

/// Applies a fact to the state.
pub fn apply(state: &mut State, fact: Fact<'_>) {
    match fact.event {
        Event::ProducerCreated(created) => producer_created(state, fact, created),
        Event::ProducerConfigured(configured) => {
            state.producers.change(&configured.producer, |row| row.settings = configured.settings.clone());
        }
        Event::ProducerDeleted(deleted) => producer_deleted(state, &deleted.producer),
        Event::PackageOpened(opened) => package_opened(state, fact, opened),
        Event::PackageFinalized(finalized) => package_finalized(state, fact, finalized),
        Event::FileIngested(ingested) => file_ingested(state, fact, ingested),
        Event::FileDescribed(described) => file_described(state, fact, described),
        Event::FileRemoved(removed) => file_removed(state, fact, removed),
        Event::FileMarked(marked) => version::file_marked(state, fact, marked),
        Event::FileTagged(tagged) => version::file_tagged(state, tagged),
        Event::VersionRemoved(removed) => version::version_removed(state, fact, removed),
        Event::VersioningSet(set) => state.producers.change(&set.producer, |row| row.versioning = set.versioning),
        Event::SubresourceSet(set) => version::subresource_set(state, fact, set),
        Event::SubresourceRemoved(removed) => version::subresource_removed(state, removed),
        Event::UploadCreated(created) => upload_created(state, fact, created),
        Event::PartIngested(ingested) => part_ingested(state, fact, ingested),
        Event::UploadAborted(aborted) => {
            upload_closed(state, &aborted.producer, &aborted.upload);
            state.uploads.remove(aborted.upload.clone());
        }
        Event::KeyCreated(created) => key_created(state, fact, created),
        Event::KeyRotated(rotated) => state.access_keys.change(&rotated.id, |row| {
            row.sealed.clone_from(&rotated.sealed);
            row.changed_sequence = fact.sequence;
        }),
        Event::KeyRevoked(revoked) => state.access_keys.remove(revoked.id.clone()),
        Event::StorageDirected(directed) => {
            state.moves.put(
                fact.sequence,
                StorageMove {
                    sequence: fact.sequence,
                    from: directed.from.clone(),
                    to: directed.to.clone(),
                    closed_sequence: None,
                    ended_sequence: None,
                },
            );
        }
        Event::StorageClosed(closed) => {
            state.moves.change(&closed.begun, |row| row.closed_sequence = Some(fact.sequence));
        }
        Event::StorageMoved(moved) => {
            state.moves.change(&moved.begun, |row| row.ended_sequence = Some(fact.sequence));
        }
        Event::ClassSet(set) => retention::class_set(state, fact, set),
        Event::RetentionSet(set) => retention::retention_set(state, fact, set),
        Event::HoldPlaced(placed) => retention::hold_placed(state, fact, placed),
        Event::HoldReleased(released) => retention::hold_released(state, released),
        Event::LockEnabled(enabled) => state.producers.change(&enabled.producer, |row| row.object_lock = true),
        Event::PackageReleased(released) => {
            state.packages.change(&released.package_id, |row| row.released_sequence = Some(fact.sequence));
        }
        Event::ClockJumped(jumped) => retention::clock_jumped(state, fact, jumped),
        Event::ClockNoted(noted) => retention::clock_noted(state, fact, noted),
        Event::ClockSettled(settled) => retention::clock_settled(state, fact, settled),
        Event::VersionReleased(released) => collect::version_released(state, fact, released),
        Event::BlobCondemned(condemned) => collect::blob_condemned(state, fact, condemned),
        Event::ChunkCondemned(condemned) => collect::chunk_condemned(state, fact, condemned),
        Event::SweepBegun(begun) => collect::sweep_begun(state, fact, begun),
        Event::SweepEnded(ended) => collect::sweep_ended(state, fact, ended),
        Event::ObjectOrphaned(orphaned) => collect::object_orphaned(state, fact, orphaned),
        Event::ScrubBegun(_) => scrub::begun(state, fact),
        Event::ScrubAdvanced(advanced) => scrub::advanced(state, advanced),
        Event::ScrubEnded(ended) => scrub::ended(state, fact, ended),
        Event::ObjectDamaged(damaged) => scrub::damaged(state, fact, damaged),
        Event::ObjectRecovered(recovered) => scrub::recovered(state, recovered),
        Event::ChunkRelocated(relocated) => scrub::relocated(state, fact, relocated),
        Event::FileErased(erased) => erase::erased(state, fact, erased),
    }
}

fn key_created(state: &mut State, fact: Fact<'_>, created: &KeyCreated) {
    let key = AccessKey {
        id: created.id.clone(),
        tenant: created.tenant.clone(),
        grants: created.grants.clone(),
        sealed: created.sealed.clone(),
        created_at: fact.occurred_at,
        created_sequence: fact.sequence,
        changed_sequence: fact.sequence,
    };
    state.access_keys.put(created.id.clone(), key);
}

fn producer_created(state: &mut State, fact: Fact<'_>, created: &ProducerCreated) {
    state.producers.put(
        created.producer.clone(),
        Producer {
            name: created.producer.clone(),
            tenant: created.tenant.clone(),
            settings: created.settings.clone(),
            created_at: fact.occurred_at,
            created_sequence: fact.sequence,
            file_count: 0,
            size_bytes: 0,
            upload_count: 0,
            package_count: 0,
            finalized_count: 0,
            versioning: Versioning::Off,
            history_count: 0,
            object_lock: false,
            keeping: Keeping::default(),
        },
    );
}

/// The packages that are left are empty, and open or released: whoever takes the name next begins without them.
fn producer_deleted(state: &mut State, producer: &ProducerName) {
    state.producers.remove(producer.clone());
    state.packages.forget_rows(|package| package.producer == *producer);
    state.packages_cleared.insert(producer.clone());
    for name in Subresource::ALL {
        state.subresources.remove((producer.clone(), name));
    }
    state.latest.iter_mut().filter(|(key, _)| key.0 == *producer).for_each(|(_, latest)| *latest = None);
}

fn package_opened(state: &mut State, fact: Fact<'_>, opened: &PackageOpened) {
    let (file_count, size_bytes) = opened
        .previous_id
        .as_ref()
        .and_then(|previous| state.packages.get(previous))
        .map_or((0, 0), |previous| (previous.file_count, previous.size_bytes));
    state.producers.change(&opened.producer, |row| row.package_count += 1);
    state.latest.insert((opened.producer.clone(), opened.package.clone()), Some(opened.package_id.clone()));
    state.packages.put(
        opened.package_id.clone(),
        Package {
            id: opened.package_id.clone(),
            producer: opened.producer.clone(),
            name: opened.package.clone(),
            revision: opened.revision,
            opened_at: fact.occurred_at,
            opened_sequence: fact.sequence,
            changed_at: fact.occurred_at,
            last_sequence: fact.sequence,
            file_count,
            size_bytes,
            seal: None,
            keeping: Keeping::default(),
            released_sequence: None,
        },
    );
}

fn package_finalized(state: &mut State, fact: Fact<'_>, finalized: &PackageFinalized) {
    let (id, finalized_at, manifest_digest, manifest_size_bytes) = match finalized {
        PackageFinalized::Inline(manifest) => (
            PackageId::trusted(&manifest.package.id),
            Timestamp(manifest.package.finalized_at),
            ContentAddress::of(fact.payload),
            u64::try_from(fact.payload.len()).unwrap_or(u64::MAX),
        ),
        PackageFinalized::Stored(stored) => {
            locate(state, fact, &stored.written);
            let manifest = Referred {
                content_address: stored.manifest_address,
                sha256: stored.sha256,
                size_bytes: stored.manifest_size,
                recipe: Some(&stored.chunks),
            };
            collect::refer(state, fact, &manifest);
            (stored.package_id.clone(), stored.finalized_at, stored.manifest_address, stored.manifest_size)
        }
    };
    if let Some(producer) = fact.event.producer() {
        state.producers.change(&producer, |row| row.finalized_count += 1);
    }
    state.packages.change(&id, |row| {
        row.seal = Some(Seal { finalized_at, sequence: fact.sequence, manifest_digest, manifest_size_bytes });
    });
}

/// Records where chunks lie. The first location of a chunk stays: another copy is an orphan for the sweep.
fn locate(state: &mut State, fact: Fact<'_>, written: &[LocatedChunk]) {
    for located in written {
        if state.chunks.get(&located.chunk.address).is_none() {
            state.chunks.put(
                located.chunk.address,
                ChunkPlace {
                    chunk: located.chunk,
                    location: located.location.clone(),
                    sequence: fact.sequence,
                    condemned: None,
                    damaged_sequence: None,
                },
            );
        }
    }
}

/// Counts a package and its producer up or down by one version's size.
struct Count {
    added: Option<u64>,
    removed: Option<u64>,
}

impl Count {
    fn files(&self, count: u64) -> u64 {
        (count + u64::from(self.added.is_some())).saturating_sub(u64::from(self.removed.is_some()))
    }

    fn bytes(&self, bytes: u64) -> u64 {
        bytes.saturating_add(self.added.unwrap_or(0)).saturating_sub(self.removed.unwrap_or(0))
    }
}

fn recount(state: &mut State, fact: Fact<'_>, producer: &ProducerName, package: &PackageId, count: &Count) {
    state.producers.change(producer, |row| {
        row.file_count = count.files(row.file_count);
        row.size_bytes = count.bytes(row.size_bytes);
    });
    state.packages.change(package, |row| {
        row.file_count = count.files(row.file_count);
        row.size_bytes = count.bytes(row.size_bytes);
        row.changed_at = fact.occurred_at;
        row.last_sequence = fact.sequence;
    });
}

/// Ends the version that has the name, if one has, and says how large it was.
fn end_version(state: &mut State, fact: Fact<'_>, name: &FileName) -> Option<u64> {
    let former = state.names.get(name)?.sequence;
    state.files.change(&former, |row| row.ended_sequence = Some(fact.sequence));
    state.files.get(&former).map(|file| file.size_bytes)
}

fn give_name(state: &mut State, file: File) {
    let key = (file.name.producer.clone(), file.package.clone());
    if let Some(members) = state.members.get_mut(&key) {
        members.insert(file.name.key.clone(), file.sequence);
    }
    state.names.put(
        file.name.clone(),
        NameRow { name: file.name.clone(), package: file.package.clone(), sequence: file.sequence },
    );
    state.files.put(file.sequence, file);
}

fn file_ingested(state: &mut State, fact: Fact<'_>, ingested: &FileIngested) {
    let name = ingested.name();
    version::keep_former(state, &name);
    let versioned = version::versioned(state, &ingested.producer);
    let removed = end_version(state, fact, &name);
    let count = Count { added: Some(ingested.size_bytes), removed };
    recount(state, fact, &ingested.producer, &ingested.package_id, &count);
    locate(state, fact, &ingested.written);
    let content = Referred {
        content_address: ingested.content_address,
        sha256: ingested.sha256,
        size_bytes: ingested.size_bytes,
        recipe: ingested.chunks.as_ref(),
    };
    collect::refer(state, fact, &content);
    if let Some(upload) = &ingested.upload {
        upload_closed(state, &ingested.producer, upload);
        state.uploads.change(upload, |row| row.state = UploadState::Completed(fact.sequence));
    }
    give_name(
        state,
        File {
            sequence: fact.sequence,
            name,
            package_id: ingested.package_id.clone(),
            package: ingested.package.clone(),
            relative_path: ingested.relative_path.clone(),
            size_bytes: ingested.size_bytes,
            content_address: ingested.content_address,
            sha256: ingested.sha256,
            etag: ingested.etag.clone(),
            attributes: ingested.attributes.clone(),
            ingested_at: fact.occurred_at,
            client: ingested.client.clone(),
            ended_sequence: None,
            versioned,
            deleted_sequence: None,
            keeping: ingested.retention.kept(fact.sequence, fact.actor, fact.occurred_at),
            released_sequence: None,
        },
    );
}

fn file_described(state: &mut State, fact: Fact<'_>, described: &FileDescribed) {
    let name = FileName { producer: described.producer.clone(), key: described.key.clone() };
    let Some(former) = state.file_current(&name).cloned() else { return };
    version::keep_former(state, &name);
    let versioned = version::versioned(state, &described.producer);
    let removed = end_version(state, fact, &name);
    let count = Count { added: removed, removed };
    recount(state, fact, &described.producer, &described.package_id, &count);
    state.refer(former.content_address, 1);
    give_name(
        state,
        File {
            sequence: fact.sequence,
            package_id: described.package_id.clone(),
            attributes: described.attributes.clone(),
            ingested_at: fact.occurred_at,
            ended_sequence: None,
            released_sequence: None,
            versioned,
            keeping: retention::of_described(fact, described, &former, versioned),
            ..former
        },
    );
}

fn file_removed(state: &mut State, fact: Fact<'_>, removed: &FileRemoved) {
    let name = FileName { producer: removed.producer.clone(), key: removed.key.clone() };
    let count = Count { added: None, removed: end_version(state, fact, &name) };
    recount(state, fact, &removed.producer, &removed.package_id, &count);
    if let Some(members) = state.members.get_mut(&(removed.producer.clone(), removed.package.clone())) {
        members.remove(&removed.key);
    }
    state.names.remove(name);
}

fn upload_created(state: &mut State, fact: Fact<'_>, created: &UploadCreated) {
    state.producers.change(&created.producer, |row| row.upload_count += 1);
    state.uploads.put(
        created.upload.clone(),
        Upload {
            id: created.upload.clone(),
            name: FileName { producer: created.producer.clone(), key: created.key.clone() },
            attributes: created.attributes.clone(),
            created_at: fact.occurred_at,
            sequence: fact.sequence,
            state: UploadState::Open,
            parts_sequence: fact.sequence,
        },
    );
}

fn part_ingested(state: &mut State, fact: Fact<'_>, ingested: &PartIngested) {
    locate(state, fact, &ingested.written);
    collect::part_uses(state, ingested);
    state.uploads.change(&ingested.upload, |row| row.parts_sequence = fact.sequence);
    state.parts.put(
        (ingested.upload.clone(), ingested.number),
        Part {
            upload: ingested.upload.clone(),
            number: ingested.number,
            size_bytes: ingested.size_bytes,
            md5: ingested.md5,
            checksum: ingested.checksum.clone(),
            recipe: ingested.chunks.clone(),
            ingested_at: fact.occurred_at,
            sequence: fact.sequence,
        },
    );
}

/// An upload takes no more parts, and those it had are done with.
fn upload_closed(state: &mut State, producer: &ProducerName, upload: &UploadId) {
    state.producers.change(producer, |row| row.upload_count = row.upload_count.saturating_sub(1));
    state.parts.forget(|(of, _)| of == upload);
    state.part_chunks.forget(|row| row.upload == *upload);
    state.parts_cleared.insert(upload.clone());
}
