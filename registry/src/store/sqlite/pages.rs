//! Long pages, whose rows are read where they lie: what the other connections hand over, value by value, to another thread
//! costs several times as much.
//!
//! Invariant: a connection is used by one reader at a time, and there are never more than readers at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{BUSY_TIMEOUT, READER_CACHE, STATEMENTS_KEPT};
use crate::error::{Error, Result};

/// How many pages are read at once.
const AT_ONCE: u32 = 4;

/// Connections that only read, opened as they are needed.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    path: PathBuf,
    room: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Pages {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), room: Arc::new(Semaphore::new(AT_ONCE as usize)), idle: Arc::default() }
    }

    /// Reads by one of the connections, on a thread that may wait for the disk. Whoever goes away does not stop it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Error::Stopping)?;
        let pages = self.clone();
        let outcome = super::elsewhere(move || {
            let connection = pages.idle().pop();
            let connection = connection.map_or_else(|| open(&pages.path), Ok)?;
            let outcome = read(&connection);
            pages.idle().push(connection);
            drop(room);
            outcome
        });
        outcome.await?
    }

    /// Waits for those who read, and closes every connection.
    pub(super) async fn close(&self) {
        // Nobody reads any more when all of the room is had, or when it was closed before.
        let _all = self.room.acquire_many(AT_ONCE).await;
        self.room.close();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // Nothing panics while it is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection to this file that only reads.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "cache_size", READER_CACHE)?;
    Ok(connection)
}
