//! The values of rows, on their way into statements and out of them, by whichever of the two libraries runs those.
//!
//! Invariant: a row gives its values in the order of its columns, and has them back in the same.

use rusqlite::types::{FromSqlError, ToSql, ToSqlOutput, ValueRef};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, Result};

/// One value, as SQLite stores it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    /// None.
    Null,
    /// A number, a time, or whether something is so.
    Integer(i64),
    /// A text.
    Text(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(value)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

/// Takes the values of a row, or of a key, one after another.
pub(super) trait Values {
    /// Takes the next one.
    fn take(&mut self, value: Value<'_>);
}

impl dyn Values + '_ {
    /// Gives the next one.
    pub(super) fn bind<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.take(value.into());
        self
    }
}

/// A row that was found.
pub(super) trait Cells {
    /// A number, or none.
    fn integer(&self, at: usize) -> Result<Option<i64>>;
    /// A text, or none.
    fn text(&self, at: usize) -> Result<Option<&str>>;
    /// Bytes, or none.
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>>;
}

impl Cells for SqliteRow {
    fn integer(&self, at: usize) -> Result<Option<i64>> {
        Ok(self.try_get(at)?)
    }

    fn text(&self, at: usize) -> Result<Option<&str>> {
        Ok(self.try_get(at)?)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>> {
        Ok(self.try_get(at)?)
    }
}

impl Cells for rusqlite::Row<'_> {
    fn integer(&self, at: usize) -> Result<Option<i64>> {
        let value = self.get_ref(at)?;
        value.as_i64_or_null().map_err(|error| unfit(at, value, error))
    }

    fn text(&self, at: usize) -> Result<Option<&str>> {
        let value = self.get_ref(at)?;
        value.as_str_or_null().map_err(|error| unfit(at, value, error))
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>> {
        let value = self.get_ref(at)?;
        value.as_blob_or_null().map_err(|error| unfit(at, value, error))
    }
}

fn unfit(at: usize, value: ValueRef<'_>, error: FromSqlError) -> Error {
    Error::Sqlite(rusqlite::Error::FromSqlConversionFailure(at, value.data_type(), Box::new(error)))
}
