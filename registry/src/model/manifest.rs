//! Manifest v1: what a finalized package holds, by digest.
//!
//! The canonical CBOR is the manifest; JSON (JCS, RFC 8785) is a projection of it, never the reverse.
//! The names and the order of fields are the format: they do not change.

use artifactstore_backends::digest::ContentAddress;
use serde::{Deserialize, Serialize};

use super::cbor::{self, CborError, TextMap};

/// The format's number.
pub const MANIFEST_VERSION: u32 = 1;

/// A manifest. Fields stand in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The files, in key order.
    pub files: Vec<ManifestFile>,
    /// The package.
    pub package: ManifestPackage,
    /// Who made it, with what, from which events.
    pub provenance: Provenance,
    /// Always 1.
    pub manifest_version: u32,
    /// Where the bytes were when it was finalized.
    pub storage_receipts: Vec<StorageReceipt>,
    /// How it was kept when it was finalized.
    pub retention_summary: RetentionSummary,
}

/// The package of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPackage {
    /// The revision's identifier.
    pub id: String,
    /// The package's name; empty for the root package.
    pub name: String,
    /// The producer.
    pub producer: String,
    /// The revision, from 1.
    pub revision: u32,
    /// Microseconds since 1970 UTC.
    pub opened_at: i64,
    /// Microseconds since 1970 UTC.
    pub finalized_at: i64,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// The ETag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// User metadata.
    pub metadata: TextMap,
    /// The event that ingested it; also its version id.
    pub sequence: u64,
    /// The media type.
    pub media_type: String,
    /// SHA-256 in lower-case hex.
    pub digest_sha256: String,
    /// The path within the package.
    pub relative_path: String,
    /// The primary digest in lower-case hex.
    pub digest_primary: String,
    /// `<algorithm>:<hex>`.
    pub content_address: String,
    /// The algorithm of the primary digest: `blake3`.
    pub digest_algorithm: String,
}

/// Who made a manifest, with what, from which events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who asked for it.
    pub actor: String,
    /// What the asking client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The tenant.
    pub tenant: String,
    /// What the uploading clients called themselves: sorted, at most [`CLIENTS_LIMIT`].
    pub clients: Vec<String>,
    /// The last event that changed the package.
    pub last_sequence: u64,
    /// The event that opened it.
    pub first_sequence: u64,
    /// The version of the program.
    pub gateway_version: String,
}

/// How many clients a manifest names at most.
pub const CLIENTS_LIMIT: usize = 16;

/// Where bytes were when a package was finalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageReceipt {
    /// How many different blobs.
    pub blobs: u64,
    /// The backend.
    pub backend: String,
    /// The bytes of the different blobs.
    pub size_bytes: u64,
}

/// How a package was kept when it was finalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSummary {
    /// `none`, `governance` or `compliance`: the firmest of its classes and locks, and those of its files and producer.
    pub mode: String,
    /// The retention classes, sorted, with a comma between two; `none` without any.
    pub class: String,
    /// The names of the holds, sorted, each once.
    pub holds: Vec<String>,
}

impl Manifest {
    /// The canonical CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a manifest, refusing any bytes that [`Manifest::encode`] would not have written.
    ///
    /// # Errors
    /// When the bytes are not canonical, not a manifest, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let manifest: Self = cbor::decode_whole(bytes)?;
        if manifest.manifest_version != MANIFEST_VERSION {
            return Err(CborError::Shape(format!("manifest version {} is not known", manifest.manifest_version)));
        }
        Ok(manifest)
    }

    /// The JSON projection by JCS (RFC 8785).
    ///
    /// # Panics
    /// Never: a manifest holds text and integers only.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let json = serde_json_canonicalizer::to_vec(self);
        assert!(json.is_ok(), "a manifest holds text and integers only");
        json.unwrap_or_default()
    }

    /// The digest of the canonical CBOR: the name by which the manifest is known.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> ContentAddress {
        ContentAddress::of(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests;
