//! The data plane's five operations and their types.
//!
//! This is the seam along which the data plane may become a process of its own: every request and answer here can be
//! serialised as CBOR, and nothing above it touches file bytes in any other way.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress, Md5Digest, ObjectKey, Sha256Digest};
use crate::error::{Error, Result, Source};
use crate::recipe::{Chunk, LocatedChunk, Location, Recipe};

/// One piece of a body on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngestFrame {
    /// Bytes of the body, in order.
    Data(Bytes),
    /// A trailer that came behind the body; its value is compared before anything is kept.
    Trailer(Checksum),
}

/// A body on its way in. An error ends it, and nothing of the body is kept.
pub type IngestStream = BoxStream<'static, std::result::Result<IngestFrame, Source>>;

/// Bytes on their way out, in order. An error ends them early: the reader must not take what came for the whole.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Which bytes of a blob are wanted. Offsets count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByteRange {
    /// All of them.
    Full,
    /// From this offset to the end.
    From(u64),
    /// From the first offset up to, and not including, the second; cut at the end of the blob.
    Span(u64, u64),
    /// The last so many bytes; the whole blob when it has fewer.
    Last(u64),
}

impl ByteRange {
    /// The offsets that are wanted of so many bytes. Only the whole, or the last bytes, of nothing can be empty.
    ///
    /// # Errors
    /// [`Error::RangeNotSatisfiable`] when the range begins past the end, or can hold no byte.
    pub fn resolve(self, size_bytes: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::Full => return Ok(0..size_bytes),
            Self::Last(count) if count > 0 => return Ok(size_bytes.saturating_sub(count)..size_bytes),
            Self::Last(_) => size_bytes..size_bytes,
            Self::From(start) => start..size_bytes,
            Self::Span(start, end) => start..end.min(size_bytes),
        };
        if range.is_empty() { Err(Error::RangeNotSatisfiable { size_bytes }) } else { Ok(range) }
    }
}

/// The part of a multipart upload that a body is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartOf {
    /// The upload; opaque here.
    pub upload: String,
    /// The part's number, from 1.
    pub number: u32,
}

/// The already stored parts that make one blob, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The upload whose running digests may already cover a prefix of the parts.
    pub upload: String,
    /// Part number and recipe, in the order of the bytes.
    pub parts: Vec<(u32, Recipe)>,
}

/// What the giver of a body knows about it beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestHints {
    /// The declared length in bytes; a body of any other length is refused.
    pub size_bytes: Option<u64>,
    /// The declared MD5; a body with another is refused.
    pub md5: Option<Md5Digest>,
    /// The SHA-256, when whoever gives the body verifies it on the way: a body with another ends in an error. It is
    /// then taken as it is.
    pub sha256: Option<Sha256Digest>,
    /// A checksum declared before the body.
    pub checksum: Option<Checksum>,
    /// A checksum declared to come behind the body; a body without it is refused.
    pub trailer: Option<ChecksumAlgorithm>,
    /// Checksums to compute although nobody declared a value.
    pub compute: Vec<ChecksumAlgorithm>,
    /// Set for a part of a multipart upload: the plane may let the digests of the whole follow it, and leaves
    /// [`IngestResult::sha256`] out.
    pub part_of: Option<PartOf>,
    /// Set to make one blob of parts that are stored already; the stream is then empty, no byte is copied, and only
    /// the digests of the whole are made (from the running ones, or by reading back).
    pub join: Option<Join>,
    /// Set to write chunks that are stored already once more, elsewhere; the stream is then empty. They are read where they
    /// lie, compared with their names, and named in [`IngestResult::written`].
    pub rewrite: Option<Vec<LocatedChunk>>,
}

/// A body that is stored and synced, and named by nobody yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestResult {
    /// The BLAKE3 of the whole body; of chunks that are only written elsewhere, that of nothing.
    pub content_address: ContentAddress,
    /// The SHA-256 of the whole body; absent for a part of a multipart upload.
    pub sha256: Option<Sha256Digest>,
    /// The MD5 of the whole body; absent for a join, whose ETag is made of its parts' MD5s.
    pub md5: Option<Md5Digest>,
    /// The length of the body in bytes.
    pub size_bytes: u64,
    /// The declared checksum, and those that the hints asked for.
    pub checksums: Vec<Checksum>,
    /// The chunks of the body, in order.
    pub recipe: Recipe,
    /// The chunks that this ingest wrote, and where; those of the recipe that are not here were located already.
    pub written: Vec<LocatedChunk>,
}

/// What is to be read again and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verification {
    /// A blob that the catalog knows, chunk by chunk and as a whole, with the objects that its chunks begin.
    Blob(ContentAddress),
    /// An object, by the chunks that lie in it: what nothing refers to is not looked at.
    Object {
        /// The name of the backend that holds it.
        backend: String,
        /// The object.
        object: ObjectKey,
        /// The chunks, and where each begins, in bytes.
        chunks: Vec<(Chunk, u64)>,
    },
}

/// What a re-reading found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyResult {
    /// The blob, or the object, that was read.
    pub content_address: ContentAddress,
    /// How many bytes were read.
    pub size_bytes: u64,
    /// The SHA-256 of what was read of a blob, when every byte could be.
    pub sha256: Option<Sha256Digest>,
    /// What is wrong; empty when the blob is whole and every object has the bytes of its name, and when each chunk of the
    /// object has those of its own.
    pub damages: Vec<Damage>,
}

/// One thing that is wrong with bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The object that is damaged or gone, when one can be named.
    pub object: Option<ObjectKey>,
    /// The chunk that it spoils, when one can be named.
    pub chunk: Option<ContentAddress>,
    /// The BLAKE3 of what stands where the chunk should, when all of that could be read.
    pub found: Option<ContentAddress>,
    /// What was found, in one line.
    pub finding: String,
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deletion {
    /// These objects of one backend. Deleting an absent one succeeds; one that cannot be deleted now is left out of the
    /// answer, and keeps no other from going.
    Objects {
        /// The name of the backend.
        backend: String,
        /// The objects.
        objects: Vec<ObjectKey>,
    },
    /// Deletes nothing, and finds what might be: up to `limit` objects behind `after`, in key order, are looked at, and
    /// those are named that the catalog does not know and that were last written at least `older_than_seconds` ago. A
    /// crash between write and commit, or a refused body, left them behind; an upload that still runs may have, too.
    Orphans {
        /// Where the walk goes on.
        after: Option<ObjectKey>,
        /// How many objects to look at, at most.
        limit: u32,
        /// The age from which an unknown object counts as left behind.
        older_than_seconds: u64,
    },
}

/// An object that nothing committed names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionResult {
    /// The objects that are gone for certain.
    pub deleted: Vec<ObjectKey>,
    /// The objects that nothing committed names.
    pub orphans: Vec<Orphan>,
    /// How many objects were looked at.
    pub examined: u64,
    /// Where the next walk goes on; `None` when the end was reached.
    pub next: Option<ObjectKey>,
}

/// How the backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// The backend's name, as locations give it.
    pub backend: String,
    /// Whether objects can be written and read now.
    pub ready: bool,
    /// How long the probe took, in microseconds.
    pub latency_micros: u64,
    /// Bytes still free, where the backend can tell.
    pub free_bytes: Option<u64>,
    /// Why it is not ready, in one line.
    pub problem: Option<String>,
}

/// Whatever handles file bytes.
#[async_trait]
pub trait DataPlane: std::fmt::Debug + Send + Sync + 'static {
    /// Reads a body once, stores and syncs what is not stored yet, and says what it was. When it fails, or its future
    /// is dropped, nothing is named; what had been written is left for the sweep.
    async fn ingest_stream(&self, stream: IngestStream, hints: IngestHints) -> Result<IngestResult>;

    /// The bytes of a blob that the catalog knows, in order.
    async fn serve_object(&self, content_address: &ContentAddress, range: ByteRange) -> Result<ByteStream>;

    /// Reads every byte of a blob, or of what lies in an object, and compares it with its name. Damage is an answer, not
    /// an error.
    async fn verify_object(&self, what: &Verification) -> Result<VerifyResult>;

    /// Deletes objects; idempotent.
    async fn delete_object(&self, deletion: Deletion) -> Result<DeletionResult>;

    /// Probes the backend. A backend that is down is an answer, not an error.
    async fn backend_health(&self) -> Result<BackendStatus>;
}

/// A blob as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedBlob {
    /// The blob's size in bytes.
    pub size_bytes: u64,
    /// Its chunks in order, each with its location.
    pub chunks: Vec<LocatedChunk>,
}

/// Where a chunk lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whereabouts {
    /// Here.
    At(Location),
    /// Here, and the bytes are known to be damaged since the event of this number. Whoever has them in hand writes them
    /// again, elsewhere.
    Damaged(Location, u64),
    /// Nowhere, as far as anything committed says.
    Nowhere,
    /// Nowhere, and an object that was this chunk alone was swept once. Nothing gets its name again: a deletion of it
    /// may still be on its way.
    Swept,
}

impl Whereabouts {
    /// The location, if there is one.
    #[must_use]
    pub fn location(self) -> Option<Location> {
        match self {
            Self::At(location) | Self::Damaged(location, _) => Some(location),
            Self::Nowhere | Self::Swept => None,
        }
    }
}

/// What the data plane asks the floor above: where committed bytes lie.
#[async_trait]
pub trait Catalog: std::fmt::Debug + Send + Sync + 'static {
    /// A committed blob with the locations of its chunks; `None` when the address is unknown.
    async fn blob_locate(&self, content_address: &ContentAddress) -> Result<Option<LocatedBlob>>;

    /// Where each of these chunks lies.
    async fn chunks_locate(&self, chunks: &[ContentAddress]) -> Result<Vec<Whereabouts>>;

    /// A number that grows with every sweep; 0 when there never was one. Written behind the chunks of an object, it makes
    /// its name another than that of any object that was swept before. Unless it is asked for as of now, it may be that
    /// of a moment ago: whoever uses it may be refused by the commit, and comes again.
    async fn sweeps(&self, as_of_now: bool) -> Result<u64> {
        let _ = as_of_now;
        Ok(0)
    }

    /// The name of the backend that new objects are to be written to; `None` leaves it to the plane.
    async fn backend_to_write(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether a committed location names each of these objects.
    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>>;
}
