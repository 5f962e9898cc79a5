//! The connection that writes, and the batches on it: statements stay prepared, values are copied once, and nobody is
//! woken between one and the next.
//!
//! Its statements run on the thread that calls them, and a commit waits there for the disk. So whoever writes for as long
//! as it serves, which is the log writer, does so on a thread of its own.
//!
//! Invariant: a batch that is dropped leaves nothing behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::time::Instant;

use super::statement::{self, ROWS_LIMIT, values};
use super::values::Values;
use super::{BUSY_TIMEOUT, PRAGMAS, STATEMENTS_KEPT, collect, leases, load, rows, write};
use crate::error::{Error, Result};
use crate::log::plan::collect::Asked;
use crate::log::replay::genesis;
use crate::model::event::{Head, Record};
use crate::model::name::ProducerName;
use crate::model::state::{State, Touched};
use crate::model::sweep::Uses;
use crate::store::Batch;
use crate::store::lease::Lease;

/// The pages that the connection of a scratch store keeps, in KiB, written as SQLite wants it.
const SCRATCH_CACHE: &str = "-48000";
/// How long until a batch is begun again while another process writes.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A registry: what is committed is synced.
    Registry,
    /// A scratch store: what is lost of it in a crash, or undone by halves, is made again, and nothing is written twice.
    Scratch,
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
}

/// It, until the store is closed. Whoever has it locked writes.
pub(super) type SharedWriter = Arc<Mutex<Option<Writer>>>;

/// Opens a connection to this file that writes.
pub(super) fn connect(path: &Path, purpose: Use) -> rusqlite::Result<Connection> {
    // Whoever has it, has it alone: SQLite need not lock it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let (journal, synchronous, pragmas): (_, _, &[_]) = match purpose {
        Use::Registry => ("wal", "full", &PRAGMAS),
        Use::Scratch => ("off", "off", &[("cache_size", SCRATCH_CACHE)]),
    };
    let mode = connection.pragma_update_and_check(None, "journal_mode", journal, |row| row.get::<_, String>(0))?;
    if mode != journal {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some(format!("the journal stays {mode}"))));
    }
    for (pragma, value) in [("synchronous", synchronous)].iter().chain(pragmas) {
        connection.pragma_update(None, pragma, value)?;
    }
    Ok(connection)
}

impl Writer {
    pub(super) fn open(path: &Path, purpose: Use) -> Result<Self> {
        Ok(Self { connection: connect(path, purpose)? })
    }

    /// Runs one statement; says how many rows it changed.
    pub(super) fn execute(&self, text: &str, bind: impl FnOnce(&mut dyn Values)) -> Result<usize> {
        statement::execute(&self.connection, text, bind)
    }

    /// Runs one statement, and gives the rows that it finds, one after another.
    pub(super) fn query(
        &self,
        text: &str,
        bind: impl FnOnce(&mut dyn Values),
        take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        statement::query(&self.connection, text, bind, take)
    }

    /// Runs statements about these rows, as few as may be. `text` gets the `VALUES` that give them.
    ///
    /// A statement takes up to seven rows, or a multiple of eight: few shapes, each prepared once, and at most one statement
    /// more than their number would need.
    pub(super) fn rows<R>(
        &self,
        mut rows: &[R],
        columns: usize,
        text: impl Fn(&str) -> String,
        bind: impl Fn(&mut dyn Values, &R),
    ) -> Result<()> {
        while !rows.is_empty() {
            let most = rows.len().min(ROWS_LIMIT);
            let (group, rest) = rows.split_at(if most < 8 { most } else { most & !7 });
            let given = format!("VALUES {}", values(group.len(), columns));
            self.execute(&text(&given), |values| group.iter().for_each(|row| bind(values, row)))?;
            rows = rest;
        }
        Ok(())
    }

    /// Begins a transaction, or fails at once where another process writes.
    fn begin_now(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE");
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        begun
    }

    fn head(&self) -> Result<Head> {
        let mut head = None;
        self.query(
            HEAD,
            |_| {},
            |row| {
                head = Some(rows::head(row)?);
                Ok(())
            },
        )?;
        head.ok_or_else(|| Error::RowUnreadable { view: "log_head", reason: "it is missing".to_owned() })
    }
}

const HEAD: &str = "SELECT sequence, occurred_at, hash FROM log_head";

/// Begins a batch, and waits for the one before: whoever is in this process gives its place on, and for other processes
/// it is asked again and again.
pub(super) async fn begin(writer: &SharedWriter, besides: &SqlitePool) -> Result<SqliteBatch> {
    let guard = Arc::clone(writer).lock_owned().await;
    let guard = OwnedMutexGuard::try_map(guard, Option::as_mut).map_err(|_| Error::Stopping)?;
    let deadline = Instant::now() + BUSY_TIMEOUT;
    while let Err(error) = guard.begin_now() {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() >= deadline {
            return Err(error.into());
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
    // From here on it is undone, whatever fails.
    let mut batch = SqliteBatch { writer: guard, besides: besides.clone(), head: genesis() };
    batch.head = batch.writer.head()?;
    Ok(batch)
}

/// A transaction on the connection that writes.
pub(super) struct SqliteBatch {
    writer: OwnedMappedMutexGuard<Option<Writer>, Writer>,
    besides: SqlitePool,
    head: Head,
}

impl Drop for SqliteBatch {
    fn drop(&mut self) {
        // On a full disk SQLite ends a transaction by itself.
        if !self.writer.connection.is_autocommit()
            && let Err(error) = self.writer.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a batch could not be undone");
        }
    }
}

/// What is asked for besides rows comes from a connection that only reads, and that no reader has: a batch asks before it
/// writes, and nobody else writes meanwhile.
#[async_trait]
impl Batch for SqliteBatch {
    fn head(&self) -> Head {
        self.head
    }

    async fn lease_runs(&mut self, lease: &Lease) -> Result<bool> {
        leases::runs(&self.writer, lease)
    }

    async fn load(&mut self, touched: Touched, state: &mut State) -> Result<()> {
        load::load(&self.writer.connection, touched, state)
    }

    async fn uses(&mut self, asked: &Asked) -> Result<Uses> {
        collect::uses(&mut *self.besides.acquire().await?, asked).await
    }

    async fn sweeping(&mut self) -> Result<bool> {
        collect::sweeping(&mut *self.besides.acquire().await?).await
    }

    async fn still_keeps(&mut self, producer: &ProducerName) -> Result<bool> {
        collect::still_keeps(&mut *self.besides.acquire().await?, producer).await
    }

    async fn write(&mut self, records: &[Record], head: Head, state: &State) -> Result<()> {
        write::batch(&self.writer, records, head, state)
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        Ok(self.writer.connection.execute_batch("COMMIT")?)
    }
}
