//! The store on PostgreSQL keeps the promises of a store, and gives the same views as any other.

use std::sync::atomic::{AtomicUsize, Ordering};

use artifactstore_registry::log::replay::compare;
use artifactstore_registry::log::transfer::{Transferred, transfer};
use artifactstore_registry::model::event::{Head, Record};
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::model::state::State;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::sqlite::SqliteStore;
use artifactstore_registry::store::{Batch, OpenMode, Store, conformance};
use artifactstore_registry::{Error, clock::Timestamp};
use artifactstore_tests::postgres::Cluster;

use crate::harness::{Harness, producer, quiet};

async fn opened(url: &str) -> PostgresStore {
    PostgresStore::open(url, OpenMode::Create).await.unwrap()
}

fn scratch_schemas(url: &str) -> String {
    let count = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'artifactstore_scratch%'";
    Cluster::shared().sql(url, count)
}

#[tokio::test]
async fn the_store_on_postgresql_keeps_the_promises_of_a_store() {
    let cluster = Cluster::shared();
    let urls = std::sync::Mutex::new(Vec::new());
    conformance::all(|| async {
        let url = cluster.database();
        urls.lock().unwrap().push(url.clone());
        opened(&url).await
    })
    .await;
    for url in urls.into_inner().unwrap() {
        assert_eq!(scratch_schemas(&url), "0", "a scratch store is gone when closed");
    }
}

#[tokio::test]
async fn a_scratch_store_is_gone_when_dropped_or_when_its_process_died() {
    let url = Cluster::shared().database();
    let store = opened(&url).await;
    drop(store.scratch().await.unwrap());
    for _ in 0..100 {
        if scratch_schemas(&url) == "0" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(scratch_schemas(&url), "0", "dropped");

    let kept = store.scratch().await.unwrap();
    let dead = std::thread::spawn({
        let url = url.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let scratch = runtime.block_on(async { opened(&url).await.scratch().await.unwrap() });
            // Its connections go with the runtime, as they do with a process; nothing is left to drop the schema.
            drop(runtime);
            drop(scratch);
        }
    });
    dead.join().unwrap();
    assert_eq!(scratch_schemas(&url), "2");
    for _ in 0..100 {
        opened(&url).await.close().await;
        if scratch_schemas(&url) == "1" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(scratch_schemas(&url), "1", "the dead one's is swept, the living one's is not");
    assert_eq!(kept.head().await.unwrap().sequence, 0);
    kept.close().await;
    assert_eq!(scratch_schemas(&url), "0");
    store.close().await;
}

/// Something of every kind of event.
async fn history(harness: &Harness) {
    let settings = ProducerSettings { finalize_marker: Some("_SUCCESS".to_owned()), ..ProducerSettings::default() };
    harness.registry.producer_create(&harness.actor, &producer("other"), settings).await.unwrap();
    for key in ["b", "B", "a/é", "a/z", "a/Z", "a-b", "a/\u{10000}", "a/\u{ffff}", "run/x", "lone"] {
        harness.put(&format!("board/{key}"), key.as_bytes().to_vec()).await.unwrap();
    }
    harness.put("board/run/x", "another").await.unwrap();
    harness.put("other/done/one", vec![7; 3 << 20]).await.unwrap();
    harness.put("other/done/_SUCCESS", "").await.unwrap();
    harness.remove("board/a-b").await.unwrap();
    harness.finalize("a").await.unwrap();
    harness.registry.producer_create(&harness.actor, &producer("short"), ProducerSettings::default()).await.unwrap();
    harness.registry.producer_delete(&harness.actor, &producer("short")).await.unwrap();
}

#[tokio::test]
async fn a_log_gives_the_same_views_on_postgresql_and_on_sqlite() {
    let harness = Harness::start().await;
    history(&harness).await;
    let folder = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(&folder.path().join("copy.db"), OpenMode::Create).await.unwrap();
    let mut live = harness.store.snapshot().await.unwrap();
    let events = live.head().await.unwrap().sequence;
    let moved = transfer(&mut *live, &sqlite, &quiet()).await.unwrap();
    assert_eq!(moved, Transferred { events, total: events });
    let (rows, differences) = compare(&mut *live, &mut *sqlite.snapshot().await.unwrap()).await.unwrap();
    assert_eq!(differences, []);
    assert!(rows > 40, "{rows}");
    assert_eq!(sqlite.head().await.unwrap(), harness.store.head().await.unwrap(), "the chain is the same");
    assert_eq!(sqlite.events(0, 999).await.unwrap(), harness.events().await);

    // And back again, into a database that is empty.
    let back = opened(&Cluster::shared().database()).await;
    transfer(&mut *sqlite.snapshot().await.unwrap(), &back, &quiet()).await.unwrap();
    let (_, differences) = compare(&mut *live, &mut *back.snapshot().await.unwrap()).await.unwrap();
    assert_eq!(differences, []);
    drop(live);
    back.close().await;
    sqlite.close().await;
    harness.finish().await;
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_ended_and_refuses_another_log() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = SqliteStore::open(&folder.path().join("copy.db"), OpenMode::Create).await.unwrap();
    let first = transfer(&mut *harness.store.snapshot().await.unwrap(), &target, &quiet()).await.unwrap();
    harness.put("board/a/y", "y").await.unwrap();
    let seen = AtomicUsize::new(0);
    let on_progress = |_: artifactstore_registry::actions::request::Progress| {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let second = transfer(&mut *harness.store.snapshot().await.unwrap(), &target, &on_progress).await.unwrap();
    assert_eq!((second.events, second.total), (1, first.total + 1));
    assert_eq!(seen.into_inner(), 1);
    let none = transfer(&mut *harness.store.snapshot().await.unwrap(), &target, &quiet()).await.unwrap();
    assert_eq!(none.events, 0);

    let other = Harness::start().await;
    other.put("board/a/else", "x").await.unwrap();
    other.put("board/a/more", "x").await.unwrap();
    let refused = transfer(&mut *other.store.snapshot().await.unwrap(), &target, &quiet()).await;
    assert!(matches!(refused, Err(Error::TargetDiffers { .. })), "{refused:?}");
    let behind = transfer(&mut *target.snapshot().await.unwrap(), &*other.store, &quiet()).await;
    assert!(matches!(behind, Err(Error::TargetDiffers { .. })), "{behind:?}");
    target.close().await;
    other.finish().await;
    harness.finish().await;
}

fn record(sequence: u64) -> Record {
    Record {
        sequence,
        occurred_at: Timestamp(1),
        tenant: artifactstore_registry::model::name::TenantName::parse("default").unwrap(),
        producer: None,
        package: None,
        actor: "tester".to_owned(),
        request_id: "r".to_owned(),
        kind: "v1.test".to_owned(),
        payload: vec![0xa0],
        hash: [7; 32],
    }
}

async fn write(batch: &mut Box<dyn Batch>, sequences: std::ops::RangeInclusive<u64>) {
    let records: Vec<Record> = sequences.map(record).collect();
    let last = records.last().unwrap();
    let head = Head { sequence: last.sequence, occurred_at: last.occurred_at, hash: last.hash };
    batch.write(&records, head, &State::default()).await.unwrap();
}

fn partitions(url: &str) -> String {
    let text = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    Cluster::shared().sql(url, text)
}

#[tokio::test]
async fn partitions_are_made_before_they_are_needed_by_whoever_comes_first() {
    let url = Cluster::shared().database();
    let (one, two) = (opened(&url).await, opened(&url).await);
    assert_eq!(partitions(&url), "0");
    let mut undone = one.begin().await.unwrap();
    write(&mut undone, 1..=3).await;
    drop(undone);
    for (store, sequences, wanted) in [
        (&one, 1..=3, "1"),
        (&two, 4..=5, "1"),
        (&one, 8_999_990..=8_999_999, "1"),
        // A million ahead of its first event there is the next one.
        (&two, 9_000_000..=9_000_001, "2"),
        (&one, 9_999_999..=10_000_001, "2"),
        (&one, 1_234_567_890..=1_234_567_891, "3"),
    ] {
        let mut batch = store.begin().await.unwrap();
        write(&mut batch, sequences.clone()).await;
        batch.commit().await.unwrap();
        assert_eq!(partitions(&url), wanted, "{sequences:?}");
    }
    let read: Vec<u64> = two.events(9_000_001, 4).await.unwrap().iter().map(|record| record.sequence).collect();
    assert_eq!(read, [9_999_999, 10_000_000, 10_000_001, 1_234_567_890], "in order, over partitions");
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_read_of_one_event_looks_into_one_partition() {
    let url = Cluster::shared().database();
    let store = opened(&url).await;
    for first in [1, 10_000_001, 20_000_001] {
        let mut batch = store.begin().await.unwrap();
        write(&mut batch, first..=first).await;
        batch.commit().await.unwrap();
    }
    let plan = Cluster::shared().sql(&url, "EXPLAIN SELECT * FROM events WHERE sequence > 20000000 ORDER BY sequence");
    assert!(plan.contains("events_p000002") && !plan.contains("events_p000001"), "{plan}");
    store.close().await;
}
