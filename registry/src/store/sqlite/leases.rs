//! Leases on SQLite: rows of the database's file, by the clock of its machine.
//!
//! One process serves a data folder, but not every process beside it keeps to that: the rows are taken as they are on
//! PostgreSQL, so that there is one set of rules.

use std::time::Duration;

use super::rows;
use super::values::Values;
use super::writer::Writer;
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

/// What tells a lease from all others.
fn bind_lease(values: &mut dyn Values, lease: &Lease) {
    values.bind(lease.work.name()).bind(signed(lease.token)).bind(lease.holder.as_str());
}

pub(super) fn take(writer: &Writer, work: Work, holder: &str, term: Duration) -> Result<Option<Lease>> {
    // One that runs for longer than any could have been given was given before the clock was set back.
    let text = format!(
        "INSERT INTO leases (work, token, holder, expires_at) VALUES (?1, 1, ?2, {NOW} + ?3) \
         ON CONFLICT (work) DO UPDATE SET token = token + 1, holder = excluded.holder, expires_at = excluded.expires_at \
         WHERE leases.expires_at <= {NOW} OR leases.expires_at > {NOW} + ?3 RETURNING token"
    );
    let mut lease = None;
    let bind = |values: &mut dyn Values| {
        values.bind(work.name()).bind(holder).bind(millis(term));
    };
    writer.query(&text, bind, |row| {
        lease = Some(Lease { work, holder: holder.to_owned(), token: rows::token(row)? });
        Ok(())
    })?;
    Ok(lease)
}

pub(super) fn renew(writer: &Writer, lease: &Lease, term: Duration) -> Result<bool> {
    let text = format!(
        "UPDATE leases SET expires_at = {NOW} + ?4 WHERE work = ?1 AND token = ?2 AND holder = ?3 AND expires_at > {NOW}"
    );
    let changed = writer.execute(&text, |values| {
        bind_lease(values, lease);
        values.bind(millis(term));
    })?;
    Ok(changed > 0)
}

pub(super) fn end(writer: &Writer, lease: &Lease) -> Result<()> {
    let text = "UPDATE leases SET expires_at = 0 WHERE work = ? AND token = ? AND holder = ?";
    writer.execute(text, |values| bind_lease(values, lease))?;
    Ok(())
}

/// Within a batch, beside which nobody else can write.
pub(super) fn runs(writer: &Writer, lease: &Lease) -> Result<bool> {
    let text = format!("SELECT 1 FROM leases WHERE work = ? AND token = ? AND holder = ? AND expires_at > {NOW}");
    let mut runs = false;
    writer.query(
        &text,
        |values| bind_lease(values, lease),
        |_| {
            runs = true;
            Ok(())
        },
    )?;
    Ok(runs)
}
