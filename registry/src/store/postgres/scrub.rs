//! What is asked of PostgreSQL by whoever reads everything again, and by whoever wants to know what was found.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use sqlx::Row;

use super::collect::{address, behind, digests, object};
use super::rows;
use super::statement::{Statement, limited, signed};
use super::{PostgresStore, listed};
use crate::error::Result;
use crate::model::row::{ChunkPlace, File, Package};
use crate::model::scrub::DamagedObject;
use crate::store::scrubbing::{FileCursor, Passes, Scrubbing};

/// The blobs that use some chunks: those that are one of them, and those of several chunks.
fn users(chunks: &str) -> String {
    format!(
        "SELECT w.blob FROM unnest({chunks}) AS w (blob) UNION SELECT u.blob FROM blob_chunks AS u WHERE u.chunk = ANY({chunks})"
    )
}

#[async_trait]
impl Scrubbing for PostgresStore {
    async fn objects(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<ObjectKey>> {
        let mut asked = Statement::default();
        let (after, limit) = (asked.bind(behind(after.map(|after| after.0)))?, asked.bind(limited(limit))?);
        let last = asked.bind(vec![0xff_u8; 32])?;
        // Chunks that lie alone, up to the last pack of this page: among many packs they may be rare.
        asked.text = format!(
            "WITH packs AS MATERIALIZED (SELECT DISTINCT c.object FROM chunks AS c WHERE c.object <> c.address \
             AND c.object > {after} ORDER BY c.object LIMIT {limit}) \
             SELECT p.object FROM packs AS p UNION (SELECT c.object FROM chunks AS c WHERE c.object = c.address \
             AND c.address > {after} AND c.address <= coalesce((SELECT p.object FROM packs AS p ORDER BY p.object \
             OFFSET {limit} - 1 LIMIT 1), {last}) ORDER BY c.address LIMIT {limit}) ORDER BY 1 LIMIT {limit}"
        );
        let found = self.readers.rows_at_leisure(asked).await?;
        found.iter().map(|row| object(row, 0)).collect()
    }

    async fn residents(&self, objects: &[ObjectKey]) -> Result<Vec<ChunkPlace>> {
        let mut asked = Statement::default();
        let objects = digests(&mut asked, objects.iter().map(|object| object.0))?;
        let columns = rows::CHUNK.narrow("c");
        asked.text = format!(
            "SELECT {columns} FROM chunks AS c WHERE c.object = c.address AND c.address = ANY({objects}) \
             UNION ALL SELECT {columns} FROM chunks AS c WHERE c.object <> c.address AND c.object = ANY({objects})"
        );
        listed(&self.readers.rows_at_leisure(asked).await?, &rows::CHUNK, rows::chunk)
    }

    async fn passes(&self) -> Result<Passes> {
        let text = format!(
            "SELECT {} FROM scrub_passes AS p WHERE p.sequence >= coalesce((SELECT max(e.sequence) \
             FROM scrub_passes AS e WHERE e.ended_sequence IS NOT NULL), 0) ORDER BY p.sequence",
            rows::SCRUB.narrow("p")
        );
        let mut found = self.list(Statement::plain(text), &rows::SCRUB, rows::scrub_pass).await?;
        let ended = found.iter().find(|pass| pass.ended_sequence.is_some()).cloned();
        Ok((found.pop(), ended))
    }

    async fn damaged(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<DamagedObject>> {
        let mut asked = Statement::default();
        let (after, limit) = (asked.bind(behind(after.map(|after| after.0)))?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT {} FROM damaged_objects AS d WHERE d.object > {after} ORDER BY d.object LIMIT {limit}",
            rows::DAMAGED.narrow("d")
        );
        self.list(asked, &rows::DAMAGED, rows::damaged).await
    }

    async fn damaged_object(&self, object: &ObjectKey) -> Result<Option<DamagedObject>> {
        let mut asked = Statement::default();
        let object = asked.bind(object.0.to_vec())?;
        let columns = rows::DAMAGED.narrow("d");
        asked.text = format!("SELECT {columns} FROM damaged_objects AS d WHERE d.object = {object}");
        Ok(self.list(asked, &rows::DAMAGED, rows::damaged).await?.pop())
    }

    async fn damaged_count(&self) -> Result<u64> {
        let found = self.readers.rows(Statement::plain("SELECT count(*) FROM damaged_objects")).await?;
        let count: i64 = found.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn damaged_left(&self, limit: usize) -> Result<Vec<DamagedObject>> {
        let mut asked = Statement::default();
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT {} FROM damaged_objects AS d WHERE NOT EXISTS (SELECT 1 FROM chunks AS c \
             WHERE c.object = d.object AND c.damaged_sequence IS NOT NULL) ORDER BY d.object LIMIT {limit}",
            rows::DAMAGED.narrow("d")
        );
        self.list(asked, &rows::DAMAGED, rows::damaged).await
    }

    async fn damaged_chunks(&self, object: &ObjectKey) -> Result<Vec<ContentAddress>> {
        let mut asked = Statement::default();
        let object = asked.bind(object.0.to_vec())?;
        asked.text = format!(
            "SELECT c.address FROM chunks AS c WHERE c.object = {object} AND c.damaged_sequence IS NOT NULL \
             ORDER BY c.address"
        );
        self.readers.rows(asked).await?.iter().map(|row| address(row, 0)).collect()
    }

    async fn files_of_chunks(
        &self,
        chunks: &[ContentAddress],
        after: Option<&FileCursor>,
        limit: usize,
    ) -> Result<Vec<File>> {
        let mut asked = Statement::default();
        let chunks = digests(&mut asked, chunks.iter().map(|chunk| chunk.0))?;
        let blob = asked.bind(behind(after.map(|after| after.0.0)))?;
        let number = asked.bind(signed(after.map_or(0, |after| after.1)))?;
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT {} FROM ({}) AS u JOIN files AS f ON f.content_address = u.blob \
             WHERE (f.content_address, f.sequence) > ({blob}, {number}) AND f.released_sequence IS NULL \
             ORDER BY f.content_address, f.sequence LIMIT {limit}",
            rows::FILE.narrow("f"),
            users(&chunks)
        );
        listed(&self.readers.rows_at_leisure(asked).await?, &rows::FILE, rows::file)
    }

    async fn manifests_of_chunks(&self, chunks: &[ContentAddress], limit: usize) -> Result<Vec<Package>> {
        let mut asked = Statement::default();
        let chunks = digests(&mut asked, chunks.iter().map(|chunk| chunk.0))?;
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT {} FROM packages AS p WHERE p.manifest_digest IN ({}) ORDER BY p.id LIMIT {limit}",
            rows::PACKAGE.narrow("p"),
            users(&chunks)
        );
        listed(&self.readers.rows_at_leisure(asked).await?, &rows::PACKAGE, rows::package)
    }
}
