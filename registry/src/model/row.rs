//! The rows of the views. Every one of them is derived from events and from nothing else.

use artifactstore_backends::digest::{Checksum, ContentAddress, Md5Digest, Sha256Digest};
use artifactstore_backends::recipe::{Chunk, Location, Recipe};
use serde::{Deserialize, Serialize};

use super::attributes::{Attributes, UploadAttributes};
use super::name::{ClassName, FileName, Key, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId};
use super::retention::{Keeping, RetentionRule};
use crate::clock::Timestamp;
use crate::error::Refusal;

/// A configuration of a bucket that S3 puts under a subresource: kept and given back as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subresource {
    /// Rules for browsers of other origins.
    Cors,
    /// What is to become of files by their age.
    Lifecycle,
    /// Who is told of changes.
    Notification,
    /// Whose a file is that somebody else wrote.
    Ownership,
    /// Who may do what.
    Policy,
    /// Whether anything may be public.
    PublicAccessBlock,
    /// Tags of the bucket.
    Tagging,
}

impl Subresource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Cors,
        Self::Lifecycle,
        Self::Notification,
        Self::Ownership,
        Self::Policy,
        Self::PublicAccessBlock,
        Self::Tagging,
    ];

    /// As stores write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cors => "cors",
            Self::Lifecycle => "lifecycle",
            Self::Notification => "notification",
            Self::Ownership => "ownership",
            Self::Policy => "policy",
            Self::PublicAccessBlock => "public-access-block",
            Self::Tagging => "tagging",
        }
    }

    /// Reads what [`Subresource::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// An event's number in the log: gapless, in commit order, from 1.
pub type Sequence = u64;

/// What a write under a finalized package does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFinalized {
    /// It is refused.
    #[default]
    Refuse,
    /// It opens the package's next revision; the sealed one stays as it is.
    NewRevision,
}

/// What anyone may read of a producer without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnonymousRead {
    /// Nothing.
    #[default]
    Off,
    /// Files that have a name now, by their keys.
    Objects,
    /// These, and the list of their keys.
    List,
}

impl AnonymousRead {
    /// As operators write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Objects => "objects",
            Self::List => "list",
        }
    }

    /// Whether nobody may read anything.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}

/// A producer's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerSettings {
    /// What a write under a finalized package does.
    #[serde(default)]
    pub on_finalized: OnFinalized,
    /// How many leading segments of a key name its package; 0 makes the whole bucket one package. At most 16.
    #[serde(default = "default_depth")]
    pub package_depth: u32,
    /// What anyone may read without a key.
    #[serde(default, skip_serializing_if = "AnonymousRead::is_off")]
    pub anonymous_read: AnonymousRead,
    /// A pattern of relative paths: a file that matches finalizes its package once it is ingested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalize_marker: Option<String>,
    /// The retention class that new files are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_class: Option<ClassName>,
    /// Retention classes that new files are given by what their keys begin with, besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention_rules: Vec<RetentionRule>,
    /// How many seconds without a write finalize a package by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalize_after_idle_seconds: Option<u64>,
}

const fn default_depth() -> u32 {
    1
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            on_finalized: OnFinalized::Refuse,
            package_depth: default_depth(),
            anonymous_read: AnonymousRead::Off,
            finalize_marker: None,
            retention_class: None,
            retention_rules: Vec::new(),
            finalize_after_idle_seconds: None,
        }
    }
}

/// Whether S3 keeps what is superseded or deleted in a producer's sight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Versioning {
    /// It never did: what is superseded is only in the log.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It did, and does not any more: new versions are the null version of their key.
    Suspended,
}

impl Versioning {
    /// As stores write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }

    /// Reads what [`Versioning::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Off, Self::Enabled, Self::Suspended].into_iter().find(|it| it.as_str() == text)
    }
}

/// Which version of a key is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionChoice {
    /// The one that was made while versioning was not on.
    Null,
    /// The one with this number.
    Numbered(Sequence),
}

/// A producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// Its name.
    pub name: ProducerName,
    /// Whose it is.
    pub tenant: TenantName,
    /// Its settings.
    pub settings: ProducerSettings,
    /// When it was created.
    pub created_at: Timestamp,
    /// The event that created it.
    pub created_sequence: Sequence,
    /// How many names it has now.
    pub file_count: u64,
    /// The bytes of the files that have a name now.
    pub size_bytes: u64,
    /// How many uploads are open.
    pub upload_count: u64,
    /// How many revisions of packages it has.
    pub package_count: u64,
    /// How many of them are finalized.
    pub finalized_count: u64,
    /// Whether S3 keeps versions.
    pub versioning: Versioning,
    /// How many versions without a name, and delete markers, S3 shows of it.
    pub history_count: u64,
    /// Whether S3's Object Lock is enabled, so that versions are kept for good.
    pub object_lock: bool,
    /// What keeps everything of it.
    pub keeping: Keeping,
}

/// The seal of a finalized package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// When it was finalized.
    pub finalized_at: Timestamp,
    /// The event that did it.
    pub sequence: Sequence,
    /// The BLAKE3 of the manifest's canonical CBOR.
    pub manifest_digest: ContentAddress,
    /// The manifest's size in bytes.
    pub manifest_size_bytes: u64,
}

/// One revision of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its identifier, unique everywhere.
    pub id: PackageId,
    /// The producer.
    pub producer: ProducerName,
    /// The package's name; empty for the root package.
    pub name: PackageName,
    /// The revision, from 1.
    pub revision: u32,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The event that opened it.
    pub opened_sequence: Sequence,
    /// When it was last written to.
    pub changed_at: Timestamp,
    /// The last event that changed it, its seal not counted.
    pub last_sequence: Sequence,
    /// How many files it has.
    pub file_count: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Its seal, once it is finalized.
    pub seal: Option<Seal>,
    /// What keeps its files.
    pub keeping: Keeping,
    /// The event that let its files go, if one did: it stays sealed, and they may be removed.
    pub released_sequence: Option<Sequence>,
}

impl Package {
    /// Whether this revision has a version that was written into an earlier one, or into itself: it had not ended when this
    /// was sealed, if it is.
    #[must_use]
    pub fn has(&self, file: &File) -> bool {
        let sealed = self.seal.as_ref().map_or(Sequence::MAX, |seal| seal.sequence);
        file.sequence < sealed && file.ended_sequence.is_none_or(|ended| ended > sealed)
    }

    /// Whether there are revisions between it and a later one.
    #[must_use]
    pub const fn is_apart_from(&self, later: &Self) -> bool {
        later.revision > self.revision.saturating_add(1)
    }

    /// Why nothing under it can be removed, if it is finalized and was not released.
    #[must_use]
    pub fn removal_refusal(&self) -> Option<Refusal> {
        self.refusal().filter(|_| self.released_sequence.is_none())
    }

    /// Why nothing under it can change, if it is finalized.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.seal.as_ref().map(|seal| Refusal::PackageFinalized {
            producer: self.producer.clone(),
            package: self.name.to_string(),
            revision: self.revision,
            manifest_digest: seal.manifest_digest.to_string(),
        })
    }
}

/// One version of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The event that made this version; also its version id.
    pub sequence: Sequence,
    /// Its name.
    pub name: FileName,
    /// The revision of the package that it was written into.
    pub package_id: PackageId,
    /// The package's name.
    pub package: PackageName,
    /// Its path within the package.
    pub relative_path: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The blob: the BLAKE3 of its bytes.
    pub content_address: ContentAddress,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// The ETag, without quotes.
    pub etag: String,
    /// What it carries besides its bytes.
    pub attributes: Attributes,
    /// When it was ingested.
    pub ingested_at: Timestamp,
    /// What the client called itself when it uploaded this.
    pub client: Option<String>,
    /// The event that superseded or removed it, if one did.
    pub ended_sequence: Option<Sequence>,
    /// Whether it was made while versioning was on; if not, it is the null version in S3's eyes.
    pub versioned: bool,
    /// The event that deleted this very version, which S3 then no longer shows.
    pub deleted_sequence: Option<Sequence>,
    /// What keeps it by itself.
    pub keeping: Keeping,
    /// The event by which it let go of its bytes.
    pub released_sequence: Option<Sequence>,
}

/// What S3 shows of a key besides the file that has its name: a version that was superseded, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The key's name.
    pub name: FileName,
    /// The version, or the event that made the marker.
    pub sequence: Sequence,
    /// Whether it is a delete marker.
    pub marker: bool,
    /// Whether it was made while versioning was on.
    pub versioned: bool,
    /// When it was made.
    pub occurred_at: Timestamp,
}

/// What a producer was given under a subresource of its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubresourceRow {
    /// The producer.
    pub producer: ProducerName,
    /// Which.
    pub name: Subresource,
    /// What it was given.
    pub document: String,
    /// The event that set it.
    pub sequence: Sequence,
}

/// What a listing of versions tells of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version's number.
    pub sequence: Sequence,
    /// Whether it is a delete marker; it then has neither size nor ETag.
    pub marker: bool,
    /// Whether it was made while versioning was on.
    pub versioned: bool,
    /// Its key, and what a listing of names tells.
    pub listed: Listed,
}

/// What a listing tells of the version that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The ETag, without quotes.
    pub etag: String,
    /// What it carries besides its bytes.
    pub attributes: Attributes,
    /// When it was ingested.
    pub ingested_at: Timestamp,
}

impl From<File> for Listed {
    fn from(file: File) -> Self {
        let File { name, size_bytes, etag, attributes, ingested_at, .. } = file;
        Self { key: name.key, size_bytes, etag, attributes, ingested_at }
    }
}

/// What is to be swept when nothing wants it for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// The event that condemned it.
    pub sequence: Sequence,
    /// When that was.
    pub at: Timestamp,
}

/// The bytes of a file, known by content address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The BLAKE3 of its bytes.
    pub content_address: ContentAddress,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its chunks.
    pub recipe: Recipe,
    /// The event that recorded it first.
    pub sequence: Sequence,
    /// How many versions that were not released, and stored manifests, refer to it.
    pub reference_count: u64,
    /// The event that took the last reference away, while there is none.
    pub released_sequence: Option<Sequence>,
    /// Since when it is condemned, while it is.
    pub condemned: Option<Condemned>,
}

/// A chunk and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkPlace {
    /// The chunk.
    pub chunk: Chunk,
    /// Where its bytes lie.
    pub location: Location,
    /// The event that located it.
    pub sequence: Sequence,
    /// Since when it is condemned, while it is: because nothing uses it.
    pub condemned: Option<Condemned>,
    /// The event that said that it is not there as it was stored, while that is so.
    pub damaged_sequence: Option<Sequence>,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    /// Parts may come.
    Open,
    /// It became the file version with this number. Kept, so that completing it again answers the same.
    Completed(Sequence),
}

/// A multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its identifier.
    pub id: UploadId,
    /// The name that the file will have.
    pub name: FileName,
    /// What it was created with.
    pub attributes: UploadAttributes,
    /// When it was created.
    pub created_at: Timestamp,
    /// The event that created it.
    pub sequence: Sequence,
    /// How far it is.
    pub state: UploadState,
    /// The last event that changed its parts.
    pub parts_sequence: Sequence,
}

/// One part of an open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The upload.
    pub upload: UploadId,
    /// Its number.
    pub number: PartNumber,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The MD5 of its bytes, which is its ETag.
    pub md5: Md5Digest,
    /// Its verified checksum, if the client declared one.
    pub checksum: Option<Checksum>,
    /// Its chunks.
    pub recipe: Recipe,
    /// When it was ingested.
    pub ingested_at: Timestamp,
    /// The event that recorded it.
    pub sequence: Sequence,
}
