//! What the admin REST and the command line's `--json` show of the registry's things.
//!
//! Times are RFC 3339 in UTC; sizes are bytes; digests are `blake3:<hex>` or lower-case hex.

use std::collections::BTreeMap;

use artifactstore_registry::model::attributes::ChecksumKind;
use artifactstore_registry::model::cbor;
use artifactstore_registry::model::event::Record;
use artifactstore_registry::model::row::{AnonymousRead, File, OnFinalized, Package, Producer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::retention::shape::KeptByShape;

/// What a write under a finalized package does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnFinalized)]
pub(crate) enum OnFinalizedShape {
    /// It is refused.
    Refuse,
    /// It opens the package's next revision.
    NewRevision,
}

impl From<OnFinalized> for OnFinalizedShape {
    fn from(choice: OnFinalized) -> Self {
        match choice {
            OnFinalized::Refuse => Self::Refuse,
            OnFinalized::NewRevision => Self::NewRevision,
        }
    }
}

impl From<OnFinalizedShape> for OnFinalized {
    fn from(choice: OnFinalizedShape) -> Self {
        match choice {
            OnFinalizedShape::Refuse => Self::Refuse,
            OnFinalizedShape::NewRevision => Self::NewRevision,
        }
    }
}

/// What anyone may read without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnonymousRead)]
pub(crate) enum AnonymousReadShape {
    /// Nothing.
    #[default]
    Off,
    /// Files, by their keys.
    Objects,
    /// Files, and the list of their keys.
    List,
}

impl From<AnonymousRead> for AnonymousReadShape {
    fn from(choice: AnonymousRead) -> Self {
        match choice {
            AnonymousRead::Off => Self::Off,
            AnonymousRead::Objects => Self::Objects,
            AnonymousRead::List => Self::List,
        }
    }
}

impl From<AnonymousReadShape> for AnonymousRead {
    fn from(choice: AnonymousReadShape) -> Self {
        match choice {
            AnonymousReadShape::Off => Self::Off,
            AnonymousReadShape::Objects => Self::Objects,
            AnonymousReadShape::List => Self::List,
        }
    }
}

/// A retention class for keys that begin so.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetentionRule)]
pub(crate) struct RetentionRuleShape {
    /// The class.
    pub(crate) class: String,
    /// What the keys begin with.
    pub(crate) prefix: String,
}

/// A producer: its settings, and what it holds.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Producer)]
pub(crate) struct ProducerShape {
    /// The producer's name, which is the bucket's.
    name: String,
    /// Whose it is.
    tenant: String,
    /// How many leading segments of a key name its package; 0 makes the whole bucket one package.
    package_depth: u32,
    /// The retention class that new files are given; null for none.
    #[schema(required)]
    retention_class: Option<String>,
    /// Retention classes that new files are given besides, by what their keys begin with.
    retention_rules: Vec<RetentionRuleShape>,
    /// A pattern of relative paths: a file that matches finalizes its package once it is ingested.
    #[schema(required)]
    finalize_marker: Option<String>,
    /// How many seconds without a write finalize a package by themselves.
    #[schema(required)]
    finalize_after_idle_seconds: Option<u64>,
    /// What a write under a finalized package does.
    on_finalized: OnFinalizedShape,
    /// What anyone may read without a key, as long as the bucket has no public access block against it.
    anonymous_read: AnonymousReadShape,
    /// The schema of metadata; always null in this version.
    #[schema(required)]
    schema: Option<String>,
    /// When it was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// The event that created it.
    created_sequence: u64,
    /// How many files have a name now.
    file_count: u64,
    /// Their bytes.
    size_bytes: u64,
    /// How many multipart uploads are open.
    upload_count: u64,
    /// How many revisions of packages there are.
    package_count: u64,
    /// How many of them are finalized.
    finalized_count: u64,
    /// Whether S3's Object Lock is enabled, which cannot be taken back.
    object_lock: bool,
    /// What keeps all that it has, its holds above all.
    kept_by: KeptByShape,
}

impl From<&Producer> for ProducerShape {
    fn from(producer: &Producer) -> Self {
        Self {
            name: producer.name.to_string(),
            tenant: producer.tenant.to_string(),
            package_depth: producer.settings.package_depth,
            retention_class: producer.settings.retention_class.as_ref().map(ToString::to_string),
            retention_rules: producer
                .settings
                .retention_rules
                .iter()
                .map(|rule| RetentionRuleShape { class: rule.class.to_string(), prefix: rule.prefix.clone() })
                .collect(),
            finalize_marker: producer.settings.finalize_marker.clone(),
            finalize_after_idle_seconds: producer.settings.finalize_after_idle_seconds,
            on_finalized: producer.settings.on_finalized.into(),
            anonymous_read: producer.settings.anonymous_read.into(),
            schema: None,
            created_at: producer.created_at.to_string(),
            created_sequence: producer.created_sequence,
            file_count: producer.file_count,
            size_bytes: producer.size_bytes,
            upload_count: producer.upload_count,
            package_count: producer.package_count,
            finalized_count: producer.finalized_count,
            object_lock: producer.object_lock,
            kept_by: (&producer.keeping).into(),
        }
    }
}

/// Whether a package can still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PackageState {
    /// Files may come and go.
    Open,
    /// It is sealed by a manifest.
    Finalized,
}

/// One revision of a package.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Package)]
pub(crate) struct PackageShape {
    /// The revision's identifier, unique everywhere.
    id: String,
    /// The producer.
    producer: String,
    /// The package's name; empty for the root package.
    name: String,
    /// The revision, from 1.
    revision: u32,
    /// Whether it can still change.
    state: PackageState,
    /// When it was opened.
    #[schema(format = DateTime)]
    opened_at: String,
    /// The event that opened it.
    opened_sequence: u64,
    /// When it was last written to.
    #[schema(format = DateTime)]
    changed_at: String,
    /// The last event that changed it, its seal not counted.
    last_sequence: u64,
    /// How many files it has.
    file_count: u64,
    /// Their bytes.
    size_bytes: u64,
    /// When it was finalized.
    #[schema(format = DateTime, required)]
    finalized_at: Option<String>,
    /// The event that finalized it.
    #[schema(required)]
    finalized_sequence: Option<u64>,
    /// The manifest's digest: `blake3:` and the BLAKE3 of its canonical CBOR.
    #[schema(required)]
    manifest_digest: Option<String>,
    /// The size of the manifest's canonical CBOR in bytes.
    #[schema(required)]
    manifest_size_bytes: Option<u64>,
    /// What keeps the package itself; its files may be kept by more.
    kept_by: KeptByShape,
    /// The event that let its files be removed, if one did.
    #[schema(required)]
    released_sequence: Option<u64>,
}

impl From<&Package> for PackageShape {
    fn from(package: &Package) -> Self {
        let seal = package.seal.as_ref();
        Self {
            id: package.id.to_string(),
            producer: package.producer.to_string(),
            name: package.name.to_string(),
            revision: package.revision,
            state: if seal.is_some() { PackageState::Finalized } else { PackageState::Open },
            opened_at: package.opened_at.to_string(),
            opened_sequence: package.opened_sequence,
            changed_at: package.changed_at.to_string(),
            last_sequence: package.last_sequence,
            file_count: package.file_count,
            size_bytes: package.size_bytes,
            finalized_at: seal.map(|seal| seal.finalized_at.to_string()),
            finalized_sequence: seal.map(|seal| seal.sequence),
            manifest_digest: seal.map(|seal| seal.manifest_digest.to_string()),
            manifest_size_bytes: seal.map(|seal| seal.manifest_size_bytes),
            kept_by: (&package.keeping).into(),
            released_sequence: package.released_sequence,
        }
    }
}

/// A checksum that the uploading client declared, and that was verified.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Checksum)]
pub(crate) struct ChecksumShape {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`, `SHA512`, `MD5`, `XXHASH64`, `XXHASH3` or `XXHASH128`.
    algorithm: &'static str,
    /// `FULL_OBJECT`, or `COMPOSITE` for one over the parts' checksums.
    kind: &'static str,
    /// The value in base64, as S3 writes it.
    value: String,
}

/// One version of one key.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileShape {
    /// The event that made this version; also its version id.
    sequence: u64,
    /// The producer.
    producer: String,
    /// The key.
    key: String,
    /// The revision of the package that it was written into.
    package_id: String,
    /// The package's name; empty for the root package.
    package: String,
    /// Its path within the package.
    relative_path: String,
    /// Its size in bytes.
    size_bytes: u64,
    /// `blake3:` and the BLAKE3 of its bytes.
    content_address: String,
    /// The SHA-256 of its bytes.
    sha256: String,
    /// The ETag, without quotes.
    etag: String,
    /// The media type.
    media_type: String,
    /// User metadata, by name without `x-amz-meta-`.
    metadata: BTreeMap<String, String>,
    /// Other headers that are given back as they came.
    headers: BTreeMap<String, String>,
    /// The checksum that the client declared, if it did.
    #[schema(required)]
    checksum: Option<ChecksumShape>,
    /// When it was ingested.
    #[schema(format = DateTime)]
    ingested_at: String,
    /// What the uploading client called itself.
    #[schema(required)]
    client: Option<String>,
    /// The event that superseded or removed it, if one did.
    #[schema(required)]
    ended_sequence: Option<u64>,
    /// What keeps the version itself; its package and its producer may keep it, too.
    kept_by: KeptByShape,
}

impl From<&File> for FileShape {
    fn from(file: &File) -> Self {
        let checksum = file.attributes.checksum.as_ref().map(|declared| ChecksumShape {
            algorithm: declared.checksum.algorithm.name(),
            kind: match declared.kind {
                ChecksumKind::FullObject => "FULL_OBJECT",
                ChecksumKind::Composite => "COMPOSITE",
            },
            value: STANDARD.encode(&declared.checksum.value),
        });
        Self {
            sequence: file.sequence,
            producer: file.name.producer.to_string(),
            key: file.name.key.to_string(),
            package_id: file.package_id.to_string(),
            package: file.package.to_string(),
            relative_path: file.relative_path.clone(),
            size_bytes: file.size_bytes,
            content_address: file.content_address.to_string(),
            sha256: file.sha256.to_hex(),
            etag: file.etag.clone(),
            media_type: file.attributes.media_type.clone(),
            metadata: file.attributes.metadata.0.clone(),
            headers: file.attributes.headers.0.clone(),
            checksum,
            ingested_at: file.ingested_at.to_string(),
            client: file.client.clone(),
            ended_sequence: file.ended_sequence,
            kept_by: (&file.keeping).into(),
        }
    }
}

/// One event of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventShape {
    /// The event's number: gapless, in commit order, from 1.
    pub(crate) sequence: u64,
    /// When it was committed.
    #[schema(format = DateTime)]
    pub(crate) occurred_at: String,
    /// The kind, with its version.
    #[schema(example = "v1.file.ingested")]
    pub(crate) kind: String,
    /// The tenant.
    pub(crate) tenant: String,
    /// The producer that it is about.
    #[schema(required)]
    pub(crate) producer: Option<String>,
    /// The package that it is about, by name.
    #[schema(required)]
    pub(crate) package: Option<String>,
    /// Who asked: an access key, `admin`, `cli` or `gateway`.
    pub(crate) actor: String,
    /// The request's id.
    pub(crate) request_id: String,
    /// The fact itself, as JSON: byte strings are lower-case hex, times are microseconds since 1970 UTC.
    #[schema(value_type = Object)]
    pub(crate) payload: serde_json::Value,
    /// The chain up to and with this event, in lower-case hex.
    pub(crate) hash: String,
}

impl From<&Record> for EventShape {
    fn from(record: &Record) -> Self {
        Self {
            sequence: record.sequence,
            occurred_at: record.occurred_at.to_string(),
            kind: record.kind.clone(),
            tenant: record.tenant.to_string(),
            producer: record.producer.as_ref().map(ToString::to_string),
            package: record.package.as_ref().map(ToString::to_string),
            actor: record.actor.clone(),
            request_id: record.request_id.clone(),
            // A payload that is not canonical is for `verify` to report; the rest of the event is shown all the same.
            payload: cbor::to_json(&record.payload).unwrap_or(serde_json::Value::Null),
            hash: hex::encode(record.hash),
        }
    }
}
