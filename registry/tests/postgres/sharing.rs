//! Several gateways on one database: one log, gapless and chained, whoever writes to it and whatever is cut off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::clock::{Clock, Entropy, SystemClock};
use artifactstore_registry::log::replay::{follows, genesis};
use artifactstore_registry::model::command::FinalizeFacts;
use artifactstore_registry::model::event::{Head, Record};
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::model::state::{State, Touched};
use artifactstore_registry::store::lease::Work;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, Store, StoreCatalog};
use artifactstore_registry::{Error, Registry, RegistryParts};
use artifactstore_tests::postgres::Cluster;
use tokio::task::JoinSet;

use crate::harness::{actor, producer, quiet, upload};

/// Fresh in every process of a test: the number of the gateway, and a count.
#[derive(Debug)]
struct Fresh(u64, std::sync::atomic::AtomicU64);

impl Entropy for Fresh {
    fn fresh(&self) -> [u8; 16] {
        let count = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes[8..].copy_from_slice(&count.to_be_bytes());
        bytes
    }
}

/// A gateway's registry on a database and bytes that others have too.
pub(crate) async fn gateway(number: u64, url: &str, disk: &Arc<MemoryBackend>) -> Registry {
    gateway_by(number, url, disk, Arc::new(SystemClock)).await
}

/// One with a clock of its own.
pub(crate) async fn gateway_by(number: u64, url: &str, disk: &Arc<MemoryBackend>, clock: Arc<dyn Clock>) -> Registry {
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(url, OpenMode::Create).await.unwrap());
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(&store)));
    let backend = Arc::clone(disk) as Arc<dyn Backend>;
    Registry::open(RegistryParts {
        store,
        plane: Arc::new(InProcessDataPlane::new(backend, catalog, &PlaneOptions::default())),
        clock,
        entropy: Arc::new(Fresh(number, std::sync::atomic::AtomicU64::new(0))),
        facts: FinalizeFacts { gateway_version: "test".to_owned(), backend: "memory".to_owned() },
        manifest_inline_limit_bytes: 1 << 20,
    })
}

/// Every event of a log, once it is sure that each follows from the one before.
pub(crate) async fn chained(registry: &Registry) -> Vec<Record> {
    let records = registry.event_list(0, usize::MAX).await.unwrap();
    let mut head = genesis();
    for record in &records {
        follows(&head, record).unwrap_or_else(|wrong| panic!("event {}: {wrong}", record.sequence));
        assert!(record.occurred_at >= head.occurred_at, "time never runs back");
        head = Head { sequence: record.sequence, occurred_at: record.occurred_at, hash: record.hash };
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gateways_write_one_log_without_gaps_and_each_sees_what_the_others_were_told() {
    const GATEWAYS: u64 = 3;
    const WRITERS: u64 = 6;
    const PUTS: u64 = 15;
    let url = Cluster::shared().database();
    let disk = Arc::new(MemoryBackend::new());
    let mut gateways = Vec::new();
    for number in 0..GATEWAYS {
        gateways.push(gateway(number, &url, &disk).await);
    }
    let owner = actor("default");
    gateways[0].producer_create(&owner, &producer("board"), ProducerSettings::default()).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..GATEWAYS * WRITERS {
        let gateways = gateways.clone();
        writers.spawn(async move {
            let owner = actor("default");
            let mut told = Vec::new();
            for put in 0..PUTS {
                let at = usize::try_from((writer + put) % GATEWAYS).unwrap();
                let other = usize::try_from((writer + put + 1) % GATEWAYS).unwrap();
                // Every writer's own key, one that all fight for, and content that all have.
                let body = format!("{} {}", writer, put / 2);
                let key = format!("board/run-{}/{writer}-{put}", put % 3);
                told.push(gateways[at].file_ingest(&owner, upload(&key, body.clone())).await.unwrap().file.sequence);
                told.push(gateways[at].file_ingest(&owner, upload("board/shared", body)).await.unwrap().file.sequence);
                let name = crate::harness::name(&key);
                let found = gateways[other].file_stat(&owner, &name, None).await.unwrap();
                assert_eq!(found.file.sequence, told[told.len() - 2], "what one acknowledged, another sees");
            }
            assert!(told.is_sorted(), "a writer's own order is the log's");
            told
        });
    }
    let mut told: Vec<u64> = writers.join_all().await.concat();
    told.sort_unstable();
    let records = chained(&gateways[1]).await;
    let ingested: Vec<u64> =
        records.iter().filter(|record| record.kind == "v1.file.ingested").map(|record| record.sequence).collect();
    assert_eq!(told, ingested, "each upload was told the number of its own event");
    assert_eq!(told.len() as u64, GATEWAYS * WRITERS * PUTS * 2);
    let opened = records.iter().filter(|record| record.kind == "v1.package.opened").count();
    assert_eq!(opened, 4, "three packages and the root, each opened once, whoever came first");
    for gateway in &gateways {
        assert_eq!(gateway.replay(true, &quiet()).await.unwrap().differences, []);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_tail_wakes_for_what_another_gateway_commits() {
    let url = Cluster::shared().database();
    let disk = Arc::new(MemoryBackend::new());
    let (writing, following) = (gateway(1, &url, &disk).await, gateway(2, &url, &disk).await);
    writing.producer_create(&actor("default"), &producer("board"), ProducerSettings::default()).await.unwrap();
    let mut quickest = Duration::MAX;
    for round in 0..5 {
        let last = writing.event_list(0, 999).await.unwrap().len() as u64;
        let tail = tokio::spawn({
            let following = following.clone();
            async move { following.event_wait(last, Duration::from_secs(20)).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!tail.is_finished(), "there is nothing yet");
        writing.file_ingest(&actor("default"), upload(&format!("board/a/{round}"), "x")).await.unwrap();
        let committed = Instant::now();
        assert!(tail.await.unwrap());
        quickest = quickest.min(committed.elapsed());
    }
    // Without the wake-up it would be found at the next look: half a second after the one before.
    assert!(quickest < Duration::from_millis(250), "{quickest:?}");
    writing.stop().await;
    following.stop().await;
}

#[tokio::test]
async fn a_database_that_hangs_is_said_not_to_be_well_before_anyone_gives_up_asking() {
    let url = Cluster::shared().database();
    let gateway = gateway(1, &url, &Arc::new(MemoryBackend::new())).await;
    assert!(gateway.health().await.ready());
    let hanging = tokio::task::spawn_blocking(move || {
        Cluster::shared().sql(&url, "BEGIN; LOCK TABLE log_head; SELECT pg_sleep(8); COMMIT")
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = Instant::now();
    let health = gateway.health().await;
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert!(!health.ready() && health.database_problem.is_some_and(|problem| problem.contains("does not answer")));
    hanging.await.unwrap();
    assert!(gateway.health().await.ready(), "it is well again by itself");
    gateway.stop().await;
}

#[tokio::test]
async fn a_future_that_is_dropped_anywhere_leaves_no_transaction_open() {
    let url = Cluster::shared().database();
    let store = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    let head = |sequence| Head { sequence, ..genesis() };
    for polls in 0..40_u64 {
        let work = async {
            let mut batch = store.begin().await.unwrap();
            let mut state = State::default();
            let touched = Touched { producers: [producer("board")].into(), ..Touched::default() };
            batch.load(touched, &mut state).await.unwrap();
            batch.write(&[], head(1), &state).await.unwrap();
            // Never committed: what is dropped here has written.
            std::future::pending::<()>().await;
        };
        let mut work = Box::pin(work);
        for _ in 0..polls {
            if futures::poll!(&mut work).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        drop(work);
        let batch = tokio::time::timeout(Duration::from_secs(10), store.begin()).await;
        assert_eq!(batch.expect("the head is free again").unwrap().head().sequence, 0, "after {polls} polls");
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    let mut left = String::new();
    for _ in 0..100 {
        left = Cluster::shared().sql(&url, open);
        if left == "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, "0", "transactions that nobody has");
    store.close().await;
}

#[tokio::test]
async fn a_batch_whose_session_is_ended_records_nothing_and_the_next_one_works() {
    let url = Cluster::shared().database();
    let store = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let mut record = Record {
        sequence: 1,
        occurred_at: artifactstore_registry::clock::Timestamp(1),
        tenant: artifactstore_registry::model::name::TenantName::parse("default").unwrap(),
        producer: None,
        package: None,
        actor: "tester".to_owned(),
        request_id: "r".to_owned(),
        kind: "v1.test".to_owned(),
        payload: vec![0xa0],
        hash: [0; 32],
    };
    record.hash = record.chained(&batch.head().hash);
    let head = Head { sequence: 1, occurred_at: record.occurred_at, hash: record.hash };
    batch.write(std::slice::from_ref(&record), head, &State::default()).await.unwrap();
    assert_eq!(Cluster::shared().terminate(&url, "state = 'idle in transaction'"), 1);
    let outcome = batch.commit().await;
    assert!(matches!(outcome, Err(Error::BatchUndone)), "{outcome:?}");
    assert!(outcome.unwrap_err().is_unavailable(), "and may be tried again");
    assert_eq!(store.head().await.unwrap().sequence, 0);

    // Every connection that is kept is gone; nobody who asks notices.
    assert!(Cluster::shared().terminate(&url, "true") >= 1);
    assert!(store.events(0, 9).await.unwrap().is_empty());
    let mut batch = store.begin().await.unwrap();
    batch.write(&[record.clone()], head, &State::default()).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(store.events(0, 9).await.unwrap(), [record]);
    store.close().await;
}

#[tokio::test]
async fn a_lease_cannot_be_taken_over_while_a_batch_leans_on_it() {
    let url = Cluster::shared().database();
    let one = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    let two = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    let term = Duration::from_millis(500);
    let lease = one.lease_take(Work::FinalizeIdle, "one", term).await.unwrap().unwrap();
    let mut batch = one.begin().await.unwrap();
    assert!(batch.lease_runs(&lease).await.unwrap());
    tokio::time::sleep(term * 2).await;
    // It has run out, and what the batch decided under it may still be committed: nobody else begins before that.
    assert_eq!(two.lease_take(Work::FinalizeIdle, "two", term).await.unwrap(), None);
    drop(batch);
    let begun = Instant::now();
    while two.lease_take(Work::FinalizeIdle, "two", term).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the lease is never free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut batch = one.begin().await.unwrap();
    assert!(!batch.lease_runs(&lease).await.unwrap());
    drop(batch);
    one.close().await;
    two.close().await;
}
