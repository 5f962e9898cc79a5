//! Where the log and its views are kept: one trait, a module per dialect of SQL.
//!
//! Invariant: a batch is one transaction; readers see all of it or nothing of it.

mod catalog;
pub mod conformance;
pub mod lease;
pub mod postgres;
pub mod scrubbing;
pub mod sqlite;
pub mod sweeping;
mod view_row;

use std::fmt;
use std::time::Duration;

pub use self::catalog::{FRESH, StoreCatalog};

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

use self::lease::{Lease, Work};
use self::scrubbing::Scrubbing;
use self::sweeping::Sweeping;
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::log::plan::collect::Asked;
use crate::model::access::AccessKey;
use crate::model::event::{Head, Record};
use crate::model::name::{
    AccessKeyId, FileName, Key, KeyMeaning, PackageId, PackageName, ProducerName, TenantName, UploadId,
};
use crate::model::retention::{ClassRow, ClockJump};
use crate::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Listed, ListedVersion, Package, Part, Producer, Sequence, Subresource, Upload,
    VersionChoice,
};
use crate::model::state::{State, Touched};
use crate::model::storage::StorageMove;
use crate::model::sweep::Uses;

/// From how many bytes of payload on a page of events takes no more: an event that carries a manifest may have 16 MiB.
pub const EVENTS_BYTES: i64 = 32 << 20;

/// How a store may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Make it if it is missing, and bring its schema up to date.
    Create,
    /// It must be there, with this program's schema.
    Existing,
}

/// Which migrations a database has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The newest that was found; `None` when there was no database.
    pub found: Option<i64>,
    /// The newest now.
    pub now: i64,
}

/// The views, in the order in which they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Producers.
    Producers,
    /// Packages' revisions.
    Packages,
    /// Names.
    Names,
    /// Versions.
    Files,
    /// What S3 shows of keys besides the files that have their names.
    History,
    /// Configurations of buckets.
    Subresources,
    /// Blobs.
    Blobs,
    /// Chunks.
    Chunks,
    /// Uploads.
    Uploads,
    /// Parts.
    Parts,
    /// Access keys.
    AccessKeys,
    /// Moves of the bytes.
    Moves,
    /// Retention classes.
    Classes,
    /// Jumps of the clock.
    Jumps,
    /// Which blobs of several chunks use a chunk.
    BlobChunks,
    /// Which parts of open uploads use a chunk.
    PartChunks,
    /// Objects that were swept.
    Swept,
    /// Objects that no event named when they were found.
    Orphans,
    /// Passes over all objects.
    Scrubs,
    /// Objects that were found damaged.
    Damaged,
    /// Versions that were erased.
    Erasures,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Producers,
        Self::Packages,
        Self::Names,
        Self::Files,
        Self::History,
        Self::Subresources,
        Self::Blobs,
        Self::Chunks,
        Self::Uploads,
        Self::Parts,
        Self::AccessKeys,
        Self::Moves,
        Self::Classes,
        Self::Jumps,
        Self::BlobChunks,
        Self::PartChunks,
        Self::Swept,
        Self::Orphans,
        Self::Scrubs,
        Self::Damaged,
        Self::Erasures,
    ];

    /// The view's table.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::Producers => "producers",
            Self::Packages => "packages",
            Self::Names => "names",
            Self::Files => "files",
            Self::History => "history",
            Self::Subresources => "subresources",
            Self::Blobs => "blobs",
            Self::Chunks => "chunks",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
            Self::AccessKeys => "access_keys",
            Self::Moves => "storage_moves",
            Self::Classes => "retention_classes",
            Self::Jumps => "clock_jumps",
            Self::BlobChunks => "blob_chunks",
            Self::PartChunks => "part_chunks",
            Self::Swept => "swept_objects",
            Self::Orphans => "orphan_objects",
            Self::Scrubs => "scrub_passes",
            Self::Damaged => "damaged_objects",
            Self::Erasures => "erasures",
        }
    }
}

/// A row of a view, in a form that compares byte for byte whatever the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRow {
    /// The key, in a form that sorts as the view does.
    pub key: Vec<u8>,
    /// The key, for people.
    pub label: String,
    /// The row's canonical CBOR.
    pub row: Vec<u8>,
}

/// A half-open range of keys, in key order.
#[derive(Debug, Clone, Default)]
pub struct KeyRange {
    /// The first key.
    pub from: Option<String>,
    /// Only keys behind this one.
    pub after: Option<String>,
    /// Only keys before this one.
    pub before: Option<String>,
}

/// A range of a producer's versions: by key, and of one key newest first.
#[derive(Debug, Clone, Default)]
pub struct VersionRange {
    /// Which keys.
    pub keys: KeyRange,
    /// Of this key, only versions older than this number.
    pub older: Option<(String, Sequence)>,
}

/// Puts names and history in order: by key, and of one key newest first. Each is whole up to the limit, so that the first
/// of both are the first of all.
pub(crate) fn in_order(mut all: Vec<ListedVersion>, limit: usize) -> Vec<ListedVersion> {
    all.sort_by(|a, b| a.listed.key.cmp(&b.listed.key).then(b.sequence.cmp(&a.sequence)));
    all.truncate(limit);
    all
}

/// The log and its views.
///
/// Absence is an answer: what is not there is `None` or an empty list. Lists are in order and hold at most what was
/// asked for. Dropping a reading future has no effect; dropping a [`Batch`] undoes it.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Begins a batch; waits for the one before.
    async fn begin(&self) -> Result<Box<dyn Batch>>;
    /// Whether batches work, and wait for the disk, on the thread that asks for them. Whoever writes for as long as it
    /// serves then does so on a thread of its own.
    fn blocks(&self) -> bool {
        false
    }
    /// A reading of everything as of now, whatever is written meanwhile.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>>;
    /// An empty store of the same dialect, to rebuild views in; it is gone when dropped.
    async fn scratch(&self) -> Result<Box<dyn Store>>;
    /// Puts the views of a scratch store in the place of these, if both end at the same event; says whether.
    async fn adopt(&self, scratch: &dyn Store) -> Result<bool>;
    /// Where a scratch store can be attached from.
    fn location(&self) -> String;
    /// Changes when the log may have grown, by whoever's doing; a hint, which may be lost. `None` from a store that
    /// does not hear of what others do.
    fn changed(&self) -> Option<watch::Receiver<u64>> {
        None
    }
    /// What is asked by whoever collects what nothing keeps.
    fn sweeping(&self) -> &dyn Sweeping;
    /// What is asked by whoever reads everything again.
    fn scrubbing(&self) -> &dyn Scrubbing;
    /// The time by the clock that all gateways of this store share. `None` from a store that has no clock but theirs.
    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
    /// Closes every connection, having waited for what is under way.
    async fn close(&self);

    /// Takes a lease for so long, if nobody has one that still runs.
    async fn lease_take(&self, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>>;
    /// Lets a lease run for so long from now on, if it still runs; says whether.
    async fn lease_renew(&self, lease: &Lease, term: Duration) -> Result<bool>;
    /// Ends a lease, so that the next one need not wait; one that is over already is let be.
    async fn lease_end(&self, lease: &Lease) -> Result<()>;

    /// Where the log ends.
    async fn head(&self) -> Result<Head>;
    /// Events behind `since`: as many as that, or fewer when they have more than [`EVENTS_BYTES`]; none only when
    /// there is none.
    async fn events(&self, since: Sequence, limit: usize) -> Result<Vec<Record>>;

    /// A producer.
    async fn producer(&self, name: &ProducerName) -> Result<Option<Producer>>;
    /// Producers behind `after`, of one tenant or of all.
    async fn producers(
        &self,
        tenant: Option<&TenantName>,
        after: Option<&ProducerName>,
        limit: usize,
    ) -> Result<Vec<Producer>>;

    /// The version that has a name now.
    async fn file(&self, name: &FileName) -> Result<Option<File>>;
    /// Versions by number; those that do not exist are left out.
    async fn versions(&self, sequences: &[Sequence]) -> Result<Vec<File>>;
    /// The names that there are now, by key, with what a listing tells of their versions.
    async fn names(&self, producer: &ProducerName, range: &KeyRange, limit: usize) -> Result<Vec<Listed>>;
    /// What S3 shows of a producer's keys, delete markers and versions without a name among it.
    async fn names_and_history(
        &self,
        producer: &ProducerName,
        range: &VersionRange,
        limit: usize,
    ) -> Result<Vec<ListedVersion>>;
    /// An entry of a key's history: this version, or the newest.
    async fn history(&self, name: &FileName, version: Option<VersionChoice>) -> Result<Option<HistoryRow>>;
    /// A configuration of a bucket.
    async fn subresource(&self, producer: &ProducerName, name: Subresource) -> Result<Option<String>>;
    /// The versions that have names in a package now, by key.
    async fn members(
        &self,
        producer: &ProducerName,
        package: &PackageName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<File>>;

    /// What a write asks before its body is read: the producer of a name, and the latest revision of the package that
    /// the name is in. No package for a name that is reserved.
    async fn writing(&self, name: &FileName) -> Result<Option<(Producer, Option<Package>)>> {
        writing(self, name).await
    }
    /// What a read asks: the producer of a name, and the version that has the name now.
    async fn reading(&self, name: &FileName) -> Result<Option<(Producer, Option<File>)>> {
        reading(self, name).await
    }

    /// A package's revision.
    async fn package(&self, id: &PackageId) -> Result<Option<Package>>;
    /// The latest revision of a package.
    async fn package_latest(&self, producer: &ProducerName, name: &PackageName) -> Result<Option<Package>>;
    /// Revisions of a producer's packages, by name and revision.
    async fn packages(
        &self,
        producer: &ProducerName,
        filter: &PackageFilter,
        after: Option<&PackageCursor>,
        limit: usize,
    ) -> Result<Vec<Package>>;
    /// Open packages that have files and that nobody wrote to since then.
    async fn packages_idle(&self, producer: &ProducerName, since: Timestamp, limit: usize) -> Result<Vec<Package>>;

    /// A blob.
    async fn blob(&self, address: &ContentAddress) -> Result<Option<Blob>>;
    /// A blob, and where its chunks lie, in the order of its recipe.
    async fn blob_located(&self, address: &ContentAddress) -> Result<Option<(Blob, Vec<Option<ChunkPlace>>)>> {
        blob_located(self, address).await
    }
    /// Blobs behind `after`, by address.
    async fn blobs(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<Blob>>;
    /// How many blobs there are, and their bytes.
    async fn blobs_total(&self) -> Result<(u64, u64)>;
    /// The versions that have a blob, behind a number, by number.
    async fn files_of_blob(&self, address: &ContentAddress, after: Sequence, limit: usize) -> Result<Vec<File>>;
    /// Where chunks were recorded to lie, in the order asked for.
    async fn locations(&self, chunks: &[ContentAddress]) -> Result<Vec<Option<ChunkPlace>>>;
    /// The moves of the bytes, in the order in which they began.
    async fn moves(&self) -> Result<Vec<StorageMove>>;
    /// Versions that are kept by something of their own, behind a number.
    async fn files_kept(&self, after: Sequence, limit: usize) -> Result<Vec<File>>;
    /// Packages' revisions that are kept by something of their own, by identifier.
    async fn packages_kept(&self, after: Option<&PackageId>, limit: usize) -> Result<Vec<Package>>;
    /// All retention classes, by name, and all jumps of the clock, by event.
    async fn retention(&self) -> Result<(Vec<ClassRow>, Vec<ClockJump>)>;
    /// Whether a location names each object, in the order asked for.
    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>>;

    /// An upload.
    async fn upload(&self, id: &UploadId) -> Result<Option<Upload>>;
    /// Open uploads by key and id, behind a place.
    async fn uploads(
        &self,
        producer: &ProducerName,
        range: &KeyRange,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Upload>>;
    /// Parts behind a number, by number.
    async fn parts(&self, upload: &UploadId, after: u32, limit: usize) -> Result<Vec<Part>>;

    /// An access key.
    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>>;
    /// Access keys behind `after`, by identifier.
    async fn access_keys(&self, after: Option<&AccessKeyId>, limit: usize) -> Result<Vec<AccessKey>>;
}

/// By one question after another.
async fn writing<S: Store + ?Sized>(store: &S, name: &FileName) -> Result<Option<(Producer, Option<Package>)>> {
    let Some(producer) = store.producer(&name.producer).await? else { return Ok(None) };
    let package = match name.key.meaning(producer.settings.package_depth) {
        KeyMeaning::File { package, .. } => store.package_latest(&name.producer, &package).await?,
        KeyMeaning::Reserved { .. } => None,
    };
    Ok(Some((producer, package)))
}

/// By one question after another.
async fn reading<S: Store + ?Sized>(store: &S, name: &FileName) -> Result<Option<(Producer, Option<File>)>> {
    let Some(producer) = store.producer(&name.producer).await? else { return Ok(None) };
    Ok(Some((producer, store.file(name).await?)))
}

/// By one question after another.
async fn blob_located<S: Store + ?Sized>(
    store: &S,
    address: &ContentAddress,
) -> Result<Option<(Blob, Vec<Option<ChunkPlace>>)>> {
    let Some(blob) = store.blob(address).await? else { return Ok(None) };
    let chunks: Vec<ContentAddress> = blob.recipe.chunks.iter().map(|chunk| chunk.address).collect();
    let locations = store.locations(&chunks).await?;
    Ok(Some((blob, locations)))
}

/// One transaction of the log writer, or of a replay.
#[async_trait]
pub trait Batch: Send {
    /// Where the log ends, as of this batch.
    fn head(&self) -> Head;
    /// The time as of this batch, as [`Store::time`] tells it.
    fn time(&self) -> Option<Timestamp> {
        None
    }
    /// Whether a lease still runs. One that does cannot be taken over before this batch has ended.
    async fn lease_runs(&mut self, lease: &Lease) -> Result<bool>;
    /// Loads what the state does not have yet.
    async fn load(&mut self, touched: Touched, state: &mut State) -> Result<()>;
    /// What a step of a collection is decided by besides rows, as the database has it.
    async fn uses(&mut self, asked: &Asked) -> Result<Uses>;
    /// Whether an object of a sweep is not known to be gone.
    async fn sweeping(&mut self) -> Result<bool>;
    /// As [`Sweeping::still_keeps`], as of this batch.
    async fn still_keeps(&mut self, producer: &ProducerName) -> Result<bool>;
    /// Writes events, the new head and every changed row.
    async fn write(&mut self, records: &[Record], head: Head, state: &State) -> Result<()>;
    /// Commits; only now is any of it there.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// A reading of everything as of one event.
#[async_trait]
pub trait Snapshot: Send {
    /// Where the log ends, as of this snapshot.
    async fn head(&mut self) -> Result<Head>;
    /// Events behind `since`, as [`Store::events`] gives them.
    async fn events(&mut self, since: Sequence, limit: usize) -> Result<Vec<Record>>;
    /// A view's rows, in the order of their keys.
    fn view(&mut self, view: View) -> BoxStream<'_, Result<ViewRow>>;
}
