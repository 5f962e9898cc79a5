//! What is asked of a store by whoever reads everything again, and by whoever wants to know what was found. All of it is
//! read without a lock: whatever follows from it is decided again by the batch that records it.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;

use crate::error::Result;
use crate::model::row::{ChunkPlace, File, Package, Sequence};
use crate::model::scrub::{DamagedObject, ScrubPass};

/// The newest pass, and the newest that ended.
pub type Passes = (Option<ScrubPass>, Option<ScrubPass>);

/// A place in the files of several blobs: they come by blob, and of one blob by number.
pub type FileCursor = (ContentAddress, Sequence);

/// What is asked of a store by whoever reads everything again. Lists are in order of their keys, and go on behind `after`.
#[async_trait]
pub trait Scrubbing: Send + Sync {
    /// The objects in which a chunk was recorded to lie.
    async fn objects(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectKey>>;
    /// The chunks that lie in these objects, in no order.
    async fn residents(&self, objects: &[ObjectKey]) -> Result<Vec<ChunkPlace>>;
    /// The passes that count.
    async fn passes(&self) -> Result<Passes>;
    /// Objects that were found damaged.
    async fn damaged(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<DamagedObject>>;
    /// One of them.
    async fn damaged_object(&self, object: &ObjectKey) -> Result<Option<DamagedObject>>;
    /// How many they are.
    async fn damaged_count(&self) -> Result<u64>;
    /// Those of them in which no chunk lies any more that is known to be damaged.
    async fn damaged_left(&self, limit: usize) -> Result<Vec<DamagedObject>>;
    /// The chunks of an object that are known to be damaged.
    async fn damaged_chunks(&self, object: &ObjectKey) -> Result<Vec<ContentAddress>>;
    /// The versions whose bytes use these chunks and were not let go of.
    async fn files_of_chunks(
        &self,
        chunks: &[ContentAddress],
        after: Option<&FileCursor>,
        limit: usize,
    ) -> Result<Vec<File>>;
    /// The revisions whose manifests have the digest of a blob that uses these chunks.
    async fn manifests_of_chunks(&self, chunks: &[ContentAddress], limit: usize) -> Result<Vec<Package>>;
}
