//! How many statements and scripts a batch sends: a constant, whatever the number of its commands.
//!
//! Alone in its binary, because it listens to every statement that the process runs.

#![allow(clippy::unwrap_used, reason = "a test speaks by panicking")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artifactstore_registry::Result;
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey, Sha256Digest};
use artifactstore_registry::backends::recipe::{Chunk, Codec, LocatedChunk, Location, Recipe, RetrievalTier};
use artifactstore_registry::clock::{Clock, Timestamp};
use artifactstore_registry::log::writer::{Kept, LogWriter, Vault, WriterParts};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::{Command, Content, FileIngest, FinalizeFacts, WriteCondition};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{FileName, PackageId, ProducerName, TenantName};
use artifactstore_registry::model::row::{ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::store::OpenMode;
use artifactstore_registry::store::Store;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::sqlite::SqliteStore;
use artifactstore_tests::postgres::Cluster;
use bytes::Bytes;
use futures::future::join_all;
use tracing::span::{Attributes as SpanAttributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts what a database is asked to run.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        STATEMENTS.fetch_add(1, Ordering::SeqCst);
    }

    fn new_span(&self, _: &SpanAttributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1)
    }

    fn agreed(&self, _: Option<Timestamp>) -> Timestamp {
        self.now()
    }
}

#[derive(Debug)]
struct Empty;

#[async_trait::async_trait]
impl Vault for Empty {
    async fn keep(&self, _: Bytes) -> Result<Kept> {
        Err(artifactstore_registry::Error::Stopping)
    }
}

fn actor() -> Actor {
    let tenant = TenantName::parse("default").unwrap();
    Actor { tenant, name: "tester".to_owned(), request_id: "request".to_owned(), client: None }
}

/// A new name for content that nobody had.
fn put(number: usize) -> Command {
    let address = ContentAddress::of(&number.to_be_bytes());
    let chunk = Chunk { address, size_bytes: 8 };
    let location = Location {
        backend: "memory".to_owned(),
        object: ObjectKey(address.0),
        offset_bytes: 0,
        stored_length_bytes: 8,
        codec: Codec::None,
        tier: RetrievalTier::Online,
    };
    Command::FileIngest(Box::new(FileIngest {
        name: FileName::parse("board", &format!("run/{number}")).unwrap(),
        content: Content {
            content_address: address,
            sha256: Sha256Digest(address.0),
            size_bytes: 8,
            recipe: Some(Recipe { chunks: vec![chunk] }),
            written: vec![LocatedChunk { chunk, location }],
        },
        etag: "etag".to_owned(),
        attributes: Attributes::default(),
        retention: Default::default(),
        condition: WriteCondition::default(),
        upload: None,
        copied_from: None,
        fresh_package: PackageId::from_random([7; 16]),
        finalize: FinalizeFacts { gateway_version: "test".to_owned(), backend: "memory".to_owned() },
    }))
}

/// The removal of a version that was made before versions were kept.
fn null_removal(number: usize) -> Command {
    Command::VersionRemove {
        name: FileName::parse("board", &format!("run/{number}")).unwrap(),
        version: VersionChoice::Null,
        condition: WriteCondition::default(),
        bypass: false,
        fresh_package: PackageId::from_random([7; 16]),
    }
}

/// What a batch of so many commands sends.
async fn statements(writer: &Arc<LogWriter>, numbers: Range<usize>, make: fn(usize) -> Command) -> usize {
    let before = STATEMENTS.load(Ordering::SeqCst);
    // The runtime has one thread and takes tasks in turn: the writer, woken by the first of these, comes behind them all
    // and finds every command waiting.
    let senders: Vec<_> = numbers
        .map(|number| {
            let writer = Arc::clone(writer);
            tokio::spawn(async move { writer.record(&actor(), make(number)).await })
        })
        .collect();
    for outcome in join_all(senders).await {
        outcome.unwrap().unwrap();
    }
    STATEMENTS.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn a_batch_takes_the_same_statements_whatever_its_size() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await.unwrap();
    // The head; the producers, because their settings say what else is touched; all else that is read; all that is written.
    counted(Arc::new(sqlite), 4).await;
    let postgres = PostgresStore::open(&Cluster::shared().database(), OpenMode::Create).await.unwrap();
    // It listens for events with a statement, too.
    postgres.changed().unwrap().wait_for(|times| *times > 0).await.unwrap();
    // The head, two reads (the producer, and what its settings lead to), one write, and the commit.
    counted(Arc::new(postgres), 5).await;
}

async fn counted(store: Arc<dyn Store>, wanted: usize) {
    let (clock, vault) = (Arc::new(Still), Arc::new(Empty));
    let writer = Arc::new(LogWriter::start(WriterParts {
        store: Arc::clone(&store),
        clock,
        vault,
        inline_limit_bytes: 1 << 20,
    }));
    let (producer, settings) = (ProducerName::parse("board").unwrap(), ProducerSettings::default());
    let create = Command::ProducerCreate { producer: producer.clone(), settings, object_lock: false };
    writer.record(&actor(), create).await.unwrap();
    let opening = statements(&writer, 0..1, put).await;
    assert!(opening > 0, "statements are counted");

    let lone = statements(&writer, 1..2, put).await;
    assert_eq!(lone, wanted);
    assert_eq!(statements(&writer, 100..132, put).await, lone);
    assert_eq!(statements(&writer, 200..400, put).await, lone);
    assert_eq!(statements(&writer, 400..656, put).await, lone);

    let versioning = Command::VersioningSet { producer, versioning: Versioning::Enabled };
    writer.record(&actor(), versioning).await.unwrap();
    let lone = statements(&writer, 1..2, null_removal).await;
    assert_eq!(statements(&writer, 100..132, null_removal).await, lone);
    assert_eq!(statements(&writer, 400..656, null_removal).await, lone);
    writer.stop().await;
    store.close().await;
}
