//! Where views are rebuilt: a schema of its own in the same database, which is dropped afterwards, also when the
//! process that made it died.
//!
//! Whoever has a scratch schema holds a lock of that name for as long as its connection lives. A schema whose lock is
//! free is a dead one's. Its tables are not written to the server's log: after a crash of the server they are empty,
//! the head with them, and nothing can be adopted from them.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::connections::{answered, connect};
use super::statement::Statement;
use crate::error::Result;
use crate::store::View;

const PREFIX: &str = "artifactstore_scratch_";

/// A scratch schema, and the connection that keeps it.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) schema: String,
    keeper: PgConnection,
}

/// The same database, where this schema is the only one.
pub(super) fn within(options: &PgConnectOptions, schema: &str) -> PgConnectOptions {
    // What is lost of it in a crash is made again.
    options.clone().options([("search_path", schema), ("synchronous_commit", "off")])
}

impl Scratch {
    /// Makes an empty schema.
    pub(super) async fn make(options: &PgConnectOptions) -> Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let mut keeper = connect(options).await?;
        sweep(&mut keeper).await?;
        // The server's number for this connection is no other's while the connection lives.
        let row = Statement::plain("SELECT pg_backend_pid()").row(&mut keeper).await?;
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let schema = format!("{PREFIX}{}_{number}", row.try_get::<i32, _>(0)?);
        lock(&mut keeper, &schema).await?;
        let text = format!("CREATE SCHEMA {schema}");
        answered(sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut keeper)).await?;
        Ok(Self { schema, keeper })
    }

    /// Takes the new tables out of the server's log.
    pub(super) async fn lighten(&mut self) -> Result<()> {
        let tables = View::ALL.into_iter().map(View::table).chain(["log_head"]);
        let texts: Vec<String> =
            tables.map(|table| format!("ALTER TABLE {}.{table} SET UNLOGGED", self.schema)).collect();
        answered(sqlx::raw_sql(AssertSqlSafe(texts.join("; "))).execute(&mut self.keeper)).await?;
        Ok(())
    }

    /// Drops the schema and lets go of the lock.
    pub(super) async fn drop_schema(mut self) -> Result<()> {
        drop_schema(&mut self.keeper, &self.schema).await?;
        self.keeper.close().await?;
        Ok(())
    }
}

/// Takes the lock of a name, if it is free; says whether.
async fn lock(connection: &mut PgConnection, schema: &str) -> Result<bool> {
    let mut statement = Statement::default();
    let name = statement.bind(schema)?;
    statement.text = format!("SELECT pg_try_advisory_lock(hashtextextended({name}, 0))");
    Ok(answered(statement.row(connection)).await?.try_get(0)?)
}

async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let text = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await?;
    Ok(())
}

/// Drops the schemas of the dead.
pub(super) async fn sweep(connection: &mut PgConnection) -> Result<()> {
    let text = format!("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE '{PREFIX}%'");
    for row in Statement::plain(text).rows(connection).await? {
        let schema: String = row.try_get(0)?;
        // A name that is not one of ours is let be.
        let ours = schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ours && lock(connection, &schema).await? {
            tracing::info!(schema, "dropping what a rebuild that did not end left behind");
            drop_schema(connection, &schema).await?;
            let mut unlock = Statement::default();
            let name = unlock.bind(schema)?;
            unlock.text = format!("SELECT pg_advisory_unlock(hashtextextended({name}, 0))");
            unlock.run(connection).await?;
        }
    }
    Ok(())
}

/// Replaces every view by that of a scratch schema, if both logs end at the same event. The head is locked already.
pub(super) async fn replace(connection: &mut PgConnection, schema: &str) -> Result<bool> {
    let same = format!("SELECT (SELECT hash FROM log_head) = (SELECT hash FROM {schema}.log_head)");
    let same: Option<bool> = Statement::plain(same).row(&mut *connection).await?.try_get(0)?;
    if same != Some(true) {
        return Ok(false);
    }
    let mut text = String::from("SET LOCAL statement_timeout = 0");
    for table in View::ALL.into_iter().map(View::table) {
        text.push_str(&format!("; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {schema}.{table}"));
    }
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await?;
    Ok(true)
}
