//! The database under these promises: one of the cluster's, whose URL is kept in the test's own folder.

use std::path::Path;
use std::sync::Arc;

use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, Store};
use artifactstore_tests::postgres::Cluster;

/// The store of this folder: made, or opened again.
pub(crate) async fn open(folder: &Path) -> Arc<dyn Store> {
    let kept = folder.join("registry.url");
    if !kept.exists() {
        std::fs::write(&kept, Cluster::shared().database()).unwrap();
    }
    let url = std::fs::read_to_string(&kept).unwrap();
    Arc::new(PostgresStore::open(&url, OpenMode::Create).await.unwrap())
}

/// Changes rows behind everybody's back; how many.
pub(crate) async fn tamper(folder: &Path, sql: &'static str) -> u64 {
    let url = std::fs::read_to_string(folder.join("registry.url")).unwrap();
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    done.rows_affected()
}

/// How many cases a property is tried with, where so many are meant: each has a database of its own, which takes
/// longer.
pub(crate) const fn cases(meant: u32) -> u32 {
    meant / 4
}

/// The migration that brought counts of references and uses of chunks.
pub(crate) const SWEEPS: &str = include_str!("../../../migrations/postgres/0007_sweeps.sql");
