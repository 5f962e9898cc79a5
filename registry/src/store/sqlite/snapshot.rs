//! A reading of everything as of one event, and putting rebuilt views in the place of the live ones.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, Transaction};

use super::pages::Pages;
use super::{log, rows, tables};
use crate::error::Result;
use crate::model::event::{Head, Record};
use crate::model::row::Sequence;
use crate::store::{Snapshot, View, ViewRow, view_row};

pub(super) struct SqliteSnapshot {
    transaction: Transaction<'static, Sqlite>,
    pages: Pages,
    /// Where the log ends as of this snapshot.
    head: Head,
}

impl SqliteSnapshot {
    pub(super) async fn begin(pages: &Pages, readers: &SqlitePool) -> Result<Self> {
        let mut transaction = readers.begin().await?;
        // SQLite takes its snapshot at the first read.
        let row = sqlx::query("SELECT sequence, occurred_at, hash FROM log_head").fetch_one(&mut *transaction).await?;
        Ok(Self { transaction, pages: pages.clone(), head: rows::head(&row)? })
    }
}

#[async_trait]
impl Snapshot for SqliteSnapshot {
    async fn head(&mut self) -> Result<Head> {
        Ok(self.head)
    }

    async fn events(&mut self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        log::events(&self.pages, (since, self.head.sequence), limit).await
    }

    fn view(&mut self, view: View) -> BoxStream<'_, Result<ViewRow>> {
        let (columns, order) = match view {
            View::Producers => (rows::PRODUCER, "name"),
            View::Packages => (rows::PACKAGE, "id"),
            View::Names => (rows::NAME, "producer, key"),
            View::Files => (rows::FILE, "sequence"),
            View::History => (rows::HISTORY, "producer, key, sequence DESC"),
            View::Subresources => (rows::SUBRESOURCE, "producer, name"),
            View::Blobs => (rows::BLOB, "content_address"),
            View::Chunks => (rows::CHUNK, "address"),
            View::Uploads => (rows::UPLOAD, "id"),
            View::Parts => (rows::PART, "upload, number"),
            View::AccessKeys => (rows::ACCESS_KEY, "id"),
            View::Moves => (rows::MOVE, "sequence"),
            View::Classes => (rows::CLASS, "name"),
            View::Jumps => (rows::JUMP, "sequence"),
            View::BlobChunks => (rows::BLOB_CHUNK, "chunk, blob"),
            View::PartChunks => (rows::PART_CHUNK, "upload, number, chunk"),
            View::Swept => (rows::SWEPT, "object"),
            View::Orphans => (rows::ORPHAN, "object"),
            View::Scrubs => (rows::SCRUB, "sequence"),
            View::Damaged => (rows::DAMAGED, "object"),
            View::Erasures => (rows::ERASURE, "version"),
        };
        let alias = if view == View::History { "h" } else { "f" };
        let text = format!("SELECT {columns} FROM {} AS {alias} ORDER BY {order}", view.table());
        let found = sqlx::query(AssertSqlSafe(text)).fetch(&mut *self.transaction);
        found.map(move |row| row_of(view, &row?)).boxed()
    }
}

fn row_of(view: View, row: &SqliteRow) -> Result<ViewRow> {
    Ok(match view {
        View::Producers => view_row::producer(&rows::producer(row)?),
        View::Packages => view_row::package(&rows::package(row)?),
        View::Names => view_row::name(&rows::name(row)?),
        View::Files => view_row::file(&rows::file(row)?),
        View::History => view_row::history(&rows::history(row)?),
        View::Subresources => view_row::subresource(&rows::subresource(row)?),
        View::Blobs => view_row::blob(&rows::blob(row)?),
        View::Chunks => view_row::chunk(&rows::chunk(row)?),
        View::Uploads => view_row::upload(&rows::upload(row)?),
        View::Parts => view_row::part(&rows::part(row)?),
        View::AccessKeys => view_row::access_key(&rows::access_key(row)?),
        View::Moves => view_row::storage_move(&rows::storage_move(row)?),
        View::Classes => view_row::class(&rows::class(row)?),
        View::Jumps => view_row::clock_jump(&rows::clock_jump(row)?),
        View::BlobChunks => view_row::blob_chunk(&rows::blob_chunk(row)?),
        View::PartChunks => view_row::part_chunk(&rows::part_chunk(row)?),
        View::Swept => view_row::swept(&rows::swept(row)?),
        View::Orphans => view_row::orphan(&rows::orphan(row)?),
        View::Scrubs => view_row::scrub_pass(&rows::scrub_pass(row)?),
        View::Damaged => view_row::damaged(&rows::damaged(row)?),
        View::Erasures => view_row::erasure(&rows::erasure(row)?),
    })
}

/// Replaces every view by the attached one, if both logs end at the same event.
pub(super) async fn adopt(connection: &mut SqliteConnection) -> Result<bool> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let replaced = replace(&mut *connection).await;
    let end = if matches!(replaced, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await?;
    replaced
}

async fn replace(connection: &mut SqliteConnection) -> Result<bool> {
    let same = "SELECT (SELECT hash FROM main.log_head) = (SELECT hash FROM scratch.log_head)";
    if !sqlx::query(same).fetch_one(&mut *connection).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    for table in tables() {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM main.{table}"))).execute(&mut *connection).await?;
        let copy = format!("INSERT INTO main.{table} SELECT * FROM scratch.{table}");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut *connection).await?;
    }
    Ok(true)
}
