//! Rows of blobs and chunks that a replay holds back, to write many of them together and in the order of their keys.
//!
//! Their keys are digests: what a batch changes of them lies anywhere in their tables, so that written batch by batch
//! nearly every row is a page of the database that is read, changed and written by itself. All other rows lie where rows
//! of the same batch do, or are few.
//!
//! Invariant: what the store has of a blob or a chunk counts only if nothing of it is held.

use std::collections::HashMap;

use artifactstore_backends::digest::ContentAddress;

use crate::error::Result;
use crate::model::event::Head;
use crate::model::row::{Blob, ChunkPlace};
use crate::model::state::{State, Touched};
use crate::store::Batch;

/// How many of them are written by one call of the store.
const PIECE: usize = 8192;

/// Each key with its row, or with none where that is to be deleted.
#[derive(Debug, Default)]
pub(in crate::log) struct Held {
    blobs: HashMap<ContentAddress, Option<Blob>>,
    chunks: HashMap<ContentAddress, Option<ChunkPlace>>,
    /// How many chunks the blobs have.
    parts: usize,
}

impl Held {
    /// How much is held: rows, and the chunks of blobs.
    pub(super) fn size(&self) -> usize {
        self.blobs.len() + self.chunks.len() + self.parts
    }

    /// Gives the rows that are wanted, changed as they are.
    pub(super) fn give(&mut self, touched: &Touched, state: &mut State) {
        if self.size() == 0 {
            return;
        }
        for key in &touched.blobs {
            if let Some(row) = self.blobs.remove(key) {
                self.parts -= parts(row.as_ref());
                state.blobs.set(*key, row);
            }
        }
        for key in &touched.chunks {
            if let Some(row) = self.chunks.remove(key) {
                state.chunks.set(*key, row);
            }
        }
    }

    /// Takes the rows that were changed, so that they are not written with the others.
    pub(super) fn take(&mut self, state: &mut State) {
        for (key, row) in state.blobs.take_changes() {
            self.parts += parts(row.as_ref());
            if let Some(former) = self.blobs.insert(key, row) {
                self.parts -= parts(former.as_ref());
            }
        }
        self.chunks.extend(state.chunks.take_changes());
        // References that were noted without the blob's row, which is not where the store would look for it.
        state.references.retain(|blob, count| match self.blobs.get_mut(blob) {
            Some(row) => {
                if let Some(row) = row {
                    row.reference_count = row.reference_count.saturating_add_signed(*count);
                }
                false
            }
            None => true,
        });
    }

    /// Writes everything, in the order of the keys.
    pub(super) async fn write(&mut self, batch: &mut dyn Batch, head: Head) -> Result<()> {
        let Self { blobs, chunks, .. } = std::mem::take(self);
        pieces(blobs, batch, head, |state, key, row| state.blobs.set(key, row)).await?;
        pieces(chunks, batch, head, |state, key, row| state.chunks.set(key, row)).await
    }
}

fn parts(row: Option<&Blob>) -> usize {
    row.map_or(0, |blob| blob.recipe.chunks.len())
}

async fn pieces<R: Send>(
    mut held: HashMap<ContentAddress, Option<R>>,
    batch: &mut dyn Batch,
    head: Head,
    set: fn(&mut State, ContentAddress, Option<R>),
) -> Result<()> {
    let mut keys: Vec<ContentAddress> = held.keys().copied().collect();
    keys.sort_unstable();
    for piece in keys.chunks(PIECE) {
        let mut state = State::default();
        for key in piece {
            set(&mut state, *key, held.remove(key).flatten());
        }
        batch.write(&[], head, &state).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use artifactstore_backends::digest::{ContentAddress, ObjectKey, Sha256Digest};
    use artifactstore_backends::recipe::{Chunk, Codec, Location, Recipe, RetrievalTier};

    use super::Held;
    use crate::model::row::{Blob, ChunkPlace};
    use crate::model::state::{State, Touched};

    fn blob(text: &str) -> Blob {
        let content_address = ContentAddress::of(text.as_bytes());
        let chunk = Chunk { size_bytes: 4, address: content_address };
        Blob {
            content_address,
            sha256: Sha256Digest([7; 32]),
            size_bytes: 8,
            recipe: Recipe { chunks: vec![chunk, chunk] },
            sequence: 5,
            reference_count: 1,
            released_sequence: None,
            condemned: None,
        }
    }

    fn place(text: &str) -> ChunkPlace {
        let address = ContentAddress::of(text.as_bytes());
        let location = Location {
            tier: RetrievalTier::Online,
            codec: Codec::None,
            object: ObjectKey(address.0),
            offset_bytes: 0,
            backend: "memory".to_owned(),
            stored_length_bytes: 4,
        };
        let chunk = Chunk { size_bytes: 4, address };
        ChunkPlace { chunk, location, sequence: 5, condemned: None, damaged_sequence: None }
    }

    fn changes(state: &State) -> usize {
        state.blobs.changed().count() + state.chunks.changed().count()
    }

    #[test]
    fn what_is_held_is_given_back_as_it_was() {
        let (mut held, mut state) = (Held::default(), State::default());
        let (kept, gone, place) = (blob("kept"), blob("gone").content_address, place("place"));
        state.blobs.put(kept.content_address, kept.clone());
        state.blobs.remove(gone);
        state.chunks.put(place.chunk.address, place.clone());
        held.take(&mut state);
        assert_eq!((held.size(), changes(&state)), (5, 0), "three rows, and the two chunks of one");

        let unheld = blob("elsewhere").content_address;
        let touched = Touched {
            blobs: [kept.content_address, gone, unheld].into(),
            chunks: [place.chunk.address, unheld].into(),
            ..Touched::default()
        };
        held.give(&touched, &mut state);
        assert_eq!((held.size(), changes(&state)), (0, 3));
        assert_eq!(state.blobs.get(&kept.content_address), Some(&kept));
        assert_eq!(state.blobs.get(&gone), None, "its deletion is still to be written");
        assert_eq!(state.chunks.get(&place.chunk.address), Some(&place));
        assert!(!state.blobs.is_loaded(&unheld) && !state.chunks.is_loaded(&unheld), "the store is asked for these");
    }

    #[test]
    fn a_reference_without_a_row_goes_to_the_row_that_is_held() {
        let (mut held, mut state) = (Held::default(), State::default());
        let (kept, unheld) = (blob("kept"), blob("elsewhere").content_address);
        state.blobs.put(kept.content_address, kept.clone());
        held.take(&mut state);
        state.refer(kept.content_address, 2);
        state.refer(unheld, -1);
        held.take(&mut state);
        assert_eq!(state.references, [(unheld, -1)].into(), "the store has that row");
        held.give(&Touched { blobs: [kept.content_address].into(), ..Touched::default() }, &mut state);
        assert_eq!(state.blobs.get(&kept.content_address).map(|row| row.reference_count), Some(3));
    }
}
