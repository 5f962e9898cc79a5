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
use artifactstore_registry::model::command::{Command, Content, FileIngest, FinalizeFacts, Reply, WriteCondition};
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
use tokio::task::JoinHandle;
use tracing::span::{Attributes as SpanAttributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts what a database is asked to run.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["sqlx::query", "artifactstore::statement"].contains(&metadata.target())
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
        dry: false,
    }
}

struct Counted {
    store: Arc<dyn Store>,
    writer: Arc<LogWriter>,
}

impl Counted {
    fn send(&self, command: Command) -> JoinHandle<Result<Reply>> {
        let writer = Arc::clone(&self.writer);
        tokio::spawn(async move { writer.record(&actor(), command).await })
    }

    /// What a batch of so many commands sends; where the writer has a thread of its own, with the one before it.
    async fn sends(&self, numbers: Range<usize>, make: fn(usize) -> Command) -> usize {
        // Such a writer waits until they are all there, behind a command about a producer, which ends a batch and is refused.
        // Of one that is a task the runtime, which has one thread and takes tasks in turn, makes it come behind them.
        let held = if self.store.blocks() { Some(self.store.begin().await.unwrap()) } else { None };
        let before = STATEMENTS.load(Ordering::SeqCst);
        let refused = held.is_some().then(|| self.send(create()));
        let sent: Vec<_> = numbers.map(|number| self.send(make(number))).collect();
        if let Some(refused) = refused {
            for _ in 0..=sent.len() {
                tokio::task::yield_now().await;
            }
            drop(held);
            refused.await.unwrap().unwrap_err();
        }
        for outcome in join_all(sent).await {
            outcome.unwrap().unwrap();
        }
        STATEMENTS.load(Ordering::SeqCst) - before
    }

    async fn statements(&self, numbers: Range<usize>, make: fn(usize) -> Command) -> usize {
        self.sends(numbers, make).await - self.sends(0..0, make).await
    }
}

fn board() -> ProducerName {
    ProducerName::parse("board").unwrap()
}

fn create() -> Command {
    Command::ProducerCreate { producer: board(), settings: ProducerSettings::default(), object_lock: false }
}

#[tokio::test]
async fn a_batch_takes_the_same_statements_whatever_its_size() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await.unwrap();
    // The head; seven reads; the events, the head, and the rows of six views. No way lies between it and its statements, so
    // that they are as many as there are tables for every 64 rows, and once more for what is no multiple of eight.
    counted(Arc::new(sqlite), 16, |commands| commands.div_ceil(64) + usize::from(!commands.is_multiple_of(8))).await;
    let postgres = PostgresStore::open(&Cluster::shared().database(), OpenMode::Create).await.unwrap();
    // It listens for events with a statement, too.
    postgres.changed().unwrap().wait_for(|times| *times > 0).await.unwrap();
    // The head, two reads (the producer, and what its settings lead to), one write, and the commit.
    counted(Arc::new(postgres), 5, |_| 1).await;
}

/// A lone command takes so many, and several together at most so many times as many.
async fn counted(store: Arc<dyn Store>, wanted: usize, times: fn(usize) -> usize) {
    let (clock, vault) = (Arc::new(Still), Arc::new(Empty));
    let parts = WriterParts { store: Arc::clone(&store), clock, vault, inline_limit_bytes: 1 << 20 };
    let counted = Counted { store, writer: Arc::new(LogWriter::start(parts)) };
    counted.writer.record(&actor(), create()).await.unwrap();
    let opening = counted.statements(0..1, put).await;
    assert!(opening > 0, "statements are counted");

    let lone = counted.statements(1..2, put).await;
    assert_eq!(lone, wanted);
    assert_eq!(counted.statements(100..132, put).await, lone);
    for (first, commands) in [(200, 63), (300, 200), (500, 255), (800, 256)] {
        let statements = counted.statements(first..first + commands, put).await;
        assert!(statements <= times(commands) * lone, "{statements} of {commands} commands");
    }

    let versioning = Command::VersioningSet { producer: board(), versioning: Versioning::Enabled };
    counted.writer.record(&actor(), versioning).await.unwrap();
    let lone = counted.statements(1..2, null_removal).await;
    assert_eq!(counted.statements(100..132, null_removal).await, lone);
    assert!(counted.statements(400..656, null_removal).await <= times(256) * lone);
    counted.writer.stop().await;
    counted.store.close().await;
}
