//! One statement with what it is given, and the shapes of the tables that statements speak of.
//!
//! A table's columns are named by kind: texts, numbers, bytes, in this order everywhere. So one text asks for many
//! rows of many tables at once: rows of different tables have the same columns, padded with nulls, and a tag says
//! whose they are.
//!
//! Invariant: values are bound, never written into the text.

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, Postgres, Type};

use crate::error::{Error, Result};

/// Microseconds since 1970, by the server: of this moment, and not of when the transaction began.
pub(super) const NOW_MICROS: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8";

/// A table's columns.
#[derive(Debug)]
pub(super) struct Shape {
    /// What tells its rows from other tables'.
    pub(super) tag: i32,
    pub(super) table: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) texts: &'static [&'static str],
    pub(super) numbers: &'static [&'static str],
    pub(super) bytes: &'static [&'static str],
}

/// The most columns of a kind in any table that is asked for with others.
pub(super) const WIDE_TEXTS: usize = 7;
pub(super) const WIDE_NUMBERS: usize = 11;
const WIDE_BYTES: usize = 4;

impl Shape {
    /// Its columns: texts, numbers, bytes.
    pub(super) fn columns(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.texts.iter().chain(self.numbers).chain(self.bytes).copied()
    }

    /// Its columns, to be selected from a table under this name.
    pub(super) fn narrow(&self, alias: &str) -> String {
        let columns: Vec<String> = self.columns().map(|column| format!("{alias}.{column}")).collect();
        columns.join(", ")
    }

    /// Its columns behind its tag, in the places that all tables share.
    pub(super) fn wide(&self, alias: &str) -> String {
        let mut text = format!("{}::int4", self.tag);
        let kinds =
            [(self.texts, WIDE_TEXTS, "text"), (self.numbers, WIDE_NUMBERS, "int8"), (self.bytes, WIDE_BYTES, "bytea")];
        for (columns, room, kind) in kinds {
            for at in 0..room {
                text.push_str(
                    &columns.get(at).map_or_else(|| format!(", NULL::{kind}"), |column| format!(", {alias}.{column}")),
                );
            }
        }
        text
    }
}

/// A statement in the making, and then as it is run.
#[derive(Debug, Clone, Default)]
pub(super) struct Statement {
    pub(super) text: String,
    arguments: PgArguments,
}

impl Statement {
    /// A text that takes nothing.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), arguments: PgArguments::default() }
    }

    /// Gives it a value, and says how the text calls it.
    pub(super) fn bind<'v, T: Encode<'v, Postgres> + Type<Postgres>>(&mut self, value: T) -> Result<String> {
        self.arguments.add(value).map_err(|error| Error::Database(sqlx::Error::Encode(error)))?;
        Ok(format!("${}", self.arguments.len()))
    }

    /// All its rows.
    pub(super) async fn rows(self, connection: &mut PgConnection) -> sqlx::Result<Vec<PgRow>> {
        sqlx::query_with(AssertSqlSafe(self.text), self.arguments).fetch_all(connection).await
    }

    /// Its one row.
    pub(super) async fn row(self, connection: &mut PgConnection) -> sqlx::Result<PgRow> {
        sqlx::query_with(AssertSqlSafe(self.text), self.arguments).fetch_one(connection).await
    }

    /// Runs it; says how many rows it changed.
    pub(super) async fn run(self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        let done = sqlx::query_with(AssertSqlSafe(self.text), self.arguments).execute(connection).await?;
        Ok(done.rows_affected())
    }
}

/// Numbers as PostgreSQL has them; none comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// At most so many rows, as PostgreSQL wants it.
pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
