//! What the use cases take and give, beyond the model's own types.

use std::time::Duration;

use artifactstore_backends::dataplane::spi::{BackendStatus, IngestHints, IngestStream};
use artifactstore_backends::digest::Checksum;
use bytes::Bytes;

use crate::clock::Timestamp;
use crate::model::attributes::{Attributes, ChecksumKind};
use crate::model::command::{Removed, WriteCondition};
use crate::model::lifecycle::DayLength;
use crate::model::name::{FileName, Key, PackageId, PackageName, PartNumber, ProducerName, UploadId};
use crate::model::retention::Retention;
use crate::model::row::{File, Listed, ListedVersion, Package, Part, Sequence, Upload, VersionChoice, Versioning};

/// A body and the name it is to have.
pub struct FileUpload {
    /// The name.
    pub name: FileName,
    /// The body; read once, to its end or its first error.
    pub body: IngestStream,
    /// What the client declared of the body.
    pub hints: IngestHints,
    /// What the file will carry; its checksum is filled in from what was verified.
    pub attributes: Attributes,
    /// What it is to be kept by, besides what its producer says.
    pub retention: Retention,
    /// What must hold at the commit.
    pub condition: WriteCondition,
}

/// A file that was ingested, and acknowledged: its bytes are synced and its event is committed.
#[derive(Debug, Clone)]
pub struct FileReceipt {
    /// The file.
    pub file: File,
    /// Whether its content had been stored before.
    pub deduplicated: bool,
    /// Whether its producer keeps versions.
    pub versioning: Versioning,
    /// The package that it finalized, when it was its marker.
    pub finalized: Option<Package>,
}

/// A file, or a document of a package under `.artifact/`, ready to be read.
#[derive(Debug, Clone)]
pub struct FoundFile {
    /// What is known of it. A document has the facts of its bytes and the event that sealed its package.
    pub file: File,
    /// Whether its producer keeps versions.
    pub versioning: Versioning,
    pub(crate) document: Option<Bytes>,
}

/// Which names of a producer to list.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// The producer.
    pub producer: ProducerName,
    /// Only keys that begin so; empty for all.
    pub prefix: String,
    /// Keys that hold this behind the prefix are rolled up to their common prefix.
    pub delimiter: Option<String>,
    /// Only what comes after this key, or after this common prefix.
    pub after: Option<String>,
    /// How many entries at most, files and common prefixes together.
    pub limit: usize,
}

/// A page of names.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The files, in key order.
    pub files: Vec<Listed>,
    /// The common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Where the next page begins, given as [`ListRequest::after`]; `None` at the end.
    pub next: Option<String>,
}

/// Which versions of a producer to list.
#[derive(Debug, Clone)]
pub struct VersionListRequest {
    /// The producer.
    pub producer: ProducerName,
    /// Only keys that begin so; empty for all.
    pub prefix: String,
    /// Keys that hold this behind the prefix are rolled up to their common prefix.
    pub delimiter: Option<String>,
    /// Only what comes after this key, or after this common prefix.
    pub key_marker: Option<String>,
    /// With a key to begin behind: that key's versions which are older than this one still count.
    pub version_marker: Option<VersionChoice>,
    /// How many entries at most.
    pub limit: usize,
}

/// A page of versions.
#[derive(Debug, Clone, Default)]
pub struct VersionListPage {
    /// The versions by key, of one key newest first, each with whether it is what the key stands for now.
    pub versions: Vec<(ListedVersion, bool)>,
    /// The common prefixes, in order.
    pub prefixes: Vec<String>,
    /// The key (or common prefix) and the version where the next page begins; `None` at the end.
    pub next: Option<(String, Option<Sequence>)>,
}

/// A name, or one version of it, to be removed.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The key.
    pub key: Key,
    /// Which version; the name itself when not said.
    pub version: Option<VersionChoice>,
    /// What must hold at the commit.
    pub condition: WriteCondition,
    /// Whether governance does not count; whoever says so must have the permission to.
    pub bypass: bool,
}

/// Which open uploads of a producer to list.
#[derive(Debug, Clone)]
pub struct UploadListRequest {
    /// The producer.
    pub producer: ProducerName,
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that hold this behind the prefix are rolled up.
    pub delimiter: Option<String>,
    /// Only uploads behind this key, or of this key behind this upload when both are given.
    pub key_marker: Option<String>,
    /// See `key_marker`.
    pub upload_marker: Option<UploadId>,
    /// How many entries at most.
    pub limit: usize,
}

/// A page of open uploads.
#[derive(Debug, Clone, Default)]
pub struct UploadListPage {
    /// The uploads, by key and then by when they were created.
    pub uploads: Vec<Upload>,
    /// The common prefixes.
    pub prefixes: Vec<String>,
    /// The key (or common prefix) and the upload where the next page begins; `None` at the end.
    pub next: Option<(String, Option<UploadId>)>,
}

/// A page of an upload's parts.
#[derive(Debug, Clone)]
pub struct PartPage {
    /// The upload.
    pub upload: Upload,
    /// The parts, by number.
    pub parts: Vec<Part>,
    /// Whether more follow.
    pub more: bool,
}

/// A part as the client names it when it completes an upload.
#[derive(Debug, Clone)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum, if the client names one.
    pub checksum: Option<Checksum>,
}

/// What the client asks for when it completes an upload.
#[derive(Debug, Clone)]
pub struct UploadCompletion {
    /// The name that the upload was created for.
    pub name: FileName,
    /// The upload.
    pub upload: UploadId,
    /// The parts, in ascending order.
    pub parts: Vec<CompletedPart>,
    /// What must hold at the commit.
    pub condition: WriteCondition,
    /// The checksum of the whole, if the client declares one: raw value; for a composite one, over the parts'.
    pub checksum: Option<Checksum>,
    /// How the checksum of the whole is made, if the client says so; it is refused unless the upload says the same.
    pub checksum_kind: Option<ChecksumKind>,
    /// The size of the whole in bytes, if the client declares it.
    pub size_bytes: Option<u64>,
}

/// Which packages of a producer to list.
#[derive(Debug, Clone, Default)]
pub struct PackageFilter {
    /// Only this name.
    pub name: Option<PackageName>,
    /// Only finalized ones, or only open ones.
    pub finalized: Option<bool>,
}

/// Where a list of packages goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageCursor {
    /// The last package's name.
    pub name: PackageName,
    /// Its revision.
    pub revision: u32,
}

/// What a re-reading of everything found; one at a time, as it goes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A blob is not whole, or not what its name says.
    BlobDamaged {
        /// The blob, `blake3:<hex>`.
        content_address: String,
        /// What is wrong.
        problem: String,
        /// The files that have it: `producer/key`, version and package; the first of them.
        files: Vec<String>,
        /// The revisions whose manifest it is.
        manifests: Vec<PackageId>,
    },
    /// More files that have a blob which is damaged: as many of these follow as it takes to name all.
    FilesDamaged {
        /// The blob, `blake3:<hex>`.
        content_address: String,
        /// The files: `producer/key`, version and package.
        files: Vec<String>,
    },
    /// A file of a sealed package was erased: its manifest is as it was, and shows the gap. This is no damage.
    FileErased {
        /// The package's revision.
        package: PackageId,
        /// The path within it.
        relative_path: String,
        /// The version.
        version: Sequence,
        /// The event that erased it.
        event: Sequence,
        /// Why.
        reason: String,
    },
    /// A manifest is not what its digest says, or does not agree with the files.
    ManifestDamaged {
        /// The package's revision.
        package: PackageId,
        /// What is wrong.
        problem: String,
    },
    /// The log's chain is broken.
    ChainBroken {
        /// The first event that does not follow from the one before.
        sequence: Sequence,
        /// What is wrong.
        problem: String,
    },
}

/// How many files an answer names at most that tells of many.
pub const FILES_TOLD: usize = 100;

/// How far a long piece of work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pieces done.
    pub done: u64,
    /// Pieces there are.
    pub total: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes there are, where that is known.
    pub total_bytes: u64,
}

/// What was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifySummary {
    /// Blobs read and compared with both digests.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Manifests compared with their digests and their files.
    pub manifests: u64,
    /// Files of sealed packages that were erased, as the log says.
    pub erased: u64,
    /// Events whose chain was followed.
    pub events: u64,
    /// How much of it was found damaged.
    pub damaged: u64,
}

/// A place where the live views and the replayed ones differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The view.
    pub view: String,
    /// The row's key.
    pub key: String,
    /// What is in the live view: the row as JSON, or nothing.
    pub live: Option<serde_json::Value>,
    /// What the replay made.
    pub replayed: Option<serde_json::Value>,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplaySummary {
    /// Events replayed.
    pub events: u64,
    /// Rows of all views.
    pub rows: u64,
    /// The differences found, at most [`DIFFERENCES_LIMIT`] of them.
    pub differences: Vec<Difference>,
}

/// How many differences a replay names at most.
pub const DIFFERENCES_LIMIT: usize = 100;

/// How the registry and what it stands on are.
#[derive(Debug, Clone)]
pub struct Health {
    /// The last event's number; `None` when the database does not answer.
    pub head: Option<Sequence>,
    /// When that event was committed.
    pub head_at: Option<Timestamp>,
    /// How the database, or the log writer before it, is, in one line, when it is not well.
    pub database_problem: Option<String>,
    /// How the backend is.
    pub backend: BackendStatus,
}

impl Health {
    /// Whether files can be ingested and read.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.database_ready() && self.backend.ready
    }

    /// Whether the log can be read and written.
    #[must_use]
    pub const fn database_ready(&self) -> bool {
        self.head.is_some() && self.database_problem.is_none()
    }
}

/// How to collect what nothing keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// How long what is condemned, or was left behind by nobody knows whom, is kept.
    pub grace: Duration,
    /// Only say what would be done now.
    pub dry: bool,
    /// Only while this process has the lease of this work.
    pub under_lease: bool,
}

/// What is being done while it is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectPhase {
    /// Sweeps that broke off are ended.
    Finishing,
    /// Versions are released.
    Releasing,
    /// What nothing uses is condemned.
    Condemning,
    /// What was condemned is swept.
    Sweeping,
    /// The backend is walked for objects that no event names.
    Walking,
}

/// What was collected; of a dry run, what would have been.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CollectSummary {
    /// Versions that let go of their bytes.
    pub released: u64,
    /// Blobs that were condemned.
    pub condemned_blobs: u64,
    /// Chunks that no blob uses, and that were condemned.
    pub condemned_chunks: u64,
    /// Blobs that were swept.
    pub swept_blobs: u64,
    /// Chunks that were swept.
    pub swept_chunks: u64,
    /// Objects that are gone.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects whose backend did not say that they are gone; the next run asks again.
    pub left_objects: u64,
    /// Objects of the backend that were looked at.
    pub examined_objects: u64,
    /// Objects that no event names, and that were noted.
    pub noted_orphans: u64,
    /// Objects that no event named for long enough, and that were swept.
    pub swept_orphans: u64,
    /// Whether nothing was swept because the bytes are being moved to another backend.
    pub waits_for_move: bool,
}

/// What was collected since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectTotals {
    /// Runs that came to their end.
    pub runs: u64,
    /// When the last one did.
    pub last_run: Option<Timestamp>,
    /// Versions that let go of their bytes.
    pub released: u64,
    /// Blobs that were swept.
    pub swept_blobs: u64,
    /// Objects that are gone.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects that no event named, and that were swept.
    pub swept_orphans: u64,
}

/// How to let go what goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRun {
    /// How long the days of lifecycle rules are.
    pub day: DayLength,
    /// Only say what would go now.
    pub dry: bool,
}

/// What went by itself; of a dry run, what would have.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LifecycleSummary {
    /// Producers that have rules in force.
    pub producers_with_rules: u64,
    /// Versions, delete markers and uploads that were looked at.
    pub examined: u64,
    /// Names that were removed, where versions are not kept.
    pub removed_names: u64,
    /// Names behind a new delete marker, where they are.
    pub marked_names: u64,
    /// Versions behind others that were removed.
    pub removed_versions: u64,
    /// Delete markers that were removed.
    pub removed_markers: u64,
    /// Uploads that were given up.
    pub aborted_uploads: u64,
    /// Versions that went because their retention classes say so.
    pub outlived_versions: u64,
    /// What would have gone, and is kept.
    pub kept: u64,
    /// Producers whose rules cannot be understood. Nothing went by those.
    pub unreadable_rules: u64,
}

/// What went by itself since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LifecycleTotals {
    /// Runs that came to their end.
    pub runs: u64,
    /// When the last one did.
    pub last_run: Option<Timestamp>,
    /// Names that were removed, or went behind a delete marker.
    pub expired_names: u64,
    /// Versions and delete markers behind others that were removed, and delete markers with nothing behind them.
    pub removed_versions: u64,
    /// Uploads that were given up.
    pub aborted_uploads: u64,
    /// Versions that went because their retention classes say so.
    pub outlived_versions: u64,
    /// What the last run found kept.
    pub kept_last: u64,
}

/// A blob whose count of references is not what its files and manifests say.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Miscount {
    /// The blob, `blake3:<hex>`.
    pub content_address: String,
    /// What the view says; nothing when there is no such blob.
    pub recorded: Option<u64>,
    /// What was counted.
    pub counted: u64,
}

/// What a recount came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RecountSummary {
    /// Blobs whose references were counted.
    pub blobs: u64,
    /// The references.
    pub references: u64,
    /// How many counts are wrong.
    pub wrong: u64,
}

/// What became of a removal.
pub type RemovalOutcome = crate::error::Result<Removed>;
