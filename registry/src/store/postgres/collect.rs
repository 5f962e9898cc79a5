//! What is asked of PostgreSQL by whoever collects what nothing keeps.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::rows::{self, Cells};
use super::statement::{Statement, limited, signed};
use super::{PostgresStore, listed};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::log::plan::collect::Asked;
use crate::log::plan::erase::COPIES_LIMIT;
use crate::model::erasure::Erasure;
use crate::model::name::ProducerName;
use crate::model::row::{Blob, ChunkPlace, File, Sequence};
use crate::model::state::Touched;
use crate::model::sweep::{SweptObject, Uses};
use crate::store::sweeping::{ERASED, Sweeping, Unused};

/// Behind nothing: the empty byte string sorts before every digest.
pub(super) fn behind(after: Option<[u8; 32]>) -> Vec<u8> {
    after.map(|after| after.to_vec()).unwrap_or_default()
}

fn unreadable(view: &'static str) -> Error {
    Error::RowUnreadable { view, reason: "a digest has the wrong length".to_owned() }
}

pub(super) fn address(row: &PgRow, at: usize) -> Result<ContentAddress> {
    ContentAddress::from_slice(row.try_get(at)?).ok_or_else(|| unreadable("chunks"))
}

pub(super) fn object(row: &PgRow, at: usize) -> Result<ObjectKey> {
    ObjectKey::from_slice(row.try_get(at)?).ok_or_else(|| unreadable("swept_objects"))
}

fn addresses<C: FromIterator<ContentAddress>>(found: &[PgRow]) -> Result<C> {
    found.iter().map(|row| address(row, 0)).collect()
}

#[async_trait]
impl Sweeping for PostgresStore {
    async fn whereabouts(&self, chunks: &[ContentAddress]) -> Result<Vec<(Option<ChunkPlace>, bool)>> {
        let swept = chunks.iter().map(|chunk| ObjectKey(chunk.0)).collect();
        let touched = Touched { chunks: chunks.iter().copied().collect(), swept, ..Touched::default() };
        let state = self.ask(touched).await?;
        let found =
            |chunk: &ContentAddress| (state.chunks.get(chunk).cloned(), state.swept.get(&ObjectKey(chunk.0)).is_some());
        Ok(chunks.iter().map(found).collect())
    }

    async fn still_keeps(&self, producer: &ProducerName) -> Result<bool> {
        let found = self.readers.rows(still_keeps(producer)?).await?;
        Ok(found.first().map_or(Ok(true), |row| row.try_get(0))?)
    }

    async fn sweeps_last(&self) -> Result<Sequence> {
        let text = "SELECT coalesce(max(begun_sequence), 0)::int8 FROM swept_objects";
        let found = self.readers.rows(Statement::plain(text)).await?;
        let last: i64 = found.first().map_or(Ok(0), |row| row.try_get(0))?;
        Ok(u64::try_from(last).unwrap_or(0))
    }

    async fn versions_releasable(&self, after: Sequence, limit: usize) -> Result<Vec<Sequence>> {
        let mut asked = Statement::default();
        let (after, limit) = (asked.bind(signed(after))?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT f.sequence FROM files AS f WHERE f.ended_sequence IS NOT NULL AND f.released_sequence IS NULL \
             AND f.sequence > {after} AND NOT EXISTS (SELECT 1 FROM history AS h \
             WHERE h.producer = f.producer AND h.key = f.key AND h.sequence = f.sequence) \
             AND NOT EXISTS (SELECT 1 FROM packages AS p JOIN packages AS s ON s.producer = p.producer AND s.name = p.name \
             AND s.revision >= p.revision AND s.finalized_sequence < f.ended_sequence \
             WHERE p.id = f.package_id AND NOT EXISTS (\
             SELECT 1 FROM packages AS r WHERE r.producer = s.producer AND r.name = s.name \
             AND r.revision >= s.revision AND r.released_sequence IS NOT NULL)) ORDER BY f.sequence LIMIT {limit}"
        );
        let found = self.readers.rows_at_leisure(asked).await?;
        found.iter().map(|row| Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))).collect()
    }

    async fn blobs_unreferenced(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Vec<ContentAddress>> {
        let mut asked = Statement::default();
        let (after, limit) = (asked.bind(behind(after.map(|after| after.0)))?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT content_address FROM blobs WHERE reference_count = 0 AND condemned_sequence IS NULL \
             AND content_address > {after} ORDER BY content_address LIMIT {limit}"
        );
        addresses(&self.readers.rows_at_leisure(asked).await?)
    }

    async fn blobs_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<Blob>> {
        let mut asked = Statement::default();
        let (before, after) = (asked.bind(before.0)?, asked.bind(behind(after.map(|after| after.0)))?);
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT {} FROM blobs AS b WHERE b.reference_count = 0 AND b.condemned_at <= {before} \
             AND b.content_address > {after} AND NOT EXISTS (SELECT 1 FROM erasures AS e WHERE {ERASED}) \
             ORDER BY b.content_address LIMIT {limit}",
            rows::BLOB.narrow("b")
        );
        listed(&self.readers.rows_at_leisure(asked).await?, &rows::BLOB, rows::blob)
    }

    async fn chunks_unused(&self, after: Option<&ContentAddress>, limit: usize) -> Result<Unused> {
        let mut asked = Statement::default();
        let (after, most) = (asked.bind(behind(after.map(|after| after.0)))?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT w.address, w.condemned_sequence IS NULL \
             AND NOT EXISTS (SELECT 1 FROM blobs AS b WHERE b.content_address = w.address) \
             AND NOT EXISTS (SELECT 1 FROM blob_chunks AS u WHERE u.chunk = w.address) \
             AND NOT EXISTS (SELECT 1 FROM part_chunks AS u WHERE u.chunk = w.address) \
             FROM (SELECT c.address, c.condemned_sequence FROM chunks AS c WHERE c.address > {after} \
             ORDER BY c.address LIMIT {most}) AS w ORDER BY w.address"
        );
        let found = self.readers.rows_at_leisure(asked).await?;
        let mut unused = Vec::new();
        for row in &found {
            if row.try_get::<bool, _>(1)? {
                unused.push(address(row, 0)?);
            }
        }
        let next = found.last().filter(|_| found.len() == limit).map(|row| address(row, 0)).transpose()?;
        Ok((unused, next))
    }

    async fn chunks_condemned(
        &self,
        before: Timestamp,
        after: Option<&ContentAddress>,
        limit: usize,
    ) -> Result<Vec<ContentAddress>> {
        let mut asked = Statement::default();
        let (before, after) = (asked.bind(before.0)?, asked.bind(behind(after.map(|after| after.0)))?);
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT address FROM chunks WHERE condemned_sequence IS NOT NULL AND condemned_at <= {before} \
             AND address > {after} ORDER BY address LIMIT {limit}"
        );
        addresses(&self.readers.rows_at_leisure(asked).await?)
    }

    async fn sweeps_open(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<SweptObject>> {
        let mut asked = Statement::default();
        let (after, limit) = (asked.bind(behind(after.map(|after| after.0)))?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT {} FROM swept_objects AS s WHERE s.ended_sequence IS NULL AND s.object > {after} \
             ORDER BY s.object LIMIT {limit}",
            rows::SWEPT.narrow("s")
        );
        self.list(asked, &rows::SWEPT, rows::swept).await
    }

    async fn uses_now(&self, asked: &Asked) -> Result<Uses> {
        let mut used = Uses::default();
        if !asked.chunks.is_empty() {
            let statement = used_chunks(asked)?;
            used.used = users(asked, &self.readers.rows_at_leisure(statement).await?)?;
        }
        used.residents = asked.objects.iter().map(|object| (*object, BTreeSet::new())).collect();
        if !asked.objects.is_empty() {
            take_residents(&mut used.residents, &self.readers.rows_at_leisure(residing(&asked.objects)?).await?)?;
        }
        Ok(used)
    }

    async fn erasures(&self, versions: &[Sequence]) -> Result<Vec<Erasure>> {
        let mut asked = Statement::default();
        let versions: Vec<i64> = versions.iter().map(|version| signed(*version)).collect();
        let versions = asked.bind(versions)?;
        let columns = rows::ERASURE.narrow("e");
        asked.text =
            format!("SELECT {columns} FROM erasures AS e WHERE e.version = ANY({versions}::int8[]) ORDER BY e.version");
        self.list(asked, &rows::ERASURE, rows::erasure).await
    }

    async fn sharers(&self, blobs: &[ContentAddress], limit: usize) -> Result<Vec<File>> {
        let mut asked = Statement::default();
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.0.to_vec()).collect();
        let (blobs, limit) = (asked.bind(blobs)?, asked.bind(limited(limit))?);
        asked.text = format!(
            "SELECT {} FROM files AS f WHERE f.content_address = ANY({blobs}::bytea[]) AND f.released_sequence IS NULL \
             ORDER BY f.content_address, f.sequence LIMIT {limit}",
            rows::FILE.narrow("f")
        );
        listed(&self.readers.rows_at_leisure(asked).await?, &rows::FILE, rows::file)
    }

    async fn erasures_pending(&self, limit: usize) -> Result<Vec<ContentAddress>> {
        let mut asked = Statement::default();
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT DISTINCT b.content_address FROM erasures AS e JOIN blobs AS b ON {ERASED} \
             WHERE b.reference_count = 0 LIMIT {limit}"
        );
        addresses(&self.readers.rows_at_leisure(asked).await?)
    }

    async fn orphans_noted(
        &self,
        before: Timestamp,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>> {
        let mut asked = Statement::default();
        let (before, after) = (asked.bind(before.0)?, asked.bind(behind(after.map(|after| after.0)))?);
        let limit = asked.bind(limited(limit))?;
        asked.text = format!(
            "SELECT object FROM orphan_objects WHERE seen_at <= {before} AND object > {after} \
             ORDER BY object LIMIT {limit}"
        );
        self.readers.rows(asked).await?.iter().map(|row| object(row, 0)).collect()
    }
}

pub(super) fn digests(asked: &mut Statement, keys: impl Iterator<Item = [u8; 32]>) -> Result<String> {
    let keys: Vec<Vec<u8>> = keys.map(|key| key.to_vec()).collect();
    Ok(format!("{}::bytea[]", asked.bind(keys)?))
}

/// Who uses some chunks.
fn used_chunks(asked: &Asked) -> Result<Statement> {
    let mut statement = Statement::default();
    let chunks = digests(&mut statement, asked.chunks.iter().map(|chunk| chunk.0))?;
    // A chunk may have very many users. That there is one besides the one which does not count, the ends tell.
    statement.text = format!(
        "SELECT w.chunk, \
         (SELECT b.content_address FROM blobs AS b WHERE b.content_address = w.chunk), \
         (SELECT u.blob FROM blob_chunks AS u WHERE u.chunk = w.chunk ORDER BY u.blob LIMIT 1), \
         (SELECT u.blob FROM blob_chunks AS u WHERE u.chunk = w.chunk ORDER BY u.blob DESC LIMIT 1), \
         EXISTS (SELECT 1 FROM part_chunks AS u WHERE u.chunk = w.chunk) FROM unnest({chunks}) AS w (chunk)"
    );
    Ok(statement)
}

fn users(asked: &Asked, found: &[PgRow]) -> Result<BTreeSet<ContentAddress>> {
    let mut used = BTreeSet::new();
    for row in found {
        let mut is_used: bool = row.try_get(4)?;
        for at in 1..=3 {
            let user = row.try_get::<Option<&[u8]>, _>(at)?.and_then(ContentAddress::from_slice);
            is_used |= user.is_some_and(|user| !asked.but.contains(&user));
        }
        if is_used {
            used.insert(address(row, 0)?);
        }
    }
    Ok(used)
}

/// Which chunks lie in some objects.
fn residing(objects: &[ObjectKey]) -> Result<Statement> {
    let mut statement = Statement::default();
    let objects = digests(&mut statement, objects.iter().map(|object| object.0))?;
    statement.text = format!(
        "SELECT c.address, c.object FROM chunks AS c WHERE c.object = c.address AND c.address = ANY({objects}) \
         UNION ALL SELECT c.address, c.object FROM chunks AS c WHERE c.object <> c.address AND c.object = ANY({objects})"
    );
    Ok(statement)
}

fn take_residents(residents: &mut BTreeMap<ObjectKey, BTreeSet<ContentAddress>>, found: &[PgRow]) -> Result<()> {
    for row in found {
        residents.entry(object(row, 1)?).or_default().insert(address(row, 0)?);
    }
    Ok(())
}

/// What a step of a collection is decided by besides rows.
pub(super) async fn uses(connection: &mut PgConnection, asked: &Asked) -> Result<Uses> {
    let mut uses = Uses::default();
    if !asked.chunks.is_empty() {
        uses.used = users(asked, &used_chunks(asked)?.rows(&mut *connection).await?)?;
    }
    uses.residents = asked.objects.iter().map(|object| (*object, BTreeSet::new())).collect();
    if !asked.objects.is_empty() {
        take_residents(&mut uses.residents, &residing(&asked.objects)?.rows(&mut *connection).await?)?;
    }
    if let Some(blob) = asked.copies_of {
        let mut statement = Statement::default();
        let (blob, limit) = (statement.bind(blob.0.to_vec())?, statement.bind(limited(COPIES_LIMIT + 1))?);
        statement.text = format!(
            "SELECT f.sequence FROM files AS f WHERE f.content_address = {blob} AND f.released_sequence IS NULL \
             ORDER BY f.sequence LIMIT {limit}"
        );
        for row in &statement.rows(connection).await? {
            uses.copies.push(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0));
        }
    }
    Ok(uses)
}

pub(super) async fn sweeping(connection: &mut PgConnection) -> Result<bool> {
    let text = "SELECT EXISTS (SELECT 1 FROM swept_objects WHERE ended_sequence IS NULL)";
    Ok(Statement::plain(text).row(connection).await?.try_get(0)?)
}

pub(super) fn still_keeps(producer: &ProducerName) -> Result<Statement> {
    let mut asked = Statement::default();
    let name = asked.bind(producer.to_string())?;
    // A revision is released with those before it. A manifest is stored where its event's payload is another size. What keeps
    // a producer or a package goes with it: whatever of it was not let go yet would be kept by nothing.
    asked.text = format!(
        "SELECT EXISTS (SELECT 1 FROM packages AS p WHERE p.producer = {name} AND p.finalized_sequence IS NOT NULL \
         AND (NOT EXISTS (SELECT 1 FROM packages AS r WHERE r.producer = p.producer AND r.name = p.name \
         AND r.revision >= p.revision AND r.released_sequence IS NOT NULL) OR EXISTS (\
         SELECT 1 FROM events AS e WHERE e.sequence = p.finalized_sequence AND length(e.payload) <> p.manifest_size))) \
         OR EXISTS (SELECT 1 FROM producers AS o WHERE o.name = {name} AND (o.keeping IS NOT NULL \
         OR EXISTS (SELECT 1 FROM packages AS p WHERE p.producer = {name} AND p.keeping IS NOT NULL)) \
         AND EXISTS (SELECT 1 FROM files AS f WHERE f.producer = {name} AND f.sequence > o.created_sequence \
         AND f.released_sequence IS NULL AND (o.keeping IS NOT NULL AND f.deleted_sequence IS NULL \
         OR EXISTS (SELECT 1 FROM packages AS p \
         WHERE p.producer = f.producer AND p.name = f.package AND p.keeping IS NOT NULL))))"
    );
    Ok(asked)
}

/// How many rows are read at once while uses are filled in.
const PAGE: usize = 512;

/// Whether the uses of chunks are still to be read from recipes, because the schema was older.
pub(super) async fn uses_are_unread(connection: &mut PgConnection) -> sqlx::Result<bool> {
    Statement::plain("SELECT to_regclass('uses_unread') IS NOT NULL").row(connection).await?.try_get(0)
}

/// Fills in the uses of chunks from recipes, all or nothing. The lock keeps others who would do it, and whoever writes,
/// waiting.
pub(super) async fn read_uses(connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("BEGIN; SELECT sequence FROM log_head FOR UPDATE").execute(&mut *connection).await?;
    if uses_are_unread(connection).await? {
        fill_blob_chunks(connection).await?;
        fill_part_chunks(connection).await?;
        Statement::plain("DROP TABLE uses_unread").run(&mut *connection).await?;
    }
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(())
}

async fn fill_blob_chunks(connection: &mut PgConnection) -> Result<()> {
    let mut after: Option<ContentAddress> = None;
    loop {
        let found = super::reads::blobs(after.as_ref(), PAGE)?.rows(&mut *connection).await?;
        let blobs = listed(&found, &rows::BLOB, rows::blob)?;
        let Some(last) = blobs.last() else { return Ok(()) };
        after = Some(last.content_address);
        let several = blobs.iter().filter(|blob| blob.recipe.chunks.len() > 1);
        let pairs =
            several.flat_map(|blob| blob.recipe.chunks.iter().map(|chunk| (chunk.address, blob.content_address)));
        let (chunks, users): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            pairs.map(|(chunk, blob)| (chunk.0.to_vec(), blob.0.to_vec())).unzip();
        let mut insert = Statement::default();
        let (chunks, users) = (insert.bind(chunks)?, insert.bind(users)?);
        insert.text = format!(
            "INSERT INTO blob_chunks (chunk, blob) SELECT * FROM unnest({chunks}::bytea[], {users}::bytea[]) \
             ON CONFLICT DO NOTHING"
        );
        insert.run(&mut *connection).await?;
    }
}

async fn fill_part_chunks(connection: &mut PgConnection) -> Result<()> {
    let (mut upload, mut number) = (String::new(), 0);
    loop {
        let mut asked = Statement::default();
        let (last_upload, last_number) = (asked.bind(upload.clone())?, asked.bind(signed(number))?);
        let most = asked.bind(limited(PAGE))?;
        asked.text = format!(
            "SELECT {} FROM parts AS p WHERE (p.upload, p.number) > ({last_upload}, {last_number}) \
             ORDER BY p.upload, p.number LIMIT {most}",
            rows::PART.narrow("p")
        );
        let found = asked.rows(&mut *connection).await?;
        let (mut uploads, mut numbers, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        for row in &found {
            let part = rows::part(&Cells::narrow(&rows::PART, row))?;
            (upload, number) = (part.upload.to_string(), u64::from(part.number.get()));
            for chunk in &part.recipe.chunks {
                uploads.push(upload.clone());
                numbers.push(signed(number));
                chunks.push(chunk.address.0.to_vec());
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut insert = Statement::default();
        let (uploads, numbers) = (insert.bind(uploads)?, insert.bind(numbers)?);
        let chunks = insert.bind(chunks)?;
        insert.text = format!(
            "INSERT INTO part_chunks (upload, number, chunk) \
             SELECT * FROM unnest({uploads}::text[], {numbers}::int8[], {chunks}::bytea[]) ON CONFLICT DO NOTHING"
        );
        insert.run(&mut *connection).await?;
    }
}
