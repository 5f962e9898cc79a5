//! A batch on PostgreSQL: one transaction, which holds the head of the log from its first statement to its commit.
//!
//! The head's row is locked when the batch begins: what is read behind that, every statement with a snapshot of its
//! own, has all that was committed before, by whatever gateway. So decisions hold, and sequences are gapless and in
//! commit order.
//!
//! Invariant: a commit is answered by what became of it. When the answer is lost, the log itself is asked, with the
//! head locked: then the transaction that was lost has ended, one way or the other. What is seen then is believed once
//! a commit behind it is through, which waits for the standbys that the lost one would have waited for.
//! Invariant: the time of a batch is the server's, so that gateways whose clocks differ stamp one log alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};

use super::connections::{Connections, Lease, answered, connect, is_lost};
use super::load::load;
use super::statement::{Statement, signed};
use super::{collect, leases, partitions, rows, scratch, write};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::log::plan::collect::Asked;
use crate::model::event::{Head, Record};
use crate::model::name::ProducerName;
use crate::model::state::{State, Touched};
use crate::model::sweep::Uses;
use crate::store::Batch;
use crate::store::lease::Lease as WorkLease;

/// Everything is read as it was committed, whatever the server's defaults are.
///
/// The time is asked for around the lock, so that it is that of the moment when the lock was got.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SELECT sequence, occurred_at, hash, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 \
     FROM (SELECT sequence, occurred_at, hash FROM log_head FOR UPDATE) AS head";

/// Commits something that says nothing to anybody.
///
/// A server that crashed while a commit waited for a standby shows that commit when it is up again, and one whose session
/// was ended shows it at once, whether a standby has it or not. A commit of one's own waits until the standby has what
/// came before it, too. The message makes it one: a transaction that wrote nothing waits for nobody.
const PROVE: &str = "SELECT pg_logical_emit_message(true, 'artifactstore', ''); COMMIT";

/// How long the log is looked for after a commit whose answer was lost: longer than a server takes to start again, and
/// than it holds on to a transaction whose gateway is gone.
const LOOK_FOR: Duration = Duration::from_mins(2);
/// How often it is tried.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) struct PostgresBatch {
    lease: Lease,
    head: Head,
    /// When the head was locked.
    time: Timestamp,
    /// Where the log ends once this is committed.
    written: Option<Head>,
    /// Up to which event there are partitions once this is committed.
    partitioned: u64,
    partitioned_until: Arc<AtomicU64>,
    /// Whether a statement failed or was given up: then nothing of it is committed.
    spoiled: bool,
}

/// Opens a transaction with this text, and gives the row that it asks for.
pub(super) async fn open(connections: &Connections, text: &'static str) -> Result<(Lease, PgRow)> {
    loop {
        let mut lease = connections.lend().await?;
        match answered(sqlx::raw_sql(text).fetch_one(&mut lease.connection)).await {
            Ok(row) => return Ok((lease, row)),
            // Nothing had begun.
            Err(error) if connections.was_stale(&lease, &error) => {}
            Err(error) if is_standby(&error) => return Err(Error::DatabaseUnavailable(error)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a transaction did not begin because the server follows another one. Any other server knows all that the text
/// asks for.
fn is_standby(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| matches!(&*code, "0A000" | "25006"))
}

impl PostgresBatch {
    pub(super) async fn begin(connections: &Connections, partitioned_until: Arc<AtomicU64>) -> Result<Self> {
        let (lease, row) = open(connections, BEGIN).await?;
        let (head, time) = (rows::head(&row)?, Timestamp(row.try_get(3)?));
        let partitioned = partitioned_until.load(Ordering::Relaxed);
        Ok(Self { lease, head, time, written: None, partitioned, partitioned_until, spoiled: false })
    }

    /// Replaces every view by that of a scratch schema, if both logs end at the same event; says whether.
    pub(super) async fn adopt(mut self, schema: &str) -> Result<bool> {
        let replaced = scratch::replace(&mut self.lease.connection, schema).await?;
        if replaced {
            answered(sqlx::raw_sql("COMMIT").execute(&mut self.lease.connection)).await?;
            self.lease.give_back();
        }
        Ok(replaced)
    }

    async fn put(&mut self, records: &[Record], head: Head, state: &State) -> Result<()> {
        let connection = &mut self.lease.connection;
        if let (Some(first), Some(last)) = (records.first(), records.last())
            && partitions::are_due(last.sequence, self.partitioned)
        {
            self.partitioned = partitions::ensure(connection, first.sequence, last.sequence).await?;
        }
        write::batch(connection, records, head, state).await?;
        self.written = Some(head);
        Ok(())
    }
}

#[async_trait]
impl Batch for PostgresBatch {
    fn head(&self) -> Head {
        self.head
    }

    fn time(&self) -> Option<Timestamp> {
        Some(self.time)
    }

    async fn lease_runs(&mut self, lease: &WorkLease) -> Result<bool> {
        let before = std::mem::replace(&mut self.spoiled, true);
        let runs = leases::runs(&mut self.lease.connection, lease).await?;
        self.spoiled = before;
        Ok(runs)
    }

    async fn load(&mut self, touched: Touched, state: &mut State) -> Result<()> {
        let before = std::mem::replace(&mut self.spoiled, true);
        load(&mut self.lease.connection, touched, state).await?;
        self.spoiled = before;
        Ok(())
    }

    async fn uses(&mut self, asked: &Asked) -> Result<Uses> {
        let before = std::mem::replace(&mut self.spoiled, true);
        let uses = collect::uses(&mut self.lease.connection, asked).await?;
        self.spoiled = before;
        Ok(uses)
    }

    async fn sweeping(&mut self) -> Result<bool> {
        let before = std::mem::replace(&mut self.spoiled, true);
        let sweeping = collect::sweeping(&mut self.lease.connection).await?;
        self.spoiled = before;
        Ok(sweeping)
    }

    async fn still_keeps(&mut self, producer: &ProducerName) -> Result<bool> {
        let before = std::mem::replace(&mut self.spoiled, true);
        let keeps = collect::still_keeps(producer)?.row(&mut self.lease.connection).await?.try_get(0)?;
        self.spoiled = before;
        Ok(keeps)
    }

    async fn write(&mut self, records: &[Record], head: Head, state: &State) -> Result<()> {
        let before = std::mem::replace(&mut self.spoiled, true);
        self.put(records, head, state).await?;
        self.spoiled = before;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        let Self { mut lease, head, written, partitioned, partitioned_until, spoiled, .. } = *self;
        if spoiled {
            return Err(Error::BatchSpoiled);
        }
        match answered(sqlx::raw_sql("COMMIT").execute(&mut lease.connection)).await {
            Ok(_) => lease.give_back(),
            Err(error) if is_lost(&error) => {
                let Some(ours) = written.filter(|ours| ours.sequence > head.sequence) else {
                    // It recorded no event that could be looked for.
                    return Err(Error::OutcomeUnknown(error));
                };
                tracing::warn!(%error, sequence = ours.sequence, "the answer to a commit is lost; looking for it");
                let options = lease.options().clone();
                // What is left of it on this side must not keep the server from ending it.
                drop(lease);
                if !look(&options, ours, error).await? {
                    return Err(Error::BatchUndone);
                }
            }
            Err(error) => return Err(error.into()),
        }
        partitioned_until.fetch_max(partitioned, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a batch that ended here was committed. Waits for a server that is away.
async fn look(options: &PgConnectOptions, ours: Head, lost: sqlx::Error) -> Result<bool> {
    let deadline = tokio::time::Instant::now() + LOOK_FOR;
    loop {
        let looked = async {
            let mut connection = connect(options).await?;
            answered(committed(&mut connection, ours)).await
        };
        match looked.await {
            Ok(committed) => {
                tracing::info!(sequence = ours.sequence, committed, "a commit whose answer was lost was found out");
                return Ok(committed);
            }
            Err(error) if tokio::time::Instant::now() >= deadline => {
                tracing::error!(%error, sequence = ours.sequence, "what became of a commit cannot be found out");
                return Err(Error::OutcomeUnknown(lost));
            }
            Err(error) => tracing::debug!(%error, "the database does not say yet"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the log has this head, now that no transaction is under way that could bring it; for certain, once it is
/// said.
async fn committed(connection: &mut PgConnection, ours: Head) -> sqlx::Result<bool> {
    let committed = seen(connection, ours).await?;
    if committed {
        sqlx::raw_sql(PROVE).execute(connection).await?;
    }
    Ok(committed)
}

/// What this server shows, with the head locked.
async fn seen(connection: &mut PgConnection, ours: Head) -> sqlx::Result<bool> {
    let row = sqlx::raw_sql(BEGIN).fetch_one(&mut *connection).await?;
    let (sequence, hash): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(2)?);
    if sequence == signed(ours.sequence) && hash == ours.hash {
        return Ok(true);
    }
    // The log may have gone on since. The lock was waited for; what it waited for is seen only by the next statement.
    let mut event = Statement::default();
    let number = event.bind(signed(ours.sequence)).map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    event.text = format!("SELECT hash FROM events WHERE sequence = {number}");
    let rows = event.rows(connection).await?;
    let hash: Option<Vec<u8>> = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(hash.is_some_and(|hash| hash == ours.hash))
}
