//! Keeps a directory as a sealed package, with no server: the registry and the data plane as libraries.
//!
//! What happens here is what the gateway does for an S3 client, one call each: create a producer, ingest files, finalize,
//! read the manifest, verify every byte, and rebuild all views from the log to see that they are the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use artifactstore_registry::actions::request::FileUpload;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::dataplane::spi::{IngestFrame, IngestHints, IngestStream};
use artifactstore_registry::backends::operator::OperatorBackend;
use artifactstore_registry::clock::{Entropy, SystemClock};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::{FinalizeFacts, PackageChoice, WriteCondition};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{FileName, PackageName, ProducerName, TenantName};
use artifactstore_registry::model::retention::Retention;
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};
use artifactstore_registry::store::{Store, StoreCatalog};
use artifactstore_registry::{Error, MANIFEST_INLINE_LIMIT_BYTES, Refusal, Registry, RegistryParts};
use futures::{StreamExt, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The producer that the files belong to.
pub const PRODUCER: &str = "embedding";
/// How much of a file is in memory at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What became of a directory.
#[derive(Debug)]
pub struct Sealed {
    /// How many files the package has.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// The manifest's digest, `blake3:<hex>`.
    pub manifest_digest: String,
    /// The manifest's canonical CBOR.
    pub manifest: Vec<u8>,
    /// How many events were replayed, to the same views.
    pub events: u64,
}

/// The operating system's randomness.
#[derive(Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "without randomness no identifier is safe, and there is nothing to fall back to"
    )]
    fn fresh(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        bytes
    }
}

/// Opens the registry in a folder, making it when there is none.
///
/// # Errors
/// When the folder cannot be used.
pub async fn open(data: &Path) -> Result<Registry> {
    tokio::fs::create_dir_all(data).await.with_context(|| format!("cannot make {}", data.display()))?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.join("registry.db"), OpenMode::Create).await?);
    let backend: Arc<dyn Backend> = Arc::new(OperatorBackend::local(&data.join("objects")).await?);
    let facts = FinalizeFacts {
        gateway_version: concat!("embedding-example/", env!("CARGO_PKG_VERSION")).to_owned(),
        backend: backend.name().to_owned(),
    };
    // The data plane asks the store where committed chunks lie; that is all it knows of the floor above.
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(&store)));
    Ok(Registry::open(RegistryParts {
        store,
        plane: Arc::new(InProcessDataPlane::new(backend, catalog, &PlaneOptions::default())),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        facts,
        manifest_inline_limit_bytes: MANIFEST_INLINE_LIMIT_BYTES,
    }))
}

/// Ingests a directory as the package of this name, seals it, and checks everything there is to check. Files that are not
/// regular are left out. Sealing the same package twice is refused by the registry.
///
/// # Errors
/// When a file cannot be read or kept, or a check fails.
pub async fn seal(registry: &Registry, directory: &Path, package: &str) -> Result<Sealed> {
    let actor = Actor {
        tenant: TenantName::parse("default")?,
        name: "embedding-example".to_owned(),
        request_id: "embedding".to_owned(),
        client: None,
    };
    let producer = ProducerName::parse(PRODUCER)?;
    match registry.producer_create(&actor, &producer, ProducerSettings::default()).await {
        Ok(_) | Err(Error::Refused(Refusal::ProducerOwned(_))) => {}
        Err(error) => return Err(error.into()),
    }

    for path in files(directory)? {
        let relative = path.strip_prefix(directory)?.to_str().context("a path is not UTF-8")?;
        let upload = FileUpload {
            retention: Retention::default(),
            name: FileName::parse(PRODUCER, &format!("{package}/{relative}"))?,
            hints: IngestHints { size_bytes: Some(path.metadata()?.len()), ..IngestHints::default() },
            body: body(File::open(&path).await.with_context(|| format!("cannot open {}", path.display()))?),
            attributes: Attributes::default(),
            condition: WriteCondition::default(),
        };
        // When this returns, the bytes are synced and the event is committed.
        registry.file_ingest(&actor, upload).await.with_context(|| format!("cannot keep {}", path.display()))?;
    }

    let choice = PackageChoice::Name(producer, PackageName::parse(package)?);
    let sealed = registry.package_finalize(&actor, choice).await?;
    let seal = sealed.seal.as_ref().context("a finalized package has a seal")?;
    let manifest = registry.package_manifest(&actor, &sealed.id).await?;
    ensure!(Manifest::digest(&manifest) == seal.manifest_digest, "the manifest does not have its digest");

    Ok(Sealed {
        files: sealed.file_count,
        size_bytes: sealed.size_bytes,
        manifest_digest: seal.manifest_digest.to_string(),
        manifest,
        events: audit(registry).await?,
    })
}

/// Re-reads every blob, follows the log's chain, and compares the views with those that the log makes: how many events.
async fn audit(registry: &Registry) -> Result<u64> {
    let findings = Mutex::new(Vec::new());
    let on_finding = |finding| findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(finding);
    let verified = registry.verify(&|_| {}, &on_finding).await?;
    if verified.damaged > 0 {
        bail!("damaged: {findings:?}");
    }
    let replayed = registry.replay(true, &|_| {}).await?;
    ensure!(replayed.differences.is_empty(), "the views differ from the log: {:?}", replayed.differences);
    Ok(replayed.events)
}

/// The regular files under a directory, in the order of their paths.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A file as a body: read once, a piece at a time.
fn body(file: File) -> IngestStream {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let limit = u64::try_from(PIECE_BYTES)?;
        if (&mut file).take(limit).read_to_end(&mut piece).await? == 0 {
            return Ok(None);
        }
        Ok(Some((IngestFrame::Data(piece.into()), file)))
    })
    .boxed()
}
