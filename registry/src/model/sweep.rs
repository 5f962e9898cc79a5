//! The rows by which it is known what may be swept, and what was.
//!
//! Invariant: a name in [`SweptObject`] is given to no object again, so that a deletion which comes late takes nothing that
//! somebody was promised.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use serde::{Deserialize, Serialize};

use super::name::{PartNumber, UploadId};
use super::row::Sequence;
use crate::clock::Timestamp;

/// A blob of several chunks uses a chunk. A blob of one chunk has that chunk's address, and needs no row to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobChunk {
    /// The chunk.
    pub chunk: ContentAddress,
    /// The blob.
    pub blob: ContentAddress,
}

/// A part of an open upload uses a chunk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartChunk {
    /// The upload.
    pub upload: UploadId,
    /// The part's number.
    pub number: PartNumber,
    /// The chunk.
    pub chunk: ContentAddress,
}

/// An object that was swept, or is about to be deleted for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweptObject {
    /// The object.
    pub object: ObjectKey,
    /// The backend that held it.
    pub backend: String,
    /// The event that began its sweep.
    pub begun_sequence: Sequence,
    /// The event that says that it is gone.
    pub ended_sequence: Option<Sequence>,
}

/// An object that no event named when it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanObject {
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The event that noted it.
    pub sequence: Sequence,
    /// When that was.
    pub seen_at: Timestamp,
}

/// What a sweep is decided by besides rows: loaded for one command, which is alone in its batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Those of the chunks asked about that something uses: a blob besides those that are to go, or an open upload.
    pub used: BTreeSet<ContentAddress>,
    /// The located chunks of the objects asked about.
    pub residents: BTreeMap<ObjectKey, BTreeSet<ContentAddress>>,
    /// The versions that have the blob asked about and did not let go of it, by number.
    pub copies: Vec<Sequence>,
}
