//! Leases on PostgreSQL: rows that gateways take from each other, by the clock of the server.
//!
//! A batch that records something under a lease locks its row until it has ended; whoever would take that lease over
//! meanwhile comes away with nothing, and tries again later.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connections::Connections;
use super::statement::{Statement, signed};
use crate::error::Result;
use crate::store::lease::{Lease, Work};

/// Milliseconds since 1970, by the server: of this moment, and not of when the transaction began.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::int8";

fn millis(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}

/// A condition on the row of a lease: that it is this one.
fn this(statement: &mut Statement, lease: &Lease) -> Result<String> {
    let work = statement.bind(lease.work.name())?;
    let token = statement.bind(signed(lease.token))?;
    let holder = statement.bind(lease.holder.clone())?;
    Ok(format!("work = {work}::text AND token = {token} AND holder = {holder}::text"))
}

pub(super) async fn take(connections: &Connections, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
    let mut statement = Statement::default();
    let (name, whose) = (statement.bind(work.name())?, statement.bind(holder.to_owned())?);
    let term = statement.bind(millis(term))?;
    // Nothing is written when another has it. One that runs for longer than any could have been given was given before
    // the clock was set back.
    statement.text = format!(
        "WITH over AS (SELECT work FROM leases WHERE work = {name}::text AND \
         (expires_at <= {NOW} OR expires_at > {NOW} + {term}) FOR UPDATE SKIP LOCKED), \
         taken AS (UPDATE leases AS t SET token = token + 1, holder = {whose}::text, expires_at = {NOW} + {term} \
         FROM over WHERE t.work = over.work RETURNING t.token), \
         made AS (INSERT INTO leases (work, token, holder, expires_at) \
         SELECT {name}::text, 1, {whose}::text, {NOW} + {term} \
         WHERE NOT EXISTS (SELECT 1 FROM leases WHERE work = {name}::text) ON CONFLICT DO NOTHING RETURNING token) \
         SELECT token FROM taken UNION ALL SELECT token FROM made"
    );
    let rows = connections.rows(statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let token = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    Ok(Some(Lease { work, holder: holder.to_owned(), token }))
}

pub(super) async fn renew(connections: &Connections, lease: &Lease, term: Duration) -> Result<bool> {
    let mut statement = Statement::default();
    let this = this(&mut statement, lease)?;
    let term = statement.bind(millis(term))?;
    statement.text =
        format!("UPDATE leases SET expires_at = {NOW} + {term} WHERE {this} AND expires_at > {NOW} RETURNING token");
    Ok(!connections.rows(statement).await?.is_empty())
}

pub(super) async fn end(connections: &Connections, lease: &Lease) -> Result<()> {
    let mut statement = Statement::default();
    let this = this(&mut statement, lease)?;
    statement.text = format!("UPDATE leases SET expires_at = 0 WHERE {this} RETURNING token");
    connections.rows(statement).await?;
    Ok(())
}

/// Within a batch: the row is locked, so that who wants it waits, or goes away, until the batch has ended.
pub(super) async fn runs(connection: &mut PgConnection, lease: &Lease) -> Result<bool> {
    let mut statement = Statement::default();
    let this = this(&mut statement, lease)?;
    statement.text = format!("SELECT token FROM leases WHERE {this} AND expires_at > {NOW} FOR SHARE");
    Ok(!statement.rows(connection).await?.is_empty())
}
