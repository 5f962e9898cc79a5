//! Writing a batch on PostgreSQL: events, every changed row and the head, by one statement.
//!
//! One statement is one way there and back while the head is locked, whatever the batch touches: each table is a part
//! of its own in a `WITH`, and gets its rows as arrays. A part sees nothing of the others; no row is in two of them.

use sqlx::postgres::PgConnection;

use super::cells::{self, Values};
use super::rows;
use super::statement::{Shape, Statement, signed};
use crate::error::{Error, Result};
use crate::model::event::{Head, Record};
use crate::model::name::FileName;
use crate::model::row::Sequence;
use crate::model::state::State;
use crate::model::sweep::PartChunk;

/// Whoever follows the log is woken here when there is more of it.
pub(super) const CHANNEL: &str = "artifactstore_events";

/// Of a row that is there already.
const NOTHING: &str = " ON CONFLICT DO NOTHING";

/// A statement of many parts.
#[derive(Default)]
struct Parts {
    statement: Statement,
    parts: Vec<String>,
}

impl Parts {
    /// Binds rows as one array for each column; what gives them back as rows.
    fn rows(&mut self, shape: &Shape, mut rows: Vec<Values>) -> Result<String> {
        let mut arrays = Vec::new();
        for at in 0..shape.texts.len() {
            let column: Vec<Option<String>> = rows.iter_mut().map(|row| row.texts[at].take()).collect();
            arrays.push(format!("{}::text[]", self.statement.bind(column)?));
        }
        for at in 0..shape.numbers.len() {
            let column: Vec<Option<i64>> = rows.iter().map(|row| row.numbers[at]).collect();
            arrays.push(format!("{}::int8[]", self.statement.bind(column)?));
        }
        for at in 0..shape.bytes.len() {
            let column: Vec<Option<Vec<u8>>> = rows.iter_mut().map(|row| row.bytes[at].take()).collect();
            arrays.push(format!("{}::bytea[]", self.statement.bind(column)?));
        }
        Ok(format!("unnest({})", arrays.join(", ")))
    }

    /// Writes rows that are new.
    fn insert(&mut self, shape: &Shape, rows: Vec<Values>, or_else: &str) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<&str> = shape.columns().collect();
        let (columns, table) = (columns.join(", "), shape.table);
        let rows = self.rows(shape, rows)?;
        self.parts.push(format!("{table}_put AS (INSERT INTO {table} ({columns}) SELECT * FROM {rows}{or_else})"));
        Ok(())
    }

    /// Writes rows, in the place of those that have their keys.
    fn replace(&mut self, shape: &Shape, rows: Vec<Values>) -> Result<()> {
        let others = shape.columns().filter(|column| !shape.key.contains(column));
        let others: Vec<String> = others.map(|column| format!("{column} = EXCLUDED.{column}")).collect();
        let or_else = format!(" ON CONFLICT ({}) DO UPDATE SET {}", shape.key.join(", "), others.join(", "));
        self.insert(shape, rows, &or_else)
    }

    /// Deletes rows by key; the key's columns are texts.
    fn delete(&mut self, shape: &Shape, keys: Vec<Vec<String>>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut arrays = Vec::new();
        let mut equal = Vec::new();
        for (at, column) in shape.key.iter().enumerate() {
            let values: Vec<String> = keys.iter().filter_map(|key| key.get(at).cloned()).collect();
            arrays.push(format!("{}::text[]", self.statement.bind(values)?));
            equal.push(format!("t.{column} = k.{column}"));
        }
        let (table, key) = (shape.table, shape.key.join(", "));
        let (arrays, equal) = (arrays.join(", "), equal.join(" AND "));
        self.parts.push(format!(
            "{table}_gone AS (DELETE FROM {table} AS t USING unnest({arrays}) AS k ({key}) WHERE {equal})"
        ));
        Ok(())
    }

    /// Deletes entries of histories.
    fn delete_history(&mut self, keys: Vec<&(FileName, Sequence)>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let producers: Vec<String> = keys.iter().map(|key| key.0.producer.to_string()).collect();
        let names: Vec<String> = keys.iter().map(|key| key.0.key.to_string()).collect();
        let sequences: Vec<i64> = keys.iter().map(|key| signed(key.1)).collect();
        let (producers, names) = (self.statement.bind(producers)?, self.statement.bind(names)?);
        let sequences = self.statement.bind(sequences)?;
        self.parts.push(format!(
            "history_gone AS (DELETE FROM history AS t USING unnest({producers}::text[], {names}::text[], \
             {sequences}::int8[]) AS k (producer, key, sequence) \
             WHERE t.producer = k.producer AND t.key = k.key AND t.sequence = k.sequence)"
        ));
        Ok(())
    }

    /// Deletes rows by key; the key's columns are digests, and come column by column.
    fn delete_digests<const COLUMNS: usize>(&mut self, shape: &Shape, keys: [Vec<Vec<u8>>; COLUMNS]) -> Result<()> {
        if keys.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let (mut arrays, mut equal) = (Vec::new(), Vec::new());
        for (column, values) in shape.key.iter().zip(keys) {
            arrays.push(format!("{}::bytea[]", self.statement.bind(values)?));
            equal.push(format!("t.{column} = k.{column}"));
        }
        let (table, key) = (shape.table, shape.key.join(", "));
        let (arrays, equal) = (arrays.join(", "), equal.join(" AND "));
        self.parts.push(format!(
            "{table}_gone AS (DELETE FROM {table} AS t USING unnest({arrays}) AS k ({key}) WHERE {equal})"
        ));
        Ok(())
    }

    /// References to blobs whose rows were not loaded, and so are in no other part.
    fn references(&mut self, state: &State) -> Result<()> {
        if state.references.is_empty() {
            return Ok(());
        }
        let blobs: Vec<Vec<u8>> = state.references.keys().map(|blob| blob.0.to_vec()).collect();
        let counts: Vec<i64> = state.references.values().copied().collect();
        let (blobs, counts) = (self.statement.bind(blobs)?, self.statement.bind(counts)?);
        self.parts.push(format!(
            "blobs_counted AS (UPDATE blobs AS t SET reference_count = t.reference_count + k.count \
             FROM unnest({blobs}::bytea[], {counts}::int8[]) AS k (blob, count) WHERE t.content_address = k.blob)"
        ));
        Ok(())
    }

    fn sweeps(&mut self, state: &State) -> Result<()> {
        let (written, deleted) = state.blob_chunks.changes();
        // A row is all key: there is nothing to change in one that is there.
        self.insert(&rows::BLOB_CHUNK, written.into_iter().map(cells::blob_chunk).collect(), NOTHING)?;
        let chunks = deleted.iter().map(|row| row.chunk.0.to_vec()).collect();
        self.delete_digests(&rows::BLOB_CHUNK, [chunks, deleted.iter().map(|row| row.blob.0.to_vec()).collect()])?;
        let (written, deleted) = state.part_chunks.changes();
        self.insert(&rows::PART_CHUNK, written.into_iter().map(cells::part_chunk).collect(), NOTHING)?;
        self.delete_part_chunks(&deleted)?;
        let (written, _) = state.swept.changes();
        self.replace(&rows::SWEPT, written.into_iter().map(cells::swept).collect())?;
        let (written, deleted) = state.orphans.changes();
        self.replace(&rows::ORPHAN, written.into_iter().map(cells::orphan).collect())?;
        self.delete_digests(&rows::ORPHAN, [deleted.into_iter().map(|key| key.0.to_vec()).collect()])?;
        let (written, _) = state.scrubs.changes();
        self.replace(&rows::SCRUB, written.into_iter().map(cells::scrub_pass).collect())?;
        let (written, deleted) = state.damaged.changes();
        self.replace(&rows::DAMAGED, written.into_iter().map(cells::damaged).collect())?;
        self.delete_digests(&rows::DAMAGED, [deleted.into_iter().map(|key| key.0.to_vec()).collect()])?;
        let (written, _) = state.erasures.changes();
        self.replace(&rows::ERASURE, written.into_iter().map(cells::erasure).collect())
    }

    fn delete_jumps(&mut self, keys: &[&Sequence]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let sequences: Vec<i64> = keys.iter().map(|key| signed(**key)).collect();
        let sequences = self.statement.bind(sequences)?;
        self.parts.push(format!(
            "clock_jumps_gone AS (DELETE FROM clock_jumps AS t WHERE t.sequence = ANY({sequences}::int8[]))"
        ));
        Ok(())
    }

    fn delete_part_chunks(&mut self, keys: &[&PartChunk]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let uploads: Vec<String> = keys.iter().map(|key| key.upload.to_string()).collect();
        let numbers: Vec<i64> = keys.iter().map(|key| i64::from(key.number.get())).collect();
        let chunks: Vec<Vec<u8>> = keys.iter().map(|key| key.chunk.0.to_vec()).collect();
        let (uploads, numbers) = (self.statement.bind(uploads)?, self.statement.bind(numbers)?);
        let chunks = self.statement.bind(chunks)?;
        self.parts.push(format!(
            "part_chunks_gone AS (DELETE FROM part_chunks AS t USING unnest({uploads}::text[], {numbers}::int8[], \
             {chunks}::bytea[]) AS k (upload, number, chunk) \
             WHERE t.upload = k.upload AND t.number = k.number AND t.chunk = k.chunk)"
        ));
        Ok(())
    }

    fn views(&mut self, state: &State) -> Result<()> {
        let (written, deleted) = state.producers.changes();
        self.replace(&rows::PRODUCER, written.into_iter().map(cells::producer).collect())?;
        self.delete(&rows::PRODUCER, deleted.into_iter().map(|key| vec![key.to_string()]).collect())?;
        let (written, _) = state.packages.changes();
        self.replace(&rows::PACKAGE, written.into_iter().map(cells::package).collect())?;
        let (written, deleted) = state.names.changes();
        self.replace(&rows::NAME, written.into_iter().map(cells::named).collect())?;
        let deleted = deleted.into_iter().map(|key| vec![key.producer.to_string(), key.key.to_string()]);
        self.delete(&rows::NAME, deleted.collect())?;
        let (written, _) = state.files.changes();
        self.replace(&rows::FILE, written.into_iter().map(cells::file).collect())?;
        let (written, deleted) = state.history.changes();
        self.replace(&rows::HISTORY, written.into_iter().map(cells::history).collect())?;
        self.delete_history(deleted)?;
        let (written, deleted) = state.subresources.changes();
        self.replace(&rows::SUBRESOURCE, written.into_iter().map(cells::subresource).collect())?;
        let deleted = deleted.into_iter().map(|key| vec![key.0.to_string(), key.1.as_str().to_owned()]);
        self.delete(&rows::SUBRESOURCE, deleted.collect())?;
        let (written, deleted) = state.blobs.changes();
        self.replace(&rows::BLOB, written.into_iter().map(cells::blob).collect())?;
        self.delete_digests(&rows::BLOB, [deleted.into_iter().map(|key| key.0.to_vec()).collect()])?;
        let (written, deleted) = state.chunks.changes();
        self.replace(&rows::CHUNK, written.into_iter().map(cells::chunk).collect())?;
        self.delete_digests(&rows::CHUNK, [deleted.into_iter().map(|key| key.0.to_vec()).collect()])?;
        self.references(state)?;
        self.sweeps(state)?;
        let (written, deleted) = state.uploads.changes();
        self.replace(&rows::UPLOAD, written.into_iter().map(cells::upload).collect())?;
        self.delete(&rows::UPLOAD, deleted.into_iter().map(|key| vec![key.to_string()]).collect())?;
        let (written, _) = state.parts.changes();
        self.replace(&rows::PART, written.into_iter().map(cells::part).collect())?;
        let (written, deleted) = state.access_keys.changes();
        self.replace(&rows::ACCESS_KEY, written.into_iter().map(cells::access_key).collect())?;
        self.delete(&rows::ACCESS_KEY, deleted.into_iter().map(|key| vec![key.to_string()]).collect())?;
        let (written, _) = state.moves.changes();
        self.replace(&rows::MOVE, written.into_iter().map(cells::storage_move).collect())?;
        let (written, _) = state.classes.changes();
        self.replace(&rows::CLASS, written.into_iter().map(cells::class).collect())?;
        let (written, deleted) = state.jumps.changes();
        self.replace(&rows::JUMP, written.into_iter().map(cells::clock_jump).collect())?;
        self.delete_jumps(&deleted)
    }
}

/// Writes a batch.
pub(super) async fn batch(connection: &mut PgConnection, records: &[Record], head: Head, state: &State) -> Result<()> {
    let cleared = state.packages_cleared.iter().map(ToString::to_string).collect();
    clear(connection, &["packages"], "producer", cleared).await?;

    let mut parts = Parts::default();
    parts.insert(&rows::EVENT, records.iter().map(cells::record).collect(), "")?;
    parts.views(state)?;
    let Parts { mut statement, parts } = parts;
    let sequence = statement.bind(signed(head.sequence))?;
    let occurred_at = statement.bind(head.occurred_at.0)?;
    let hash = statement.bind(head.hash.to_vec())?;
    let with = if parts.is_empty() { String::new() } else { format!("WITH {} ", parts.join(", ")) };
    let told =
        if records.is_empty() { String::new() } else { format!(" RETURNING pg_notify('{CHANNEL}', sequence::text)") };
    statement.text = format!(
        "{with}UPDATE log_head SET sequence = {sequence}, occurred_at = {occurred_at}, hash = {hash} \
         WHERE one = 1{told}"
    );
    statement.run(connection).await.map_err(Error::from)?;

    let cleared = state.parts_cleared.iter().map(ToString::to_string).collect();
    clear(connection, &["parts", "part_chunks"], "upload", cleared).await
}

/// Deletes all rows of these tables that one column of these values picks.
async fn clear(connection: &mut PgConnection, tables: &[&str], column: &str, values: Vec<String>) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let mut statement = Statement::default();
    let values = statement.bind(values)?;
    let delete = |table: &&str| format!("DELETE FROM {table} WHERE {column} = ANY({values}::text[])");
    let others = tables.iter().skip(1).map(|table| format!("{table}_cleared AS ({})", delete(table)));
    let others = others.collect::<Vec<_>>().join(", ");
    let with = if others.is_empty() { String::new() } else { format!("WITH {others} ") };
    statement.text = with + &tables.first().map(delete).unwrap_or_default();
    statement.run(connection).await?;
    Ok(())
}
