//! What the writer says of itself when it has ended, or hangs.

use std::sync::Arc;

use artifactstore_backends::digest::ContentAddress;
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use super::{BATCH_LIMIT, HANGS_LIMIT, Kept, LogWriter, PLACE_LIMIT, Vault, WAITING_LIMIT, WriterParts, hangs};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::model::command::Command;
use crate::model::event::Actor;
use crate::model::name::{ProducerName, TenantName};
use crate::model::row::ProducerSettings;
use crate::store::sqlite::SqliteStore;
use crate::store::{OpenMode, Store};

/// Stands still, or panics.
#[derive(Debug)]
struct Fragile(std::sync::atomic::AtomicBool);

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the clock was told to break");
        Timestamp(1)
    }
}

#[derive(Debug)]
struct Full;

#[async_trait::async_trait]
impl Vault for Full {
    async fn keep(&self, bytes: Bytes) -> Result<Kept> {
        Err(artifactstore_backends::Error::BlobMissing(ContentAddress::of(&bytes)).into())
    }
}

#[tokio::test]
async fn a_writer_that_ended_before_its_time_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await.unwrap();
    let clock = Arc::new(Fragile(false.into()));
    let parts = WriterParts {
        store: Arc::new(store),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        vault: Arc::new(Full),
        inline_limit_bytes: 1,
    };
    let writer = LogWriter::start(parts);
    writer.record(&actor(), create("first")).await.unwrap();
    assert_eq!(writer.problem(), None);
    clock.0.store(true, std::sync::atomic::Ordering::SeqCst);
    for name in ["second", "third"] {
        assert!(matches!(writer.record(&actor(), create(name)).await, Err(Error::Stopping)));
    }
    assert_eq!(writer.problem().unwrap(), "the log writer has ended");
}

fn actor() -> Actor {
    let tenant = TenantName::parse("default").unwrap();
    Actor { tenant, name: "tester".to_owned(), request_id: "request".to_owned(), client: None }
}

fn create(name: &str) -> Command {
    Command::ProducerCreate {
        producer: ProducerName::parse(name).unwrap(),
        settings: ProducerSettings::default(),
        object_lock: false,
    }
}

#[tokio::test]
async fn no_more_commands_wait_than_may_and_those_that_do_are_recorded() {
    const MORE: usize = 50;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let clock = Arc::new(Fragile(false.into()));
    let parts = WriterParts { store: Arc::clone(&store), clock, vault: Arc::new(Full), inline_limit_bytes: 1 };
    let writer = Arc::new(LogWriter::start(parts));
    let before_it = store.begin().await.unwrap();
    let many = BATCH_LIMIT + WAITING_LIMIT + MORE;
    let sent: Vec<_> = (0..many)
        .map(|number| {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move { writer.record(&actor(), create(&format!("producer-{number}"))).await })
        })
        .collect();
    // From here on the clock goes on when nobody has anything to do but to wait.
    tokio::time::pause();
    tokio::time::sleep(PLACE_LIMIT * 2).await;
    tokio::time::resume();
    let refused = sent.iter().filter(|sent| sent.is_finished()).count();
    assert!((MORE..=MORE + BATCH_LIMIT).contains(&refused), "{refused} of {many} had no place");
    drop(before_it);
    let outcomes = join_all(sent).await;
    let busy = outcomes.iter().filter(|outcome| matches!(outcome.as_ref().unwrap(), Err(Error::Busy))).count();
    let recorded = outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().is_ok()).count();
    assert_eq!((busy, recorded), (refused, many - refused));
    writer.stop().await;
    store.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_hangs_from_half_a_minute_on() {
    let begun = Instant::now();
    tokio::time::advance(HANGS_LIMIT / 2).await;
    assert_eq!(hangs(begun), None);
    tokio::time::advance(HANGS_LIMIT / 2).await;
    assert_eq!(hangs(begun).unwrap(), "a batch has been on its way to the log for 30 s");
}
