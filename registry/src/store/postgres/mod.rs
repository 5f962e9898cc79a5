//! The store on PostgreSQL: for any number of gateways, and more events than one machine holds.
//!
//! Every gateway gathers its own commands into batches; a batch locks the one row that says where the log ends. Readers
//! ask on connections of their own. A commit that was acknowledged is on the server's disk.

mod batch;
mod cells;
mod collect;
mod connections;
mod follow;
mod leases;
mod load;
mod open;
mod partitions;
mod reads;
mod rows;
mod scratch;
mod scrub;
mod snapshot;
mod statement;
mod write;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::Chunk;
use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgRow};
use tokio::sync::watch;

use self::connections::Connections;
use self::follow::Follower;
use self::rows::Cells;
use self::scratch::Scratch;
use self::statement::{Shape, Statement};
use super::lease::{Lease, Work};
use super::scrubbing::Scrubbing;
use super::sweeping::Sweeping;
use super::{Batch, KeyRange, OpenMode, Schema, Snapshot, Store, VersionRange, in_order};
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::log::decide::PACKAGE_DEPTH_LIMIT;
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

/// How many connections read at once.
const READERS: u32 = 12;
/// How many read everything as of one event; each is at work for long.
const SNAPSHOTS: u32 = 4;

/// A registry in a database.
#[derive(Debug)]
pub struct PostgresStore {
    url: String,
    schema: Schema,
    /// One: a process has one batch under way.
    writer: Connections,
    readers: Connections,
    snapshots: Connections,
    /// Up to which event there are partitions for certain.
    partitioned_until: Arc<AtomicU64>,
    follower: Option<Follower>,
    scratch: Mutex<Option<Scratch>>,
    location: String,
}

impl PostgresStore {
    /// Opens the registry in this database; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be opened, is newer than this program, or, with [`OpenMode::Existing`], missing or older.
    pub async fn open(url: &str, mode: OpenMode) -> Result<Self> {
        let (options, schema) = open::prepare(open::understand(url)?, mode).await?;
        let follower = Some(Follower::start(options.clone()));
        Ok(Self::over(options, schema, follower, None))
    }

    fn over(options: PgConnectOptions, schema: Schema, follower: Option<Follower>, scratch: Option<Scratch>) -> Self {
        let url = open::shown(&options);
        Self {
            location: scratch.as_ref().map_or_else(|| url.clone(), |scratch| scratch.schema.clone()),
            url,
            schema,
            writer: Connections::new(options.clone(), 1),
            readers: Connections::new(options.clone(), READERS),
            snapshots: Connections::new(options, SNAPSHOTS),
            partitioned_until: Arc::new(AtomicU64::new(0)),
            follower,
            scratch: Mutex::new(scratch),
        }
    }

    /// The schema that was found when it was opened, and the one it has now.
    #[must_use]
    pub const fn schema(&self) -> Schema {
        self.schema
    }

    /// Where it is, without secrets.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was asked for by key, in one go.
    async fn ask(&self, touched: Touched) -> Result<State> {
        match load::question(&touched)? {
            Some(statement) => load::answer(&touched, &self.readers.rows(statement).await?),
            None => load::answer(&touched, &[]),
        }
    }

    /// A list of rows of one table.
    async fn list<R>(&self, asked: Statement, shape: &Shape, row: fn(&Cells<'_>) -> Result<R>) -> Result<Vec<R>> {
        listed(&self.readers.rows(asked).await?, shape, row)
    }

    fn take_scratch(&self) -> Option<Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn listed<R>(rows: &[PgRow], shape: &Shape, row: fn(&Cells<'_>) -> Result<R>) -> Result<Vec<R>> {
    rows.iter().map(|found| row(&Cells::narrow(shape, found))).collect()
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let (Some(scratch), Ok(runtime)) = (self.take_scratch(), tokio::runtime::Handle::try_current()) {
            // Should the process end before it is done, whoever opens the registry next does it.
            runtime.spawn(scratch.drop_schema());
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn begin(&self) -> Result<Box<dyn Batch>> {
        let partitioned_until = Arc::clone(&self.partitioned_until);
        Ok(Box::new(batch::PostgresBatch::begin(&self.writer, partitioned_until).await?))
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(snapshot::PostgresSnapshot::begin(&self.snapshots).await?))
    }

    async fn scratch(&self) -> Result<Box<dyn Store>> {
        let mut scratch = Scratch::make(self.writer.options()).await?;
        let options = scratch::within(self.writer.options(), &scratch.schema);
        open::run_migrations(&options, &self.url).await?;
        open::read_uses(&options, &self.url).await?;
        scratch.lighten().await?;
        Ok(Box::new(Self::over(options, self.schema, None, Some(scratch))))
    }

    async fn adopt(&self, scratch: &dyn Store) -> Result<bool> {
        let batch = batch::PostgresBatch::begin(&self.writer, Arc::clone(&self.partitioned_until)).await?;
        batch.adopt(&scratch.location()).await
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn changed(&self) -> Option<watch::Receiver<u64>> {
        self.follower.as_ref().map(Follower::heard)
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        let rows = self.readers.rows(Statement::plain(format!("SELECT {}", statement::NOW_MICROS))).await?;
        Ok(rows.first().map(|row| row.try_get(0).map(Timestamp)).transpose()?)
    }

    async fn lease_take(&self, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
        leases::take(&self.readers, work, holder, term).await
    }

    async fn lease_renew(&self, lease: &Lease, term: Duration) -> Result<bool> {
        leases::renew(&self.readers, lease, term).await
    }

    async fn lease_end(&self, lease: &Lease) -> Result<()> {
        leases::end(&self.readers, lease).await
    }

    fn sweeping(&self) -> &dyn Sweeping {
        self
    }

    fn scrubbing(&self) -> &dyn Scrubbing {
        self
    }

    async fn close(&self) {
        if let Some(follower) = &self.follower {
            follower.stop();
        }
        for connections in [&self.writer, &self.readers, &self.snapshots] {
            connections.close().await;
        }
        if let Some(scratch) = self.take_scratch()
            && let Err(error) = scratch.drop_schema().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a scratch schema is left for the next start");
        }
    }

    async fn head(&self) -> Result<Head> {
        let rows = self.readers.rows(Statement::plain(rows::HEAD)).await?;
        rows.first().map_or(Err(Error::RegistryMissing { url: self.url.clone() }), rows::head)
    }

    async fn events(&self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        self.readers.rows(reads::events(since, limit)?).await?.iter().map(rows::record).collect()
    }

    async fn writing(&self, name: &FileName) -> Result<Option<(Producer, Option<Package>)>> {
        let mut touched = Touched { producers: [name.producer.clone()].into(), ..Touched::default() };
        // Which of them it is, the producer's settings say, which are asked for at the same time.
        touched.latest = (0..=PACKAGE_DEPTH_LIMIT)
            .filter_map(|depth| match name.key.meaning(depth) {
                KeyMeaning::File { package, .. } => Some((name.producer.clone(), package)),
                KeyMeaning::Reserved { .. } => None,
            })
            .collect();
        let state = self.ask(touched).await?;
        let Some(producer) = state.producers.get(&name.producer) else { return Ok(None) };
        let package = state.package_of(name).and_then(|(key, _)| state.package_latest(&key).cloned());
        Ok(Some((producer.clone(), package)))
    }

    async fn reading(&self, name: &FileName) -> Result<Option<(Producer, Option<File>)>> {
        let producers = [name.producer.clone()].into();
        let state = self.ask(Touched { producers, names: [name.clone()].into(), ..Touched::default() }).await?;
        let producer = state.producers.get(&name.producer);
        Ok(producer.map(|producer| (producer.clone(), state.file_current(name).cloned())))
    }

    async fn blob_located(&self, address: &ContentAddress) -> Result<Option<(Blob, Vec<Option<ChunkPlace>>)>> {
        // The one chunk of a small blob has the blob's address, so that asking for both at once mostly suffices.
        let (blobs, chunks) = ([*address].into(), [*address].into());
        let state = self.ask(Touched { blobs, chunks, ..Touched::default() }).await?;
        let Some(blob) = state.blobs.get(address).cloned() else { return Ok(None) };
        let rest: Vec<ContentAddress> = blob.recipe.chunks.iter().map(|chunk| chunk.address).collect();
        let locations = if rest == [*address] {
            let place = |chunk: &Chunk| state.chunks.get(&chunk.address).cloned();
            blob.recipe.chunks.iter().map(place).collect()
        } else {
            self.locations(&rest).await?
        };
        Ok(Some((blob, locations)))
    }

    async fn producer(&self, name: &ProducerName) -> Result<Option<Producer>> {
        let state = self.ask(Touched { producers: [name.clone()].into(), ..Touched::default() }).await?;
        Ok(state.producers.get(name).cloned())
    }

    async fn producers(
        &self,
        tenant: Option<&TenantName>,
        after: Option<&ProducerName>,
        limit: usize,
    ) -> Result<Vec<Producer>> {
        self.list(reads::producers(tenant, after, limit)?, &rows::PRODUCER, rows::producer).await
    }

    async fn file(&self, name: &FileName) -> Result<Option<File>> {
        let state = self.ask(Touched { names: [name.clone()].into(), ..Touched::default() }).await?;
        Ok(state.file_current(name).cloned())
    }

    async fn versions(&self, sequences: &[Sequence]) -> Result<Vec<File>> {
        let files: BTreeSet<Sequence> = sequences.iter().copied().collect();
        let state = self.ask(Touched { files: files.clone(), ..Touched::default() }).await?;
        Ok(files.iter().filter_map(|sequence| state.files.get(sequence).cloned()).collect())
    }

    async fn names(&self, producer: &ProducerName, range: &KeyRange, limit: usize) -> Result<Vec<Listed>> {
        self.list(reads::names(producer, range, limit)?, &rows::LISTED, rows::listed).await
    }

    async fn names_and_history(
        &self,
        producer: &ProducerName,
        range: &VersionRange,
        limit: usize,
    ) -> Result<Vec<ListedVersion>> {
        let asked = reads::names_and_history(producer, range, limit)?;
        Ok(in_order(self.list(asked, &rows::LISTED_VERSION, rows::listed_version).await?, limit))
    }

    async fn history(&self, name: &FileName, version: Option<VersionChoice>) -> Result<Option<HistoryRow>> {
        Ok(self.list(reads::history(name, version)?, &rows::HISTORY, rows::history).await?.pop())
    }

    async fn subresource(&self, producer: &ProducerName, name: Subresource) -> Result<Option<String>> {
        let found = self.list(reads::subresource(producer, name)?, &rows::SUBRESOURCE, rows::subresource).await?;
        Ok(found.into_iter().next().map(|row| row.document))
    }

    async fn members(
        &self,
        producer: &ProducerName,
        package: &PackageName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<File>> {
        self.list(reads::members(producer, package, after, limit)?, &rows::FILE, rows::file).await
    }

    async fn package(&self, id: &PackageId) -> Result<Option<Package>> {
        let state = self.ask(Touched { packages: [id.clone()].into(), ..Touched::default() }).await?;
        Ok(state.packages.get(id).cloned())
    }

    async fn package_latest(&self, producer: &ProducerName, name: &PackageName) -> Result<Option<Package>> {
        let key = (producer.clone(), name.clone());
        let state = self.ask(Touched { latest: [key.clone()].into(), ..Touched::default() }).await?;
        Ok(state.package_latest(&key).cloned())
    }

    async fn packages(
        &self,
        producer: &ProducerName,
        filter: &PackageFilter,
        after: Option<&PackageCursor>,
        limit: usize,
    ) -> Result<Vec<Package>> {
        self.list(reads::packages(producer, filter, after, limit)?, &rows::PACKAGE, rows::package).await
    }

    async fn packages_idle(&self, producer: &ProducerName, since: Timestamp, limit: usize) -> Result<Vec<Package>> {
        self.list(reads::packages_idle(producer, since, limit)?, &rows::PACKAGE, rows::package).await
    }

    async fn blob(&self, address: &ContentAddress) -> Result<Option<Blob>> {
        let state = self.ask(Touched { blobs: [*address].into(), ..Touched::default() }).await?;
        Ok(state.blobs.get(address).cloned())
    }

    async fn blobs(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<Blob>> {
        self.list(reads::blobs(after, limit)?, &rows::BLOB, rows::blob).await
    }

    async fn blobs_total(&self) -> Result<(u64, u64)> {
        let text = "SELECT count(*), coalesce(sum(size_bytes), 0)::int8 FROM blobs";
        let rows = self.readers.rows_at_leisure(Statement::plain(text)).await?;
        let number = |at: usize| match rows.first() {
            Some(row) => row.try_get::<i64, _>(at).map(|number| u64::try_from(number).unwrap_or(0)),
            None => Ok(0),
        };
        Ok((number(0)?, number(1)?))
    }

    async fn files_of_blob(&self, address: &ContentAddress, after: Sequence, limit: usize) -> Result<Vec<File>> {
        let rows = self.readers.rows_at_leisure(reads::files_of_blob(address, after, limit)?).await?;
        listed(&rows, &rows::FILE, rows::file)
    }

    async fn locations(&self, chunks: &[ContentAddress]) -> Result<Vec<Option<ChunkPlace>>> {
        let state = self.ask(Touched { chunks: chunks.iter().copied().collect(), ..Touched::default() }).await?;
        Ok(chunks.iter().map(|chunk| state.chunks.get(chunk).cloned()).collect())
    }

    async fn moves(&self) -> Result<Vec<StorageMove>> {
        let state = self.ask(Touched { moves: true, ..Touched::default() }).await?;
        Ok(state.moves.present(..).map(|(_, row)| row.clone()).collect())
    }

    async fn files_kept(&self, after: Sequence, limit: usize) -> Result<Vec<File>> {
        self.list(reads::files_kept(after, limit)?, &rows::FILE, rows::file).await
    }

    async fn packages_kept(&self, after: Option<&PackageId>, limit: usize) -> Result<Vec<Package>> {
        self.list(reads::packages_kept(after, limit)?, &rows::PACKAGE, rows::package).await
    }

    async fn retention(&self) -> Result<(Vec<ClassRow>, Vec<ClockJump>)> {
        let state = self.ask(Touched { retention: true, ..Touched::default() }).await?;
        let classes = state.classes.present(..).map(|(_, row)| row.clone()).collect();
        Ok((classes, state.jumps.present(..).map(|(_, row)| row.clone()).collect()))
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>> {
        let mut known = BTreeSet::new();
        for row in self.readers.rows(reads::objects_known(objects)?).await? {
            known.extend(ObjectKey::from_slice(row.try_get(0)?));
        }
        Ok(objects.iter().map(|object| known.contains(object)).collect())
    }

    async fn upload(&self, id: &UploadId) -> Result<Option<Upload>> {
        let state = self.ask(Touched { uploads: [id.clone()].into(), ..Touched::default() }).await?;
        Ok(state.uploads.get(id).cloned())
    }

    async fn uploads(
        &self,
        producer: &ProducerName,
        range: &KeyRange,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Upload>> {
        self.list(reads::uploads(producer, range, after, limit)?, &rows::UPLOAD, rows::upload).await
    }

    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        let state = self.ask(Touched { access_keys: [id.clone()].into(), ..Touched::default() }).await?;
        Ok(state.access_keys.get(id).cloned())
    }

    async fn access_keys(&self, after: Option<&AccessKeyId>, limit: usize) -> Result<Vec<AccessKey>> {
        self.list(reads::access_keys(after, limit)?, &rows::ACCESS_KEY, rows::access_key).await
    }

    async fn parts(&self, upload: &UploadId, after: u32, limit: usize) -> Result<Vec<Part>> {
        self.list(reads::parts(upload, after, limit)?, &rows::PART, rows::part).await
    }
}
