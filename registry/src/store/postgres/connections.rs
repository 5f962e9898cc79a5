//! Connections to PostgreSQL: how they are opened, lent and given back.
//!
//! The library's own pool asks the server once more whenever a connection comes back, and takes one back that was
//! left in the midst of a transaction. Here a connection goes back only when its holder says that it is as it was;
//! one that is dropped in any other way, by an error or because a future was dropped, is closed, and the server
//! undoes what was open.
//!
//! Behind one address may be another server than before, or the same one set otherwise: what matters is looked at on
//! each connection, and not on the first alone.
//!
//! Invariant: a connection that is lent has no transaction and no question open.
//! Invariant: what is committed on it is on the server's disk, and the server was no standby when it was opened.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::statement::Statement;
use crate::error::{Error, Result};

/// How long a statement may run.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a statement waits for a lock: longer than a gateway that hangs can keep the head.
const LOCK_TIMEOUT: Duration = Duration::from_secs(45);
/// How long a transaction may be open with nothing asked: then its gateway hangs, and the server ends it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Whether the server only follows another one, and a session that does not commit in memory, whatever the server is
/// set to or will be. What is stronger than `on` is the operator's to choose, and so is what waits for no standby.
const SETTLE: &str = "SELECT pg_is_in_recovery(), set_config('synchronous_commit', \
     CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, \
     false)";

/// How long the server may take to answer anything; behind its own limit, so that a wire that was cut is noticed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
/// How long a connection may take to be opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a connection that others have.
const LEND_TIMEOUT: Duration = Duration::from_mins(1);
/// How long those who have connections are waited for when the store is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many prepared statements a connection keeps: every shape of every statement.
const STATEMENTS_KEPT: usize = 256;

/// What every connection is opened with.
///
/// Every look-up is by an index, and tables grow from nothing to millions of rows: plans that read whole tables,
/// which are right for the first rows, would be kept for the others. So they are made unattractive, and no plan is
/// made twice.
pub(super) fn options(base: PgConnectOptions) -> PgConnectOptions {
    let millis = |timeout: Duration| timeout.as_millis().to_string();
    base.application_name("artifactstore").statement_cache_capacity(STATEMENTS_KEPT).options([
        ("statement_timeout", millis(STATEMENT_TIMEOUT)),
        ("lock_timeout", millis(LOCK_TIMEOUT)),
        ("idle_in_transaction_session_timeout", millis(IDLE_TIMEOUT)),
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("client_min_messages", "warning".to_owned()),
        ("enable_seqscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("jit", "off".to_owned()),
    ])
}

/// Whether the connection is gone, or never was: the server stopped, crashed, ended it, or does not answer.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection exceptions, shutdowns and crashes, a transaction that was idle for too long, and a server that
            // takes no writes: another one is to be had at its address later.
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006")
        }),
        _ => false,
    }
}

/// The outcome, or that the server does not answer.
pub(super) async fn answered<T>(outcome: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => Err(silent("the database does not answer")),
    }
}

fn silent(words: &'static str) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, words))
}

/// Opens a connection to a server that takes writes, and that keeps what is committed.
///
/// A standby is no server to read from, either: it may not have yet what was acknowledged.
pub(super) async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let opened = async {
        let mut connection = options.connect().await?;
        if sqlx::raw_sql(SETTLE).fetch_one(&mut connection).await?.try_get(0)? {
            return Err(sqlx::Error::Io(io::Error::other("the server is a standby, which takes no writes")));
        }
        Ok(connection)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, opened).await {
        Ok(outcome) => outcome,
        Err(_) => Err(silent("the database does not answer")),
    }
}

/// A bounded number of connections.
#[derive(Debug)]
pub(super) struct Connections {
    home: Arc<Home>,
    limit: u32,
}

#[derive(Debug)]
struct Home {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
    permits: Arc<Semaphore>,
}

/// A connection that is lent. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Lease {
    /// The connection.
    pub(super) connection: PgConnection,
    /// Whether it was opened just now: what fails on it fails on any other too.
    fresh: bool,
    home: Arc<Home>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.home.options
    }

    /// Gives the connection back, with nothing open.
    pub(super) fn give_back(self) {
        if !self.home.permits.is_closed() {
            self.home.idle().push(self.connection);
        }
    }
}

impl Home {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, limit: u32) -> Self {
        let permits = Arc::new(Semaphore::new(limit as usize));
        Self { home: Arc::new(Home { options, idle: Mutex::new(Vec::new()), permits }), limit }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.home.options
    }

    /// Lends a connection, having waited for one.
    pub(super) async fn lend(&self) -> Result<Lease> {
        let permits = Arc::clone(&self.home.permits);
        let permit = match tokio::time::timeout(LEND_TIMEOUT, permits.acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Error::Stopping)?,
            Err(_) => return Err(silent("no connection to the database became free").into()),
        };
        let idle = self.home.idle().pop();
        let fresh = idle.is_none();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.home.options).await?,
        };
        Ok(Lease { connection, fresh, home: Arc::clone(&self.home), _permit: permit })
    }

    /// Whether to try again on a new connection: this one was kept from before, and is lost. Those kept beside it are
    /// too.
    pub(super) fn was_stale(&self, lease: &Lease, error: &sqlx::Error) -> bool {
        let stale = !lease.fresh && is_lost(error);
        if stale {
            self.home.idle().clear();
        }
        stale
    }

    /// All rows of a question, asked again when the connection was lost since it was last used.
    pub(super) async fn rows(&self, statement: Statement) -> Result<Vec<PgRow>> {
        loop {
            let mut lease = self.lend().await?;
            match answered(statement.clone().rows(&mut lease.connection)).await {
                Ok(rows) => {
                    lease.give_back();
                    return Ok(rows);
                }
                Err(error) if self.was_stale(&lease, &error) => {}
                Err(error) => {
                    if matches!(&error, sqlx::Error::Database(_)) && !is_lost(&error) {
                        lease.give_back();
                    }
                    return Err(error.into());
                }
            }
        }
    }

    /// The rows of a question that reads much, for as long as it takes.
    pub(super) async fn rows_at_leisure(&self, statement: Statement) -> Result<Vec<PgRow>> {
        let mut lease = self.lend().await?;
        let begin = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0";
        if let Err(error) = answered(sqlx::raw_sql(begin).execute(&mut lease.connection)).await {
            if !self.was_stale(&lease, &error) {
                return Err(error.into());
            }
            drop(lease);
            lease = self.lend().await?;
            answered(sqlx::raw_sql(begin).execute(&mut lease.connection)).await?;
        }
        let rows = statement.rows(&mut lease.connection).await?;
        answered(sqlx::raw_sql("COMMIT").execute(&mut lease.connection)).await?;
        lease.give_back();
        Ok(rows)
    }

    /// Lends no more, waits for those that are lent, and closes all.
    pub(super) async fn close(&self) {
        let all = tokio::time::timeout(CLOSE_TIMEOUT, self.home.permits.acquire_many(self.limit)).await;
        self.home.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.home.idle());
        for connection in idle {
            // One that cannot say goodbye is gone all the same.
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, connection.close()).await;
        }
    }
}
