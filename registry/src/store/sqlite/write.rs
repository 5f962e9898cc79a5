//! Writing a batch on SQLite: events, head, and every changed row, by multi-row statements.

use artifactstore_backends::recipe::{Codec, RetrievalTier};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::load::Bound;
use super::rows;
use super::statement::{ROWS_LIMIT, given};
use crate::error::Result;
use crate::model::cbor;
use crate::model::event::Record;
use crate::model::name::{PackageName, ProducerName};
use crate::model::row::{Blob, ChunkPlace, File, Package, Part, Producer, Upload, UploadState};
use crate::model::state::{Head, NameRow, State};

/// Counts and numbers as SQLite has them; none comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn run<R: Sync>(
    connection: &mut SqliteConnection,
    head: &str,
    columns: usize,
    rows: &[R],
    bind: impl Fn(Bound, &R) -> Bound + Send,
) -> Result<()> {
    for group in rows.chunks(ROWS_LIMIT) {
        let text = format!("{head} {}", given(group.len(), columns));
        let query = group.iter().fold(sqlx::query(AssertSqlSafe(text)), &bind);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes rows, in the place of those that have their keys.
async fn replace<R: Sync>(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &str,
    rows: &[R],
    bind: impl Fn(Bound, &R) -> Bound + Send,
) -> Result<()> {
    let count = columns.split(',').count();
    run(connection, &format!("INSERT OR REPLACE INTO {table} ({columns})"), count, rows, bind).await
}

/// Deletes rows by key.
async fn delete<K: Sync>(
    connection: &mut SqliteConnection,
    table: &str,
    key: &str,
    keys: &[K],
    bind: impl Fn(Bound, &K) -> Bound + Send,
) -> Result<()> {
    let columns = key.split(',').count();
    let key = if columns == 1 { key.to_owned() } else { format!("({key})") };
    for group in keys.chunks(ROWS_LIMIT) {
        let text = format!("DELETE FROM {table} WHERE {key} IN ({})", given(group.len(), columns));
        let query = group.iter().fold(sqlx::query(AssertSqlSafe(text)), &bind);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn records(connection: &mut SqliteConnection, records: &[Record]) -> Result<()> {
    let head = format!("INSERT INTO events ({})", rows::EVENT);
    run(connection, &head, 10, records, |query, record: &Record| {
        query
            .bind(signed(record.sequence))
            .bind(record.occurred_at.0)
            .bind(record.kind.clone())
            .bind(record.tenant.to_string())
            .bind(record.producer.as_ref().map(ProducerName::to_string))
            .bind(record.package.as_ref().map(PackageName::to_string))
            .bind(record.actor.clone())
            .bind(record.request_id.clone())
            .bind(record.payload.clone())
            .bind(record.hash.to_vec())
    })
    .await
}

pub(super) async fn head(connection: &mut SqliteConnection, head: Head) -> Result<()> {
    sqlx::query("UPDATE log_head SET sequence = ?, occurred_at = ?, hash = ? WHERE one = 1")
        .bind(signed(head.sequence))
        .bind(head.occurred_at.0)
        .bind(head.hash.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn views(connection: &mut SqliteConnection, state: &State) -> Result<()> {
    let (written, deleted) = state.producers.changes();
    replace(connection, "producers", rows::PRODUCER, &written, |query, row| producer(query, row)).await?;
    delete(connection, "producers", "name", &deleted, |query, key| query.bind(key.to_string())).await?;

    let cleared: Vec<_> = state.packages_cleared.iter().collect();
    delete(connection, "packages", "producer", &cleared, |query, key| query.bind(key.to_string())).await?;
    let (written, _) = state.packages.changes();
    replace(connection, "packages", rows::PACKAGE, &written, |query, row| package(query, row)).await?;

    let (written, deleted) = state.names.changes();
    replace(connection, "names", rows::NAME, &written, |query, row| name(query, row)).await?;
    delete(connection, "names", "producer, key", &deleted, |query, key| {
        query.bind(key.producer.to_string()).bind(key.key.to_string())
    })
    .await?;

    let (written, _) = state.files.changes();
    let columns = rows::FILE.replace("f.", "");
    replace(connection, "files", &columns, &written, |query, row| file(query, row)).await?;

    let (written, _) = state.blobs.changes();
    replace(connection, "blobs", rows::BLOB, &written, |query, row| blob(query, row)).await?;

    let (written, _) = state.chunks.changes();
    replace(connection, "chunks", rows::CHUNK, &written, |query, row| chunk(query, row)).await?;

    let (written, deleted) = state.uploads.changes();
    replace(connection, "uploads", rows::UPLOAD, &written, |query, row| upload(query, row)).await?;
    delete(connection, "uploads", "id", &deleted, |query, key| query.bind(key.to_string())).await?;

    let (written, _) = state.parts.changes();
    replace(connection, "parts", rows::PART, &written, |query, row| part(query, row)).await?;
    let cleared: Vec<_> = state.parts_cleared.iter().collect();
    delete(connection, "parts", "upload", &cleared, |query, key| query.bind(key.to_string())).await
}

fn producer(query: Bound, row: &Producer) -> Bound {
    query
        .bind(row.name.to_string())
        .bind(row.tenant.to_string())
        .bind(cbor::encode(&row.settings))
        .bind(row.created_at.0)
        .bind(signed(row.created_sequence))
        .bind(signed(row.file_count))
        .bind(signed(row.size_bytes))
        .bind(signed(row.upload_count))
        .bind(signed(row.package_count))
        .bind(signed(row.finalized_count))
}

fn package(query: Bound, row: &Package) -> Bound {
    let seal = row.seal.as_ref();
    query
        .bind(row.id.to_string())
        .bind(row.producer.to_string())
        .bind(row.name.to_string())
        .bind(i64::from(row.revision))
        .bind(row.opened_at.0)
        .bind(signed(row.opened_sequence))
        .bind(row.changed_at.0)
        .bind(signed(row.last_sequence))
        .bind(signed(row.file_count))
        .bind(signed(row.size_bytes))
        .bind(seal.map(|seal| seal.finalized_at.0))
        .bind(seal.map(|seal| signed(seal.sequence)))
        .bind(seal.map(|seal| seal.manifest_digest.0.to_vec()))
        .bind(seal.map(|seal| signed(seal.manifest_size_bytes)))
}

fn name(query: Bound, row: &NameRow) -> Bound {
    query
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(row.package.to_string())
        .bind(signed(row.sequence))
}

fn file(query: Bound, row: &File) -> Bound {
    query
        .bind(signed(row.sequence))
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(row.package_id.to_string())
        .bind(row.package.to_string())
        .bind(row.relative_path.clone())
        .bind(signed(row.size_bytes))
        .bind(row.content_address.0.to_vec())
        .bind(row.sha256.0.to_vec())
        .bind(row.etag.clone())
        .bind(cbor::encode(&row.attributes))
        .bind(row.ingested_at.0)
        .bind(row.client.clone())
        .bind(row.ended_sequence.map(signed))
}

fn blob(query: Bound, row: &Blob) -> Bound {
    query
        .bind(row.content_address.0.to_vec())
        .bind(row.sha256.0.to_vec())
        .bind(signed(row.size_bytes))
        .bind(cbor::encode(&row.recipe))
        .bind(signed(row.sequence))
}

fn chunk(query: Bound, row: &ChunkPlace) -> Bound {
    let codec = match row.location.codec {
        Codec::None => "none",
    };
    let tier = match row.location.tier {
        RetrievalTier::Online => "online",
    };
    query
        .bind(row.chunk.address.0.to_vec())
        .bind(signed(row.chunk.size_bytes))
        .bind(row.location.backend.clone())
        .bind(row.location.object.0.to_vec())
        .bind(signed(row.location.offset_bytes))
        .bind(signed(row.location.stored_length_bytes))
        .bind(codec)
        .bind(tier)
        .bind(signed(row.sequence))
}

fn upload(query: Bound, row: &Upload) -> Bound {
    let completed = match row.state {
        UploadState::Open => None,
        UploadState::Completed(sequence) => Some(signed(sequence)),
    };
    query
        .bind(row.id.to_string())
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(cbor::encode(&row.attributes))
        .bind(row.created_at.0)
        .bind(signed(row.sequence))
        .bind(signed(row.parts_sequence))
        .bind(completed)
}

fn part(query: Bound, row: &Part) -> Bound {
    query
        .bind(row.upload.to_string())
        .bind(i64::from(row.number.get()))
        .bind(signed(row.size_bytes))
        .bind(row.md5.0.to_vec())
        .bind(row.checksum.as_ref().map(cbor::encode))
        .bind(cbor::encode(&row.recipe))
        .bind(row.ingested_at.0)
        .bind(signed(row.sequence))
}
