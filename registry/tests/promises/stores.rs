//! The store on SQLite keeps the promises of a store.

use std::sync::atomic::{AtomicU64, Ordering};

use artifactstore_registry::Error;
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};
use artifactstore_registry::store::{Store, conformance};

use crate::harness::Harness;

#[tokio::test]
async fn the_store_on_sqlite_keeps_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let serial = AtomicU64::new(0);
    conformance::all(|| async {
        let path = folder.path().join(format!("{}.db", serial.fetch_add(1, Ordering::Relaxed)));
        SqliteStore::open(&path, OpenMode::Create).await.unwrap()
    })
    .await;
    let leftovers = std::fs::read_dir(folder.path()).unwrap().flatten();
    let leftovers = leftovers.filter(|entry| entry.file_name().to_string_lossy().contains("scratch")).count();
    assert_eq!(leftovers, 0, "a scratch store is gone when dropped");
}

#[tokio::test]
async fn a_store_that_is_missing_older_or_newer_is_told_apart() {
    let harness = Harness::start().await;
    let missing =
        SqliteStore::open(&harness.folder.path().join("registry.db").with_file_name("none.db"), OpenMode::Existing)
            .await;
    assert!(matches!(missing, Err(Error::DatabaseUnusable { .. })), "{missing:?}");
    SqliteStore::open(&harness.folder.path().join("registry.db"), OpenMode::Existing).await.unwrap().close().await;
    harness
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .await;
    let newer = SqliteStore::open(&harness.folder.path().join("registry.db"), OpenMode::Create).await;
    assert!(matches!(newer, Err(Error::SchemaNewer { found: 9999, .. })), "{newer:?}");
    harness.tamper("DELETE FROM _sqlx_migrations").await;
    let older = SqliteStore::open(&harness.folder.path().join("registry.db"), OpenMode::Existing).await;
    assert!(matches!(older, Err(Error::SchemaOlder)), "{older:?}");
    harness.registry.stop().await;
}
