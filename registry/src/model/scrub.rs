//! The rows that a scrub makes: its passes over all objects, and what was found damaged.
//!
//! Invariant: an object has a row in [`DamagedObject`] exactly while a chunk that lies in it is known to be damaged, or until it
//! is noticed that none lies there any more.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use serde::{Deserialize, Serialize};

use super::row::Sequence;
use crate::clock::Timestamp;

/// What a pass has read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubTally {
    /// Objects.
    pub objects: u64,
    /// The bytes of the chunks that lie in them.
    pub bytes: u64,
    /// Objects that were found damaged or missing.
    pub damaged: u64,
}

/// One pass over all objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPass {
    /// The event that began it.
    pub sequence: Sequence,
    /// When that was.
    pub begun_at: Timestamp,
    /// The last object that is known to have been read: the pass goes on behind it.
    pub cursor: Option<ObjectKey>,
    /// What was read up to there.
    pub tally: ScrubTally,
    /// The event that ended it.
    pub ended_sequence: Option<Sequence>,
    /// When that was.
    pub ended_at: Option<Timestamp>,
}

/// An object in which bytes are not what was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedObject {
    /// The object: what it was expected to be.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
    /// What was found, in one line.
    pub finding: String,
    /// The event that says so.
    pub sequence: Sequence,
    /// When that was.
    pub seen_at: Timestamp,
}

/// A chunk whose bytes are not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoiltChunk {
    /// The BLAKE3 of what stands in its place; nothing when that cannot be read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<ContentAddress>,
    /// What was expected: the chunk.
    pub address: ContentAddress,
}
