//! Facts about files and their versions.

use artifactstore_backends::digest::{ContentAddress, Sha256Digest};
use artifactstore_backends::recipe::{LocatedChunk, Recipe};
use serde::{Deserialize, Serialize};

use crate::model::attributes::Attributes;
use crate::model::cbor::TextMap;
use crate::model::name::{FileName, Key, PackageId, PackageName, ProducerName, UploadId};
use crate::model::retention::Retention;
use crate::model::row::Sequence;

/// A file was ingested: a new version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIngested {
    /// The key.
    pub key: Key,
    /// The ETag, without quotes.
    pub etag: String,
    /// The size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The recipe, when this is the first event that names the blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Recipe>,
    /// What the client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The SHA-256 of the bytes.
    pub sha256: Sha256Digest,
    /// The multipart upload that it came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
    /// The package's name.
    pub package: PackageName,
    /// The chunks that were written for it, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<LocatedChunk>,
    /// The producer.
    pub producer: ProducerName,
    /// What it is given to be kept by.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
    /// What it carries besides its bytes.
    pub attributes: Attributes,
    /// The revision that it was written into.
    pub package_id: PackageId,
    /// The version that it took the name from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Sequence>,
    /// The version whose bytes these are, when it is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CopySource>,
    /// The path within the package.
    pub relative_path: String,
    /// The blob.
    pub content_address: ContentAddress,
}

/// Where a copy came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySource {
    /// The key.
    pub key: Key,
    /// The producer.
    pub producer: ProducerName,
    /// The version.
    pub sequence: Sequence,
}

/// What a file carries was replaced; its bytes and digests are those of the version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDescribed {
    /// The key.
    pub key: Key,
    /// The package's name.
    pub package: PackageName,
    /// The producer.
    pub producer: ProducerName,
    /// What it is given to be kept by, besides what it was kept by where versions are not kept.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
    /// What it carries from now on.
    pub attributes: Attributes,
    /// The revision that it was written into.
    pub package_id: PackageId,
    /// The version before.
    pub supersedes: Sequence,
}

/// A key was deleted: the name is gone, the version stays in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRemoved {
    /// The key.
    pub key: Key,
    /// The package's name.
    pub package: PackageName,
    /// The version that lost its name.
    pub removes: Sequence,
    /// The producer.
    pub producer: ProducerName,
    /// The revision that it was removed from.
    pub package_id: PackageId,
}

/// A key was deleted where versions are kept: a marker stands in front of them, under this event's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMarked {
    /// The key.
    pub key: Key,
    /// The version that lost its name, if one had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hides: Option<Sequence>,
    /// The package's name.
    pub package: PackageName,
    /// The producer.
    pub producer: ProducerName,
    /// The revision that it was removed from.
    pub package_id: PackageId,
}

/// One version of a key, or one delete marker, was deleted: S3 shows it no more, the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRemoved {
    /// The key.
    pub key: Key,
    /// The package's name.
    pub package: PackageName,
    /// The version, or the event that made the marker.
    pub removes: Sequence,
    /// The version that has the name from now on, because it was behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveals: Option<Sequence>,
    /// The producer.
    pub producer: ProducerName,
    /// The revision that it was removed from.
    pub package_id: PackageId,
    /// Whether a new null version takes its place: nobody deleted it, and it can be read by its number.
    #[serde(default, skip_serializing_if = "is_false")]
    pub superseded: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The tags of a version were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTagged {
    /// The key.
    pub key: Key,
    /// Its tags from now on.
    pub tags: TextMap,
    /// The package's name.
    pub package: PackageName,
    /// The version.
    pub version: Sequence,
    /// The producer.
    pub producer: ProducerName,
}

impl FileIngested {
    /// The name.
    #[must_use]
    pub fn name(&self) -> FileName {
        FileName { producer: self.producer.clone(), key: self.key.clone() }
    }
}
