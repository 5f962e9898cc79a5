//! Statements for many keys: of few different shapes, so that each is prepared once and kept; and many sent as one to a
//! connection that has a thread of its own, because every sending costs two threads a wake-up each.
//!
//! Invariant: shapes are powers of two, few enough for a connection to keep most of them; what a group of keys has fewer of
//! is padded, by asking for the last key again.

use futures::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, SqliteConnection};

use super::load::{Asker, Taker};
use super::values::{Value, Values};
use crate::error::Result;
use crate::model::state::State;

/// The most rows in one statement.
pub(super) const ROWS_LIMIT: usize = 64;

/// What is asked in one script, and what is done with the rows that each of its statements finds.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    text: String,
    values: SqliteArguments,
    unfit: Option<BoxDynError>,
    takers: Vec<Taker>,
}

impl Values for Gathering {
    fn take(&mut self, value: Value<'_>) {
        let added = match value {
            Value::Null => self.values.add(None::<i64>),
            Value::Integer(value) => self.values.add(value),
            Value::Text(value) => self.values.add(value.to_owned()),
            Value::Bytes(value) => self.values.add(value.to_vec()),
        };
        if let Err(error) = added {
            self.unfit.get_or_insert(error);
        }
    }
}

impl Asker for Gathering {
    fn statement(&mut self, text: &str, bind: &dyn Fn(&mut dyn Values), take: Taker) -> Result<()> {
        if !self.text.is_empty() {
            self.text.push(';');
        }
        self.text.push_str(text);
        bind(self);
        self.takers.push(take);
        Ok(())
    }
}

impl Gathering {
    /// Asks all of it, and takes what is found.
    pub(super) async fn run(self, connection: &mut SqliteConnection, state: &mut State) -> Result<()> {
        if let Some(error) = self.unfit {
            return Err(sqlx::Error::Encode(error).into());
        }
        let mut takers = self.takers.into_iter();
        let mut take = takers.next();
        if take.is_none() {
            return Ok(());
        }
        let mut steps = connection.fetch_many(sqlx::query_with(AssertSqlSafe(self.text), self.values));
        while let Some(step) = steps.try_next().await? {
            match (step, take) {
                (Either::Right(row), Some(take)) => take(&row, state)?,
                // A statement is at its end.
                _ => take = takers.next(),
            }
        }
        Ok(())
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
    use crate::model::name::UploadId;
    use crate::store::sqlite::values::Cells;

    /// Notes whose rows were found, and which, where a test can see it.
    fn note(row: &dyn Cells, state: &mut State, whose: &str) -> Result<()> {
        let found = row.text(0)?.unwrap_or_default();
        state.parts_cleared.insert(UploadId::trusted(format!("{whose} {found}")));
        Ok(())
    }

    #[test]
    fn a_statement_has_a_place_for_every_value() {
        assert_eq!(values(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(values(1, 1), "(?)");
    }

    #[tokio::test]
    async fn statements_of_a_gathering_have_their_own_values_and_their_own_rows() {
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let made = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four')";
        sqlx::raw_sql(made).execute(&mut *connection).await.unwrap();
        let mut gathering = Gathering::default();
        let text = |keys: &str| format!("SELECT b FROM t WHERE a IN (VALUES {keys}) ORDER BY a");
        let bind = |values: &mut dyn Values, key: &i64| {
            values.bind(*key);
        };
        gathering.ask([3, 9, 1], 1, text, bind, |row, state| note(row, state, "first")).unwrap();
        gathering.ask([9], 1, text, bind, |row, state| note(row, state, "second")).unwrap();
        gathering.ask([4], 1, text, bind, |row, state| note(row, state, "third")).unwrap();
        let mut state = State::default();
        gathering.run(&mut connection, &mut state).await.unwrap();
        let found: Vec<&str> = state.parts_cleared.iter().map(UploadId::as_str).collect();
        assert_eq!(found, ["first one", "first three", "third four"]);
        Gathering::default().run(&mut connection, &mut state).await.unwrap();
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
