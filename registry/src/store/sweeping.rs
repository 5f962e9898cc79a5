//! What is asked of a store by whoever collects what nothing keeps. All of it is read without a lock: whatever follows
//! from it is decided again by the batch that records it.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::log::plan::collect::Asked;
use crate::model::erasure::Erasure;
use crate::model::name::ProducerName;
use crate::model::row::{Blob, ChunkPlace, File, Sequence};
use crate::model::sweep::{SweptObject, Uses};

/// Whether it was an erasure `e` that let the blob `b` go, and not a later deletion of the same content sent again. Such a blob
/// goes only as a whole, with every object in which bytes of it lie: no ordinary sweep forgets it before.
pub(super) const ERASED: &str = "e.content_address = b.content_address AND e.sequence = b.released_sequence";

/// Chunks of a page that nothing uses, and where the next page begins; `None` at the end.
pub type Unused = (Vec<ContentAddress>, Option<ContentAddress>);

/// What is asked of a store by whoever collects. Lists are in order of their keys, and go on behind `after`.
#[async_trait]
pub trait Sweeping: Send + Sync {
    /// Where chunks were recorded to lie, and whether an object of a chunk's own name was swept, in the order asked for.
    async fn whereabouts(&self, chunks: &[ContentAddress]) -> Result<Vec<(Option<ChunkPlace>, bool)>>;
    /// The last event that began a sweep; 0 when there is none.
    async fn sweeps_last(&self) -> Result<Sequence>;
    /// Whether something keeps a producer that has no names: a finalized package that was not released, or whose manifest is
    /// stored and not in the log itself; or what keeps the producer or a package, while a version there is not let go yet.
    async fn still_keeps(&self, producer: &ProducerName) -> Result<bool>;
    /// Versions that S3 shows no more, that no seal has, and that were not released.
    async fn versions_releasable(&self, after: Sequence, limit: usize) -> Result<Vec<Sequence>>;
    /// Blobs that nothing refers to, and that are not condemned.
    async fn blobs_unreferenced(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<ContentAddress>>;
    /// Blobs that are condemned since then or longer.
    async fn blobs_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<Blob>>;
    /// Looks at so many chunks: those that nothing uses and that are not condemned.
    async fn chunks_unused(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Unused>;
    /// Chunks that are condemned since then or longer.
    async fn chunks_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<ContentAddress>>;
    /// Objects of sweeps that are not known to be gone.
    async fn sweeps_open(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<SweptObject>>;
    /// What a step of a collection would be decided by now.
    async fn uses_now(&self, asked: &Asked) -> Result<Uses>;
    /// Those of these versions that were erased.
    async fn erasures(&self, versions: &[Sequence]) -> Result<Vec<Erasure>>;
    /// The versions that have one of these blobs and did not let go of it; by blob, and of one blob by number.
    async fn sharers(&self, blobs: &[ContentAddress], limit: usize) -> Result<Vec<File>>;
    /// Blobs of erased versions that are still there, and that nothing refers to.
    async fn erasures_pending(&self, limit: usize) -> Result<Vec<ContentAddress>>;
    /// Objects that were noted for orphans then or earlier.
    async fn orphans_noted(&self, before: Timestamp, after: Option<&ObjectKey>, limit: usize)
    -> Result<Vec<ObjectKey>>;
}
