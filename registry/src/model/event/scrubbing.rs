//! Facts about reading everything again: passes, what was found damaged, and what became of it.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::LocatedChunk;
use serde::{Deserialize, Serialize};

use crate::model::row::Sequence;
use crate::model::scrub::SpoiltChunk;

/// All objects are read again from here on, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubBegun {
    /// The event that ended the pass before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sequence>,
}

/// A pass came this far. Told rarely: whoever goes on with it reads again what came behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubAdvanced {
    /// The event that began the pass.
    pub begun: Sequence,
    /// The bytes that were read so far.
    pub bytes: u64,
    /// The last object that was read.
    pub cursor: ObjectKey,
    /// How many objects were found damaged or missing so far.
    pub damaged: u64,
    /// How many objects were read so far.
    pub objects: u64,
}

/// A pass has read every object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubEnded {
    /// The event that began it.
    pub begun: Sequence,
    /// The bytes that were read.
    pub bytes: u64,
    /// How many objects were found damaged or missing.
    pub damaged: u64,
    /// How many objects were read.
    pub objects: u64,
}

/// Chunks that lie in an object are not there as they were stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDamaged {
    /// The chunks: each as it was expected, and what was found.
    pub chunks: Vec<SpoiltChunk>,
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
    /// What was found, in one line.
    pub finding: String,
}

/// How an object ceased to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// It was read again, and has the bytes that it should.
    Whole,
    /// No chunk that is damaged lies in it any more: they were written elsewhere, or swept.
    Replaced,
}

/// An object that was damaged is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecovered {
    /// How.
    pub how: Recovery,
    /// The event that said that it was damaged.
    pub since: Sequence,
    /// The chunks that are whole again where they lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ContentAddress>,
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
}

/// Why chunks lie elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelocationReason {
    /// They were damaged where they lay, and came again.
    Damaged,
    /// They lay beside bytes that are to be erased.
    Erasure,
}

/// Chunks lie elsewhere from now on, in the same backends as what is written now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRelocated {
    /// The chunks, and where.
    pub chunks: Vec<LocatedChunk>,
    /// Why.
    pub reason: RelocationReason,
}
