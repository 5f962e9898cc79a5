//! The rows of versions whose bytes were erased because somebody demanded it.
//!
//! Invariant: a version that was erased let go of its bytes by the same event.

use artifactstore_backends::digest::ContentAddress;
use serde::{Deserialize, Serialize};

use super::row::Sequence;
use crate::clock::Timestamp;

/// A version whose bytes were erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The version.
    pub version: Sequence,
    /// The event that erased it.
    pub sequence: Sequence,
    /// When that was.
    pub erased_at: Timestamp,
    /// The blob that it had.
    pub content_address: ContentAddress,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
}
