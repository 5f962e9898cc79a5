//! Multi-row statements, and scripts of them: one for many rows, of few different shapes, so that each is prepared once
//! and kept; and many sent as one, because every sending costs two threads a wake-up each.
//!
//! Invariant: how many scripts a batch takes follows neither its rows nor the tables it touches, up to [`SCRIPT_ROWS`].
//! Shapes are powers of two, few enough to stay in the connection's cache; what a group has fewer of is padded: look-ups
//! ask for the last key again, and written rows are followed by rows of nulls that the text leaves out.

use futures::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, SqliteConnection, Type};

use crate::error::Result;

/// The most rows in one statement.
pub(super) const ROWS_LIMIT: usize = 64;
/// From how many rows on a script is sent, and a new one begun.
const SCRIPT_ROWS: usize = 2048;

/// Statements that are run as one, in order, with the values of all of them.
#[derive(Debug, Default)]
pub(super) struct Script {
    text: String,
    values: SqliteArguments,
    unfit: Option<BoxDynError>,
    rows: usize,
}

impl Script {
    /// Puts a statement behind the others. Its values are bound before the next one comes.
    pub(super) fn statement(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push(';');
        }
        self.text.push_str(text);
    }

    /// Binds the next value.
    pub(super) fn bind<'v, V: Encode<'v, Sqlite> + Type<Sqlite>>(&mut self, value: V) -> &mut Self {
        if let Err(error) = self.values.add(value) {
            self.unfit.get_or_insert(error);
        }
        self
    }

    /// Puts a statement about these rows, as many as fit into one: `text` gets the query that gives them.
    pub(super) fn rows<R>(
        &mut self,
        rows: &[R],
        columns: usize,
        text: impl Fn(&str) -> String,
        bind: impl Fn(&mut Self, &R),
    ) {
        let room = rows.len().next_power_of_two();
        self.statement(&text(&format!("SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL", values(room, columns))));
        rows.iter().for_each(|row| bind(self, row));
        for _ in 0..(room - rows.len()) * columns {
            self.bind(None::<i64>);
        }
        self.rows += rows.len();
    }

    /// Puts statements that ask for these keys; says how many. `text` gets the placeholders, one group for each key.
    pub(super) fn keys<K: Clone>(
        &mut self,
        keys: &[K],
        columns: usize,
        text: impl Fn(&str) -> String,
        bind: impl Fn(&mut Self, &K),
    ) -> usize {
        let groups = padded(keys);
        for group in &groups {
            self.statement(&text(&values(group.len(), columns)));
            group.iter().for_each(|key| bind(self, key));
        }
        groups.len()
    }

    /// Runs what there is if it has become long, and begins anew.
    pub(super) async fn run_if_long(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        if self.rows >= SCRIPT_ROWS { std::mem::take(self).run(connection).await } else { Ok(()) }
    }

    /// Runs all of it.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<()> {
        if !self.text.is_empty() {
            let _ = self.query()?.execute(connection).await?;
        }
        Ok(())
    }

    /// Runs all of it; gives the rows that each statement found.
    pub(super) async fn fetch(self, connection: &mut SqliteConnection) -> Result<Vec<Vec<SqliteRow>>> {
        let mut found = Vec::new();
        if !self.text.is_empty() {
            let mut rows = Vec::new();
            let mut steps = connection.fetch_many(self.query()?);
            while let Some(step) = steps.try_next().await? {
                match step {
                    Either::Right(row) => rows.push(row),
                    // A statement is at its end.
                    Either::Left(_) => found.push(std::mem::take(&mut rows)),
                }
            }
        }
        Ok(found)
    }

    fn query(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>> {
        match self.unfit {
            Some(error) => Err(sqlx::Error::Encode(error).into()),
            None => Ok(sqlx::query_with(AssertSqlSafe(self.text), self.values)),
        }
    }
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

    #[tokio::test]
    async fn statements_of_a_script_have_their_own_values_and_their_own_rows() {
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("CREATE TABLE t (a INTEGER, b TEXT)").execute(&mut *connection).await.unwrap();
        let mut script = Script::default();
        let bind = |script: &mut Script, row: &(i64, &'static str)| {
            script.bind(row.0).bind(row.1);
        };
        // Three rows leave room for a fourth; the statement behind must not be given its nulls.
        let text = |given: &str| format!("INSERT INTO t (a, b) {given}");
        script.rows(&[(1, "one"), (2, "two"), (3, "three")], 2, text, bind);
        script.rows(&[(4, "four")], 2, text, bind);
        script.run(&mut connection).await.unwrap();
        let mut script = Script::default();
        let text = |keys: &str| format!("SELECT b FROM t WHERE a IN (VALUES {keys}) ORDER BY a");
        let bind = |script: &mut Script, key: &i64| {
            script.bind(*key);
        };
        assert_eq!(script.keys(&[3, 9, 1], 1, text, bind), 1);
        assert_eq!(script.keys(&[9], 1, text, bind), 1);
        assert_eq!(script.keys(&[4], 1, text, bind), 1);
        let found = script.fetch(&mut connection).await.unwrap();
        let found: Vec<Vec<String>> =
            found.iter().map(|rows| rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()).collect();
        assert_eq!(found, [vec!["one", "three"], vec![], vec!["four"]]);
        assert!(Script::default().fetch(&mut connection).await.unwrap().is_empty());
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
