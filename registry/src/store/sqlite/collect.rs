//! What is asked of SQLite by whoever collects what nothing keeps.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::lookups::Question;
use super::reads::limited;
use super::statement::{padded, values};
use super::write::signed;
use super::{SqliteStore, rows};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::log::plan::collect::Asked;
use crate::log::plan::erase::COPIES_LIMIT;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::name::{ProducerName, UploadId};
use crate::model::row::{Blob, ChunkPlace, File, Sequence};
use crate::model::sweep::{SweptObject, Uses};
use crate::store::Store;
use crate::store::sweeping::{ERASED, Sweeping, Unused};

/// Behind nothing: the empty byte string sorts before every digest.
pub(super) fn behind(after: Option<[u8; 32]>) -> Vec<u8> {
    after.map(|after| after.to_vec()).unwrap_or_default()
}

#[async_trait]
impl Sweeping for SqliteStore {
    async fn whereabouts(&self, chunks: &[ContentAddress]) -> Result<Vec<(Option<ChunkPlace>, bool)>> {
        let mut question = Question::default();
        question.touched.chunks.extend(chunks);
        question.touched.swept.extend(chunks.iter().map(|chunk| ObjectKey(chunk.0)));
        if let Some(state) = self.lookups.ask(question).await {
            let found = |chunk: &ContentAddress| {
                (state.chunks.get(chunk).cloned(), state.swept.get(&ObjectKey(chunk.0)).is_some())
            };
            return Ok(chunks.iter().map(found).collect());
        }
        let places = self.locations(chunks).await?;
        let keys: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.0.to_vec()).collect();
        let mut connection = self.readers.acquire().await?;
        let text = |keys: &str| format!("SELECT object FROM swept_objects WHERE object IN (VALUES {keys})");
        let swept = addresses(&many(&mut connection, &keys, text).await?)?;
        Ok(places.into_iter().zip(chunks).map(|(place, chunk)| (place, swept.contains(chunk))).collect())
    }

    async fn sweeps_last(&self) -> Result<Sequence> {
        let row = sqlx::query("SELECT coalesce(max(begun_sequence), 0) FROM swept_objects").fetch_one(&self.readers);
        Ok(u64::try_from(row.await?.try_get::<i64, _>(0)?).unwrap_or(0))
    }

    async fn still_keeps(&self, producer: &ProducerName) -> Result<bool> {
        let mut connection = self.readers.acquire().await?;
        still_keeps(&mut connection, producer).await
    }

    async fn versions_releasable(&self, after: Sequence, limit: usize) -> Result<Vec<Sequence>> {
        let text = "SELECT f.sequence FROM files AS f WHERE f.ended_sequence IS NOT NULL AND f.released_sequence IS NULL \
             AND f.sequence > ? AND NOT EXISTS (SELECT 1 FROM history AS h \
             WHERE h.producer = f.producer AND h.key = f.key AND h.sequence = f.sequence) \
             AND NOT EXISTS (SELECT 1 FROM packages AS p JOIN packages AS s ON s.producer = p.producer AND s.name = p.name \
             AND s.revision >= p.revision AND s.finalized_sequence < f.ended_sequence \
             WHERE p.id = f.package_id AND NOT EXISTS (\
             SELECT 1 FROM packages AS r WHERE r.producer = s.producer AND r.name = s.name \
             AND r.revision >= s.revision AND r.released_sequence IS NOT NULL)) ORDER BY f.sequence LIMIT ?";
        let found = sqlx::query(text).bind(signed(after)).bind(limited(limit)).fetch_all(&self.readers).await?;
        found.iter().map(|row| Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))).collect()
    }

    async fn blobs_unreferenced(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<ContentAddress>> {
        let text = "SELECT content_address FROM blobs WHERE reference_count = 0 AND condemned_sequence IS NULL \
             AND content_address > ? ORDER BY content_address LIMIT ?";
        let query = sqlx::query(text).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(|row| rows::address(row, 0)).collect()
    }

    async fn blobs_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<Blob>> {
        let text = format!(
            "SELECT {} FROM blobs AS b WHERE reference_count = 0 AND condemned_at <= ? AND content_address > ? \
             AND NOT EXISTS (SELECT 1 FROM erasures AS e WHERE {ERASED}) ORDER BY content_address LIMIT ?",
            rows::BLOB
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(before.0).bind(behind(after.map(|after| after.0)));
        query.bind(limited(limit)).fetch_all(&self.readers).await?.iter().map(rows::blob).collect()
    }

    async fn chunks_unused(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Unused> {
        let text = "SELECT w.address, w.condemned_sequence IS NULL \
             AND NOT EXISTS (SELECT 1 FROM blobs WHERE content_address = w.address) \
             AND NOT EXISTS (SELECT 1 FROM blob_chunks WHERE chunk = w.address) \
             AND NOT EXISTS (SELECT 1 FROM part_chunks WHERE chunk = w.address) \
             FROM (SELECT address, condemned_sequence FROM chunks WHERE address > ? ORDER BY address LIMIT ?) AS w";
        let query = sqlx::query(text).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        let found = query.fetch_all(&self.readers).await?;
        let mut unused = Vec::new();
        for row in &found {
            if row.try_get::<bool, _>(1)? {
                unused.push(rows::address(row, 0)?);
            }
        }
        let next = found.last().filter(|_| found.len() == limit).map(|row| rows::address(row, 0)).transpose()?;
        Ok((unused, next))
    }

    async fn chunks_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<ContentAddress>> {
        let text = "SELECT address FROM chunks WHERE condemned_sequence IS NOT NULL AND condemned_at <= ? \
             AND address > ? ORDER BY address LIMIT ?";
        let query = sqlx::query(text).bind(before.0).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(|row| rows::address(row, 0)).collect()
    }

    async fn sweeps_open(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<SweptObject>> {
        let text = format!(
            "SELECT {} FROM swept_objects WHERE ended_sequence IS NULL AND object > ? ORDER BY object LIMIT ?",
            rows::SWEPT
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::swept).collect()
    }

    async fn uses_now(&self, asked: &Asked) -> Result<Uses> {
        uses(&mut *self.readers.acquire().await?, asked).await
    }

    async fn erasures(&self, versions: &[Sequence]) -> Result<Vec<Erasure>> {
        let mut found = Vec::new();
        for group in padded(versions) {
            let keys = values(group.len(), 1);
            let text =
                format!("SELECT {} FROM erasures WHERE version IN (VALUES {keys}) ORDER BY version", rows::ERASURE);
            let mut query = sqlx::query(AssertSqlSafe(text));
            for version in group {
                query = query.bind(signed(version));
            }
            for row in &query.fetch_all(&self.readers).await? {
                found.push(rows::erasure(row)?);
            }
        }
        Ok(found)
    }

    async fn sharers(&self, blobs: &[ContentAddress], limit: usize) -> Result<Vec<File>> {
        let text = format!(
            "SELECT {} FROM files AS f WHERE f.content_address IN (VALUES {}) AND f.released_sequence IS NULL \
             ORDER BY f.content_address, f.sequence LIMIT ?",
            rows::FILE,
            values(blobs.len(), 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for blob in blobs {
            query = query.bind(blob.0.to_vec());
        }
        query.bind(limited(limit)).fetch_all(&self.readers).await?.iter().map(rows::file).collect()
    }

    async fn erasures_pending(&self, limit: usize) -> Result<Vec<ContentAddress>> {
        let text = format!(
            "SELECT DISTINCT b.content_address FROM erasures AS e JOIN blobs AS b ON {ERASED} \
             WHERE b.reference_count = 0 LIMIT ?"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(|row| rows::address(row, 0)).collect()
    }

    async fn orphans_noted(
        &self,
        before: Timestamp,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>> {
        let text = "SELECT object FROM orphan_objects WHERE seen_at <= ? AND object > ? ORDER BY object LIMIT ?";
        let query = sqlx::query(text).bind(before.0).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(|row| rows::object(row, 0)).collect()
    }
}

/// The rows that are found by these keys, of one column each.
pub(super) async fn many(
    connection: &mut SqliteConnection,
    keys: &[Vec<u8>],
    text: impl Fn(&str) -> String,
) -> Result<Vec<SqliteRow>> {
    let mut found = Vec::new();
    for group in padded(keys) {
        let mut query = sqlx::query(AssertSqlSafe(text(&values(group.len(), 1))));
        for key in group {
            query = query.bind(key);
        }
        found.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

fn addresses(found: &[SqliteRow]) -> Result<BTreeSet<ContentAddress>> {
    found.iter().map(|row| rows::address(row, 0)).collect()
}

/// What a step of a collection is decided by besides rows.
pub(super) async fn uses(connection: &mut SqliteConnection, asked: &Asked) -> Result<Uses> {
    let chunks: Vec<Vec<u8>> = asked.chunks.iter().map(|chunk| chunk.0.to_vec()).collect();
    let text = |keys: &str| format!("SELECT content_address FROM blobs WHERE content_address IN (VALUES {keys})");
    let mut used = addresses(&many(connection, &chunks, text).await?)?;
    used.retain(|blob| !asked.but.contains(blob));
    let text = |keys: &str| format!("SELECT DISTINCT chunk FROM part_chunks WHERE chunk IN (VALUES {keys})");
    used.extend(addresses(&many(connection, &chunks, text).await?)?);
    // A chunk may have very many users. That there is one besides the one which does not count, the ends tell.
    let text = |keys: &str| {
        format!(
            "WITH wanted (chunk) AS (VALUES {keys}) SELECT w.chunk, \
             (SELECT min(b.blob) FROM blob_chunks AS b WHERE b.chunk = w.chunk), \
             (SELECT max(b.blob) FROM blob_chunks AS b WHERE b.chunk = w.chunk) FROM wanted AS w"
        )
    };
    for row in many(connection, &chunks, text).await? {
        for at in [1, 2] {
            let user = row.try_get::<Option<&[u8]>, _>(at)?.and_then(ContentAddress::from_slice);
            if user.is_some_and(|user| !asked.but.contains(&user)) {
                used.insert(rows::address(&row, 0)?);
            }
        }
    }
    let mut copies = Vec::new();
    if let Some(blob) = asked.copies_of {
        let text = "SELECT sequence FROM files WHERE content_address = ? AND released_sequence IS NULL ORDER BY sequence \
             LIMIT ?";
        let query = sqlx::query(text).bind(blob.0.to_vec()).bind(limited(COPIES_LIMIT + 1));
        for row in &query.fetch_all(&mut *connection).await? {
            copies.push(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0));
        }
    }
    Ok(Uses { used, residents: residents(connection, &asked.objects).await?, copies })
}

async fn residents(
    connection: &mut SqliteConnection,
    objects: &[ObjectKey],
) -> Result<BTreeMap<ObjectKey, BTreeSet<ContentAddress>>> {
    let mut residents: BTreeMap<_, BTreeSet<_>> = objects.iter().map(|object| (*object, BTreeSet::new())).collect();
    let keys: Vec<Vec<u8>> = objects.iter().map(|object| object.0.to_vec()).collect();
    let lone = "object = address AND address";
    let packed = "object <> address AND object";
    for which in [lone, packed] {
        let text = |keys: &str| format!("SELECT address, object FROM chunks WHERE {which} IN (VALUES {keys})");
        for row in many(connection, &keys, text).await? {
            residents.entry(rows::object(&row, 1)?).or_default().insert(rows::address(&row, 0)?);
        }
    }
    Ok(residents)
}

pub(super) async fn sweeping(connection: &mut SqliteConnection) -> Result<bool> {
    let text = "SELECT 1 FROM swept_objects WHERE ended_sequence IS NULL LIMIT 1";
    Ok(sqlx::query(text).fetch_optional(connection).await?.is_some())
}

pub(super) async fn still_keeps(connection: &mut SqliteConnection, producer: &ProducerName) -> Result<bool> {
    // A revision is released with those before it. A manifest is stored where its event's payload is another size. What keeps
    // a producer or a package goes with it: whatever of it was not let go yet would be kept by nothing.
    let text = "SELECT EXISTS (\
         SELECT 1 FROM packages AS p WHERE p.producer = ?1 AND p.finalized_sequence IS NOT NULL AND (NOT EXISTS (\
         SELECT 1 FROM packages AS r WHERE r.producer = p.producer AND r.name = p.name \
         AND r.revision >= p.revision AND r.released_sequence IS NOT NULL) OR EXISTS (\
         SELECT 1 FROM events AS e WHERE e.sequence = p.finalized_sequence AND length(e.payload) <> p.manifest_size))) \
         OR EXISTS (SELECT 1 FROM producers AS o WHERE o.name = ?1 AND (o.keeping IS NOT NULL \
         OR EXISTS (SELECT 1 FROM packages AS p WHERE p.producer = ?1 AND p.keeping IS NOT NULL)) \
         AND EXISTS (SELECT 1 FROM files AS f WHERE f.producer = ?1 AND f.sequence > o.created_sequence \
         AND f.released_sequence IS NULL AND (o.keeping IS NOT NULL AND f.deleted_sequence IS NULL \
         OR EXISTS (SELECT 1 FROM packages AS p \
         WHERE p.producer = f.producer AND p.name = f.package AND p.keeping IS NOT NULL))))";
    Ok(sqlx::query_scalar(text).bind(producer.to_string()).fetch_one(connection).await?)
}

/// How many rows are read at once while uses are filled in.
const PAGE: i64 = 512;

/// Whether the uses of chunks are still to be read from recipes, because the schema was older.
pub(super) async fn uses_are_unread(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let text = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'uses_unread'";
    Ok(sqlx::query(text).fetch_optional(connection).await?.is_some())
}

/// Fills in the uses of chunks from recipes, all or nothing.
pub(super) async fn read_uses(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let outcome = fill_uses(connection).await;
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(connection).await?;
    outcome
}

async fn fill_uses(connection: &mut SqliteConnection) -> Result<()> {
    if !uses_are_unread(connection).await? {
        return Ok(());
    }
    let mut after: Vec<u8> = Vec::new();
    loop {
        let text =
            format!("SELECT {} FROM blobs WHERE content_address > ? ORDER BY content_address LIMIT {PAGE}", rows::BLOB);
        let found = sqlx::query(AssertSqlSafe(text)).bind(after).fetch_all(&mut *connection).await?;
        let Some(last) = found.last() else { break };
        after = last.try_get::<Vec<u8>, _>(0)?;
        for blob in found.iter().map(rows::blob) {
            let blob = blob?;
            for chunk in blob.recipe.chunks.iter().filter(|_| blob.recipe.chunks.len() > 1) {
                let insert = sqlx::query("INSERT OR IGNORE INTO blob_chunks (chunk, blob) VALUES (?, ?)");
                let insert = insert.bind(chunk.address.0.to_vec()).bind(blob.content_address.0.to_vec());
                insert.execute(&mut *connection).await?;
            }
        }
    }
    let (mut upload, mut number) = (String::new(), 0_i64);
    loop {
        let text = "SELECT upload, number, recipe FROM parts WHERE (upload, number) > (?, ?) \
             ORDER BY upload, number LIMIT 512";
        let found = sqlx::query(text).bind(upload.clone()).bind(number).fetch_all(&mut *connection).await?;
        let Some(last) = found.last() else { break };
        (upload, number) = (last.try_get(0)?, last.try_get(1)?);
        for row in &found {
            let part = UploadId::trusted(row.try_get::<String, _>(0)?);
            let recipe: artifactstore_backends::recipe::Recipe = cbor::decode(row.try_get::<&[u8], _>(2)?)
                .map_err(|error| crate::Error::RowUnreadable { view: "parts", reason: error.to_string() })?;
            for chunk in &recipe.chunks {
                let text = "INSERT OR IGNORE INTO part_chunks (upload, number, chunk) VALUES (?, ?, ?)";
                let insert = sqlx::query(text).bind(part.to_string()).bind(row.try_get::<i64, _>(1)?);
                insert.bind(chunk.address.0.to_vec()).execute(&mut *connection).await?;
            }
        }
    }
    sqlx::query("DROP TABLE uses_unread").execute(connection).await?;
    Ok(())
}
