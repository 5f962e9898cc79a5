//! What the operations of the data plane share: the backends, the catalog, the bounds, and where long work is done.
//!
//! Invariant: a write of an object and a deletion of the same object never run at once in this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard, oneshot};
use tokio::time::timeout;

use crate::backend::Backend;
use crate::dataplane::backends::Backends;
use crate::dataplane::budget::Budget;
use crate::dataplane::follower::Follower;
use crate::dataplane::inproc::PlaneOptions;
use crate::dataplane::lanes::Md5Lanes;
use crate::dataplane::spi::{Catalog, Whereabouts};
use crate::dataplane::store::Packs;
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::{Error, Result};
use crate::recipe::{Chunk, LocatedChunk};

/// Work on so few bytes is done on the spot: moving it to another thread would cost more.
const INLINE_BYTES: usize = 64 * 1024;
const LOCKS: usize = 256;
/// A write that deletions hold off for longer than this has failed: a backend hangs that is to forget something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes lie, or are to be written, where this process has not been told to look.
#[derive(Debug, thiserror::Error)]
#[error("the log keeps bytes in the storage `{0}`, which the settings of this process do not open")]
struct BackendClosed(String);

/// A write was held off for too long.
#[derive(Debug, thiserror::Error)]
#[error("a deletion of objects beside it did not end within {} s", PATIENCE.as_secs())]
struct HeldOff;

/// What every operation of the in-process plane works with.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) backends: Backends,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) chunk_size_bytes: usize,
    pub(super) follower: Follower,
    pub(super) budget: Budget,
    pub(super) packs: Packs,
    pub(super) md5: Md5Lanes,
    locks: Vec<Arc<RwLock<()>>>,
}

impl Shelf {
    pub(super) fn new(backends: Backends, catalog: Arc<dyn Catalog>, options: &PlaneOptions) -> Self {
        let chunk_size_bytes = options.chunk_size_bytes.max(1);
        Self {
            backends,
            catalog,
            chunk_size_bytes,
            follower: Follower::new(),
            budget: Budget::new(options.buffer_budget_bytes, chunk_size_bytes),
            packs: Packs::default(),
            md5: Md5Lanes::default(),
            locks: std::iter::repeat_with(Arc::default).take(LOCKS).collect(),
        }
    }

    /// Which objects share a lock: in a folder, those that share a folder.
    pub(super) fn lock_of(key: &ObjectKey) -> usize {
        usize::from(key.0[0]) % LOCKS
    }

    /// Holds off deletion while an object is written. Writes do not hold off each other. A deletion that goes on for
    /// too long is [`Error::Unavailable`].
    pub(super) async fn writing(&self, key: &ObjectKey) -> Result<OwnedRwLockReadGuard<()>> {
        let lock = Arc::clone(&self.locks[Self::lock_of(key)]);
        timeout(PATIENCE, lock.read_owned()).await.map_err(|_| Error::Unavailable(HeldOff.into()))
    }

    /// Holds off writes while objects of one lock are deleted.
    pub(super) async fn deleting(&self, lock: usize) -> RwLockWriteGuard<'_, ()> {
        self.locks[lock % LOCKS].write().await
    }

    /// The backend that new objects are written to now.
    pub(super) async fn writer(&self) -> Result<Arc<dyn Backend>> {
        match self.catalog.backend_to_write().await? {
            None => Ok(Arc::clone(self.backends.first())),
            Some(name) => self.reader(&name),
        }
    }

    /// The backend that a location names.
    pub(super) fn reader(&self, name: &str) -> Result<Arc<dyn Backend>> {
        let found = self.backends.named(name);
        found.cloned().ok_or_else(|| Error::Unavailable(BackendClosed(name.to_owned()).into()))
    }

    /// Where a chunk lies in this plane's backends, as far as the catalog knows.
    pub(super) async fn locate(&self, chunks: &[Chunk]) -> Result<Vec<Whereabouts>> {
        let addresses: Vec<ContentAddress> = chunks.iter().map(|chunk| chunk.address).collect();
        let mut located = self.catalog.chunks_locate(&addresses).await?;
        located.resize(chunks.len(), Whereabouts::Nowhere);
        // A location in a backend that is not open cannot be read from here: as good as none.
        let here = |whereabouts| match whereabouts {
            Whereabouts::At(location) | Whereabouts::Damaged(location, _)
                if self.backends.named(&location.backend).is_none() =>
            {
                Whereabouts::Nowhere
            }
            whereabouts => whereabouts,
        };
        Ok(located.into_iter().map(here).collect())
    }

    /// The chunks with their locations, all of which must be known.
    pub(super) async fn locate_all(&self, chunks: &[Chunk]) -> Result<Vec<LocatedChunk>> {
        let located = self.locate(chunks).await?.into_iter().zip(chunks);
        located
            .map(|(location, chunk)| {
                let location = location.location().ok_or(Error::BlobMissing(chunk.address))?;
                Ok(LocatedChunk { chunk: *chunk, location })
            })
            .collect()
    }
}

/// Does work on so many bytes where it holds up nobody: on the spot when they are few, else on one of as many threads
/// as there are cores.
pub(crate) async fn compute<T: Send + 'static>(
    size_bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if size_bytes <= INLINE_BYTES {
        return Ok(work());
    }
    let (answer, answered) = oneshot::channel();
    rayon::spawn(move || {
        // Whoever went away wants no answer.
        let _ = answer.send(work());
    });
    answered.await.map_err(|error| Error::Backend(error.into()))
}
