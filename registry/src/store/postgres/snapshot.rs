//! A reading of everything as of one event, on a connection of its own, which is closed with it.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use super::connections::{Connections, Lease, answered};
use super::rows::{self, Cells};
use super::statement::{Shape, Statement};
use super::{batch, reads};
use crate::error::{Error, Result};
use crate::model::event::{Head, Record};
use crate::model::row::Sequence;
use crate::store::{Snapshot, View, ViewRow, view_row};

/// The head is read by the first statement: this is when the snapshot is taken. Whoever compares it with another
/// reads now and then, for as long as it takes.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
     SELECT sequence, occurred_at, hash FROM log_head";

/// How many rows of a view come at once.
const ROWS_AT_ONCE: usize = 1_000;

pub(super) struct PostgresSnapshot {
    lease: Lease,
    head: Head,
}

impl PostgresSnapshot {
    pub(super) async fn begin(connections: &Connections) -> Result<Self> {
        let (lease, row) = batch::open(connections, BEGIN).await?;
        Ok(Self { lease, head: rows::head(&row)? })
    }

    /// Opens a view's cursor in the place of any other.
    async fn open(&mut self, view: View) -> Result<()> {
        let (shape, order) = (shape(view), order(view));
        let (table, columns) = (shape.table, shape.narrow("t"));
        let text = format!(
            "CLOSE ALL; DECLARE {table}_rows NO SCROLL CURSOR FOR SELECT {columns} FROM {table} AS t ORDER BY {order}"
        );
        answered(sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut self.lease.connection)).await?;
        Ok(())
    }

    async fn fetch(&mut self, view: View) -> Result<Vec<ViewRow>> {
        // Named by its table, so that what is remembered of the statement's columns fits.
        let text = format!("FETCH {ROWS_AT_ONCE} FROM {}_rows", view.table());
        let rows = Statement::plain(text).rows(&mut self.lease.connection).await?;
        rows.iter().map(|row| row_of(view, row)).collect()
    }
}

const fn shape(view: View) -> &'static Shape {
    match view {
        View::Producers => &rows::PRODUCER,
        View::Packages => &rows::PACKAGE,
        View::Names => &rows::NAME,
        View::Files => &rows::FILE,
        View::History => &rows::HISTORY,
        View::Subresources => &rows::SUBRESOURCE,
        View::Blobs => &rows::BLOB,
        View::Chunks => &rows::CHUNK,
        View::Uploads => &rows::UPLOAD,
        View::Parts => &rows::PART,
        View::AccessKeys => &rows::ACCESS_KEY,
        View::Moves => &rows::MOVE,
        View::Classes => &rows::CLASS,
        View::Jumps => &rows::JUMP,
        View::BlobChunks => &rows::BLOB_CHUNK,
        View::PartChunks => &rows::PART_CHUNK,
        View::Swept => &rows::SWEPT,
        View::Orphans => &rows::ORPHAN,
        View::Scrubs => &rows::SCRUB,
        View::Damaged => &rows::DAMAGED,
        View::Erasures => &rows::ERASURE,
    }
}

fn order(view: View) -> String {
    if view == View::History {
        return "t.producer, t.key, t.sequence DESC".to_owned();
    }
    let columns: Vec<String> = shape(view).key.iter().map(|column| format!("t.{column}")).collect();
    columns.join(", ")
}

fn row_of(view: View, row: &PgRow) -> Result<ViewRow> {
    let cells = Cells::narrow(shape(view), row);
    Ok(match view {
        View::Producers => view_row::producer(&rows::producer(&cells)?),
        View::Packages => view_row::package(&rows::package(&cells)?),
        View::Names => view_row::name(&rows::name(&cells)?),
        View::Files => view_row::file(&rows::file(&cells)?),
        View::History => view_row::history(&rows::history(&cells)?),
        View::Subresources => view_row::subresource(&rows::subresource(&cells)?),
        View::Blobs => view_row::blob(&rows::blob(&cells)?),
        View::Chunks => view_row::chunk(&rows::chunk(&cells)?),
        View::Uploads => view_row::upload(&rows::upload(&cells)?),
        View::Parts => view_row::part(&rows::part(&cells)?),
        View::AccessKeys => view_row::access_key(&rows::access_key(&cells)?),
        View::Moves => view_row::storage_move(&rows::storage_move(&cells)?),
        View::Classes => view_row::class(&rows::class(&cells)?),
        View::Jumps => view_row::clock_jump(&rows::clock_jump(&cells)?),
        View::BlobChunks => view_row::blob_chunk(&rows::blob_chunk(&cells)?),
        View::PartChunks => view_row::part_chunk(&rows::part_chunk(&cells)?),
        View::Swept => view_row::swept(&rows::swept(&cells)?),
        View::Orphans => view_row::orphan(&rows::orphan(&cells)?),
        View::Scrubs => view_row::scrub_pass(&rows::scrub_pass(&cells)?),
        View::Damaged => view_row::damaged(&rows::damaged(&cells)?),
        View::Erasures => view_row::erasure(&rows::erasure(&cells)?),
    })
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    async fn head(&mut self) -> Result<Head> {
        Ok(self.head)
    }

    async fn events(&mut self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        let rows = reads::events(since, limit)?.rows(&mut self.lease.connection).await?;
        rows.iter().map(rows::record).collect()
    }

    fn view(&mut self, view: View) -> BoxStream<'_, Result<ViewRow>> {
        // Whether the cursor is open, and whether there may be more.
        let begun = (self, false, true);
        let pages = stream::try_unfold(begun, move |(snapshot, open, more)| async move {
            if !more {
                return Ok::<_, Error>(None);
            }
            if !open {
                snapshot.open(view).await?;
            }
            let rows = snapshot.fetch(view).await?;
            let more = rows.len() == ROWS_AT_ONCE;
            Ok(Some((stream::iter(rows.into_iter().map(Ok)), (snapshot, true, more))))
        });
        pages.try_flatten().boxed()
    }
}
