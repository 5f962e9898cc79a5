//! Uploads that are under way while what nothing keeps is collected, step by step against each other: whatever was
//! acknowledged and not released is readable, whatever came between its bytes and its commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use artifactstore_registry::actions::request::Collection;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::dataplane::spi::{DataPlane, Deletion, IngestHints, IngestResult, Verification};
use artifactstore_registry::clock::Clock;
use artifactstore_registry::log::writer::{Kept, LogWriter, Vault, WriterParts};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::{Command, Content, FileIngest, FinalizeFacts, WriteCondition};
use artifactstore_registry::model::name::PackageId;
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings};
use artifactstore_registry::store::StoreCatalog;
use artifactstore_registry::{Error, Refusal, Result};
use bytes::Bytes;
use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

use crate::collecting::{noise, recounted};
use crate::dialect;
use crate::harness::{Harness, body, name};

/// Another gateway, whose requests stand still where a test wants them to: between the bytes and the commit.
struct Other {
    plane: InProcessDataPlane,
    log: LogWriter,
}

#[derive(Debug)]
struct NoVault;

#[async_trait::async_trait]
impl Vault for NoVault {
    async fn keep(&self, _: Bytes) -> Result<Kept> {
        Err(Error::Stopping)
    }
}

fn fresh_package() -> PackageId {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut bytes = [0xff; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PackageId::from_random(bytes)
}

/// Small, so that bodies of some chunks are quickly made.
const CHUNK: usize = 64;

impl Other {
    fn beside(harness: &Harness) -> Self {
        let catalog = Arc::new(StoreCatalog::new(Arc::clone(&harness.store)));
        let options = PlaneOptions { chunk_size_bytes: CHUNK, ..PlaneOptions::default() };
        let backend = Arc::clone(&harness.backend) as Arc<dyn Backend>;
        let plane = InProcessDataPlane::new(backend, catalog, &options);
        let log = LogWriter::start(WriterParts {
            store: Arc::clone(&harness.store),
            clock: Arc::clone(&harness.clock) as Arc<dyn Clock>,
            vault: Arc::new(NoVault),
            inline_limit_bytes: 1 << 20,
        });
        Self { plane, log }
    }

    async fn store(&self, bytes: Vec<u8>) -> IngestResult {
        self.plane.ingest_stream(body(bytes), IngestHints::default()).await.unwrap()
    }

    async fn commit(&self, harness: &Harness, path: &str, stored: &IngestResult) -> Result<()> {
        let content = Content {
            content_address: stored.content_address,
            sha256: stored.sha256.unwrap(),
            size_bytes: stored.size_bytes,
            recipe: Some(stored.recipe.clone()),
            written: stored.written.clone(),
        };
        let ingest = FileIngest {
            name: name(path),
            content,
            etag: "etag".to_owned(),
            attributes: Attributes::default(),
            retention: Default::default(),
            condition: WriteCondition::default(),
            upload: None,
            copied_from: None,
            fresh_package: fresh_package(),
            finalize: FinalizeFacts { gateway_version: "test".to_owned(), backend: "memory".to_owned() },
        };
        self.log.record(&harness.actor, Command::FileIngest(Box::new(ingest))).await.map(|_| ())
    }

    /// As the client does that is told to come again.
    async fn put(&self, harness: &Harness, path: &str, bytes: &[u8]) {
        let stored = self.store(bytes.to_vec()).await;
        self.commit(harness, path, &stored).await.unwrap();
    }
}

async fn collect(harness: &Harness) {
    let how = Collection { grace: Duration::ZERO, dry: false, under_lease: false };
    harness.registry.collect(&harness.actor, &how, &|_, _| {}).await.unwrap();
}

fn is_told_to_come_again(outcome: &Result<()>) -> bool {
    matches!(outcome, Err(Error::Refused(Refusal::ContentMissing)))
}

#[tokio::test]
async fn what_was_written_and_swept_before_its_commit_is_asked_for_again() {
    let harness = Harness::start().await;
    let other = Other::beside(&harness);
    for size_bytes in [2, CHUNK - 1, 3 * CHUNK + 1] {
        let bytes = noise(size_bytes, 1);
        let stored = other.store(bytes.clone()).await;
        assert!(!stored.written.is_empty());
        collect(&harness).await;
        assert!(is_told_to_come_again(&other.commit(&harness, "board/a/x", &stored).await));
        assert!(harness.stat("board/a/x").await.is_err(), "nothing was recorded");
        other.put(&harness, "board/a/x", &bytes).await;
        collect(&harness).await;
        assert_eq!(harness.read("board/a/x").await.unwrap(), bytes);
        harness.remove("board/a/x").await.unwrap();
    }
    other.log.stop().await;
    harness.finish().await;
}

#[tokio::test]
async fn what_was_found_and_swept_before_its_commit_is_asked_for_again() {
    let harness = Harness::start().await;
    let other = Other::beside(&harness);
    for size_bytes in [2, 3 * CHUNK + 1] {
        let bytes = noise(size_bytes, 2);
        other.put(&harness, "board/a/old", &bytes).await;
        let stored = other.store(bytes.clone()).await;
        assert_eq!(stored.written, [], "it leans on what is there");
        harness.remove("board/a/old").await.unwrap();
        collect(&harness).await;
        assert!(is_told_to_come_again(&other.commit(&harness, "board/a/x", &stored).await));
        other.put(&harness, "board/a/x", &bytes).await;
        collect(&harness).await;
        assert_eq!(harness.read("board/a/x").await.unwrap(), bytes);
        harness.remove("board/a/x").await.unwrap();
    }
    other.log.stop().await;
    harness.finish().await;
}

#[tokio::test]
async fn a_deletion_that_comes_late_takes_nothing_that_was_promised_since() {
    let harness = Harness::start().await;
    let other = Other::beside(&harness);
    let bytes = noise(50, 3);
    let deletion = |stored: &IngestResult| {
        let location = &stored.written[0].location;
        Deletion::Objects { backend: location.backend.clone(), objects: vec![location.object] }
    };
    let mut late = Vec::new();
    for _ in 0..3 {
        let stored = other.store(bytes.clone()).await;
        other.commit(&harness, "board/a/x", &stored).await.unwrap();
        // Somebody was told to delete this, and hangs.
        late.push(deletion(&stored));
        harness.remove("board/a/x").await.unwrap();
        collect(&harness).await;
    }
    other.put(&harness, "board/a/x", &bytes).await;
    for deletion in late {
        other.plane.delete_object(deletion).await.unwrap();
    }
    assert_eq!(harness.read("board/a/x").await.unwrap(), bytes);
    other.log.stop().await;
    harness.finish().await;
}

#[derive(Debug, Clone)]
enum Deed {
    /// A body is stored, and its commit waits in this place.
    Store { place: usize, content: u64 },
    /// What waits there is committed under this key.
    Commit { place: usize, key: usize },
    /// The key loses its file.
    Remove { key: usize },
    /// The package of this key is sealed.
    Finalize { package: usize },
    /// What nothing keeps is collected, with no grace.
    Collect,
}

const KEYS: [&str; 6] = ["board/a/1", "board/a/2", "board/a/3", "board/b/1", "board/b/2", "board/b/3"];
const PLACES: usize = 3;

/// Bodies that share chunks, in part and wholly.
fn bytes_of(content: u64) -> Vec<u8> {
    let chunk = |seed| noise(CHUNK, seed);
    match content {
        0 => noise(1, 100),
        1 => chunk(1),
        2 => [chunk(1), chunk(2)].concat(),
        3 => [chunk(2), chunk(1), chunk(2)].concat(),
        4 => [chunk(2), noise(3, 4)].concat(),
        _ => noise(3, 4),
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        5 => (0..PLACES, 0_u64..6).prop_map(|(place, content)| Deed::Store { place, content }),
        5 => (0..PLACES, 0..KEYS.len()).prop_map(|(place, key)| Deed::Commit { place, key }),
        2 => (0..KEYS.len()).prop_map(|key| Deed::Remove { key }),
        1 => (0_usize..2).prop_map(|package| Deed::Finalize { package }),
        4 => prop::strategy::Just(Deed::Collect),
    ];
    prop::collection::vec(deed, 4..40)
}

async fn happen(deeds: Vec<Deed>) -> std::result::Result<(), TestCaseError> {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let other = Other::beside(&harness);
    let mut waiting: BTreeMap<usize, (u64, IngestResult)> = BTreeMap::new();
    let mut named: BTreeMap<usize, u64> = BTreeMap::new();
    // What each sealed revision has: by its files' versions.
    let mut sealed: BTreeMap<(PackageId, u64), u64> = BTreeMap::new();
    for deed in deeds {
        match deed {
            Deed::Store { place, content } => {
                waiting.insert(place, (content, other.store(bytes_of(content)).await));
            }
            Deed::Commit { place, key } => {
                let Some((content, stored)) = waiting.remove(&place) else { continue };
                match other.commit(&harness, KEYS[key], &stored).await {
                    Ok(()) => drop(named.insert(key, content)),
                    outcome => prop_assert!(is_told_to_come_again(&outcome), "{outcome:?}"),
                }
            }
            Deed::Remove { key } => {
                harness.remove(KEYS[key]).await.unwrap();
                named.remove(&key);
            }
            Deed::Finalize { package } => {
                let Ok(package) = harness.finalize(["a", "b"][package]).await else { continue };
                for file in harness.registry.package_files(&harness.actor, &package.id, None, 99).await.unwrap() {
                    let key = KEYS.iter().position(|key| *key == format!("board/{}", file.name.key)).unwrap();
                    sealed.insert((package.id.clone(), file.sequence), named[&key]);
                }
            }
            Deed::Collect => collect(&harness).await,
        }
    }
    collect(&harness).await;
    for (key, content) in &named {
        let read = harness.read(KEYS[*key]).await.unwrap();
        prop_assert!(read == bytes_of(*content), "{}", KEYS[*key]);
    }
    for ((package, version), content) in &sealed {
        let files = harness.registry.package_files(&harness.actor, package, None, 99).await.unwrap();
        let file = files.into_iter().find(|file| file.sequence == *version).expect("a file of the manifest");
        let blob = harness.store.blob(&file.content_address).await.unwrap();
        prop_assert!(blob.is_some(), "{package} {version}");
        let pieces = other.plane.verify_object(&Verification::Blob(file.content_address)).await.unwrap();
        prop_assert!(pieces.damages.is_empty(), "{pieces:?}");
        prop_assert!(pieces.size_bytes == bytes_of(*content).len() as u64);
    }
    recounted(&harness).await;
    other.log.stop().await;
    harness.finish().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: dialect::cases(24), ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_removed_sealed_and_collected_in_between_what_is_promised_is_readable(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(happen(deeds))?;
    }
}
