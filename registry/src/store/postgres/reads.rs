//! What readers ask of PostgreSQL, as statements: lists, by ranges of keys.

use super::rows;
use super::statement::{Shape, Statement, limited, signed};
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::name::{AccessKeyId, FileName, Key, PackageId, PackageName, ProducerName, TenantName, UploadId};
use crate::model::row::{Sequence, Subresource, VersionChoice};
use crate::store::{EVENTS_BYTES, KeyRange, VersionRange};
use artifactstore_backends::digest::{ContentAddress, ObjectKey};

/// Conditions in the making.
#[derive(Default)]
struct Where {
    asked: Statement,
    conditions: Vec<String>,
}

impl Where {
    fn text(&mut self, condition: &str, value: impl Into<String>) -> Result<()> {
        let value = self.asked.bind(value.into())?;
        self.conditions.push(format!("{condition} {value}"));
        Ok(())
    }

    fn number(&mut self, condition: &str, value: i64) -> Result<()> {
        let value = self.asked.bind(value)?;
        self.conditions.push(format!("{condition} {value}"));
        Ok(())
    }

    fn key_range(&mut self, column: &str, range: &KeyRange) -> Result<()> {
        let ends = [(">=", &range.from), (">", &range.after), ("<", &range.before)];
        for (sign, end) in ends {
            if let Some(end) = end {
                self.text(&format!("{column} {sign}"), end.clone())?;
            }
        }
        Ok(())
    }

    fn statement(mut self, select: &str, order: &str, limit: usize) -> Result<Statement> {
        let limit = self.asked.bind(limited(limit))?;
        let conditions = if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        };
        self.asked.text = format!("{select}{conditions} ORDER BY {order} LIMIT {limit}");
        Ok(self.asked)
    }
}

pub(super) fn events(since: Sequence, limit: usize) -> Result<Statement> {
    let mut asked = Statement::default();
    let since = asked.bind(signed(since))?;
    let (limit, bytes) = (asked.bind(limited(limit))?, asked.bind(EVENTS_BYTES)?);
    asked.text = format!(
        "SELECT {} FROM events AS e WHERE e.sequence > {since} AND e.sequence <= (SELECT max(c.sequence) FROM (
            SELECT s.sequence, sum(s.size) OVER (ORDER BY s.sequence ROWS UNBOUNDED PRECEDING) - s.size AS before FROM (
                SELECT sequence, octet_length(payload)::int8 AS size FROM events
                WHERE sequence > {since} ORDER BY sequence LIMIT {limit}
            ) AS s
        ) AS c WHERE c.before < {bytes}) ORDER BY e.sequence",
        rows::EVENT.narrow("e")
    );
    Ok(asked)
}

pub(super) fn access_keys(after: Option<&AccessKeyId>, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    if let Some(after) = after {
        conditions.text("k.id >", after.as_str())?;
    }
    let select = format!("SELECT {} FROM access_keys AS k", rows::ACCESS_KEY.narrow("k"));
    conditions.statement(&select, "k.id", limit)
}

pub(super) fn producers(tenant: Option<&TenantName>, after: Option<&ProducerName>, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    if let Some(tenant) = tenant {
        conditions.text("p.tenant =", tenant.as_str())?;
    }
    if let Some(after) = after {
        conditions.text("p.name >", after.as_str())?;
    }
    let select = format!("SELECT {} FROM producers AS p", rows::PRODUCER.narrow("p"));
    conditions.statement(&select, "p.name", limit)
}

fn select_named(shape: &Shape) -> String {
    let columns = shape.narrow("f");
    format!("SELECT {columns} FROM names AS n JOIN files AS f ON f.sequence = n.sequence")
}

pub(super) fn names(producer: &ProducerName, range: &KeyRange, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("n.producer =", producer.as_str())?;
    conditions.key_range("n.key", range)?;
    conditions.statement(&select_named(&rows::LISTED), "n.key", limit)
}

/// One statement, so that a version is seen either with its name or in the history; each half is read in order of its
/// index, as far as the limit.
pub(super) fn names_and_history(producer: &ProducerName, range: &VersionRange, limit: usize) -> Result<Statement> {
    let mut asked = Statement::default();
    let mut halves = Vec::new();
    for (table, columns, order) in [
        ("names", "t.key, t.sequence, 0::int8 AS marker, NULL::int8 AS versioned, NULL::int8 AS occurred_at", "t.key"),
        ("history", "t.key, t.sequence, t.marker, t.versioned, t.occurred_at", "t.key, t.sequence DESC"),
    ] {
        let mut conditions = Where { asked: std::mem::take(&mut asked), ..Where::default() };
        conditions.text("t.producer =", producer.as_str())?;
        conditions.key_range("t.key", &range.keys)?;
        if let Some((key, sequence)) = &range.older {
            let (key, sequence) = (conditions.asked.bind(key.clone())?, conditions.asked.bind(signed(*sequence))?);
            conditions.conditions.push(format!("(t.key <> {key} OR t.sequence < {sequence})"));
        }
        asked = conditions.statement(&format!("SELECT {columns} FROM {table} AS t"), order, limit)?;
        halves.push(format!("({})", asked.text));
    }
    asked.text = format!(
        "SELECT v.key, f.etag, v.sequence, v.marker, coalesce(f.versioned, v.versioned), \
         coalesce(f.ingested_at, v.occurred_at), f.size_bytes, f.attributes \
         FROM ({}) AS v LEFT JOIN files AS f ON f.sequence = v.sequence",
        halves.join(" UNION ALL ")
    );
    Ok(asked)
}

pub(super) fn history(name: &FileName, version: Option<VersionChoice>) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("h.producer =", name.producer.as_str())?;
    conditions.text("h.key =", name.key.as_str())?;
    match version {
        None => {}
        Some(VersionChoice::Null) => conditions.conditions.push("h.versioned = 0".to_owned()),
        Some(VersionChoice::Numbered(sequence)) => conditions.number("h.sequence =", signed(sequence))?,
    }
    let select = format!("SELECT {} FROM history AS h", rows::HISTORY.narrow("h"));
    conditions.statement(&select, "h.sequence DESC", 1)
}

pub(super) fn subresource(producer: &ProducerName, name: Subresource) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("s.producer =", producer.as_str())?;
    conditions.text("s.name =", name.as_str())?;
    let select = format!("SELECT {} FROM subresources AS s", rows::SUBRESOURCE.narrow("s"));
    conditions.statement(&select, "s.name", 1)
}

pub(super) fn members(
    producer: &ProducerName,
    package: &PackageName,
    after: Option<&Key>,
    limit: usize,
) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("n.producer =", producer.as_str())?;
    if package.is_root() {
        conditions.conditions.push("n.package = ''".to_owned());
    } else {
        // A package is exactly the keys behind its name and a slash; `0` is the character behind the slash.
        conditions.text("n.key >=", format!("{package}/"))?;
        conditions.text("n.key <", format!("{package}0"))?;
    }
    if let Some(after) = after {
        conditions.text("n.key >", after.as_str())?;
    }
    conditions.statement(&select_named(&rows::FILE), "n.key", limit)
}

pub(super) fn packages(
    producer: &ProducerName,
    filter: &PackageFilter,
    after: Option<&PackageCursor>,
    limit: usize,
) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("p.producer =", producer.as_str())?;
    if let Some(name) = &filter.name {
        conditions.text("p.name =", name.as_str())?;
    }
    match filter.finalized {
        Some(true) => conditions.conditions.push("p.finalized_at IS NOT NULL".to_owned()),
        Some(false) => conditions.conditions.push("p.finalized_at IS NULL".to_owned()),
        None => {}
    }
    if let Some(cursor) = after {
        let name = conditions.asked.bind(cursor.name.to_string())?;
        let revision = conditions.asked.bind(i64::from(cursor.revision))?;
        conditions.conditions.push(format!("(p.name, p.revision) > ({name}, {revision})"));
    }
    let select = format!("SELECT {} FROM packages AS p", rows::PACKAGE.narrow("p"));
    conditions.statement(&select, "p.name, p.revision", limit)
}

pub(super) fn packages_idle(producer: &ProducerName, since: Timestamp, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("p.producer =", producer.as_str())?;
    conditions.conditions.push("p.finalized_at IS NULL".to_owned());
    conditions.conditions.push("p.file_count > 0".to_owned());
    conditions.number("p.changed_at <=", since.0)?;
    let select = format!("SELECT {} FROM packages AS p", rows::PACKAGE.narrow("p"));
    conditions.statement(&select, "p.changed_at", limit)
}

pub(super) fn files_kept(after: Sequence, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.conditions.push("f.keeping IS NOT NULL".to_owned());
    conditions.number("f.sequence >", signed(after))?;
    let select = format!("SELECT {} FROM files AS f", rows::FILE.narrow("f"));
    conditions.statement(&select, "f.sequence", limit)
}

pub(super) fn packages_kept(after: Option<&PackageId>, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.conditions.push("p.keeping IS NOT NULL".to_owned());
    conditions.text("p.id >", after.map_or("", PackageId::as_str))?;
    let select = format!("SELECT {} FROM packages AS p", rows::PACKAGE.narrow("p"));
    conditions.statement(&select, "p.id", limit)
}

pub(super) fn blobs(after: Option<&ContentAddress>, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    if let Some(after) = after {
        let after = conditions.asked.bind(after.0.to_vec())?;
        conditions.conditions.push(format!("b.content_address > {after}"));
    }
    let select = format!("SELECT {} FROM blobs AS b", rows::BLOB.narrow("b"));
    conditions.statement(&select, "b.content_address", limit)
}

pub(super) fn files_of_blob(address: &ContentAddress, after: Sequence, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.number("f.sequence >", signed(after))?;
    let address = conditions.asked.bind(address.0.to_vec())?;
    conditions.conditions.push(format!("f.content_address = {address}"));
    let select = format!("SELECT {} FROM files AS f", rows::FILE.narrow("f"));
    conditions.statement(&select, "f.sequence", limit)
}

/// Which of these objects a location names.
pub(super) fn objects_known(objects: &[ObjectKey]) -> Result<Statement> {
    let mut asked = Statement::default();
    let objects: Vec<Vec<u8>> = objects.iter().map(|object| object.0.to_vec()).collect();
    let objects = asked.bind(objects)?;
    asked.text = format!(
        "SELECT w.object FROM unnest({objects}::bytea[]) AS w (object) \
         WHERE EXISTS (SELECT 1 FROM chunks AS c WHERE c.address = w.object AND c.object = c.address) \
         OR EXISTS (SELECT 1 FROM chunks AS c WHERE c.object = w.object AND c.object <> c.address)"
    );
    Ok(asked)
}

pub(super) fn uploads(
    producer: &ProducerName,
    range: &KeyRange,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("u.producer =", producer.as_str())?;
    conditions.key_range("u.key", range)?;
    if let Some((key, id)) = after {
        let (key, id) = (conditions.asked.bind(key.to_owned())?, conditions.asked.bind(id.to_owned())?);
        conditions.conditions.push(format!("(u.key, u.id) > ({key}, {id})"));
    }
    conditions.conditions.push("u.completed_sequence IS NULL".to_owned());
    let select = format!("SELECT {} FROM uploads AS u", rows::UPLOAD.narrow("u"));
    conditions.statement(&select, "u.key, u.id", limit)
}

pub(super) fn parts(upload: &UploadId, after: u32, limit: usize) -> Result<Statement> {
    let mut conditions = Where::default();
    conditions.text("p.upload =", upload.as_str())?;
    conditions.number("p.number >", i64::from(after))?;
    let select = format!("SELECT {} FROM parts AS p", rows::PART.narrow("p"));
    conditions.statement(&select, "p.number", limit)
}
