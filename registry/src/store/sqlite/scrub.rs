//! What is asked of SQLite by whoever reads everything again, and by whoever wants to know what was found.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row};

use super::collect::{behind, many};
use super::reads::limited;
use super::statement::{padded, values};
use super::write::signed;
use super::{SqliteStore, rows};
use crate::error::Result;
use crate::model::row::{ChunkPlace, File, Package};
use crate::model::scrub::DamagedObject;
use crate::store::scrubbing::{FileCursor, Passes, Scrubbing};

/// The blobs that use some chunks: those that are one of them, and those of several chunks.
fn users(keys: &str) -> String {
    format!(
        "SELECT column1 AS blob FROM (VALUES {keys}) UNION SELECT blob FROM blob_chunks WHERE chunk IN (VALUES {keys})"
    )
}

/// The chunks, as many as there are places for.
fn keys(chunks: &[ContentAddress]) -> Vec<Vec<u8>> {
    padded(chunks).concat().into_iter().map(|chunk| chunk.0.to_vec()).collect()
}

#[async_trait]
impl Scrubbing for SqliteStore {
    async fn objects(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectKey>> {
        let after = behind(after.map(|after| after.0));
        let text = "SELECT DISTINCT object FROM chunks WHERE object <> address AND object > ? ORDER BY object LIMIT ?";
        let packs = sqlx::query(text).bind(after.clone()).bind(limited(limit)).fetch_all(&self.readers).await?;
        let mut found: Vec<ObjectKey> = packs.iter().map(|row| rows::object(row, 0)).collect::<Result<_>>()?;
        // Chunks that lie alone, up to the last pack of this page: among many packs they may be rare.
        let last = found.last().filter(|_| found.len() == limit).map_or([0xff; 32], |last| last.0);
        let text = "SELECT address FROM chunks WHERE object = address AND address > ? AND address <= ? \
             ORDER BY address LIMIT ?";
        let alone = sqlx::query(text).bind(after).bind(last.to_vec()).bind(limited(limit));
        for row in &alone.fetch_all(&self.readers).await? {
            found.push(rows::object(row, 0)?);
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    async fn residents(&self, objects: &[ObjectKey]) -> Result<Vec<ChunkPlace>> {
        let keys: Vec<Vec<u8>> = objects.iter().map(|object| object.0.to_vec()).collect();
        let mut connection = self.readers.acquire().await?;
        let mut found = Vec::new();
        for which in ["object = address AND address", "object <> address AND object"] {
            let text = |keys: &str| format!("SELECT {} FROM chunks WHERE {which} IN (VALUES {keys})", rows::CHUNK);
            found.extend(many(&mut connection, &keys, text).await?);
        }
        found.iter().map(rows::chunk).collect()
    }

    async fn passes(&self) -> Result<Passes> {
        let text = format!(
            "SELECT {} FROM scrub_passes WHERE sequence >= coalesce((SELECT max(sequence) FROM scrub_passes \
             WHERE ended_sequence IS NOT NULL), 0) ORDER BY sequence",
            rows::SCRUB
        );
        let found = sqlx::query(AssertSqlSafe(text)).fetch_all(&self.readers).await?;
        let mut found = found.iter().map(rows::scrub_pass).collect::<Result<Vec<_>>>()?;
        let ended = found.iter().find(|pass| pass.ended_sequence.is_some()).cloned();
        Ok((found.pop(), ended))
    }

    async fn damaged(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<DamagedObject>> {
        let text = format!("SELECT {} FROM damaged_objects WHERE object > ? ORDER BY object LIMIT ?", rows::DAMAGED);
        let query = sqlx::query(AssertSqlSafe(text)).bind(behind(after.map(|after| after.0))).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::damaged).collect()
    }

    async fn damaged_object(&self, object: &ObjectKey) -> Result<Option<DamagedObject>> {
        let text = format!("SELECT {} FROM damaged_objects WHERE object = ?", rows::DAMAGED);
        let query = sqlx::query(AssertSqlSafe(text)).bind(object.0.to_vec());
        query.fetch_optional(&self.readers).await?.as_ref().map(rows::damaged).transpose()
    }

    async fn damaged_count(&self) -> Result<u64> {
        let row = sqlx::query("SELECT count(*) FROM damaged_objects").fetch_one(&self.readers).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
    }

    async fn damaged_left(&self, limit: usize) -> Result<Vec<DamagedObject>> {
        let text = format!(
            "SELECT {} FROM damaged_objects AS d WHERE NOT EXISTS (SELECT 1 FROM chunks AS c \
             WHERE c.object = d.object AND c.damaged_sequence IS NOT NULL) ORDER BY d.object LIMIT ?",
            rows::DAMAGED
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(limited(limit));
        query.fetch_all(&self.readers).await?.iter().map(rows::damaged).collect()
    }

    async fn damaged_chunks(&self, object: &ObjectKey) -> Result<Vec<ContentAddress>> {
        let text = "SELECT address FROM chunks WHERE object = ? AND damaged_sequence IS NOT NULL ORDER BY address";
        let query = sqlx::query(text).bind(object.0.to_vec());
        query.fetch_all(&self.readers).await?.iter().map(|row| rows::address(row, 0)).collect()
    }

    async fn files_of_chunks(
        &self,
        chunks: &[ContentAddress],
        after: Option<&FileCursor>,
        limit: usize,
    ) -> Result<Vec<File>> {
        let keys = keys(chunks);
        let text = format!(
            "SELECT {} FROM ({}) AS u JOIN files AS f ON f.content_address = u.blob \
             WHERE (f.content_address, f.sequence) > (?, ?) AND f.released_sequence IS NULL \
             ORDER BY f.content_address, f.sequence LIMIT ?",
            rows::FILE,
            users(&values(keys.len(), 1))
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for key in keys.iter().chain(&keys) {
            query = query.bind(key.clone());
        }
        let query = query.bind(behind(after.map(|after| after.0.0))).bind(signed(after.map_or(0, |after| after.1)));
        query.bind(limited(limit)).fetch_all(&self.readers).await?.iter().map(rows::file).collect()
    }

    async fn manifests_of_chunks(&self, chunks: &[ContentAddress], limit: usize) -> Result<Vec<Package>> {
        let keys = keys(chunks);
        let text = format!(
            "SELECT {} FROM packages WHERE manifest_digest IN ({}) ORDER BY id LIMIT ?",
            rows::PACKAGE,
            users(&values(keys.len(), 1))
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for key in keys.iter().chain(&keys) {
            query = query.bind(key.clone());
        }
        query.bind(limited(limit)).fetch_all(&self.readers).await?.iter().map(rows::package).collect()
    }
}
