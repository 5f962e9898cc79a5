//! Loading rows by their keys, all that is asked for by one statement: for batches of the log writer, and for readers.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::reads;
use super::rows::{self, Cells};
use super::statement::{Shape, Statement, signed};
use crate::error::Result;
use crate::model::name::FileName;
use crate::model::row::Sequence;
use crate::model::state::{NameRow, PackageKey, State, Touched};

/// Rows of a version that has its name now.
const NAMED: i32 = 10;
/// Rows of a package that is the latest of its name.
const LATEST: i32 = 11;

/// Loads what the state does not have yet.
pub(super) async fn load(connection: &mut PgConnection, mut touched: Touched, state: &mut State) -> Result<()> {
    state.retain_unloaded(&mut touched);
    if let Some(statement) = question(&touched)? {
        for row in &statement.rows(connection).await? {
            take(row, state)?;
        }
    }
    for key in &touched.members {
        let rows = reads::members(&key.0, &key.1, None, usize::MAX)?.rows(connection).await?;
        members(key, &rows, state)?;
    }
    note_absent(&touched, state);
    Ok(())
}

/// The statement that asks for all of it, names of packages left out; `None` when nothing is asked.
pub(super) fn question(touched: &Touched) -> Result<Option<Statement>> {
    let mut asked = Statement::default();
    let mut parts = Vec::new();
    texts(&mut asked, &mut parts, &rows::PRODUCER, touched.producers.iter().map(ToString::to_string).collect())?;
    named(&mut asked, &mut parts, &touched.names)?;
    texts(&mut asked, &mut parts, &rows::PACKAGE, touched.packages.iter().map(ToString::to_string).collect())?;
    latest(&mut asked, &mut parts, &touched.latest)?;
    keepers(&mut asked, &mut parts, &touched.keepers)?;
    if !touched.files.is_empty() {
        let keys: Vec<i64> = touched.files.iter().map(|key| signed(*key)).collect();
        let keys = asked.bind(keys)?;
        let columns = rows::FILE.wide("f");
        parts.push(format!("SELECT {columns} FROM files AS f WHERE f.sequence = ANY({keys}::int8[])"));
    }
    histories(&mut asked, &mut parts, touched)?;
    bytes(&mut asked, &mut parts, &rows::BLOB, touched.blobs.iter().map(|key| key.0.to_vec()).collect())?;
    bytes(&mut asked, &mut parts, &rows::CHUNK, touched.chunks.iter().map(|key| key.0.to_vec()).collect())?;
    texts(&mut asked, &mut parts, &rows::UPLOAD, touched.uploads.iter().map(ToString::to_string).collect())?;
    if !touched.parts.is_empty() {
        let uploads: Vec<String> = touched.parts.iter().map(|key| key.0.to_string()).collect();
        let numbers: Vec<i64> = touched.parts.iter().map(|key| i64::from(key.1.get())).collect();
        let (uploads, numbers) = (asked.bind(uploads)?, asked.bind(numbers)?);
        parts.push(format!(
            "SELECT {} FROM unnest({uploads}::text[], {numbers}::int8[]) AS w (upload, number) \
             JOIN parts AS p ON p.upload = w.upload AND p.number = w.number",
            rows::PART.wide("p")
        ));
    }
    texts(&mut asked, &mut parts, &rows::ACCESS_KEY, touched.access_keys.iter().map(ToString::to_string).collect())?;
    bytes(&mut asked, &mut parts, &rows::SWEPT, touched.swept.iter().map(|key| key.0.to_vec()).collect())?;
    bytes(&mut asked, &mut parts, &rows::ORPHAN, touched.orphans.iter().map(|key| key.0.to_vec()).collect())?;
    if touched.scrubs {
        let columns = rows::SCRUB.wide("p");
        parts.push(format!("(SELECT {columns} FROM scrub_passes AS p ORDER BY p.sequence DESC LIMIT 1)"));
    }
    bytes(&mut asked, &mut parts, &rows::DAMAGED, touched.damaged.iter().map(|key| key.0.to_vec()).collect())?;
    if !touched.erasures.is_empty() {
        let keys: Vec<i64> = touched.erasures.iter().map(|key| signed(*key)).collect();
        let keys = asked.bind(keys)?;
        let columns = rows::ERASURE.wide("e");
        parts.push(format!("SELECT {columns} FROM erasures AS e WHERE e.version = ANY({keys}::int8[])"));
    }
    if touched.moves {
        parts.push(format!("SELECT {} FROM storage_moves AS m", rows::MOVE.wide("m")));
    }
    if touched.retention {
        parts.push(format!("SELECT {} FROM retention_classes AS c", rows::CLASS.wide("c")));
        parts.push(format!("SELECT {} FROM clock_jumps AS j", rows::JUMP.wide("j")));
    }
    asked.text = parts.join(" UNION ALL ");
    Ok(if parts.is_empty() { None } else { Some(asked) })
}

/// Rows whose key is one text.
fn texts(asked: &mut Statement, parts: &mut Vec<String>, shape: &Shape, keys: Vec<String>) -> Result<()> {
    if !keys.is_empty() {
        let keys = asked.bind(keys)?;
        let (columns, table, key) = (shape.wide("t"), shape.table, shape.key.join(", "));
        parts.push(format!("SELECT {columns} FROM {table} AS t WHERE t.{key} = ANY({keys}::text[])"));
    }
    Ok(())
}

/// Rows whose key is a digest.
fn bytes(asked: &mut Statement, parts: &mut Vec<String>, shape: &Shape, keys: Vec<Vec<u8>>) -> Result<()> {
    if !keys.is_empty() {
        let keys = asked.bind(keys)?;
        let (columns, table, key) = (shape.wide("t"), shape.table, shape.key.join(", "));
        parts.push(format!("SELECT {columns} FROM {table} AS t WHERE t.{key} = ANY({keys}::bytea[])"));
    }
    Ok(())
}

fn named(asked: &mut Statement, parts: &mut Vec<String>, names: &BTreeSet<FileName>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let producers: Vec<String> = names.iter().map(|name| name.producer.to_string()).collect();
    let keys: Vec<String> = names.iter().map(|name| name.key.to_string()).collect();
    let (producers, keys) = (asked.bind(producers)?, asked.bind(keys)?);
    let columns = Shape { tag: NAMED, ..rows::FILE }.wide("f");
    parts.push(format!(
        "SELECT {columns} FROM unnest({producers}::text[], {keys}::text[]) AS w (producer, key) \
         JOIN names AS n ON n.producer = w.producer AND n.key = w.key JOIN files AS f ON f.sequence = n.sequence"
    ));
    Ok(())
}

/// The newest entries of histories and the null ones, with the files that they are about; single entries; and
/// configurations of buckets.
fn histories(asked: &mut Statement, parts: &mut Vec<String>, touched: &Touched) -> Result<()> {
    if !touched.histories.is_empty() {
        let producers: Vec<String> = touched.histories.keys().map(|name| name.producer.to_string()).collect();
        let keys: Vec<String> = touched.histories.keys().map(|name| name.key.to_string()).collect();
        let (producers, keys) = (asked.bind(producers)?, asked.bind(keys)?);
        let depth = touched.history_depth();
        let entries = format!(
            "FROM unnest({producers}::text[], {keys}::text[]) AS w (producer, key) CROSS JOIN LATERAL (\
             (SELECT * FROM history AS n WHERE n.producer = w.producer AND n.key = w.key \
             ORDER BY n.sequence DESC LIMIT {depth}) UNION \
             (SELECT * FROM history AS n WHERE n.producer = w.producer AND n.key = w.key AND n.versioned = 0)) AS h"
        );
        parts.push(format!("SELECT {} {entries}", rows::HISTORY.wide("h")));
        let columns = rows::FILE.wide("f");
        parts.push(format!("SELECT {columns} {entries} JOIN files AS f ON f.sequence = h.sequence"));
    }
    if !touched.history.is_empty() {
        let producers: Vec<String> = touched.history.iter().map(|key| key.0.producer.to_string()).collect();
        let keys: Vec<String> = touched.history.iter().map(|key| key.0.key.to_string()).collect();
        let sequences: Vec<i64> = touched.history.iter().map(|key| signed(key.1)).collect();
        let (producers, keys, sequences) = (asked.bind(producers)?, asked.bind(keys)?, asked.bind(sequences)?);
        parts.push(format!(
            "SELECT {} FROM unnest({producers}::text[], {keys}::text[], {sequences}::int8[]) \
             AS w (producer, key, sequence) JOIN history AS h \
             ON h.producer = w.producer AND h.key = w.key AND h.sequence = w.sequence",
            rows::HISTORY.wide("h")
        ));
    }
    if !touched.subresources.is_empty() {
        let producers: Vec<String> = touched.subresources.iter().map(|key| key.0.to_string()).collect();
        let names: Vec<String> = touched.subresources.iter().map(|key| key.1.as_str().to_owned()).collect();
        let (producers, names) = (asked.bind(producers)?, asked.bind(names)?);
        parts.push(format!(
            "SELECT {} FROM unnest({producers}::text[], {names}::text[]) AS w (producer, name) \
             JOIN subresources AS s ON s.producer = w.producer AND s.name = w.name",
            rows::SUBRESOURCE.wide("s")
        ));
    }
    Ok(())
}

fn latest(asked: &mut Statement, parts: &mut Vec<String>, keys: &BTreeSet<PackageKey>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let producers: Vec<String> = keys.iter().map(|key| key.0.to_string()).collect();
    let names: Vec<String> = keys.iter().map(|key| key.1.to_string()).collect();
    let (producers, names) = (asked.bind(producers)?, asked.bind(names)?);
    let columns = Shape { tag: LATEST, ..rows::PACKAGE }.wide("l");
    parts.push(format!(
        "SELECT {columns} FROM unnest({producers}::text[], {names}::text[]) AS w (producer, name) \
         CROSS JOIN LATERAL (SELECT * FROM packages AS p WHERE p.producer = w.producer AND p.name = w.name \
         ORDER BY p.revision DESC LIMIT 1) AS l"
    ));
    Ok(())
}

fn keepers(asked: &mut Statement, parts: &mut Vec<String>, keys: &BTreeSet<PackageKey>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let producers: Vec<String> = keys.iter().map(|key| key.0.to_string()).collect();
    let names: Vec<String> = keys.iter().map(|key| key.1.to_string()).collect();
    let (producers, names) = (asked.bind(producers)?, asked.bind(names)?);
    parts.push(format!(
        "SELECT {} FROM unnest({producers}::text[], {names}::text[]) AS w (producer, name) \
         JOIN packages AS p ON p.producer = w.producer AND p.name = w.name \
         WHERE p.keeping IS NOT NULL OR p.released_sequence IS NOT NULL OR EXISTS (SELECT 1 FROM packages AS r \
         WHERE r.producer = p.producer AND r.name = p.name AND r.revision = p.revision - 1 AND r.released_sequence IS NOT NULL)",
        rows::PACKAGE.wide("p")
    ));
    Ok(())
}

/// Takes in a row of whatever table.
fn take(row: &PgRow, state: &mut State) -> Result<()> {
    let tag: i32 = row.try_get(0)?;
    if tag == rows::PRODUCER.tag {
        let row = rows::producer(&Cells::wide(&rows::PRODUCER, row))?;
        state.producers.load(row.name.clone(), Some(row));
    } else if tag == rows::PACKAGE.tag || tag == LATEST {
        let row = rows::package(&Cells::wide(&rows::PACKAGE, row))?;
        if tag == LATEST {
            state.latest.insert((row.producer.clone(), row.name.clone()), Some(row.id.clone()));
        }
        state.packages.load(row.id.clone(), Some(row));
    } else if tag == rows::FILE.tag || tag == NAMED {
        let row = rows::file(&Cells::wide(&rows::FILE, row))?;
        if tag == NAMED {
            let named = NameRow { name: row.name.clone(), package: row.package.clone(), sequence: row.sequence };
            state.names.load(row.name.clone(), Some(named));
        }
        state.files.load(row.sequence, Some(row));
    } else if tag == rows::HISTORY.tag {
        let row = rows::history(&Cells::wide(&rows::HISTORY, row))?;
        if row.marker {
            // Of a marker it is known that there is no file.
            state.files.load(row.sequence, None);
        }
        state.history.load((row.name.clone(), row.sequence), Some(row));
    } else if tag == rows::SUBRESOURCE.tag {
        let row = rows::subresource(&Cells::wide(&rows::SUBRESOURCE, row))?;
        state.subresources.load((row.producer.clone(), row.name), Some(row));
    } else if tag == rows::BLOB.tag {
        let row = rows::blob(&Cells::wide(&rows::BLOB, row))?;
        state.blobs.load(row.content_address, Some(row));
    } else if tag == rows::CHUNK.tag {
        let row = rows::chunk(&Cells::wide(&rows::CHUNK, row))?;
        state.chunks.load(row.chunk.address, Some(row));
    } else if tag == rows::UPLOAD.tag {
        let row = rows::upload(&Cells::wide(&rows::UPLOAD, row))?;
        state.uploads.load(row.id.clone(), Some(row));
    } else if tag == rows::ACCESS_KEY.tag {
        let row = rows::access_key(&Cells::wide(&rows::ACCESS_KEY, row))?;
        state.access_keys.load(row.id.clone(), Some(row));
    } else if tag == rows::MOVE.tag {
        let row = rows::storage_move(&Cells::wide(&rows::MOVE, row))?;
        state.moves.load(row.sequence, Some(row));
    } else if tag == rows::CLASS.tag {
        let row = rows::class(&Cells::wide(&rows::CLASS, row))?;
        state.classes.load(row.name.clone(), Some(row));
    } else if tag == rows::JUMP.tag {
        let row = rows::clock_jump(&Cells::wide(&rows::JUMP, row))?;
        state.jumps.load(row.sequence, Some(row));
    } else if tag == rows::SWEPT.tag {
        let row = rows::swept(&Cells::wide(&rows::SWEPT, row))?;
        state.swept.load(row.object, Some(row));
    } else if tag == rows::ORPHAN.tag {
        let row = rows::orphan(&Cells::wide(&rows::ORPHAN, row))?;
        state.orphans.load(row.object, Some(row));
    } else if tag == rows::SCRUB.tag {
        let row = rows::scrub_pass(&Cells::wide(&rows::SCRUB, row))?;
        state.scrubs.load(row.sequence, Some(row));
    } else if tag == rows::ERASURE.tag {
        let row = rows::erasure(&Cells::wide(&rows::ERASURE, row))?;
        state.erasures.load(row.version, Some(row));
    } else if tag == rows::DAMAGED.tag {
        let row = rows::damaged(&Cells::wide(&rows::DAMAGED, row))?;
        state.damaged.load(row.object, Some(row));
    } else {
        let row = rows::part(&Cells::wide(&rows::PART, row))?;
        state.parts.load((row.upload.clone(), row.number), Some(row));
    }
    Ok(())
}

/// All names of a package.
fn members(key: &PackageKey, rows: &[PgRow], state: &mut State) -> Result<()> {
    let mut members: BTreeMap<_, Sequence> = BTreeMap::new();
    for row in rows {
        let file = rows::file(&Cells::narrow(&rows::FILE, row))?;
        members.insert(file.name.key.clone(), file.sequence);
        let named = NameRow { name: file.name.clone(), package: file.package.clone(), sequence: file.sequence };
        state.names.load(file.name.clone(), Some(named));
        state.files.load(file.sequence, Some(file));
    }
    state.members.insert(key.clone(), members);
    Ok(())
}

/// What was asked for and did not come is known not to be there.
fn note_absent(touched: &Touched, state: &mut State) {
    touched.producers.iter().for_each(|key| state.producers.load(key.clone(), None));
    touched.names.iter().for_each(|key| state.names.load(key.clone(), None));
    touched.packages.iter().for_each(|key| state.packages.load(key.clone(), None));
    for key in &touched.latest {
        state.latest.entry(key.clone()).or_insert(None);
    }
    state.keepers.extend(touched.keepers.iter().cloned());
    touched.files.iter().for_each(|key| state.files.load(*key, None));
    touched.history.iter().for_each(|key| state.history.load(key.clone(), None));
    touched.subresources.iter().for_each(|key| state.subresources.load(key.clone(), None));
    state.histories.extend(touched.histories.keys().cloned());
    touched.blobs.iter().for_each(|key| state.blobs.load(*key, None));
    touched.chunks.iter().for_each(|key| state.chunks.load(*key, None));
    touched.uploads.iter().for_each(|key| state.uploads.load(key.clone(), None));
    touched.parts.iter().for_each(|key| state.parts.load(key.clone(), None));
    touched.access_keys.iter().for_each(|key| state.access_keys.load(key.clone(), None));
    state.moves_loaded |= touched.moves;
    state.retention_loaded |= touched.retention;
    touched.swept.iter().for_each(|key| state.swept.load(*key, None));
    touched.orphans.iter().for_each(|key| state.orphans.load(*key, None));
    state.scrubs_loaded |= touched.scrubs;
    touched.damaged.iter().for_each(|key| state.damaged.load(*key, None));
    touched.erasures.iter().for_each(|key| state.erasures.load(*key, None));
}

/// Takes in what a question brought, and what it did not.
pub(super) fn answer(touched: &Touched, rows: &[PgRow]) -> Result<State> {
    let mut state = State::default();
    for row in rows {
        take(row, &mut state)?;
    }
    note_absent(touched, &mut state);
    Ok(state)
}
