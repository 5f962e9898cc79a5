//! Listing at scale: what a page costs in a bucket of ten thousand, a hundred thousand and a million keys, through the
//! registry and the real SQLite store.
//!
//! The names are put into the store by the batch, without events: a listing reads names and files, and nothing of the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use artifactstore_backends::backend::Backend;
use artifactstore_backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_backends::digest::{ContentAddress, Sha256Digest};
use artifactstore_backends::memory::MemoryBackend;
use artifactstore_registry::actions::request::{ListRequest, VersionListRequest};
use artifactstore_registry::clock::{Entropy, SystemClock, Timestamp};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::FinalizeFacts;
use artifactstore_registry::model::name::{FileName, PackageId, PackageName, ProducerName};
use artifactstore_registry::model::row::{File, HistoryRow, ProducerSettings};
use artifactstore_registry::model::state::{NameRow, State};
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};
use artifactstore_registry::store::{Store, StoreCatalog};
use artifactstore_registry::{MANIFEST_INLINE_LIMIT_BYTES, Registry, RegistryParts};
use serde::{Deserialize, Serialize};

use crate::measure::Latency;
use crate::progress::Progress;
use crate::quiet::{Attempts, Patience};
use crate::sample;

/// How many keys the buckets have.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// How many keys have a folder in common.
const FOLDER: u64 = 100;
/// Every so many keys there is an older version.
const VERSIONED: u64 = 4;
/// How many names are written in one batch.
const BATCH: u64 = 4_096;
/// The most entries of a page: S3's.
const PAGE: usize = 1_000;

/// Nothing here needs a fresh identifier.
#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fresh(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct ListingOptions {
    /// How many pages of each kind are read
    #[arg(long, default_value_t = 200)]
    pub pages: u64,
    /// The most keys: larger buckets are left out
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// How often what was disturbed is measured again
    #[command(flatten)]
    pub patience: Patience,
}

/// One kind of page in one bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// How many keys the bucket has.
    pub keys: u64,
    /// Which kind of page.
    pub kind: String,
    /// How many entries each page had.
    pub entries: usize,
    /// How long a page took.
    pub latency: Latency,
}

/// Measures pages that begin anywhere in buckets of each size.
///
/// # Errors
/// When the store fails, or a page is not full.
pub fn listing(options: &ListingOptions, below: &Path, progress: &Progress) -> anyhow::Result<Vec<Listed>> {
    std::fs::create_dir_all(below)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for keys in SIZES.into_iter().filter(|keys| *keys <= options.keys) {
        progress.step(&format!("listing {keys} keys"));
        let of_size = runtime.block_on(bucket(keys, options, below))?;
        for listed in &of_size {
            progress.line(&format!(
                "{:>9} keys, {:<10} {:>5} entries  p50 {:>7.2} ms  p99 {:>7.2} ms",
                listed.keys, listed.kind, listed.entries, listed.latency.p50_ms, listed.latency.p99_ms
            ));
        }
        measured.extend(of_size);
    }
    Ok(measured)
}

fn key(number: u64) -> String {
    format!("run-{:06}/results/report-{number:08}.xml", number / FOLDER)
}

fn file(number: u64, sequence: u64, ended: bool) -> anyhow::Result<File> {
    let address = ContentAddress(*blake3::hash(&sequence.to_be_bytes()).as_bytes());
    Ok(File {
        sequence,
        name: FileName::parse(sample::producer()?.as_str(), &key(number))?,
        package_id: PackageId::from_random([1; 16]),
        package: PackageName::parse(&format!("run-{:06}", number / FOLDER))?,
        relative_path: format!("results/report-{number:08}.xml"),
        size_bytes: 4096,
        content_address: address,
        sha256: Sha256Digest(address.0),
        etag: address.to_hex()[..32].to_owned(),
        attributes: Attributes { media_type: "application/xml".to_owned(), ..Attributes::default() },
        ingested_at: Timestamp(1_700_000_000_000_000),
        client: None,
        ended_sequence: ended.then_some(sequence + 1),
        versioned: true,
        deleted_sequence: None,
        keeping: Default::default(),
        released_sequence: None,
    })
}

async fn fill(store: &dyn Store, keys: u64) -> anyhow::Result<()> {
    for first in (0..keys).step_by(usize::try_from(BATCH)?) {
        let mut state = State::default();
        for number in first..keys.min(first + BATCH) {
            let row = file(number, 10 + 2 * number + 1, false)?;
            let named = NameRow { name: row.name.clone(), package: row.package.clone(), sequence: row.sequence };
            state.names.put(row.name.clone(), named);
            state.files.put(row.sequence, row);
            if number % VERSIONED == 0 {
                let old = file(number, 10 + 2 * number, true)?;
                let entry = HistoryRow {
                    name: old.name.clone(),
                    sequence: old.sequence,
                    marker: false,
                    versioned: true,
                    occurred_at: old.ingested_at,
                };
                state.history.put((old.name.clone(), old.sequence), entry);
                state.files.put(old.sequence, old);
            }
        }
        let mut batch = store.begin().await?;
        let head = batch.head();
        batch.write(&[], head, &state).await?;
        batch.commit().await?;
    }
    Ok(())
}

fn registry(store: &Arc<dyn Store>) -> Registry {
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(store)));
    Registry::open(RegistryParts {
        store: Arc::clone(store),
        plane: Arc::new(InProcessDataPlane::new(backend, catalog, &PlaneOptions::default())),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(NoEntropy),
        facts: FinalizeFacts { gateway_version: "bench".to_owned(), backend: "memory".to_owned() },
        manifest_inline_limit_bytes: MANIFEST_INLINE_LIMIT_BYTES,
    })
}

async fn bucket(keys: u64, options: &ListingOptions, below: &Path) -> anyhow::Result<Vec<Listed>> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(below)?;
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await?);
    let registry = registry(&store);
    registry.producer_create(&sample::actor()?, &sample::producer()?, ProducerSettings::default()).await?;
    fill(&*store, keys).await?;
    let mut measured = Vec::new();
    for kind in Kind::ALL {
        let mut attempts = Attempts::new(options.patience);
        while attempts.begin().is_some() {
            attempts.took(pages(&registry, keys, kind, options.pages).await?);
        }
        measured.push(attempts.best().context("nothing was measured")?.0);
    }
    registry.stop().await;
    Ok(measured)
}

async fn pages(registry: &Registry, keys: u64, kind: Kind, pages: u64) -> anyhow::Result<Listed> {
    let (mut micros, mut entries) = (Vec::new(), 0);
    for page in 0..pages {
        // Scattered, and the same in every run; far enough from the end for a full page of folders.
        let room = keys.saturating_sub(FOLDER * kind.folders());
        let at = page.wrapping_mul(2_654_435_761) % room.max(1);
        let begun = Instant::now();
        entries = kind.page(registry, at).await?;
        micros.push(u64::try_from(begun.elapsed().as_micros())?);
        ensure!(entries == kind.entries(), "a page of {} has {entries} entries", kind.name());
    }
    Ok(Listed { keys, kind: kind.name().to_owned(), entries, latency: Latency::of(micros) })
}

/// Which kind of page.
#[derive(Clone, Copy)]
enum Kind {
    /// A thousand keys.
    Keys,
    /// The folders of the bucket, fifty of them.
    Folders,
    /// A thousand versions.
    Versions,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Keys, Self::Folders, Self::Versions];

    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Folders => "folders",
            Self::Versions => "versions",
        }
    }

    const fn entries(self) -> usize {
        match self {
            Self::Keys | Self::Versions => PAGE,
            // The smallest bucket has a hundred folders.
            Self::Folders => 50,
        }
    }

    /// How many folders' keys a page reaches over.
    const fn folders(self) -> u64 {
        match self {
            Self::Keys | Self::Versions => 11,
            Self::Folders => 52,
        }
    }

    /// Reads a page behind a key; says how many entries it has.
    async fn page(self, registry: &Registry, at: u64) -> anyhow::Result<usize> {
        let (actor, producer): (_, ProducerName) = (sample::actor()?, sample::producer()?);
        let (prefix, after, limit) = (String::new(), Some(key(at)), self.entries());
        match self {
            Self::Versions => {
                let request = VersionListRequest {
                    producer,
                    prefix,
                    delimiter: None,
                    key_marker: after,
                    version_marker: None,
                    limit,
                };
                let page = registry.version_list(&actor, &request).await.context("versions")?;
                Ok(page.versions.len())
            }
            Self::Keys | Self::Folders => {
                let delimiter = matches!(self, Self::Folders).then(|| "/".to_owned());
                let request = ListRequest { producer, prefix, delimiter, after, limit };
                let page = registry.file_list(&actor, &request).await.context("keys")?;
                Ok(page.files.len() + page.prefixes.len())
            }
        }
    }
}
