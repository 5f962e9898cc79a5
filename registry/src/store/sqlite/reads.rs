//! What readers ask of SQLite: long pages of those that read them, everything else of the pool.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use rusqlite::Connection;
use rusqlite::types::Value;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Executor, Row, Sqlite};
use std::collections::{BTreeMap, BTreeSet};

use super::pages::Pages;
use super::rows::{self, Carried};
use super::statement::{padded, values};
use super::values::Cells;
use super::write::signed;
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::error::Result;
use crate::model::event::Record;
use crate::model::name::{FileName, Key, PackageName, ProducerName, TenantName};
use crate::model::row::{
    ChunkPlace, File, HistoryRow, Listed, ListedVersion, Package, Producer, Sequence, Subresource, Upload,
    VersionChoice,
};
use crate::store::{EVENTS_BYTES, KeyRange, VersionRange, in_order};

/// A query whose values are bound one after another.
type Bound = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// At most so many rows, as SQLite wants it.
pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Conditions and their values, in order.
#[derive(Default)]
struct Where {
    text: String,
    values: Vec<String>,
}

impl Where {
    fn and(&mut self, condition: &str, value: impl Into<String>) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(condition);
        self.values.push(value.into());
    }

    fn key_range(&mut self, column: &str, range: &KeyRange) {
        let ends = [(">=", &range.from), (">", &range.after), ("<", &range.before)];
        for (sign, end) in ends {
            if let Some(end) = end {
                self.and(&format!("{column} {sign} ?"), end.clone());
            }
        }
    }

    /// The values, and at most so many rows behind them.
    fn limited(self, limit: usize) -> Vec<Value> {
        self.values.into_iter().map(Value::Text).chain([Value::Integer(limited(limit))]).collect()
    }

    fn bind(self, mut query: Bound) -> Bound {
        for value in self.values {
            query = query.bind(value);
        }
        query
    }
}

/// The text that asks for a package's names, and what it is to be given, the limit not counted.
pub(super) fn members_query(
    producer: &ProducerName,
    package: &PackageName,
    after: Option<&Key>,
) -> (String, Vec<String>) {
    let mut conditions = Where::default();
    conditions.and("n.producer = ?", producer.as_str());
    if package.is_root() {
        conditions.text.push_str(" AND n.package = ''");
    } else {
        // A package is exactly the keys behind its name and a slash; `0` is the character behind the slash.
        conditions.and("n.key >= ?", format!("{package}/"));
        conditions.and("n.key < ?", format!("{package}0"));
    }
    if let Some(after) = after {
        conditions.and("n.key > ?", after.as_str());
    }
    let text = format!(
        "SELECT {} FROM names AS n CROSS JOIN files AS f ON f.sequence = n.sequence{} ORDER BY n.key LIMIT ?",
        rows::FILE,
        conditions.text
    );
    (text, conditions.values)
}

pub(super) async fn members(
    pool: &SqlitePool,
    producer: &ProducerName,
    package: &PackageName,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<File>> {
    let (text, bounds) = members_query(producer, package, after);
    let mut query = sqlx::query(AssertSqlSafe(text));
    for bound in bounds {
        query = query.bind(bound);
    }
    query.bind(limited(limit)).fetch_all(pool).await?.iter().map(rows::file).collect()
}

pub(super) async fn names(
    pages: &Pages,
    producer: &ProducerName,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Listed>> {
    let mut conditions = Where::default();
    conditions.and("n.producer = ?", producer.as_str());
    conditions.key_range("n.key", range);
    let text = format!(
        "SELECT {} FROM names AS n CROSS JOIN files AS f ON f.sequence = n.sequence{} ORDER BY n.key LIMIT ?",
        rows::LISTED,
        conditions.text
    );
    page(pages, text, conditions.limited(limit), rows::listed).await
}

/// The rows of a listing, which have their attributes from `Carried`.
async fn page<T: Send + 'static>(
    pages: &Pages,
    text: String,
    values: Vec<Value>,
    listed: fn(&dyn Cells, &mut Carried) -> Result<T>,
) -> Result<Vec<T>> {
    let read = move |connection: &Connection| {
        let mut statement = connection.prepare_cached(&text)?;
        for (at, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(at + 1, value)?;
        }
        let (mut found, mut carried, mut page) = (statement.raw_query(), Carried::default(), Vec::new());
        while let Some(row) = found.next()? {
            page.push(listed(row, &mut carried)?);
        }
        Ok(page)
    };
    pages.read(read).await
}

pub(super) async fn events<'e>(
    reader: impl Executor<'e, Database = Sqlite>,
    since: Sequence,
    limit: usize,
) -> Result<Vec<Record>> {
    // How far the page goes is found out by the sizes alone, which stand beside the payloads.
    let text = format!(
        "SELECT {} FROM events WHERE sequence > ?1 AND sequence <= (SELECT max(sequence) FROM (
            SELECT sequence, sum(size) OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) - size AS before FROM (
                SELECT sequence, length(payload) AS size FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2
            )
        ) WHERE before < ?3) ORDER BY sequence",
        rows::EVENT
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(signed(since)).bind(limited(limit)).bind(EVENTS_BYTES);
    query.fetch_all(reader).await?.iter().map(rows::record).collect()
}

/// One statement, so that a version is seen either with its name or in the history; each half is read in order of its
/// index, as far as the limit.
pub(super) async fn names_and_history(
    pages: &Pages,
    producer: &ProducerName,
    range: &VersionRange,
    limit: usize,
) -> Result<Vec<ListedVersion>> {
    let conditions = |alias: &str| {
        let mut conditions = Where::default();
        conditions.and(&format!("{alias}.producer = ?"), producer.as_str());
        conditions.key_range(&format!("{alias}.key"), &range.keys);
        if let Some((key, sequence)) = &range.older {
            conditions.and(&format!("({alias}.key <> ? OR {alias}.sequence < ?)"), key.as_str());
            // SQLite compares it with the column as a number.
            conditions.values.push(sequence.to_string());
        }
        conditions
    };
    let (named, history) = (conditions("n"), conditions("h"));
    let text = format!(
        "SELECT {columns} FROM (SELECT * FROM (SELECT n.key AS key, n.sequence AS sequence, 0 AS marker, NULL AS versioned, \
         NULL AS occurred_at FROM names AS n{} ORDER BY n.key LIMIT ?) \
         UNION ALL SELECT * FROM (SELECT h.key, h.sequence, h.marker, h.versioned, h.occurred_at FROM history AS h{} \
         ORDER BY h.key, h.sequence DESC LIMIT ?)) AS v LEFT JOIN files AS f ON f.sequence = v.sequence",
        named.text,
        history.text,
        columns = rows::LISTED_VERSION,
    );
    let mut values = named.limited(limit);
    values.extend(history.limited(limit));
    Ok(in_order(page(pages, text, values, rows::listed_version).await?, limit))
}

pub(super) async fn history(
    pool: &SqlitePool,
    name: &FileName,
    version: Option<VersionChoice>,
) -> Result<Option<HistoryRow>> {
    let which = match version {
        None => "ORDER BY h.sequence DESC LIMIT 1".to_owned(),
        Some(VersionChoice::Null) => "AND h.versioned = 0".to_owned(),
        Some(VersionChoice::Numbered(sequence)) => format!("AND h.sequence = {}", signed(sequence)),
    };
    let text = format!("SELECT {} FROM history AS h WHERE h.producer = ? AND h.key = ? {which}", rows::HISTORY);
    let query = sqlx::query(AssertSqlSafe(text)).bind(name.producer.to_string()).bind(name.key.to_string());
    query.fetch_optional(pool).await?.as_ref().map(rows::history).transpose()
}

pub(super) async fn subresource(
    pool: &SqlitePool,
    producer: &ProducerName,
    name: Subresource,
) -> Result<Option<String>> {
    let text = "SELECT document FROM subresources WHERE producer = ? AND name = ?";
    let row = sqlx::query(text).bind(producer.to_string()).bind(name.as_str()).fetch_optional(pool).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn producers(
    pool: &SqlitePool,
    tenant: Option<&TenantName>,
    after: Option<&ProducerName>,
    limit: usize,
) -> Result<Vec<Producer>> {
    let mut conditions = Where::default();
    if let Some(tenant) = tenant {
        conditions.and("tenant = ?", tenant.as_str());
    }
    if let Some(after) = after {
        conditions.and("name > ?", after.as_str());
    }
    let text = format!("SELECT {} FROM producers{} ORDER BY name LIMIT ?", rows::PRODUCER, conditions.text);
    let query = conditions.bind(sqlx::query(AssertSqlSafe(text))).bind(limited(limit));
    query.fetch_all(pool).await?.iter().map(rows::producer).collect()
}

pub(super) async fn packages(
    pool: &SqlitePool,
    producer: &ProducerName,
    filter: &PackageFilter,
    after: Option<&PackageCursor>,
    limit: usize,
) -> Result<Vec<Package>> {
    let mut conditions = Where::default();
    conditions.and("producer = ?", producer.as_str());
    if let Some(name) = &filter.name {
        conditions.and("name = ?", name.as_str());
    }
    if let Some(cursor) = after {
        conditions.and("name >= ?", cursor.name.as_str());
    }
    match filter.finalized {
        Some(true) => conditions.text.push_str(" AND finalized_at IS NOT NULL"),
        Some(false) => conditions.text.push_str(" AND finalized_at IS NULL"),
        None => {}
    }
    if after.is_some() {
        conditions.text.push_str(" AND (name, revision) > (?, ?)");
    }
    let text = format!("SELECT {} FROM packages{} ORDER BY name, revision LIMIT ?", rows::PACKAGE, conditions.text);
    let mut query = conditions.bind(sqlx::query(AssertSqlSafe(text)));
    if let Some(cursor) = after {
        query = query.bind(cursor.name.to_string()).bind(i64::from(cursor.revision));
    }
    query.bind(limited(limit)).fetch_all(pool).await?.iter().map(rows::package).collect()
}

pub(super) async fn uploads(
    pool: &SqlitePool,
    producer: &ProducerName,
    range: &KeyRange,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Upload>> {
    let mut conditions = Where::default();
    conditions.and("producer = ?", producer.as_str());
    conditions.key_range("key", range);
    if let Some((key, id)) = after {
        conditions.and("(key, id) > (?, ?)", key);
        conditions.values.push(id.to_owned());
    }
    let text = format!(
        "SELECT {} FROM uploads{} AND completed_sequence IS NULL ORDER BY key, id LIMIT ?",
        rows::UPLOAD,
        conditions.text
    );
    let query = conditions.bind(sqlx::query(AssertSqlSafe(text))).bind(limited(limit));
    query.fetch_all(pool).await?.iter().map(rows::upload).collect()
}

async fn many<K: Clone + Sync>(
    pool: &SqlitePool,
    keys: &[K],
    text: impl Fn(&str) -> String + Send,
    bind: impl Fn(Bound, &K) -> Bound + Send,
) -> Result<Vec<SqliteRow>> {
    let mut found = Vec::new();
    for group in padded(keys) {
        let mut query = sqlx::query(AssertSqlSafe(text(&values(group.len(), 1))));
        for key in &group {
            query = bind(query, key);
        }
        found.extend(query.fetch_all(pool).await?);
    }
    Ok(found)
}

pub(super) async fn versions(pool: &SqlitePool, sequences: &[Sequence]) -> Result<Vec<File>> {
    let text = |keys: &str| format!("SELECT {} FROM files AS f WHERE f.sequence IN (VALUES {keys})", rows::FILE);
    let found = many(pool, sequences, text, |query, key| query.bind(signed(*key))).await?;
    found.iter().map(rows::file).collect()
}

pub(super) async fn locations(pool: &SqlitePool, chunks: &[ContentAddress]) -> Result<Vec<Option<ChunkPlace>>> {
    let text = |keys: &str| format!("SELECT {} FROM chunks WHERE address IN (VALUES {keys})", rows::CHUNK);
    let mut located = BTreeMap::new();
    for row in many(pool, chunks, text, |query, key| query.bind(key.0.to_vec())).await? {
        let place = rows::chunk(&row)?;
        located.insert(place.chunk.address, place);
    }
    Ok(chunks.iter().map(|chunk| located.get(chunk).cloned()).collect())
}

pub(super) async fn objects_known(pool: &SqlitePool, objects: &[ObjectKey]) -> Result<Vec<bool>> {
    let lone = |keys: &str| format!("SELECT object FROM chunks WHERE object = address AND address IN (VALUES {keys})");
    let packed = |keys: &str| {
        format!("SELECT DISTINCT object FROM chunks WHERE object <> address AND object IN (VALUES {keys})")
    };
    let mut known = BTreeSet::new();
    for row in many(pool, objects, lone, |query, key| query.bind(key.0.to_vec())).await? {
        known.extend(ObjectKey::from_slice(row.try_get(0)?));
    }
    for row in many(pool, objects, packed, |query, key| query.bind(key.0.to_vec())).await? {
        known.extend(ObjectKey::from_slice(row.try_get(0)?));
    }
    Ok(objects.iter().map(|object| known.contains(object)).collect())
}
