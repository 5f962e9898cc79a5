//! What the registry can be asked to record. A command is a message to the log writer; it lives in no request.

mod scrubbing;

pub use scrubbing::{Examined, ScrubStep};

use artifactstore_backends::dataplane::spi::IngestResult;
use artifactstore_backends::digest::{Checksum, ContentAddress, ObjectKey, Sha256Digest};
use artifactstore_backends::recipe::{LocatedChunk, Recipe};

use super::access::{AccessKey, Grant};
use super::attributes::{Attributes, UploadAttributes};
use super::cbor::TextMap;
use super::event::{CopySource, Event, ObjectAt, PackageFinalized};
use super::lifecycle::Expiry;
use super::name::{
    AccessKeyId, ClassName, FileName, HoldName, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId,
};
use super::retention::{ClassRow, ClockJump, LockTerms, Mode, Period, Retention, RetentionClass};
use super::row::{
    File, Package, Part, Producer, ProducerSettings, Sequence, Subresource, Upload, VersionChoice, Versioning,
};
use super::scrub::ScrubPass;
use super::storage::{Storage, StorageMove};
use crate::clock::Timestamp;

/// A condition that the state of the name must meet at the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// `If-None-Match: *`: there is no such key.
    pub absent: bool,
    /// `If-Match`: the key's file has one of these ETags (without quotes); `*` fits any.
    pub if_match: Option<Vec<String>>,
    /// `If-None-Match` with ETags: the key's file has none of them.
    pub if_none_match: Option<Vec<String>>,
    /// The key's file has this size in bytes.
    pub size_bytes: Option<u64>,
    /// The key's file was ingested within this second.
    pub ingested_second: Option<i64>,
    /// Writing the key finalizes no package: whoever writes it may not do that.
    pub finalizes_nothing: bool,
}

impl WriteCondition {
    /// Whether there is anything to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Content that is stored, and that a command wants to give a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The blob.
    pub content_address: ContentAddress,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its chunks; `None` when the caller knows the blob to be recorded already.
    pub recipe: Option<Recipe>,
    /// The chunks that were just written, and where.
    pub written: Vec<LocatedChunk>,
}

/// A file to be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIngest {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub content: Content,
    /// Its ETag, without quotes.
    pub etag: String,
    /// What it carries.
    pub attributes: Attributes,
    /// What it is to be kept by, besides what its producer says.
    pub retention: Retention,
    /// What must hold at the commit.
    pub condition: WriteCondition,
    /// The upload that it comes by, and the last event that had changed its parts when they were joined.
    pub upload: Option<(UploadId, Sequence)>,
    /// Where it is copied from, when it is a copy.
    pub copied_from: Option<CopySource>,
    /// The identifier of the package's revision, should this open one.
    pub fresh_package: PackageId,
    /// Should its path match the producer's marker.
    pub finalize: FinalizeFacts,
}

/// What a manifest says of the program that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizeFacts {
    /// The program's version.
    pub gateway_version: String,
    /// The name of the backend.
    pub backend: String,
}

impl FinalizeFacts {
    /// The same, with the backend that bytes are written to since the store was moved.
    #[must_use]
    pub fn written_to(&self, storage: &Storage) -> Self {
        let backend = storage.written_to().unwrap_or(&self.backend).to_owned();
        Self { backend, gateway_version: self.gateway_version.clone() }
    }
}

/// Which package to finalize.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageChoice {
    /// The latest revision under this name.
    Name(ProducerName, PackageName),
    /// Exactly this revision.
    Id(PackageId),
}

/// What something is to be kept by is said of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectChoice {
    /// A version of a file; the one that has the name when not said.
    File(FileName, Option<VersionChoice>),
    /// A revision of a package.
    Package(PackageId),
    /// A producer.
    Producer(ProducerName),
}

/// How to change what keeps a package or a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionChange {
    /// Give it a class, besides those that it has.
    Class(ClassName),
    /// Lock it on these terms, in the place of any other lock, or take the lock from it.
    Lock(Option<LockTerms>),
}

/// What the registry can be asked to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Create a producer.
    ProducerCreate {
        /// Its name.
        producer: ProducerName,
        /// Its settings.
        settings: ProducerSettings,
        /// Whether S3's Object Lock is enabled for it, and with that versioning.
        object_lock: bool,
    },
    /// Replace a producer's settings.
    ProducerConfigure {
        /// Its name.
        producer: ProducerName,
        /// Its settings from now on.
        settings: ProducerSettings,
    },
    /// Delete an empty producer.
    ProducerDelete {
        /// Its name.
        producer: ProducerName,
    },
    /// Name a file.
    FileIngest(Box<FileIngest>),
    /// Replace what a file carries.
    FileDescribe {
        /// Its name.
        name: FileName,
        /// The version that has it, of which what is replaced was read.
        version: Sequence,
        /// What it carries from now on; its checksum and parts stay.
        attributes: Box<Attributes>,
        /// What it is to be kept by, besides what its producer says.
        retention: Retention,
        /// What must hold at the commit.
        condition: WriteCondition,
        /// The identifier of the package's revision, should this open one.
        fresh_package: PackageId,
    },
    /// Remove a name. Removing one that is not there records nothing.
    FileRemove {
        /// The name.
        name: FileName,
        /// What must hold at the commit.
        condition: WriteCondition,
        /// Whether governance does not count.
        bypass: bool,
        /// The identifier of the package's revision, should this open one.
        fresh_package: PackageId,
    },
    /// Delete one version of a key, or one delete marker. One that is not there records nothing.
    VersionRemove {
        /// The name.
        name: FileName,
        /// Which version.
        version: VersionChoice,
        /// What must hold of this version at the commit.
        condition: WriteCondition,
        /// Whether governance does not count.
        bypass: bool,
        /// The identifier of the package's revision, should this open one.
        fresh_package: PackageId,
        /// Only say what would be recorded.
        dry: bool,
    },
    /// Replace a version's tags; the same tags again record nothing.
    FileTag {
        /// The name.
        name: FileName,
        /// Which version; the one that has the name when not said.
        version: Option<VersionChoice>,
        /// Its tags from now on.
        tags: TextMap,
    },
    /// Keep versions in S3's sight, or cease to; the same again records nothing.
    VersioningSet {
        /// The producer.
        producer: ProducerName,
        /// Whether to.
        versioning: Versioning,
    },
    /// Set or remove a configuration of a bucket; what is so already records nothing.
    SubresourceSet {
        /// The producer.
        producer: ProducerName,
        /// Which.
        name: Subresource,
        /// What it is from now on; nothing to remove it.
        document: Option<String>,
    },
    /// Begin a multipart upload.
    UploadCreate {
        /// Its identifier.
        upload: UploadId,
        /// The name that the file will have.
        name: FileName,
        /// What it is created with.
        attributes: Box<UploadAttributes>,
    },
    /// Record a part.
    PartIngest {
        /// The upload.
        upload: UploadId,
        /// The name that the upload was created for.
        name: FileName,
        /// The part's number.
        number: PartNumber,
        /// What the data plane stored.
        stored: Box<IngestResult>,
        /// Its verified checksum.
        checksum: Option<Checksum>,
        /// Where it is copied from, when it is a copy.
        copied_from: Option<CopySource>,
    },
    /// Give up an upload.
    UploadAbort {
        /// The upload.
        upload: UploadId,
        /// The name that the upload was created for.
        name: FileName,
    },
    /// Make an access key.
    KeyCreate {
        /// Its identifier.
        id: AccessKeyId,
        /// Whose it is to be.
        tenant: TenantName,
        /// What it may do.
        grants: Vec<Grant>,
        /// Its secret, sealed.
        sealed: Vec<u8>,
    },
    /// Give an access key another secret.
    KeyRotate {
        /// The key.
        id: AccessKeyId,
        /// Its secret from now on, sealed.
        sealed: Vec<u8>,
    },
    /// Revoke an access key.
    KeyRevoke {
        /// The key.
        id: AccessKeyId,
    },
    /// Finalize a package. Doing it again answers the same and records nothing.
    PackageFinalize {
        /// Which.
        package: PackageChoice,
        /// Only if nobody wrote to it since then.
        idle_since: Option<Timestamp>,
        /// What the manifest says of the program.
        facts: FinalizeFacts,
        /// The seal, when it was made before the batch; without, it is made within.
        prepared: Option<Box<PreparedSeal>>,
    },
    /// Begin to move the bytes: write to another backend. Doing it again answers the same and records nothing.
    StorageDirect {
        /// The backend that is written to now, as whoever asks knows it.
        from: String,
        /// The backend to write to.
        to: String,
    },
    /// Record nothing more in the backend that a move leaves.
    StorageClose {
        /// The event that began the move.
        begun: Sequence,
    },
    /// End a move: everything is served from its new place.
    StorageEnd {
        /// The event that began the move.
        begun: Sequence,
    },
    /// Enable S3's Object Lock for a producer that keeps versions, and say what its new files are kept by.
    LockConfigure {
        /// The producer.
        producer: ProducerName,
        /// How firmly and how long, from their ingest; not at all when nothing is said.
        default: Option<(Mode, Period)>,
    },
    /// Make a retention class, or change one. What it is already records nothing.
    ClassSet {
        /// Its name.
        name: ClassName,
        /// What it is from now on.
        class: RetentionClass,
        /// Whether it may keep less than it did, where it says that it may be shortened.
        bypass: bool,
        /// Why.
        reason: String,
    },
    /// Change what keeps a package or a version. What is so already records nothing.
    RetentionSet {
        /// Which.
        subject: SubjectChoice,
        /// How.
        change: RetentionChange,
        /// Whether governance does not count.
        bypass: bool,
        /// Why.
        reason: String,
    },
    /// Place a hold; one that is there already stays as it is.
    HoldPlace {
        /// On what.
        subject: SubjectChoice,
        /// Its name.
        name: HoldName,
        /// Why.
        reason: String,
    },
    /// Release a hold; one that is not there records nothing.
    HoldRelease {
        /// Of what.
        subject: SubjectChoice,
        /// Its name.
        name: HoldName,
        /// Why.
        reason: String,
    },
    /// Let the files of a finalized package be removed, once nothing else keeps it.
    PackageRelease {
        /// The revision.
        package: PackageId,
        /// Why.
        reason: String,
        /// Only say what would be recorded.
        dry: bool,
    },
    /// Say of a jump of the clock whether the clock was right, so that expiry goes on.
    ClockSettle {
        /// The event that recorded it.
        jump: Sequence,
        /// Whether the clock was right.
        genuine: bool,
        /// Why.
        reason: String,
    },
    /// A step of collecting what nothing keeps. What of it may not be is left out, and what is done already.
    Collect {
        /// The step.
        step: Box<CollectStep>,
        /// Only say what would be recorded.
        dry: bool,
    },
    /// Erase the bytes of a version, where nothing forbids it. Done again, it records nothing.
    Erase {
        /// What, and why.
        erase: Box<Erase>,
        /// Only say what would be recorded.
        dry: bool,
    },
    /// Let something go by itself, as somebody who asks for it would delete it. What is not over any more, or gone
    /// already, records nothing.
    Expire {
        /// The name.
        name: FileName,
        /// What goes, and why.
        expiry: Box<Expiry>,
        /// Only say what would be recorded.
        dry: bool,
    },
    /// Note what is known of the time, if the log was not told for long, or believes what is known.
    ClockNote {
        /// Whether this process ends now, and nobody will know for a while.
        ends: bool,
    },
    /// A step of reading everything again. What of it is so already, or is not any more, records nothing.
    Scrub(Box<ScrubStep>),
}

/// What is to be erased, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erase {
    /// The name.
    pub name: FileName,
    /// Which version; the one that has the name when not said.
    pub version: Option<VersionChoice>,
    /// Why.
    pub reason: String,
    /// Who demanded it, if that is to be known.
    pub requested_by: String,
    /// Whether all versions that have the same bytes are meant, too.
    pub all_copies: bool,
    /// Whether governance does not count.
    pub bypass: bool,
}

/// A step of collecting what nothing keeps. Whoever asks has looked without a lock: each step looks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectStep {
    /// Let versions go that S3 shows no more and that nothing keeps.
    Release {
        /// The versions.
        versions: Vec<Sequence>,
    },
    /// Condemn what nothing uses.
    Condemn {
        /// Blobs.
        blobs: Vec<ContentAddress>,
        /// Chunks.
        chunks: Vec<ContentAddress>,
    },
    /// Begin to sweep what was condemned, or noted, for so long. Of blobs of several chunks only the first is taken.
    Sweep {
        /// Blobs.
        blobs: Vec<ContentAddress>,
        /// Chunks.
        chunks: Vec<ContentAddress>,
        /// Orphans.
        orphans: Vec<ObjectKey>,
        /// How long, in microseconds.
        grace_micros: i64,
    },
    /// Record that objects of sweeps are gone.
    End {
        /// The objects.
        objects: Vec<ObjectKey>,
    },
    /// Begin to sweep a condemned blob at once, if all objects go with it in which bytes of it lie that nothing else uses.
    Expunge {
        /// The blob.
        blob: ContentAddress,
    },
    /// Record that chunks which lay in an object lie elsewhere, so that it can go.
    Relocate {
        /// The object.
        from: ObjectKey,
        /// The chunks, and where they lie.
        chunks: Vec<LocatedChunk>,
    },
    /// Note objects that no event names.
    Note {
        /// The objects.
        objects: Vec<ObjectAt>,
    },
}

/// A seal that was made before the batch that is to record it, because making it takes long. It counts only if nobody
/// wrote to the package since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedSeal {
    /// The revision.
    pub package_id: PackageId,
    /// The last event that had changed the package before its names were read.
    pub last_sequence: Sequence,
    /// The seal.
    pub fact: PackageFinalized,
}

impl Command {
    /// Whether it creates, configures or deletes a producer, so that other commands may touch other rows behind it.
    #[must_use]
    pub const fn is_about_a_producer(&self) -> bool {
        matches!(
            self,
            Self::ProducerCreate { .. }
                | Self::ProducerConfigure { .. }
                | Self::ProducerDelete { .. }
                | Self::VersioningSet { .. }
                | Self::LockConfigure { .. }
        )
    }
}

impl Command {
    /// Whether it is decided by what no key says, so that it has its batch for itself: what commands before it in a batch
    /// changed is not in the database yet.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::Collect { .. }
                | Self::Erase { .. }
                | Self::Scrub(_)
                | Self::StorageDirect { .. }
                | Self::ProducerDelete { .. }
        )
    }

    /// Of a command that is answered with the events that it makes: whether it only says which it would make. Some are
    /// answered so only then.
    #[must_use]
    pub const fn tells_events(&self) -> Option<bool> {
        match self {
            Self::Collect { dry, .. } | Self::Erase { dry, .. } | Self::Expire { dry, .. } => Some(*dry),
            Self::VersionRemove { dry: true, .. } | Self::PackageRelease { dry: true, .. } => Some(true),
            _ => None,
        }
    }
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// The last event that recorded it; `None` when there was nothing to remove.
    pub sequence: Option<Sequence>,
    /// The delete marker that was made, or that was itself removed.
    pub marker: Option<Sequence>,
    /// Whether the producer keeps versions.
    pub versioning: Versioning,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The producer as it is now.
    Producer(Box<Producer>),
    /// It is gone.
    Deleted,
    /// The file as it is now, and whether its content had been recorded before.
    File {
        /// The file.
        file: Box<File>,
        /// Whether the blob had been recorded before.
        deduplicated: bool,
        /// Whether its producer keeps versions.
        versioning: Versioning,
        /// The package, when the file was its marker and finalized it.
        finalized: Option<Box<Package>>,
        /// The package, when the file is its marker and it is too large to be finalized in the same batch.
        to_finalize: Option<PackageId>,
    },
    /// What was removed.
    Removed(Removed),
    /// The version that was tagged, or is kept otherwise, as it is now.
    Tagged(Box<File>),
    /// The upload as it is now.
    Upload(Box<Upload>),
    /// The part as it is now.
    Part(Box<Part>),
    /// The access key as it is now.
    Key(Box<AccessKey>),
    /// The package as it is now.
    Package(Box<Package>),
    /// The move as it is now.
    Storage(Box<StorageMove>),
    /// The class as it is now.
    Class(Box<ClassRow>),
    /// The jump as it is now.
    Clock(Box<ClockJump>),
    /// What a step of a collection, an erasure or an expiry recorded, or what a command would record that was only asked.
    Collected(Vec<Event>),
    /// The time was noted, or is known well enough.
    Noted,
    /// The newest pass over all objects as it is now.
    Scrubbed(Option<Box<ScrubPass>>),
}
