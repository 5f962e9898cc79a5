//! How a blob is put together: its chunks in order, and where each of them lies.
//!
//! Invariant: the sizes of a recipe's chunks sum up to the size of its blob; an empty blob has an empty recipe.

use serde::{Deserialize, Serialize};

use crate::digest::{ContentAddress, ObjectKey};

/// One chunk of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// The chunk's length in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The BLAKE3 of the chunk's bytes.
    pub address: ContentAddress,
}

/// The ordered chunks of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipe {
    /// The chunks, first byte first.
    pub chunks: Vec<Chunk>,
}

impl Recipe {
    /// The size of the blob in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.size_bytes).sum()
    }

    /// Joins recipes end to end: the recipe of the concatenated bytes. No byte is read or moved.
    #[must_use]
    pub fn join<'a>(recipes: impl IntoIterator<Item = &'a Self>) -> Self {
        Self { chunks: recipes.into_iter().flat_map(|recipe| recipe.chunks.iter().copied()).collect() }
    }
}

/// How the bytes of a chunk are encoded in its object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// As they are.
    #[default]
    None,
}

/// How soon the bytes of a location can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetrievalTier {
    /// At once.
    #[default]
    Online,
}

/// Where a chunk's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The retrieval tier.
    #[serde(default)]
    pub tier: RetrievalTier,
    /// The codec of the stored bytes.
    #[serde(default)]
    pub codec: Codec,
    /// The object that holds the chunk.
    pub object: ObjectKey,
    /// Where the chunk begins in the object, in bytes.
    #[serde(rename = "offset")]
    pub offset_bytes: u64,
    /// The name of the backend that holds the object.
    pub backend: String,
    /// The number of bytes the chunk takes in the object.
    #[serde(rename = "stored_length")]
    pub stored_length_bytes: u64,
}

/// A chunk and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocatedChunk {
    /// The chunk.
    pub chunk: Chunk,
    /// Where its bytes lie.
    pub location: Location,
}
