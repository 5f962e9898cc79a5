//! A catalog in memory, for tests of the data plane: what was committed is what [`MemoryCatalog::commit`] was given.
//!
//! Invariant: it names nothing that was not committed.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::dataplane::spi::{Catalog, IngestResult, LocatedBlob, Whereabouts};
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::Result;
use crate::recipe::{LocatedChunk, Location, Recipe};

/// Committed blobs and locations.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    committed: Mutex<Committed>,
}

#[derive(Debug, Default)]
struct Committed {
    blobs: HashMap<ContentAddress, Recipe>,
    locations: HashMap<ContentAddress, Location>,
    swept: HashSet<ObjectKey>,
    damaged: HashMap<ContentAddress, u64>,
}

impl MemoryCatalog {
    /// A catalog that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the outcome of an ingest known.
    pub fn commit(&self, result: &IngestResult) {
        let mut committed = self.committed();
        for LocatedChunk { chunk, location } in &result.written {
            committed.locations.insert(chunk.address, location.clone());
            committed.damaged.remove(&chunk.address);
        }
        committed.blobs.insert(result.content_address, result.recipe.clone());
    }

    /// Makes it known that a chunk lies here, whether it does or not.
    pub fn locate(&self, chunk: ContentAddress, location: Location) {
        self.committed().locations.insert(chunk, location);
    }

    /// Makes it known that this object was swept, with all that lay in it.
    pub fn sweep(&self, object: ObjectKey) {
        let mut committed = self.committed();
        committed.locations.retain(|_, location| location.object != object);
        committed.swept.insert(object);
    }

    /// Makes it known that a chunk is damaged where it lies, since the event of this number.
    pub fn damage(&self, chunk: ContentAddress, since: u64) {
        self.committed().damaged.insert(chunk, since);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.committed() = Committed::default();
    }

    fn committed(&self) -> MutexGuard<'_, Committed> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn blob_locate(&self, content_address: &ContentAddress) -> Result<Option<LocatedBlob>> {
        let committed = self.committed();
        let Some(recipe) = committed.blobs.get(content_address) else { return Ok(None) };
        let chunks = recipe.chunks.iter().filter_map(|chunk| {
            let location = committed.locations.get(&chunk.address)?.clone();
            Some(LocatedChunk { chunk: *chunk, location })
        });
        Ok(Some(LocatedBlob { size_bytes: recipe.size_bytes(), chunks: chunks.collect() }))
    }

    async fn chunks_locate(&self, chunks: &[ContentAddress]) -> Result<Vec<Whereabouts>> {
        let committed = self.committed();
        let whereabouts = |chunk: &ContentAddress| match committed.locations.get(chunk) {
            Some(location) => match committed.damaged.get(chunk) {
                Some(since) => Whereabouts::Damaged(location.clone(), *since),
                None => Whereabouts::At(location.clone()),
            },
            None if committed.swept.contains(&ObjectKey(chunk.0)) => Whereabouts::Swept,
            None => Whereabouts::Nowhere,
        };
        Ok(chunks.iter().map(whereabouts).collect())
    }

    async fn sweeps(&self, _: bool) -> Result<u64> {
        Ok(self.committed().swept.len() as u64)
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>> {
        let committed = self.committed();
        let known = |key: &ObjectKey| committed.locations.values().any(|location| location.object == *key);
        Ok(objects.iter().map(known).collect())
    }
}
