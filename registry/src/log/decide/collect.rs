//! Deciding what is kept no longer: which versions let go of their bytes, what is condemned for it, and what is swept.
//!
//! Whoever asks has looked for candidates without a lock, perhaps long ago. Here each is looked at again, in the
//! transaction that records what becomes of it; what does not fit any more is left out, and asking again does nothing.
//!
//! Invariant: whatever keeps a version says so in [`kept_by`], the one place that is asked.
//! Invariant: what is swept is referred to by nothing in the state, and no object goes that holds another located chunk.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::LocatedChunk;

use super::{Decision, retention};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::log::storage::check_places;
use crate::model::command::CollectStep;
use crate::model::event::{
    BlobCondemned, ChunkCondemned, ChunkRelocated, Event, ObjectAt, ObjectOrphaned, RelocationReason, SweepBegun,
    SweepEnded, SweptBlob, VersionReleased,
};
use crate::model::row::{Blob, Condemned, File, Sequence};
use crate::model::state::State;

/// What keeps a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Its key stands for it.
    Named,
    /// S3 shows it among the versions of its key.
    Shown,
    /// The revision of its package that was sealed by this event has it.
    Sealed(Sequence),
    /// A class, a lock or a hold, which this event gave.
    Retained(Sequence),
}

/// What keeps a version, if anything does. The revisions of its package that keep something and its place in the history are
/// to be loaded.
#[must_use]
pub fn kept_by(state: &State, file: &File) -> Option<Kept> {
    let Some(ended) = file.ended_sequence else { return Some(Kept::Named) };
    if state.history.get(&(file.name.clone(), file.sequence)).is_some() {
        return Some(Kept::Shown);
    }
    // Versions from before the producer was created are those of a deleted one of its name.
    let owner = state.producers.get(&file.name.producer).filter(|owner| owner.created_sequence < file.sequence);
    let package = state.packages.get(&file.package_id);
    // A revision is released with those before it, and stays so whatever later ones are; those have what had not ended when
    // they were sealed.
    if let Some(seal) = package.and_then(|package| state.seal_kept(package)).filter(|seal| seal.sequence < ended) {
        return Some(Kept::Sealed(seal.sequence));
    }
    // What lets nothing go by itself lets go of what somebody removed by its very number.
    let removed = file.deleted_sequence.is_some();
    let mut reasons = retention::kept(state, owner, file);
    reasons.extend(retention::kept_between(state, owner, file));
    let reason = reasons.iter().find(|reason| !(removed && reason.is_over()));
    reason.map(|reason| Kept::Retained(reason.event()))
}

pub(super) fn collect(state: &State, step: &CollectStep) -> Result<Decision, Refusal> {
    let events = match step {
        CollectStep::Release { versions } => versions.iter().filter_map(|version| release(state, *version)).collect(),
        CollectStep::Condemn { blobs, chunks } => condemn(state, blobs, chunks),
        CollectStep::Sweep { blobs, chunks, orphans, grace_micros } => {
            check_still(state)?;
            Sweep { state, grace_micros: *grace_micros }.begin(blobs, chunks, orphans).into_iter().collect()
        }
        CollectStep::Expunge { blob } => expunge(state, *blob)?.into_iter().collect(),
        CollectStep::Relocate { from, chunks } => relocate(state, from, chunks)?.into_iter().collect(),
        CollectStep::End { objects } => end(state, objects).into_iter().collect(),
        CollectStep::Note { objects } => note(state, objects).into_iter().collect(),
    };
    Ok(Decision { events, ..Decision::default() })
}

/// Refuses while the bytes move.
fn check_still(state: &State) -> Result<(), Refusal> {
    let moving = state.storage().last().is_some_and(|row| row.ended_sequence.is_none());
    if moving { Err(Refusal::StorageMoving) } else { Ok(()) }
}

/// All of it or nothing: what would be left in an object that something else lies in would be forgotten, and stay.
fn expunge(state: &State, blob: ContentAddress) -> Result<Option<Event>, Refusal> {
    check_still(state)?;
    let Some(event) = (Sweep { state, grace_micros: 0 }).begin(&[blob], &[], &[]) else { return Ok(None) };
    let Event::SweepBegun(begun) = &event else { return Ok(None) };
    let goes = |chunk: &ContentAddress| {
        let object = state.chunks.get(chunk).map(|place| place.location.object);
        begun.objects.iter().any(|at| Some(at.object) == object)
    };
    let whole = !begun.blobs.is_empty() && begun.chunks.iter().all(goes);
    Ok(whole.then_some(event))
}

fn relocate(state: &State, from: &ObjectKey, chunks: &[LocatedChunk]) -> Result<Option<Event>, Refusal> {
    check_still(state)?;
    let there =
        |one: &&LocatedChunk| state.chunks.get(&one.chunk.address).is_some_and(|place| place.location.object == *from);
    let chunks: Vec<LocatedChunk> = chunks.iter().filter(there).cloned().collect();
    if chunks.iter().any(|located| state.swept.get(&located.location.object).is_some()) {
        return Err(Refusal::ContentMissing);
    }
    check_places(state, &chunks)?;
    let relocated = ChunkRelocated { chunks, reason: RelocationReason::Erasure };
    Ok((!relocated.chunks.is_empty()).then(|| Event::ChunkRelocated(Box::new(relocated))))
}

fn release(state: &State, version: Sequence) -> Option<Event> {
    let file = state.files.get(&version).filter(|file| file.released_sequence.is_none())?;
    if kept_by(state, file).is_some() {
        return None;
    }
    Some(Event::VersionReleased(Box::new(VersionReleased {
        key: file.name.key.clone(),
        ended: file.ended_sequence?,
        package: file.package.clone(),
        version,
        producer: file.name.producer.clone(),
        content_address: file.content_address,
    })))
}

fn condemn(state: &State, blobs: &[ContentAddress], chunks: &[ContentAddress]) -> Vec<Event> {
    let unreferenced = |blob: &&Blob| blob.reference_count == 0 && blob.condemned.is_none();
    let blobs = blobs.iter().filter_map(|address| state.blobs.get(address)).filter(unreferenced);
    let mut events: Vec<Event> = blobs
        .map(|blob| {
            Event::BlobCondemned(Box::new(BlobCondemned {
                size_bytes: blob.size_bytes,
                sha256: blob.sha256,
                released: blob.released_sequence,
                content_address: blob.content_address,
            }))
        })
        .collect();
    let unused = |address: &&ContentAddress| {
        let place = state.chunks.get(address);
        place.is_some_and(|place| place.condemned.is_none()) && !state.uses.used.contains(address)
    };
    let chunks: Vec<ContentAddress> = chunks.iter().filter(unused).copied().collect();
    if !chunks.is_empty() {
        events.push(Event::ChunkCondemned(Box::new(ChunkCondemned { chunks })));
    }
    events
}

/// The blobs among these that may be swept: condemned, and referred to by nothing. Of several that have several chunks
/// only the first, because the others' uses of its chunks are not told apart from those of blobs that stay.
#[must_use]
pub fn sweepable<'a>(state: &'a State, blobs: &[ContentAddress], grace_micros: i64) -> Vec<&'a Blob> {
    let mut several = false;
    let blobs = blobs.iter().filter_map(|address| state.blobs.get(address));
    let over = |blob: &&Blob| blob.reference_count == 0 && is_condemned(state, blob.condemned, grace_micros);
    let chosen = blobs.filter(over).filter(|blob| {
        let first = !several || blob.recipe.chunks.len() <= 1;
        several |= blob.recipe.chunks.len() > 1;
        first
    });
    chosen.collect()
}

/// Whether a grace is over that began with an event. What the clock jumped since counts for no time, as with every other
/// period: an event may be a minute old though the clock shows the day after.
fn is_over(state: &State, (begun, at): (Sequence, Timestamp), grace_micros: i64) -> bool {
    grace_micros <= 0 || at.0.saturating_add(grace_micros) <= state.expiry_since(begun).0
}

fn is_condemned(state: &State, condemned: Option<Condemned>, grace_micros: i64) -> bool {
    condemned.is_some_and(|condemned| is_over(state, (condemned.sequence, condemned.at), grace_micros))
}

struct Sweep<'a> {
    state: &'a State,
    grace_micros: i64,
}

impl Sweep<'_> {
    fn begin(&self, blobs: &[ContentAddress], chunks: &[ContentAddress], orphans: &[ObjectKey]) -> Option<Event> {
        let swept = sweepable(self.state, blobs, self.grace_micros);
        let dead = self.dead(&swept, chunks);
        let mut objects = self.objects(&dead);
        let (found, spared) = self.orphans(orphans);
        objects.extend(found);
        let describe = |blob: &&Blob| {
            Some(SweptBlob {
                size_bytes: blob.size_bytes,
                sha256: blob.sha256,
                released: blob.released_sequence,
                condemned: blob.condemned?.sequence,
                content_address: blob.content_address,
            })
        };
        let blobs = swept.iter().filter_map(describe).collect();
        let begun = SweepBegun { blobs, chunks: dead.into_iter().collect(), spared, objects };
        (begun != SweepBegun::default()).then(|| Event::SweepBegun(Box::new(begun)))
    }

    /// The chunks that go: those of the blobs, and those that were condemned themselves, that nothing else uses.
    fn dead(&self, blobs: &[&Blob], chunks: &[ContentAddress]) -> BTreeSet<ContentAddress> {
        let of_blobs = blobs.iter().flat_map(|blob| &blob.recipe.chunks).map(|chunk| chunk.address);
        let over = |address: &&ContentAddress| {
            let place = self.state.chunks.get(address);
            place.is_some_and(|place| is_condemned(self.state, place.condemned, self.grace_micros))
        };
        let goes = |address: &ContentAddress| {
            self.state.chunks.get(address).is_some() && !self.state.uses.used.contains(address)
        };
        of_blobs.chain(chunks.iter().filter(over).copied()).filter(goes).collect()
    }

    /// The objects that hold nothing besides these chunks, where they lie today.
    fn objects(&self, dead: &BTreeSet<ContentAddress>) -> Vec<ObjectAt> {
        let storage = self.state.storage();
        let mut objects: BTreeMap<ObjectKey, ObjectAt> = BTreeMap::new();
        for place in dead.iter().filter_map(|address| self.state.chunks.get(address)) {
            let location = &place.location;
            let entry = objects.entry(location.object).or_insert_with(|| ObjectAt {
                size_bytes: 0,
                object: location.object,
                backend: storage.serves(&location.backend, place.sequence).to_owned(),
            });
            entry.size_bytes += location.stored_length_bytes;
        }
        // An object that nobody asked about is kept.
        let empty = |object: &ObjectKey| {
            self.state.uses.residents.get(object).is_some_and(|residents| residents.is_subset(dead))
        };
        objects.retain(|object, _| empty(object));
        objects.into_values().collect()
    }

    /// Orphans that go, and those that are forgotten: an event names them by now, or their storage was left.
    fn orphans(&self, orphans: &[ObjectKey]) -> (Vec<ObjectAt>, Vec<ObjectKey>) {
        let rows = orphans.iter().filter_map(|object| self.state.orphans.get(object));
        let (mut found, mut spared) = (Vec::new(), Vec::new());
        // What lies in a storage that was left since is for whoever removes that.
        let storage = self.state.storage();
        let is_left = |backend: &str| storage.written_to().is_some_and(|now| now != backend);
        for row in rows.filter(|row| is_over(self.state, (row.sequence, row.seen_at), self.grace_micros)) {
            match self.state.uses.residents.get(&row.object) {
                Some(_) if is_left(&row.backend) => spared.push(row.object),
                Some(residents) if residents.is_empty() => found.push(ObjectAt {
                    size_bytes: row.size_bytes,
                    object: row.object,
                    backend: row.backend.clone(),
                }),
                Some(_) => spared.push(row.object),
                None => {}
            }
        }
        (found, spared)
    }
}

fn end(state: &State, objects: &[ObjectKey]) -> Option<Event> {
    let open = |object: &&ObjectKey| state.swept.get(object).is_some_and(|row| row.ended_sequence.is_none());
    let objects: Vec<ObjectKey> = objects.iter().filter(open).copied().collect();
    (!objects.is_empty()).then(|| Event::SweepEnded(Box::new(SweepEnded { objects })))
}

fn note(state: &State, objects: &[ObjectAt]) -> Option<Event> {
    let unknown = |found: &&ObjectAt| {
        let under_way = state.swept.get(&found.object).is_some_and(|row| row.ended_sequence.is_none());
        let empty = state.uses.residents.get(&found.object).is_some_and(BTreeSet::is_empty);
        empty && !under_way && state.orphans.get(&found.object).is_none()
    };
    let objects: Vec<ObjectAt> = objects.iter().filter(unknown).cloned().collect();
    (!objects.is_empty()).then(|| Event::ObjectOrphaned(Box::new(ObjectOrphaned { objects })))
}

#[cfg(test)]
mod tests;
