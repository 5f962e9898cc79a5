//! The store on SQLite: the embedded default, for one machine.
//!
//! One connection writes, others read. WAL with `synchronous=FULL`: a commit that was acknowledged survives
//! the loss of power. The bundled library is used, never the system's.
//!
//! Two libraries drive it. Whoever writes, folds a log, reads long pages or asks what every request asks has rusqlite, whose
//! statements run on the thread that calls them. Everybody else has sqlx, its pool and its threads.

mod collect;
mod leases;
mod load;
mod log;
mod lookups;
mod pages;
mod reads;
mod rows;
mod scratch;
mod scrub;
mod snapshot;
mod statement;
mod threads;
mod values;
mod write;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::sync::Mutex;

use self::lookups::{KEYS_LIMIT, Lookups, Question};
use self::pages::Pages;
use self::reads::limited;
use self::scratch::Scratch;
use self::writer::{SharedWriter, Use, Writer};
use super::lease::{Lease, Work};
use super::scrubbing::Scrubbing;
use super::sweeping::Sweeping;
use super::{Batch, KeyRange, Snapshot, Store, VersionRange, View};
pub use super::{OpenMode, Schema};
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::access::AccessKey;
use crate::model::event::{Head, Record};
use crate::model::name::{AccessKeyId, FileName, Key, PackageId, PackageName, ProducerName, TenantName, UploadId};
use crate::model::retention::{ClassRow, ClockJump};
use crate::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Listed, ListedVersion, Package, Part, Producer, Sequence, Subresource, Upload,
    VersionChoice,
};
use crate::model::storage::StorageMove;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// A registry in a file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    schema: Schema,
    writer: SharedWriter,
    readers: SqlitePool,
    pages: Pages,
    /// One more, for what a batch asks besides rows.
    besides: SqlitePool,
    lookups: Lookups,
    /// Its files, when it is a scratch store.
    _scratch: Option<Scratch>,
}

/// How many connections of the pool read at once.
const READERS: u32 = 4;
/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many prepared statements a connection keeps: every shape of those that uploads and readers take.
const STATEMENTS_KEPT: usize = 256;

/// How many rows a connection reads ahead of whoever takes them: a page of a listing is one hand-over, not many.
const ROWS_AHEAD: usize = 1024;
/// The pages that each of the connections that only read keeps, in KiB, written as SQLite wants it: what they miss, the
/// system has in its own memory, once for all.
const READER_CACHE: &str = "-2000";
/// What a connection that writes is told, besides how it syncs.
const PRAGMAS: [(&str, &str); 3] = [
    ("cache_size", "-8000"),
    // From how many pages on the write-ahead log is copied back: rarely enough that pages which are written by many
    // batches are copied once, and two syncs are shared by many commits; the log stays at about 16 MiB.
    ("wal_autocheckpoint", "4000"),
    // What undoes a statement that fails is kept in memory; the log and its pages are not touched by this.
    ("temp_store", "memory"),
];

fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(ROWS_AHEAD);
    PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value))
}

impl SqliteStore {
    /// Opens the registry in this file.
    ///
    /// # Errors
    /// When it cannot be opened, is newer than this program, or, with [`OpenMode::Existing`], missing or older.
    pub async fn open(path: &Path, mode: OpenMode) -> Result<Self> {
        scratch::sweep(path);
        let create = mode == OpenMode::Create;
        Self::connect(path, options(path).create_if_missing(create), Use::Registry, create).await
    }

    /// The schema that was found when it was opened, and the one it has now.
    #[must_use]
    pub const fn schema(&self) -> Schema {
        self.schema
    }

    async fn connect(path: &Path, options: SqliteConnectOptions, purpose: Use, migrate: bool) -> Result<Self> {
        let unusable = |reason: String| Error::DatabaseUnusable { url: format!("sqlite://{}", path.display()), reason };
        let unanswered = |error: sqlx::Error| unusable(error.to_string());
        let pool =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(unanswered)?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let found = schema_found(&pool).await.map_err(unanswered)?;
        if let Some(found) = found.filter(|found| *found > known) {
            return Err(Error::SchemaNewer { found, known });
        }
        if found != Some(known) {
            if !migrate {
                return Err(Error::SchemaOlder);
            }
            MIGRATIONS.run(&pool).await.map_err(|error| unanswered(error.into()))?;
        }
        let mut first = pool.acquire().await.map_err(unanswered)?;
        if collect::uses_are_unread(&mut first).await.map_err(unanswered)? {
            if !migrate {
                return Err(Error::SchemaOlder);
            }
            collect::read_uses(&mut first).await?;
        }
        let reading = options.read_only(true).create_if_missing(false).pragma("cache_size", READER_CACHE);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_with(reading.clone())
            .await
            .map_err(unanswered)?;
        let besides = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(reading);
        let no_threads = |error: std::io::Error| unusable(error.to_string());
        let lookups = Lookups::start(path).map_err(no_threads)?;
        let pages = Pages::start(path).map_err(no_threads)?;
        let writer = Writer::open(path, purpose).map_err(|error| unusable(error.to_string()))?;
        drop(first);
        pool.close().await;
        let schema = Schema { found, now: known };
        let writer = Arc::new(Mutex::new(Some(writer)));
        Ok(Self { path: path.to_owned(), schema, writer, readers, pages, besides, lookups, _scratch: None })
    }

    /// Does a little by the connection that writes, once it is free.
    async fn writing<T: Send + 'static>(&self, work: impl FnOnce(&Writer) -> Result<T> + Send + 'static) -> Result<T> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        elsewhere(move || work(writer.as_ref().ok_or(Error::Stopping)?)).await?
    }
}

/// Does what may wait for the disk on a thread that is there for that.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends.
        Err(_) => Err(Error::Stopping),
    }
}

async fn schema_found(pool: &SqlitePool) -> std::result::Result<Option<i64>, sqlx::Error> {
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'");
    if table.fetch_optional(pool).await?.is_none() {
        return Ok(None);
    }
    sqlx::query("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?.try_get(0)
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Batch>> {
        Ok(Box::new(writer::begin(&self.writer, &self.besides).await?))
    }

    fn blocks(&self) -> bool {
        true
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(snapshot::SqliteSnapshot::begin(&self.pages, &self.readers).await?))
    }

    async fn scratch(&self) -> Result<Box<dyn Store>> {
        let scratch = Scratch::beside(&self.path).map_err(|error| Error::DatabaseUnusable {
            url: format!("sqlite://{}", self.path.display()),
            reason: format!("a scratch file cannot be made beside it: {error}"),
        })?;
        let path = scratch.path.clone();
        let options = options(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off);
        let store = Self::connect(&path, options, Use::Scratch, true).await?;
        store.writing(scratch::drop_indexes).await?;
        Ok(Box::new(Self { _scratch: Some(scratch), ..store }))
    }

    async fn adopt(&self, scratch: &dyn Store) -> Result<bool> {
        let wanted = scratch::indexes(&mut *self.readers.acquire().await?).await?;
        scratch::complete(&scratch.location(), wanted).await?;
        // Whoever writes waits meanwhile.
        let _turn = self.writer.lock().await;
        let mut connection = options(&self.path).connect().await?;
        sqlx::query("ATTACH DATABASE ? AS scratch").bind(scratch.location()).execute(&mut connection).await?;
        let adopted = snapshot::adopt(&mut connection).await;
        connection.close().await?;
        adopted
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn lease_take(&self, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
        let holder = holder.to_owned();
        self.writing(move |writer| leases::take(writer, work, &holder, term)).await
    }

    async fn lease_renew(&self, lease: &Lease, term: Duration) -> Result<bool> {
        let lease = lease.clone();
        self.writing(move |writer| leases::renew(writer, &lease, term)).await
    }

    async fn lease_end(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        self.writing(move |writer| leases::end(writer, &lease)).await
    }

    fn sweeping(&self) -> &dyn Sweeping {
        self
    }

    fn scrubbing(&self) -> &dyn Scrubbing {
        self
    }

    async fn close(&self) {
        self.lookups.stop().await;
        self.readers.close().await;
        self.pages.stop().await;
        self.besides.close().await;
        self.writer.lock().await.take();
    }

    async fn head(&self) -> Result<Head> {
        let row = sqlx::query("SELECT sequence, occurred_at, hash FROM log_head").fetch_one(&self.readers).await?;
        rows::head(&row)
    }

    async fn events(&self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        reads::events(&self.readers, since, limit).await
    }

    async fn writing(&self, name: &FileName) -> Result<Option<(Producer, Option<Package>)>> {
        let question = Question { packaged: Some(name.clone()), ..Question::default() };
        let Some(state) = self.lookups.ask(question).await else { return super::writing(self, name).await };
        let Some(producer) = state.producers.get(&name.producer) else { return Ok(None) };
        let package = state.package_of(name).and_then(|(key, _)| state.package_latest(&key).cloned());
        Ok(Some((producer.clone(), package)))
    }

    async fn reading(&self, name: &FileName) -> Result<Option<(Producer, Option<File>)>> {
        let mut question = Question::default();
        question.touched.producers.insert(name.producer.clone());
        question.touched.names.insert(name.clone());
        let Some(state) = self.lookups.ask(question).await else { return super::reading(self, name).await };
        let producer = state.producers.get(&name.producer);
        Ok(producer.map(|producer| (producer.clone(), state.file_current(name).cloned())))
    }

    async fn blob_located(&self, address: &ContentAddress) -> Result<Option<(Blob, Vec<Option<ChunkPlace>>)>> {
        let question = Question { located: Some(*address), ..Question::default() };
        let Some(state) = self.lookups.ask(question).await else { return super::blob_located(self, address).await };
        let Some(blob) = state.blobs.get(address) else { return Ok(None) };
        let chunks = &blob.recipe.chunks;
        let places = if chunks.len() > KEYS_LIMIT {
            self.locations(&chunks.iter().map(|chunk| chunk.address).collect::<Vec<_>>()).await?
        } else {
            chunks.iter().map(|chunk| state.chunks.get(&chunk.address).cloned()).collect()
        };
        Ok(Some((blob.clone(), places)))
    }

    async fn producer(&self, name: &ProducerName) -> Result<Option<Producer>> {
        let text = format!("SELECT {} FROM producers WHERE name = ?", rows::PRODUCER);
        let query = sqlx::query(AssertSqlSafe(text)).bind(name.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::producer).transpose()
    }

    async fn producers(
        &self,
        tenant: Option<&TenantName>,
        after: Option<&ProducerName>,
        limit: usize,
    ) -> Result<Vec<Producer>> {
        reads::producers(&self.readers, tenant, after, limit).await
    }

    async fn file(&self, name: &FileName) -> Result<Option<File>> {
        let text = format!(
            "SELECT {} FROM names AS n CROSS JOIN files AS f ON f.sequence = n.sequence \
             WHERE n.producer = ? AND n.key = ?",
            rows::FILE
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(name.producer.to_string()).bind(name.key.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::file).transpose()
    }

    async fn versions(&self, sequences: &[Sequence]) -> Result<Vec<File>> {
        reads::versions(&self.readers, sequences).await
    }

    async fn names(&self, producer: &ProducerName, range: &KeyRange, limit: usize) -> Result<Vec<Listed>> {
        reads::names(&self.pages, producer, range, limit).await
    }

    async fn names_and_history(
        &self,
        producer: &ProducerName,
        range: &VersionRange,
        limit: usize,
    ) -> Result<Vec<ListedVersion>> {
        reads::names_and_history(&self.pages, producer, range, limit).await
    }

    async fn history(&self, name: &FileName, version: Option<VersionChoice>) -> Result<Option<HistoryRow>> {
        reads::history(&self.readers, name, version).await
    }

    async fn subresource(&self, producer: &ProducerName, name: Subresource) -> Result<Option<String>> {
        reads::subresource(&self.readers, producer, name).await
    }

    async fn members(
        &self,
        producer: &ProducerName,
        package: &PackageName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<File>> {
        reads::members(&self.readers, producer, package, after, limit).await
    }

    async fn package(&self, id: &PackageId) -> Result<Option<Package>> {
        let text = format!("SELECT {} FROM packages WHERE id = ?", rows::PACKAGE);
        let query = sqlx::query(AssertSqlSafe(text)).bind(id.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::package).transpose()
    }

    async fn package_latest(&self, producer: &ProducerName, name: &PackageName) -> Result<Option<Package>> {
        let text = format!(
            "SELECT {} FROM packages WHERE producer = ? AND name = ? ORDER BY revision DESC LIMIT 1",
            rows::PACKAGE
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(producer.to_string()).bind(name.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::package).transpose()
    }

    async fn packages(
        &self,
        producer: &ProducerName,
        filter: &PackageFilter,
        after: Option<&PackageCursor>,
        limit: usize,
    ) -> Result<Vec<Package>> {
        reads::packages(&self.readers, producer, filter, after, limit).await
    }

    async fn packages_idle(&self, producer: &ProducerName, since: Timestamp, limit: usize) -> Result<Vec<Package>> {
        let text = format!(
            "SELECT {} FROM packages WHERE producer = ? AND finalized_at IS NULL AND changed_at <= ? AND file_count > 0 \
             ORDER BY changed_at LIMIT ?",
            rows::PACKAGE
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(producer.to_string()).bind(since.0).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::package).collect()
    }

    async fn blob(&self, address: &ContentAddress) -> Result<Option<Blob>> {
        let text = format!("SELECT {} FROM blobs WHERE content_address = ?", rows::BLOB);
        let query = sqlx::query(AssertSqlSafe(text)).bind(address.0.to_vec());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::blob).transpose()
    }

    async fn blobs(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<Blob>> {
        let text =
            format!("SELECT {} FROM blobs WHERE content_address > ? ORDER BY content_address LIMIT ?", rows::BLOB);
        // The empty byte string sorts before every address.
        let after = after.map(|after| after.0.to_vec()).unwrap_or_default();
        let query = sqlx::query(AssertSqlSafe(text)).bind(after).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::blob).collect()
    }

    async fn blobs_total(&self) -> Result<(u64, u64)> {
        let row = sqlx::query("SELECT count(*), coalesce(sum(size_bytes), 0) FROM blobs").fetch_one(&self.readers);
        let row = row.await?;
        let number = |at| row.try_get::<i64, _>(at).map(|n| u64::try_from(n).unwrap_or(0));
        Ok((number(0)?, number(1)?))
    }

    async fn files_of_blob(&self, address: &ContentAddress, after: Sequence, limit: usize) -> Result<Vec<File>> {
        let text = format!(
            "SELECT {} FROM files AS f WHERE f.content_address = ? AND f.sequence > ? ORDER BY f.sequence LIMIT ?",
            rows::FILE
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(address.0.to_vec()).bind(write::signed(after));
        let query = query.bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::file).collect()
    }

    async fn locations(&self, chunks: &[ContentAddress]) -> Result<Vec<Option<ChunkPlace>>> {
        let mut question = Question::default();
        question.touched.chunks.extend(chunks);
        let Some(state) = self.lookups.ask(question).await else {
            return reads::locations(&self.readers, chunks).await;
        };
        Ok(chunks.iter().map(|chunk| state.chunks.get(chunk).cloned()).collect())
    }

    async fn moves(&self) -> Result<Vec<StorageMove>> {
        let text = format!("SELECT {} FROM storage_moves ORDER BY sequence", rows::MOVE);
        sqlx::query(AssertSqlSafe(text)).fetch_all(&self.readers).await?.iter().map(rows::storage_move).collect()
    }

    async fn files_kept(&self, after: Sequence, limit: usize) -> Result<Vec<File>> {
        let text = format!(
            "SELECT {} FROM files AS f WHERE f.keeping IS NOT NULL AND f.sequence > ? ORDER BY f.sequence LIMIT ?",
            rows::FILE
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(write::signed(after)).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::file).collect()
    }

    async fn packages_kept(&self, after: Option<&PackageId>, limit: usize) -> Result<Vec<Package>> {
        let text =
            format!("SELECT {} FROM packages WHERE keeping IS NOT NULL AND id > ? ORDER BY id LIMIT ?", rows::PACKAGE);
        let after = after.map_or_else(String::new, ToString::to_string);
        let query = sqlx::query(AssertSqlSafe(text)).bind(after).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::package).collect()
    }

    async fn retention(&self) -> Result<(Vec<ClassRow>, Vec<ClockJump>)> {
        let mut transaction = self.readers.begin().await?;
        let text = format!("SELECT {} FROM retention_classes ORDER BY name", rows::CLASS);
        let found = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut *transaction).await?;
        let classes = found.iter().map(rows::class).collect::<Result<_>>()?;
        let text = format!("SELECT {} FROM clock_jumps ORDER BY sequence", rows::JUMP);
        let found = sqlx::query(AssertSqlSafe(text)).fetch_all(&mut *transaction).await?;
        Ok((classes, found.iter().map(rows::clock_jump).collect::<Result<_>>()?))
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>> {
        reads::objects_known(&self.readers, objects).await
    }

    async fn upload(&self, id: &UploadId) -> Result<Option<Upload>> {
        let text = format!("SELECT {} FROM uploads WHERE id = ?", rows::UPLOAD);
        let query = sqlx::query(AssertSqlSafe(text)).bind(id.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::upload).transpose()
    }

    async fn uploads(
        &self,
        producer: &ProducerName,
        range: &KeyRange,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Upload>> {
        reads::uploads(&self.readers, producer, range, after, limit).await
    }

    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        let text = format!("SELECT {} FROM access_keys WHERE id = ?", rows::ACCESS_KEY);
        let query = sqlx::query(AssertSqlSafe(text)).bind(id.to_string());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::access_key).transpose()
    }

    async fn access_keys(&self, after: Option<&AccessKeyId>, limit: usize) -> Result<Vec<AccessKey>> {
        let text = format!("SELECT {} FROM access_keys WHERE id > ? ORDER BY id LIMIT ?", rows::ACCESS_KEY);
        let after = after.map_or_else(String::new, ToString::to_string);
        let query = sqlx::query(AssertSqlSafe(text)).bind(after).bind(reads::limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::access_key).collect()
    }

    async fn parts(&self, upload: &UploadId, after: u32, limit: usize) -> Result<Vec<Part>> {
        let text = format!("SELECT {} FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?", rows::PART);
        let query = sqlx::query(AssertSqlSafe(text)).bind(upload.to_string()).bind(i64::from(after));
        query.bind(limited(limit)).fetch_all(&self.readers).await?.iter().map(rows::part).collect()
    }
}

/// Views are adopted by name.
fn tables() -> impl Iterator<Item = &'static str> {
    View::ALL.into_iter().map(View::table)
}
