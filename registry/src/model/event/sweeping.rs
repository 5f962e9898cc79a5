//! Facts about what is kept no longer: versions that were released, what was condemned for it, and what was swept.

use artifactstore_backends::digest::{ContentAddress, ObjectKey, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::model::name::{Key, PackageName, ProducerName};
use crate::model::row::Sequence;

/// A version that S3 shows no more, and that nothing keeps, let go of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionReleased {
    /// The key.
    pub key: Key,
    /// Why it may go: the event that superseded or removed it.
    pub ended: Sequence,
    /// The package's name.
    pub package: PackageName,
    /// The version.
    pub version: Sequence,
    /// The producer.
    pub producer: ProducerName,
    /// The blob that it refers to no more.
    pub content_address: ContentAddress,
}

/// Nothing refers to a blob any more: it is swept when that is still so after a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobCondemned {
    /// Its size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Why: the event that released the last version that referred to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Sequence>,
    /// The blob.
    pub content_address: ContentAddress,
}

/// Chunks that no blob and no open upload uses: parts of uploads that were given up, as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkCondemned {
    /// The chunks.
    pub chunks: Vec<ContentAddress>,
}

/// A blob that is swept, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweptBlob {
    /// Its size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The event that released the last version that referred to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Sequence>,
    /// The event that condemned it.
    pub condemned: Sequence,
    /// The blob.
    pub content_address: ContentAddress,
}

/// An object in a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectAt {
    /// The bytes that go, or would go, with it.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
}

/// Blobs and chunks are forgotten, and the objects that held nothing else are deleted from now on. Their names are never
/// given again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepBegun {
    /// The blobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<SweptBlob>,
    /// The chunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ContentAddress>,
    /// Objects that were taken for orphans and are not any more: an event names them by now, or their storage was left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spared: Vec<ObjectKey>,
    /// The objects that are deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectAt>,
}

/// Objects of sweeps are gone: their backends said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepEnded {
    /// The objects.
    pub objects: Vec<ObjectKey>,
}

/// A backend holds objects that no event names: they are swept when that is still so after a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectOrphaned {
    /// The objects.
    pub objects: Vec<ObjectAt>,
}
