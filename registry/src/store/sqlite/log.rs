//! Reading the log from one end to the other.
//!
//! Invariant: events are only ever added, so that those up to a snapshot's head are the snapshot's, whoever reads them.

use rusqlite::types::{FromSql, FromSqlError, ValueRef};
use rusqlite::{Connection, Row};

use super::pages::Pages;
use super::reads::limited;
use super::rows::EVENT;
use super::write::signed;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::event::Record;
use crate::model::name::{PackageName, ProducerName, TenantName};
use crate::model::row::Sequence;
use crate::store::EVENTS_BYTES;

/// Events behind the first number and up to the second, a page of them.
pub(super) async fn events(pages: &Pages, between: (Sequence, Sequence), limit: usize) -> Result<Vec<Record>> {
    pages.read(move |connection| Ok(page(connection, between, limit)?)).await
}

fn page(connection: &Connection, (since, until): (Sequence, Sequence), limit: usize) -> rusqlite::Result<Vec<Record>> {
    let text = format!("SELECT {EVENT} FROM events WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?");
    let mut statement = connection.prepare_cached(&text)?;
    let mut rows = statement.query((signed(since), signed(until), limited(limit)))?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < EVENTS_BYTES
        && let Some(row) = rows.next()?
    {
        let record = record(row)?;
        bytes += limited(record.payload.len());
        records.push(record);
    }
    Ok(records)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        sequence: row.get::<_, Number>(0)?.0,
        occurred_at: Timestamp(row.get(1)?),
        kind: row.get(2)?,
        tenant: TenantName::trusted(row.get::<_, String>(3)?),
        producer: row.get::<_, Option<String>>(4)?.map(ProducerName::trusted),
        package: row.get::<_, Option<String>>(5)?.map(PackageName::trusted),
        actor: row.get(6)?,
        request_id: row.get(7)?,
        payload: row.get(8)?,
        hash: row.get(9)?,
    })
}

/// A number that is never negative.
struct Number(u64);

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> std::result::Result<Self, FromSqlError> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}
