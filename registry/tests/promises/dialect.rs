//! The database under these promises: SQLite, in a file of the test's own folder.

use std::path::Path;
use std::sync::Arc;

use artifactstore_registry::store::Store;
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};

/// The store of this folder: made, or opened again.
pub(crate) async fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join("registry.db"), OpenMode::Create).await.unwrap())
}

/// Changes rows behind everybody's back; how many.
pub(crate) async fn tamper(folder: &Path, sql: &'static str) -> u64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("registry.db"));
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    done.rows_affected()
}

/// How many cases a property is tried with, where so many are meant.
pub(crate) const fn cases(meant: u32) -> u32 {
    meant
}

/// The migration that brought counts of references and uses of chunks.
pub(crate) const SWEEPS: &str = include_str!("../../../migrations/sqlite/0007_sweeps.sql");
