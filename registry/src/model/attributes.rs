//! What a file carries besides its bytes: media type, metadata, headers, checksums.

use artifactstore_backends::digest::{Checksum, ChecksumAlgorithm};
use serde::{Deserialize, Serialize};

use super::cbor::TextMap;
use super::retention::Retention;

/// The media type of a file whose producer named none.
pub const MEDIA_TYPE_UNKNOWN: &str = "binary/octet-stream";

/// How the checksum of a multipart file was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumKind {
    /// Over the bytes of the whole.
    FullObject,
    /// Over the raw checksums of the parts.
    Composite,
}

/// A checksum that the client declared and that was verified when the file was ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChecksum {
    /// How it was made.
    pub kind: ChecksumKind,
    /// The checksum.
    pub checksum: Checksum,
}

/// What a file carries besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Tags, which can be changed without making a new version.
    #[serde(default, skip_serializing_if = "TextMap::is_empty")]
    pub tags: TextMap,
    /// The parts of a file that came as a multipart upload, in order; empty for any other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FilePart>,
    /// Other headers that are given back as they came, by lower-case name: `cache-control`, `content-disposition`,
    /// `content-encoding`, `content-language`, `expires`, `x-amz-storage-class`, `x-amz-website-redirect-location`.
    #[serde(default, skip_serializing_if = "TextMap::is_empty")]
    pub headers: TextMap,
    /// The verified checksum, if the client declared one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<FileChecksum>,
    /// User metadata (`x-amz-meta-*`), by lower-case name without the prefix.
    #[serde(default, skip_serializing_if = "TextMap::is_empty")]
    pub metadata: TextMap,
    /// The media type (`Content-Type`).
    pub media_type: String,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            tags: TextMap::default(),
            parts: Vec::new(),
            headers: TextMap::default(),
            checksum: None,
            metadata: TextMap::default(),
            media_type: MEDIA_TYPE_UNKNOWN.to_owned(),
        }
    }
}

/// One part of a file that came as a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePart {
    /// Its size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Its number.
    pub number: u32,
    /// Its verified checksum, if the client declared one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// What an upload was created with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAttributes {
    /// What the file will carry. Its checksum and parts are empty until the upload is completed.
    pub file: Attributes,
    /// The checksum algorithm that the client will use for parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<ChecksumAlgorithm>,
    /// What the file is to be kept by.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
    /// How the checksum of the whole will be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_kind: Option<ChecksumKind>,
}
