//! What the data plane may ask of a store: where bytes lie, with the moves since then followed.
//!
//! Invariant: what is remembered of the moves is never older than [`FRESH`]. Until whoever moves a store has waited that
//! long, a process may still write to, and read from, where the bytes were.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends as backends;
use artifactstore_backends::dataplane::spi::{Catalog, LocatedBlob, Whereabouts};
use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::{LocatedChunk, Location};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Store;
use crate::model::row::{ChunkPlace, Sequence};
use crate::model::storage::Storage;

/// How long the moves are remembered. They are asked for by whoever needs them next, and by nobody in between.
pub const FRESH: Duration = Duration::from_secs(1);

/// When the storage was last looked up, and what it was.
type Remembered = Option<(Instant, Arc<Storage>, Sequence)>;

/// What the data plane may ask of a store.
#[derive(Debug, Clone)]
pub struct StoreCatalog {
    store: Arc<dyn Store>,
    remembered: Arc<Mutex<Remembered>>,
}

impl StoreCatalog {
    /// A catalog over this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, remembered: Arc::default() }
    }

    async fn storage(&self) -> backends::Result<Arc<Storage>> {
        Ok(self.remembered().await?.0)
    }

    /// The storage, and the last event that began a sweep.
    async fn remembered(&self) -> backends::Result<(Arc<Storage>, Sequence)> {
        let mut remembered = self.remembered.lock().await;
        // Taken before the question: an answer is as old as its question.
        let asked = Instant::now();
        if let Some((since, storage, sweep)) = &*remembered
            && asked.duration_since(*since) < FRESH
        {
            return Ok((Arc::clone(storage), *sweep));
        }
        let storage = Arc::new(Storage::new(self.store.moves().await.map_err(unasked)?));
        let sweep = self.store.sweeping().sweeps_last().await.map_err(unasked)?;
        *remembered = Some((asked, Arc::clone(&storage), sweep));
        Ok((storage, sweep))
    }
}

fn unasked(error: crate::Error) -> backends::Error {
    backends::Error::Catalog(Box::new(error))
}

/// Where a chunk lies today.
fn today(storage: &Storage, place: ChunkPlace) -> Location {
    let ChunkPlace { location, sequence, .. } = place;
    let backend = storage.serves(&location.backend, sequence).to_owned();
    Location { backend, ..location }
}

#[async_trait]
impl Catalog for StoreCatalog {
    async fn blob_locate(&self, content_address: &ContentAddress) -> backends::Result<Option<LocatedBlob>> {
        let found = self.store.blob_located(content_address).await.map_err(unasked)?;
        let Some((blob, places)) = found else { return Ok(None) };
        let storage = self.storage().await?;
        let chunks = blob
            .recipe
            .chunks
            .iter()
            .zip(places)
            .map(|(chunk, place)| {
                // A recorded blob leans on located chunks; one without is damage, not absence of the blob.
                let place = place.ok_or(backends::Error::BlobMissing(chunk.address))?;
                Ok(LocatedChunk { chunk: *chunk, location: today(&storage, place) })
            })
            .collect::<backends::Result<_>>()?;
        Ok(Some(LocatedBlob { size_bytes: blob.size_bytes, chunks }))
    }

    async fn chunks_locate(&self, chunks: &[ContentAddress]) -> backends::Result<Vec<Whereabouts>> {
        let places = self.store.sweeping().whereabouts(chunks).await.map_err(unasked)?;
        let storage = self.storage().await?;
        let whereabouts = |(place, swept): (Option<ChunkPlace>, bool)| match place {
            Some(place) => match place.damaged_sequence {
                None => Whereabouts::At(today(&storage, place)),
                Some(since) => Whereabouts::Damaged(today(&storage, place), since),
            },
            None if swept => Whereabouts::Swept,
            None => Whereabouts::Nowhere,
        };
        Ok(places.into_iter().map(whereabouts).collect())
    }

    async fn sweeps(&self, as_of_now: bool) -> backends::Result<u64> {
        if as_of_now {
            return self.store.sweeping().sweeps_last().await.map_err(unasked);
        }
        Ok(self.remembered().await?.1)
    }

    async fn backend_to_write(&self) -> backends::Result<Option<String>> {
        Ok(self.storage().await?.written_to().map(str::to_owned))
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> backends::Result<Vec<bool>> {
        self.store.objects_known(objects).await.map_err(unasked)
    }
}
