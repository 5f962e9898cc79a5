//! The facts of the log. Kinds are only ever added, and a kind's meaning never changes.
//!
//! Fields stand in canonical order (the shorter name first, then bytewise), so that encoding needs no sorting.
//!
//! Invariant: an event decodes from its kind and payload to what it was, and re-encodes to the same bytes.

use artifactstore_backends::digest::{Checksum, ContentAddress, Md5Digest, Sha256Digest};
use artifactstore_backends::recipe::{LocatedChunk, Recipe};
use serde::{Deserialize, Serialize};

use super::attributes::UploadAttributes;
use super::cbor::{self, CborError};
use super::manifest::Manifest;
use super::name::{Key, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId};
use super::row::{ProducerSettings, Subresource, Versioning};
use crate::clock::Timestamp;

mod erasing;
mod file;
mod keeping;
mod record;
mod retention;
mod scrubbing;
mod sweeping;

pub use erasing::FileErased;
pub use file::{CopySource, FileDescribed, FileIngested, FileMarked, FileRemoved, FileTagged, VersionRemoved};
pub use keeping::{KeyCreated, KeyRevoked, KeyRotated, StorageClosed, StorageDirected, StorageMoved};
pub use record::{GENESIS_HASH, Head, Record};
pub use retention::{
    ClassSet, ClockJumped, ClockNoted, ClockSettled, HoldPlaced, HoldReleased, LockEnabled, PackageReleased,
    RetentionSet, Subject,
};
pub use scrubbing::{
    ChunkRelocated, ObjectDamaged, ObjectRecovered, Recovery, RelocationReason, ScrubAdvanced, ScrubBegun, ScrubEnded,
};
pub use sweeping::{
    BlobCondemned, ChunkCondemned, ObjectAt, ObjectOrphaned, SweepBegun, SweepEnded, SweptBlob, VersionReleased,
};

/// Who asked, and how to find the request again. None of it is proof; the log's chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The tenant on whose behalf.
    pub tenant: TenantName,
    /// The access key's id, or `admin`, `cli`, `gateway`.
    pub name: String,
    /// The request's id.
    pub request_id: String,
    /// What the client called itself (`User-Agent`), at most 256 bytes.
    pub client: Option<String>,
}

/// A producer was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerCreated {
    /// Whose it is.
    pub tenant: TenantName,
    /// The producer.
    pub producer: ProducerName,
    /// Its settings.
    pub settings: ProducerSettings,
}

/// A producer's settings were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerConfigured {
    /// The producer.
    pub producer: ProducerName,
    /// Its settings from now on.
    pub settings: ProducerSettings,
}

/// An empty producer was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerDeleted {
    /// The producer.
    pub producer: ProducerName,
}

/// A producer began, or ceased, to keep versions in S3's sight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersioningSet {
    /// The producer.
    pub producer: ProducerName,
    /// Whether it keeps them from now on.
    pub versioning: Versioning,
}

/// A configuration of a bucket was put in the place of any other under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubresourceSet {
    /// Which.
    pub name: Subresource,
    /// What it is from now on.
    pub document: String,
    /// The producer.
    pub producer: ProducerName,
}

/// A configuration of a bucket was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubresourceRemoved {
    /// Which.
    pub name: Subresource,
    /// The producer.
    pub producer: ProducerName,
}

/// A package's revision was opened by its first write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageOpened {
    /// The package's name; empty for the root package.
    pub package: PackageName,
    /// The producer.
    pub producer: ProducerName,
    /// The revision, from 1.
    pub revision: u32,
    /// The revision's identifier.
    pub package_id: PackageId,
    /// The revision before, whose files this one begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_id: Option<PackageId>,
}

/// A manifest that is too large for an event: stored as a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredManifest {
    /// The manifest's chunks.
    pub chunks: Recipe,
    /// The SHA-256 of the manifest's bytes.
    pub sha256: Sha256Digest,
    /// The package's name.
    pub package: PackageName,
    /// The chunks that were written for it, and where.
    pub written: Vec<LocatedChunk>,
    /// The producer.
    pub producer: ProducerName,
    /// The revision that it seals.
    pub package_id: PackageId,
    /// When it was finalized.
    pub finalized_at: Timestamp,
    /// The manifest's size in bytes.
    pub manifest_size: u64,
    /// The blob, which is also the manifest's digest.
    pub manifest_address: ContentAddress,
}

/// A package was finalized. The payload *is* the manifest, unless that is too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageFinalized {
    /// The manifest itself.
    Inline(Box<Manifest>),
    /// Where the manifest is.
    Stored(StoredManifest),
}

/// A multipart upload was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadCreated {
    /// The key that the file will have.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// The producer.
    pub producer: ProducerName,
    /// What it was created with.
    pub attributes: UploadAttributes,
}

/// A part of an upload was ingested; it takes the place of an earlier part of that number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartIngested {
    /// The MD5 of the bytes.
    pub md5: Md5Digest,
    /// The size in bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// The part's chunks.
    pub chunks: Recipe,
    /// The part's number.
    pub number: PartNumber,
    /// The upload.
    pub upload: UploadId,
    /// The chunks that were written for it, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<LocatedChunk>,
    /// The verified checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// The producer.
    pub producer: ProducerName,
    /// The version that has these bytes, or has them among others, when they were copied from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CopySource>,
}

/// An upload was given up; its parts are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAborted {
    /// The upload.
    pub upload: UploadId,
    /// The producer.
    pub producer: ProducerName,
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident => $kind:literal,)*) => {
        /// One fact of the log.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $($(#[$doc])* $variant(Box<$variant>),)*
        }

        impl Event {
            /// The kind, with its version.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }

            /// The payload's canonical CBOR.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$variant(fact) => cbor::encode(&**fact),)* }
            }

            /// Reads an event; `None` when the kind is not known to this version.
            ///
            /// # Errors
            /// When the payload is not canonical, not of this kind, or holds what this version does not know.
            pub fn decode(kind: &str, payload: &[u8]) -> Result<Option<Self>, CborError> {
                // A field that this version does not know would be lost without a word.
                Ok(Some(match kind {
                    $($kind => Self::$variant(Box::new(cbor::decode_whole(payload)?)),)*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

events! {
    /// A producer was created.
    ProducerCreated => "v1.producer.created",
    /// A producer's settings were replaced.
    ProducerConfigured => "v1.producer.configured",
    /// An empty producer was deleted.
    ProducerDeleted => "v1.producer.deleted",
    /// A package's revision was opened.
    PackageOpened => "v1.package.opened",
    /// A package was finalized.
    PackageFinalized => "v1.package.finalized",
    /// A file was ingested.
    FileIngested => "v1.file.ingested",
    /// What a file carries was replaced.
    FileDescribed => "v1.file.described",
    /// A key was deleted.
    FileRemoved => "v1.file.removed",
    /// A key was deleted where versions are kept.
    FileMarked => "v1.file.marked",
    /// The tags of a version were replaced.
    FileTagged => "v1.file.tagged",
    /// One version, or one delete marker, was deleted.
    VersionRemoved => "v1.version.removed",
    /// A producer began or ceased to keep versions.
    VersioningSet => "v1.versioning.set",
    /// A configuration of a bucket was set.
    SubresourceSet => "v1.subresource.set",
    /// A configuration of a bucket was removed.
    SubresourceRemoved => "v1.subresource.removed",
    /// A multipart upload was begun.
    UploadCreated => "v1.upload.created",
    /// A part of an upload was ingested.
    PartIngested => "v1.part.ingested",
    /// An upload was given up.
    UploadAborted => "v1.upload.aborted",
    /// An access key was made.
    KeyCreated => "v1.key.created",
    /// An access key got another secret.
    KeyRotated => "v1.key.rotated",
    /// An access key was revoked.
    KeyRevoked => "v1.key.revoked",
    /// Writes were directed to another backend.
    StorageDirected => "v1.storage.directed",
    /// A backend that is being left takes no more.
    StorageClosed => "v1.storage.closed",
    /// A backend serves what another one was given.
    StorageMoved => "v1.storage.moved",
    /// A retention class was made or changed.
    ClassSet => "v1.class.set",
    /// What keeps a producer, package or version was changed.
    RetentionSet => "v1.retention.set",
    /// A hold was placed.
    HoldPlaced => "v1.hold.placed",
    /// A hold was released.
    HoldReleased => "v1.hold.released",
    /// S3's Object Lock was enabled for a producer.
    LockEnabled => "v1.lock.enabled",
    /// The files of a finalized package may be removed.
    PackageReleased => "v1.package.released",
    /// The clock went further than time did.
    ClockJumped => "v1.clock.jumped",
    /// An operator said whether the clock was right.
    ClockSettled => "v1.clock.settled",
    /// A version let go of its bytes.
    VersionReleased => "v1.version.released",
    /// Nothing refers to a blob any more.
    BlobCondemned => "v1.blob.condemned",
    /// Nothing uses these chunks.
    ChunkCondemned => "v1.chunk.condemned",
    /// Blobs, chunks and objects go.
    SweepBegun => "v1.sweep.begun",
    /// Objects are gone.
    SweepEnded => "v1.sweep.ended",
    /// Objects were found that no event names.
    ObjectOrphaned => "v1.object.orphaned",
    /// The time was noted, because nobody had written for long.
    ClockNoted => "v1.clock.noted",
    /// A pass over all objects began.
    ScrubBegun => "v1.scrub.begun",
    /// A pass over all objects came so far.
    ScrubAdvanced => "v1.scrub.advanced",
    /// A pass over all objects ended.
    ScrubEnded => "v1.scrub.ended",
    /// Bytes are not there as they were stored.
    ObjectDamaged => "v1.object.damaged",
    /// An object that was damaged is not any more.
    ObjectRecovered => "v1.object.recovered",
    /// Chunks lie elsewhere.
    ChunkRelocated => "v1.chunk.relocated",
    /// The bytes of a version were erased.
    FileErased => "v1.file.erased",
}

impl Serialize for PackageFinalized {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(manifest) => manifest.serialize(serializer),
            Self::Stored(stored) => stored.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PackageFinalized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The two shapes share no field, so the one that fits is the one that was written.
        let value = ciborium::value::Value::deserialize(deserializer)?;
        let stored =
            value.as_map().is_some_and(|map| map.iter().any(|(key, _)| key.as_text() == Some("manifest_address")));
        if stored {
            value.deserialized().map(Self::Stored).map_err(serde::de::Error::custom)
        } else {
            value.deserialized().map(Self::Inline).map_err(serde::de::Error::custom)
        }
    }
}

impl Event {
    /// The producer that the event is about, if it is about one.
    #[must_use]
    pub fn producer(&self) -> Option<ProducerName> {
        Some(match self {
            Self::StorageDirected(_)
            | Self::StorageClosed(_)
            | Self::StorageMoved(_)
            | Self::BlobCondemned(_)
            | Self::ChunkCondemned(_)
            | Self::SweepBegun(_)
            | Self::SweepEnded(_)
            | Self::ObjectOrphaned(_) => return None,
            Self::VersionReleased(fact) => fact.producer.clone(),
            Self::FileErased(fact) => fact.producer.clone(),
            Self::ProducerCreated(fact) => fact.producer.clone(),
            Self::ProducerConfigured(fact) => fact.producer.clone(),
            Self::ProducerDeleted(fact) => fact.producer.clone(),
            Self::PackageOpened(fact) => fact.producer.clone(),
            Self::PackageFinalized(fact) => match &**fact {
                PackageFinalized::Inline(manifest) => ProducerName::trusted(&manifest.package.producer),
                PackageFinalized::Stored(stored) => stored.producer.clone(),
            },
            Self::FileIngested(fact) => fact.producer.clone(),
            Self::FileDescribed(fact) => fact.producer.clone(),
            Self::FileRemoved(fact) => fact.producer.clone(),
            Self::FileMarked(fact) => fact.producer.clone(),
            Self::FileTagged(fact) => fact.producer.clone(),
            Self::VersionRemoved(fact) => fact.producer.clone(),
            Self::VersioningSet(fact) => fact.producer.clone(),
            Self::SubresourceSet(fact) => fact.producer.clone(),
            Self::SubresourceRemoved(fact) => fact.producer.clone(),
            Self::UploadCreated(fact) => fact.producer.clone(),
            Self::PartIngested(fact) => fact.producer.clone(),
            Self::UploadAborted(fact) => fact.producer.clone(),
            Self::RetentionSet(fact) => fact.subject.producer().clone(),
            Self::HoldPlaced(fact) => fact.subject.producer().clone(),
            Self::HoldReleased(fact) => fact.subject.producer().clone(),
            Self::LockEnabled(fact) => fact.producer.clone(),
            Self::PackageReleased(fact) => fact.producer.clone(),
            Self::KeyCreated(_)
            | Self::KeyRotated(_)
            | Self::KeyRevoked(_)
            | Self::ClassSet(_)
            | Self::ClockJumped(_)
            | Self::ClockNoted(_)
            | Self::ClockSettled(_)
            | Self::ScrubBegun(_)
            | Self::ScrubAdvanced(_)
            | Self::ScrubEnded(_)
            | Self::ObjectDamaged(_)
            | Self::ObjectRecovered(_)
            | Self::ChunkRelocated(_) => return None,
        })
    }

    /// The package that the event is about, if it is about one.
    #[must_use]
    pub fn package(&self) -> Option<PackageName> {
        match self {
            Self::PackageOpened(fact) => Some(fact.package.clone()),
            Self::PackageFinalized(fact) => Some(match &**fact {
                PackageFinalized::Inline(manifest) => PackageName::trusted(&manifest.package.name),
                PackageFinalized::Stored(stored) => stored.package.clone(),
            }),
            Self::FileIngested(fact) => Some(fact.package.clone()),
            Self::FileDescribed(fact) => Some(fact.package.clone()),
            Self::FileRemoved(fact) => Some(fact.package.clone()),
            Self::FileMarked(fact) => Some(fact.package.clone()),
            Self::FileTagged(fact) => Some(fact.package.clone()),
            Self::VersionRemoved(fact) => Some(fact.package.clone()),
            Self::RetentionSet(fact) => fact.subject.package().cloned(),
            Self::HoldPlaced(fact) => fact.subject.package().cloned(),
            Self::HoldReleased(fact) => fact.subject.package().cloned(),
            Self::PackageReleased(fact) => Some(fact.package.clone()),
            Self::VersionReleased(fact) => Some(fact.package.clone()),
            Self::FileErased(fact) => Some(fact.package.clone()),
            Self::VersioningSet(_)
            | Self::ClassSet(_)
            | Self::LockEnabled(_)
            | Self::ClockJumped(_)
            | Self::ClockNoted(_)
            | Self::ClockSettled(_)
            | Self::SubresourceSet(_)
            | Self::SubresourceRemoved(_)
            | Self::ProducerCreated(_)
            | Self::ProducerConfigured(_)
            | Self::ProducerDeleted(_)
            | Self::UploadCreated(_)
            | Self::PartIngested(_)
            | Self::UploadAborted(_)
            | Self::KeyCreated(_)
            | Self::KeyRotated(_)
            | Self::KeyRevoked(_)
            | Self::StorageDirected(_)
            | Self::StorageClosed(_)
            | Self::StorageMoved(_)
            | Self::BlobCondemned(_)
            | Self::ChunkCondemned(_)
            | Self::SweepBegun(_)
            | Self::SweepEnded(_)
            | Self::ObjectOrphaned(_)
            | Self::ScrubBegun(_)
            | Self::ScrubAdvanced(_)
            | Self::ScrubEnded(_)
            | Self::ObjectDamaged(_)
            | Self::ObjectRecovered(_)
            | Self::ChunkRelocated(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
