//! Leases on SQLite: rows of the database's file, by the clock of its machine.
//!
//! One process serves a data folder, but not every process beside it keeps to that: the rows are taken as they are on
//! PostgreSQL, so that there is one set of rules.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Row};

use crate::error::Result;
use crate::store::lease::{Lease, Work};

/// Milliseconds since 1970, by SQLite.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

fn millis(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}

fn signed(token: u64) -> i64 {
    i64::try_from(token).unwrap_or(i64::MAX)
}

pub(super) async fn take(pool: &SqlitePool, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
    // One that runs for longer than any could have been given was given before the clock was set back.
    let text = format!(
        "INSERT INTO leases (work, token, holder, expires_at) VALUES (?1, 1, ?2, {NOW} + ?3) \
         ON CONFLICT (work) DO UPDATE SET token = token + 1, holder = excluded.holder, expires_at = excluded.expires_at \
         WHERE leases.expires_at <= {NOW} OR leases.expires_at > {NOW} + ?3 RETURNING token"
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(work.name()).bind(holder.to_owned()).bind(millis(term));
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    let token = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    Ok(Some(Lease { work, holder: holder.to_owned(), token }))
}

pub(super) async fn renew(pool: &SqlitePool, lease: &Lease, term: Duration) -> Result<bool> {
    let text = format!(
        "UPDATE leases SET expires_at = {NOW} + ?4 WHERE work = ?1 AND token = ?2 AND holder = ?3 AND expires_at > {NOW}"
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(lease.work.name()).bind(signed(lease.token));
    let done = query.bind(lease.holder.clone()).bind(millis(term)).execute(pool).await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn end(pool: &SqlitePool, lease: &Lease) -> Result<()> {
    let query = sqlx::query("UPDATE leases SET expires_at = 0 WHERE work = ? AND token = ? AND holder = ?");
    query.bind(lease.work.name()).bind(signed(lease.token)).bind(lease.holder.clone()).execute(pool).await?;
    Ok(())
}

/// Within a batch, beside which nobody else can write.
pub(super) async fn runs(connection: &mut SqliteConnection, lease: &Lease) -> Result<bool> {
    let text = format!("SELECT 1 FROM leases WHERE work = ? AND token = ? AND holder = ? AND expires_at > {NOW}");
    let query = sqlx::query(AssertSqlSafe(text)).bind(lease.work.name()).bind(signed(lease.token));
    Ok(query.bind(lease.holder.clone()).fetch_optional(connection).await?.is_some())
}
