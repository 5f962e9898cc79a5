//! Statements that run on the thread that calls them; those for many keys are of few different shapes, so that each is
//! prepared once and kept.
//!
//! Invariant: groups of keys have sizes of powers of two, few enough for a connection to keep most of them; what a group of keys has fewer of
//! is padded, by asking for the last key again.

use rusqlite::{CachedStatement, Connection, Row, Statement};

use super::values::{Value, Values};
use crate::error::Result;

/// The most rows in one statement.
pub(super) const ROWS_LIMIT: usize = 64;

/// The values of a statement, on their way into it.
struct Bound<'s, 'c> {
    statement: &'s mut Statement<'c>,
    count: usize,
    outcome: rusqlite::Result<()>,
}

impl Values for Bound<'_, '_> {
    fn take(&mut self, value: Value<'_>) {
        self.count += 1;
        if self.outcome.is_ok() {
            self.outcome = self.statement.raw_bind_parameter(self.count, value);
        }
    }
}

/// A statement that has its values.
fn bound<'c>(
    connection: &'c Connection,
    text: &str,
    bind: impl FnOnce(&mut dyn Values),
) -> Result<CachedStatement<'c>> {
    tracing::trace!(target: "artifactstore::statement", text);
    let mut statement = connection.prepare_cached(text)?;
    let mut bound = Bound { statement: &mut statement, count: 0, outcome: Ok(()) };
    bind(&mut bound);
    bound.outcome?;
    let count = bound.count;
    // SQLite takes what is not bound for nulls.
    assert_eq!(count, statement.parameter_count(), "a statement has a place for each value");
    Ok(statement)
}

/// Runs one statement; says how many rows it changed.
pub(super) fn execute(connection: &Connection, text: &str, bind: impl FnOnce(&mut dyn Values)) -> Result<usize> {
    Ok(bound(connection, text, bind)?.raw_execute()?)
}

/// Runs one statement, and gives the rows that it finds, one after another.
pub(super) fn query(
    connection: &Connection,
    text: &str,
    bind: impl FnOnce(&mut dyn Values),
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = bound(connection, text, bind)?;
    let mut found = statement.raw_query();
    while let Some(row) = found.next()? {
        take(row)?;
    }
    Ok(())
}

/// Pads keys with the last one, up to a power of two, and cuts them into statements.
pub(super) fn padded<K: Clone>(keys: &[K]) -> Vec<Vec<K>> {
    keys.chunks(ROWS_LIMIT)
        .map(|group| {
            let mut group = group.to_vec();
            if let Some(last) = group.last().cloned() {
                group.resize(group.len().next_power_of_two(), last);
            }
            group
        })
        .collect()
}

/// `(?,?),(?,?)` for so many rows of so many columns.
pub(super) fn values(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * (2 * columns + 2));
    for row in 0..rows {
        text.push_str(if row == 0 { "(?" } else { ",(?" });
        (1..columns).for_each(|_| text.push_str(",?"));
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_place_for_every_value() {
        assert_eq!(values(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(values(1, 1), "(?)");
    }

    #[test]
    fn a_statement_is_given_its_values_and_gives_its_rows() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a INTEGER, b TEXT)").unwrap();
        let rows = |values: &mut dyn Values| {
            values.bind(1).bind("one").bind(2).bind("two");
        };
        assert_eq!(execute(&connection, "INSERT INTO t VALUES (?,?),(?,?)", rows).unwrap(), 2);
        let mut found = Vec::new();
        let which = |values: &mut dyn Values| {
            values.bind(2);
        };
        query(&connection, "SELECT b FROM t WHERE a = ?", which, |row| {
            found.push(row.get::<_, String>(0)?);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, ["two"]);
    }

    #[test]
    fn padding_repeats_the_last_key_and_asks_for_nothing_else() {
        let keys: Vec<usize> = (0..ROWS_LIMIT + 44).collect();
        let padded = padded(&keys);
        assert_eq!(padded.iter().map(Vec::len).collect::<Vec<_>>(), [ROWS_LIMIT, 64]);
        assert!(padded[1][44..].iter().all(|key| *key == ROWS_LIMIT + 43));
        assert!(super::padded::<u32>(&[]).is_empty());
    }
}
