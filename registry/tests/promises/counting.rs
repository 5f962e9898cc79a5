//! A store that counts what is asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use artifactstore_registry::actions::request::{PackageCursor, PackageFilter};
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::clock::{Clock, Entropy, Timestamp};
use artifactstore_registry::model::access::AccessKey;
use artifactstore_registry::model::command::FinalizeFacts;
use artifactstore_registry::model::event::{Head, Record};
use artifactstore_registry::model::name::{
    AccessKeyId, FileName, Key, PackageId, PackageName, ProducerName, TenantName, UploadId,
};
use artifactstore_registry::model::retention::{ClassRow, ClockJump};
use artifactstore_registry::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Listed, ListedVersion, Package, Part, Producer, Sequence, Subresource, Upload,
    VersionChoice,
};
use artifactstore_registry::model::storage::StorageMove;
use artifactstore_registry::store::lease::{Lease, Work};
use artifactstore_registry::store::scrubbing::Scrubbing;
use artifactstore_registry::store::sweeping::Sweeping;
use artifactstore_registry::store::{Batch, KeyRange, Snapshot, Store, StoreCatalog, VersionRange};
use artifactstore_registry::{Registry, RegistryParts, Result};
use async_trait::async_trait;

use crate::harness::Harness;

/// Counts the listings of names, and the rows that they brought.
#[derive(Debug)]
pub(crate) struct Counting {
    behind: Arc<dyn Store>,
    queries: AtomicUsize,
    rows: AtomicUsize,
}

impl Counting {
    pub(crate) fn over(behind: Arc<dyn Store>) -> Self {
        Self { behind, queries: AtomicUsize::new(0), rows: AtomicUsize::new(0) }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.queries.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed))
    }

    /// A second registry, over the store of the first.
    pub(crate) fn registry(self: &Arc<Self>, harness: &Harness) -> Registry {
        let catalog = Arc::new(StoreCatalog::new(Arc::clone(self) as Arc<dyn Store>));
        let backend = Arc::clone(&harness.backend) as Arc<dyn Backend>;
        Registry::open(RegistryParts {
            store: Arc::clone(self) as Arc<dyn Store>,
            plane: Arc::new(InProcessDataPlane::new(backend, catalog, &PlaneOptions::default())),
            clock: Arc::clone(&harness.clock) as Arc<dyn Clock>,
            entropy: Arc::new(Zero),
            facts: FinalizeFacts { gateway_version: "test".to_owned(), backend: "memory".to_owned() },
            manifest_inline_limit_bytes: 1 << 20,
        })
    }
}

/// For a registry that only reads.
#[derive(Debug)]
struct Zero;

impl Entropy for Zero {
    fn fresh(&self) -> [u8; 16] {
        [0; 16]
    }
}

#[async_trait]
impl Store for Counting {
    async fn names(&self, producer: &ProducerName, range: &KeyRange, limit: usize) -> Result<Vec<Listed>> {
        let found = self.behind.names(producer, range, limit).await?;
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn names_and_history(
        &self,
        producer: &ProducerName,
        range: &VersionRange,
        limit: usize,
    ) -> Result<Vec<ListedVersion>> {
        let found = self.behind.names_and_history(producer, range, limit).await?;
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn history(&self, name: &FileName, version: Option<VersionChoice>) -> Result<Option<HistoryRow>> {
        self.behind.history(name, version).await
    }

    async fn subresource(&self, producer: &ProducerName, name: Subresource) -> Result<Option<String>> {
        self.behind.subresource(producer, name).await
    }

    async fn begin(&self) -> Result<Box<dyn Batch>> {
        self.behind.begin().await
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.behind.snapshot().await
    }

    async fn scratch(&self) -> Result<Box<dyn Store>> {
        self.behind.scratch().await
    }

    async fn adopt(&self, scratch: &dyn Store) -> Result<bool> {
        self.behind.adopt(scratch).await
    }

    fn location(&self) -> String {
        self.behind.location()
    }

    fn sweeping(&self) -> &dyn Sweeping {
        self.behind.sweeping()
    }

    fn scrubbing(&self) -> &dyn Scrubbing {
        self.behind.scrubbing()
    }

    async fn close(&self) {
        self.behind.close().await;
    }

    async fn files_kept(&self, after: Sequence, limit: usize) -> Result<Vec<File>> {
        self.behind.files_kept(after, limit).await
    }

    async fn packages_kept(&self, after: Option<&PackageId>, limit: usize) -> Result<Vec<Package>> {
        self.behind.packages_kept(after, limit).await
    }

    async fn retention(&self) -> Result<(Vec<ClassRow>, Vec<ClockJump>)> {
        self.behind.retention().await
    }

    async fn lease_take(&self, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
        self.behind.lease_take(work, holder, term).await
    }

    async fn lease_renew(&self, lease: &Lease, term: Duration) -> Result<bool> {
        self.behind.lease_renew(lease, term).await
    }

    async fn lease_end(&self, lease: &Lease) -> Result<()> {
        self.behind.lease_end(lease).await
    }

    async fn head(&self) -> Result<Head> {
        self.behind.head().await
    }

    async fn events(&self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        self.behind.events(since, limit).await
    }

    async fn producer(&self, name: &ProducerName) -> Result<Option<Producer>> {
        self.behind.producer(name).await
    }

    async fn producers(
        &self,
        tenant: Option<&TenantName>,
        after: Option<&ProducerName>,
        limit: usize,
    ) -> Result<Vec<Producer>> {
        self.behind.producers(tenant, after, limit).await
    }

    async fn file(&self, name: &FileName) -> Result<Option<File>> {
        self.behind.file(name).await
    }

    async fn versions(&self, sequences: &[Sequence]) -> Result<Vec<File>> {
        self.behind.versions(sequences).await
    }

    async fn members(
        &self,
        producer: &ProducerName,
        package: &PackageName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<File>> {
        self.behind.members(producer, package, after, limit).await
    }

    async fn package(&self, id: &PackageId) -> Result<Option<Package>> {
        self.behind.package(id).await
    }

    async fn package_latest(&self, producer: &ProducerName, name: &PackageName) -> Result<Option<Package>> {
        self.behind.package_latest(producer, name).await
    }

    async fn packages(
        &self,
        producer: &ProducerName,
        filter: &PackageFilter,
        after: Option<&PackageCursor>,
        limit: usize,
    ) -> Result<Vec<Package>> {
        self.behind.packages(producer, filter, after, limit).await
    }

    async fn packages_idle(&self, producer: &ProducerName, since: Timestamp, limit: usize) -> Result<Vec<Package>> {
        self.behind.packages_idle(producer, since, limit).await
    }

    async fn blob(&self, address: &ContentAddress) -> Result<Option<Blob>> {
        self.behind.blob(address).await
    }

    async fn blobs(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<Blob>> {
        self.behind.blobs(after, limit).await
    }

    async fn blobs_total(&self) -> Result<(u64, u64)> {
        self.behind.blobs_total().await
    }

    async fn files_of_blob(&self, address: &ContentAddress, after: Sequence, limit: usize) -> Result<Vec<File>> {
        self.behind.files_of_blob(address, after, limit).await
    }

    async fn locations(&self, chunks: &[ContentAddress]) -> Result<Vec<Option<ChunkPlace>>> {
        self.behind.locations(chunks).await
    }

    async fn moves(&self) -> Result<Vec<StorageMove>> {
        self.behind.moves().await
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>> {
        self.behind.objects_known(objects).await
    }

    async fn upload(&self, id: &UploadId) -> Result<Option<Upload>> {
        self.behind.upload(id).await
    }

    async fn uploads(
        &self,
        producer: &ProducerName,
        range: &KeyRange,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Upload>> {
        self.behind.uploads(producer, range, after, limit).await
    }

    async fn parts(&self, upload: &UploadId, after: u32, limit: usize) -> Result<Vec<Part>> {
        self.behind.parts(upload, after, limit).await
    }

    async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        self.behind.access_key(id).await
    }

    async fn access_keys(&self, after: Option<&AccessKeyId>, limit: usize) -> Result<Vec<AccessKey>> {
        self.behind.access_keys(after, limit).await
    }
}
