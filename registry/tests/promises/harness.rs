//! A registry of one's own: its own folder, database, bytes, clock and entropy.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use artifactstore_registry::actions::request::{FileReceipt, FileUpload, FoundFile, Removal, ReplaySummary};
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::dataplane::spi::{ByteRange, DataPlane, IngestFrame, IngestHints, IngestStream};
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::clock::{Clock, Entropy, Timestamp};
use artifactstore_registry::log::replay::{compare, rebuild_by};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::{FinalizeFacts, PackageChoice, WriteCondition};
use artifactstore_registry::model::event::{Actor, Record};
use artifactstore_registry::model::name::{FileName, PackageName, ProducerName, TenantName};
use artifactstore_registry::model::retention::Retention;
use artifactstore_registry::model::row::{Package, ProducerSettings};
use artifactstore_registry::store::{Store, StoreCatalog};
use artifactstore_registry::{MANIFEST_INLINE_LIMIT_BYTES, Registry, RegistryParts, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::dialect;

/// Where blobs are cut: small, so that most files of a test have several chunks.
pub(crate) const CHUNK_SIZE_BYTES: usize = 1 << 20;

/// A clock that stands until a test sets it, and what time went by.
#[derive(Debug)]
pub(crate) struct TestClock {
    shown: AtomicI64,
    passed: AtomicI64,
    begun: std::time::Instant,
}

impl TestClock {
    pub(crate) fn showing(seconds: i64) -> Self {
        let shown = AtomicI64::new(seconds * 1_000_000);
        Self { shown, passed: AtomicI64::new(0), begun: std::time::Instant::now() }
    }

    /// Sets the clock; no time goes by.
    pub(crate) fn set_seconds(&self, seconds: i64) {
        self.shown.store(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Lets time go by until the clock shows this.
    pub(crate) fn pass_seconds(&self, to: i64) {
        let before = self.shown.swap(to * 1_000_000, Ordering::SeqCst);
        self.passed.fetch_add(to * 1_000_000 - before, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.shown.load(Ordering::SeqCst))
    }

    fn agreed(&self, _: Option<Timestamp>) -> Timestamp {
        self.now()
    }

    fn monotonic(&self) -> std::time::Duration {
        let passed = u64::try_from(self.passed.load(Ordering::SeqCst)).unwrap();
        self.begun.elapsed() + std::time::Duration::from_micros(passed)
    }
}

/// Counts: fresh every time, and the same in every run.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fresh(&self) -> [u8; 16] {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(&number.to_be_bytes()).as_bytes()[..16]);
        bytes
    }
}

pub(crate) struct Harness {
    pub(crate) registry: Registry,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) backend: Arc<MemoryBackend>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) actor: Actor,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn actor(tenant: &str) -> Actor {
    Actor {
        tenant: TenantName::parse(tenant).unwrap(),
        name: "tester".to_owned(),
        request_id: "request-1".to_owned(),
        client: Some("harness/1".to_owned()),
    }
}

pub(crate) fn producer(name: &str) -> ProducerName {
    ProducerName::parse(name).unwrap()
}

/// A name, written `producer/key`.
pub(crate) fn name(path: &str) -> FileName {
    let (producer, key) = path.split_once('/').unwrap();
    FileName::parse(producer, key).unwrap()
}

pub(crate) fn body(bytes: impl Into<Bytes>) -> IngestStream {
    stream::iter([Ok(IngestFrame::Data(bytes.into()))]).boxed()
}

pub(crate) fn upload(path: &str, bytes: impl Into<Bytes>) -> FileUpload {
    FileUpload {
        name: name(path),
        body: body(bytes),
        hints: IngestHints::default(),
        attributes: Attributes::default(),
        retention: Retention::default(),
        condition: WriteCondition::default(),
    }
}

pub(crate) fn quiet() -> impl Fn(artifactstore_registry::actions::request::Progress) + Send + Sync {
    |_| {}
}

fn registry(
    store: &Arc<dyn Store>,
    backend: Arc<dyn Backend>,
    clock: &Arc<TestClock>,
    manifest_inline_limit_bytes: usize,
) -> Registry {
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(store)));
    let options = PlaneOptions { chunk_size_bytes: CHUNK_SIZE_BYTES, ..PlaneOptions::default() };
    let plane: Arc<dyn DataPlane> = Arc::new(InProcessDataPlane::new(backend, catalog, &options));
    Registry::open(RegistryParts {
        store: Arc::clone(store),
        plane,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Arc::new(Counting::default()),
        facts: FinalizeFacts { gateway_version: "test".to_owned(), backend: "memory".to_owned() },
        manifest_inline_limit_bytes,
    })
}

impl Harness {
    /// A registry with the producer `board`.
    pub(crate) async fn start() -> Self {
        Self::start_with(ProducerSettings::default()).await
    }

    pub(crate) async fn start_with(settings: ProducerSettings) -> Self {
        Self::start_limited(settings, MANIFEST_INLINE_LIMIT_BYTES).await
    }

    pub(crate) async fn start_limited(settings: ProducerSettings, manifest_inline_limit_bytes: usize) -> Self {
        let disk = Arc::new(MemoryBackend::new());
        let backend = Arc::clone(&disk) as Arc<dyn Backend>;
        Self::start_over(disk, backend, settings, manifest_inline_limit_bytes).await
    }

    /// A registry over a backend that stands before this one in memory.
    pub(crate) async fn start_over(
        disk: Arc<MemoryBackend>,
        backend: Arc<dyn Backend>,
        settings: ProducerSettings,
        manifest_inline_limit_bytes: usize,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let harness = Self::open(folder, disk, backend, manifest_inline_limit_bytes).await;
        harness.registry.producer_create(&harness.actor, &producer("board"), settings).await.unwrap();
        harness
    }

    /// The same store and what is durable of the bytes, in a new process, so to speak.
    pub(crate) async fn restart_without(self, before: Arc<impl Backend>) -> Self {
        self.registry.stop().await;
        let Self { registry, store, backend: disk, folder, .. } = self;
        drop((registry, store, before));
        Self::open(folder, Arc::clone(&disk), disk, MANIFEST_INLINE_LIMIT_BYTES).await
    }

    async fn open(
        folder: tempfile::TempDir,
        disk: Arc<MemoryBackend>,
        backend: Arc<dyn Backend>,
        manifest_inline_limit_bytes: usize,
    ) -> Self {
        let store = dialect::open(folder.path()).await;
        let clock = Arc::new(TestClock::showing(1_000_000));
        let registry = registry(&store, backend, &clock, manifest_inline_limit_bytes);
        Self { registry, store, backend: disk, clock, actor: actor("default"), folder }
    }

    /// Another process over the same store and bytes, which begins when its clock shows this.
    pub(crate) fn beside(&self, seconds: i64) -> Registry {
        self.beside_by(&Arc::new(TestClock::showing(seconds)))
    }

    /// As that, by a clock of the test's.
    pub(crate) fn beside_by(&self, clock: &Arc<TestClock>) -> Registry {
        let backend = Arc::clone(&self.backend) as Arc<dyn Backend>;
        registry(&self.store, backend, clock, MANIFEST_INLINE_LIMIT_BYTES)
    }

    pub(crate) async fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<FileReceipt> {
        self.registry.file_ingest(&self.actor, upload(path, bytes)).await
    }

    pub(crate) async fn put_if(
        &self,
        path: &str,
        bytes: impl Into<Bytes>,
        condition: WriteCondition,
    ) -> Result<FileReceipt> {
        self.registry.file_ingest(&self.actor, FileUpload { condition, ..upload(path, bytes) }).await
    }

    pub(crate) async fn stat(&self, path: &str) -> Result<FoundFile> {
        self.registry.file_stat(&self.actor, &name(path), None).await
    }

    pub(crate) async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.read_found(&self.stat(path).await?).await
    }

    pub(crate) async fn read_found(&self, found: &FoundFile) -> Result<Vec<u8>> {
        let pieces: Vec<Bytes> = self.registry.file_read(found, ByteRange::Full).await?.try_collect().await?;
        Ok(pieces.concat())
    }

    pub(crate) async fn remove(&self, path: &str) -> Result<Option<u64>> {
        let removal =
            Removal { key: name(path).key, version: None, condition: WriteCondition::default(), bypass: false };
        Ok(self.registry.file_remove(&self.actor, &producer("board"), removal).await?.sequence)
    }

    pub(crate) async fn finalize(&self, package: &str) -> Result<Package> {
        let choice = PackageChoice::Name(producer("board"), PackageName::parse(package).unwrap());
        self.registry.package_finalize(&self.actor, choice).await
    }

    /// How many objects the backend holds.
    pub(crate) async fn objects(&self) -> usize {
        self.backend.list(None).count().await
    }

    pub(crate) async fn events(&self) -> Vec<Record> {
        self.registry.event_list(0, usize::MAX).await.unwrap()
    }

    pub(crate) async fn kinds(&self) -> Vec<String> {
        self.events().await.into_iter().map(|record| record.kind).collect()
    }

    pub(crate) async fn replay(&self, check: bool) -> Result<ReplaySummary> {
        self.registry.replay(check, &quiet()).await
    }

    /// What a batch of a replay holds, and what it holds back, makes no difference: here nearly every event meets what
    /// batches before it wrote, or did not write yet.
    async fn replay_in_small_batches(&self) {
        let scratch = self.store.scratch().await.unwrap();
        let mut live = self.store.snapshot().await.unwrap();
        rebuild_by((3, 12), &mut *live, &*scratch, &quiet()).await.unwrap();
        let (_, differences) = compare(&mut *live, &mut *scratch.snapshot().await.unwrap()).await.unwrap();
        assert_eq!(differences, [], "the live views equal those replayed in small batches");
        drop(live);
        scratch.close().await;
    }

    /// Behind everybody's back.
    pub(crate) async fn tamper(&self, sql: &'static str) -> u64 {
        dialect::tamper(self.folder.path(), sql).await
    }

    /// The audit that closes every test: the views equal their replay, the blobs match their digests.
    pub(crate) async fn finish(self) {
        let summary = self.replay(true).await.unwrap();
        assert_eq!(summary.differences, [], "the live views equal the replayed ones");
        self.replay_in_small_batches().await;
        let found = std::sync::Mutex::new(Vec::new());
        let on_finding = |finding| found.lock().unwrap().push(finding);
        let verified = self.registry.verify(&quiet(), &on_finding).await.unwrap();
        assert_eq!(found.into_inner().unwrap(), [], "every blob matches its digests");
        assert_eq!(verified.events, summary.events);
        self.registry.stop().await;
    }
}
