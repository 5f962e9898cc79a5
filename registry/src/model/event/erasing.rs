//! Facts about bytes that were erased because somebody demanded it.

use artifactstore_backends::digest::{ContentAddress, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::model::name::{Key, PackageName, ProducerName};
use crate::model::row::Sequence;

/// The bytes of a version are erased: nobody reads them from here on, and they are deleted. What they were stays known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileErased {
    /// The key.
    pub key: Key,
    /// The size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Why.
    pub reason: String,
    /// The SHA-256 of the bytes.
    pub sha256: Sha256Digest,
    /// The package's name.
    pub package: PackageName,
    /// The version.
    pub version: Sequence,
    /// Whether governance was bypassed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypassed: bool,
    /// The producer.
    pub producer: ProducerName,
    /// Who demanded it, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// The blob.
    pub content_address: ContentAddress,
}
