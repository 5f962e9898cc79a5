//! What facts about references, and about what is kept no longer, do to the views.
//!
//! Invariant: a blob's `reference_count` is how many versions that were not released, and stored manifests, refer to it.
//! Invariant: a blob's row, while it is there, has the rows of all its chunks beside it.

use artifactstore_backends::digest::{ContentAddress, Sha256Digest};
use artifactstore_backends::recipe::Recipe;

use super::Fact;
use crate::model::event::{
    BlobCondemned, ChunkCondemned, ObjectOrphaned, PartIngested, SweepBegun, SweepEnded, VersionReleased,
};
use crate::model::row::{Blob, Condemned};
use crate::model::state::State;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

/// Content that an event refers to.
pub(super) struct Referred<'a> {
    pub(super) content_address: ContentAddress,
    pub(super) sha256: Sha256Digest,
    pub(super) size_bytes: u64,
    /// Its chunks, when the event is the first to name it.
    pub(super) recipe: Option<&'a Recipe>,
}

/// Refers to a blob, which is recorded if it is not there. What was condemned and is wanted again lives on.
pub(super) fn refer(state: &mut State, fact: Fact<'_>, to: &Referred<'_>) {
    let address = to.content_address;
    let recorded = !state.blobs.is_loaded(&address) || state.blobs.get(&address).is_some();
    match to.recipe {
        Some(recipe) if !recorded => {
            revive(state, recipe);
            if recipe.chunks.len() > 1 {
                for row in users(address, recipe) {
                    state.blob_chunks.put(row, row);
                }
            }
            state.blobs.put(
                address,
                Blob {
                    content_address: address,
                    sha256: to.sha256,
                    size_bytes: to.size_bytes,
                    recipe: recipe.clone(),
                    sequence: fact.sequence,
                    reference_count: 1,
                    released_sequence: None,
                    condemned: None,
                },
            );
        }
        _ => {
            state.refer(address, 1);
            if state.blobs.is_loaded(&address) {
                state.blobs.change(&address, |row| (row.released_sequence, row.condemned) = (None, None));
            }
        }
    }
}

fn users(blob: ContentAddress, recipe: &Recipe) -> impl Iterator<Item = BlobChunk> {
    recipe.chunks.iter().map(move |chunk| BlobChunk { chunk: chunk.address, blob })
}

/// Chunks that were condemned and are used again live on.
fn revive(state: &mut State, recipe: &Recipe) {
    for chunk in &recipe.chunks {
        let loaded = state.chunks.is_loaded(&chunk.address);
        if loaded && state.chunks.get(&chunk.address).is_some_and(|place| place.condemned.is_some()) {
            state.chunks.change(&chunk.address, |place| place.condemned = None);
        }
    }
}

/// A part uses its chunks, and no longer those of a part whose place it takes.
pub(super) fn part_uses(state: &mut State, ingested: &PartIngested) {
    revive(state, &ingested.chunks);
    let key = (ingested.upload.clone(), ingested.number);
    let former = state.parts.get(&key).map(|part| part.recipe.clone()).unwrap_or_default();
    let row = |chunk: ContentAddress| PartChunk { upload: key.0.clone(), number: key.1, chunk };
    for chunk in former.chunks {
        state.part_chunks.remove(row(chunk.address));
    }
    for chunk in &ingested.chunks.chunks {
        state.part_chunks.put(row(chunk.address), row(chunk.address));
    }
}

pub(super) fn version_released(state: &mut State, fact: Fact<'_>, released: &VersionReleased) {
    state.files.change(&released.version, |row| row.released_sequence = Some(fact.sequence));
    state.refer(released.content_address, -1);
    state.blobs.change(&released.content_address, |row| {
        if row.reference_count == 0 {
            row.released_sequence = Some(fact.sequence);
        }
    });
}

pub(super) fn blob_condemned(state: &mut State, fact: Fact<'_>, condemned: &BlobCondemned) {
    let since = Condemned { sequence: fact.sequence, at: fact.occurred_at };
    state.blobs.change(&condemned.content_address, |row| row.condemned = Some(since));
}

pub(super) fn chunk_condemned(state: &mut State, fact: Fact<'_>, condemned: &ChunkCondemned) {
    let since = Condemned { sequence: fact.sequence, at: fact.occurred_at };
    for chunk in &condemned.chunks {
        state.chunks.change(chunk, |row| row.condemned = Some(since));
    }
}

/// From here on nothing can lean on what is swept: its rows are gone, and its objects' names are taken.
pub(super) fn sweep_begun(state: &mut State, fact: Fact<'_>, begun: &SweepBegun) {
    for swept in &begun.blobs {
        let address = swept.content_address;
        let recipe = state.blobs.get(&address).map(|blob| blob.recipe.clone()).unwrap_or_default();
        if recipe.chunks.len() > 1 {
            users(address, &recipe).for_each(|row| state.blob_chunks.remove(row));
        }
        state.blobs.remove(address);
    }
    begun.chunks.iter().for_each(|chunk| state.chunks.remove(*chunk));
    begun.spared.iter().for_each(|object| state.orphans.remove(*object));
    for at in &begun.objects {
        state.orphans.remove(at.object);
        // What is gone on purpose is no damage.
        state.damaged.remove(at.object);
        let row = SweptObject {
            object: at.object,
            backend: at.backend.clone(),
            begun_sequence: fact.sequence,
            ended_sequence: None,
        };
        state.swept.put(at.object, row);
    }
}

pub(super) fn sweep_ended(state: &mut State, fact: Fact<'_>, ended: &SweepEnded) {
    for object in &ended.objects {
        state.swept.change(object, |row| row.ended_sequence = Some(fact.sequence));
    }
}

pub(super) fn object_orphaned(state: &mut State, fact: Fact<'_>, orphaned: &ObjectOrphaned) {
    for at in &orphaned.objects {
        let row = OrphanObject {
            object: at.object,
            backend: at.backend.clone(),
            size_bytes: at.size_bytes,
            sequence: fact.sequence,
            seen_at: fact.occurred_at,
        };
        state.orphans.put(at.object, row);
    }
}
