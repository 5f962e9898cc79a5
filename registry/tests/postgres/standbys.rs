//! A server that another one follows: what is acknowledged is on both, and when the second takes the place of the first,
//! gateways wait for it and lose nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, Store};
use artifactstore_tests::postgres::{Cluster, name_of};

use crate::outcomes::{Way, append};

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_on_the_standby_and_a_failover_is_a_pause() {
    let primary = Cluster::start(&["fsync=off"]);
    let database = primary.database();
    let standby = primary.standby();
    primary.configure("synchronous_standby_names", "*");
    let way = Way::to(primary.port()).await;
    let direct = primary.url(name_of(&database));
    let url = direct.replace(&format!(":{}/", primary.port()), &format!(":{}/", way.port)) + "?sslmode=disable";
    let store = Arc::new(PostgresStore::open(&url, OpenMode::Create).await.unwrap());
    append(&store, "before").await.unwrap();

    // The session whose commit waits for the standby is ended. Everybody sees what it wrote, and only this server has it.
    standby.crash();
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { append(&store, "awaited").await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("a commit waits for the standby", async || primary.sql("postgres", waits) == "1").await;
    assert_eq!(primary.terminate(&database, "wait_event = 'SyncRep'"), 1);
    until("it is seen", async || store.head().await.unwrap().sequence == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "it is acknowledged, and no standby has it");
    standby.resume();
    let head = waiting.await.unwrap().unwrap();

    primary.crash();
    way.server.store(standby.port(), Ordering::SeqCst);
    for refused in [append(&store, "too early").await.unwrap_err(), store.head().await.unwrap_err()] {
        assert!(refused.is_unavailable(), "{refused:?}");
    }
    let refused = PostgresStore::open(&url, OpenMode::Create).await.unwrap_err().to_string();
    assert!(refused.contains("is a standby") && !refused.contains("hush"), "{refused}");

    standby.promote();
    assert_eq!(store.head().await.unwrap(), head, "what was acknowledged is there");
    append(&store, "after").await.unwrap();
    let actors: Vec<String> = store.events(0, 9).await.unwrap().into_iter().map(|record| record.actor).collect();
    assert_eq!(actors, ["before", "awaited", "after"]);
    store.close().await;
}
