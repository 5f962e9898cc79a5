//! Opening a registry in PostgreSQL: where it is, whether it will do, and its schema.
//!
//! Invariant: what is wrong is said in one line, and a password is in none of them.

use std::str::FromStr;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, Row};

use super::connections::{connect, options};
use super::statement::Statement;
use super::{collect, scratch};
use crate::error::{Error, Result};
use crate::store::{OpenMode, Schema};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// The oldest server that this is tried with, as the server numbers itself.
const VERSION_MIN: i32 = 140_000;

/// Where a registry is, as it may be shown.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(folder) => format!("postgres:///{database}?host={}", folder.display()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

fn unusable(url: &str, reason: impl ToString) -> Error {
    let reason = reason.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::DatabaseUnusable { url: url.to_owned(), reason }
}

/// The server's own words, without the library's.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Understands a URL.
pub(super) fn understand(url: &str) -> Result<PgConnectOptions> {
    // What the library says of a URL may repeat parts of it.
    let base = PgConnectOptions::from_str(url).map_err(|_| {
        unusable("postgres://", "the URL is not understood: say `postgres://<user>:<password>@<host>/<database>`")
    })?;
    Ok(options(base))
}

/// Connects for the first time, and brings the schema up to date where that is wanted.
pub(super) async fn prepare(options: PgConnectOptions, mode: OpenMode) -> Result<(PgConnectOptions, Schema)> {
    let url = shown(&options);
    let mut connection = connect(&options).await.map_err(|error| unusable(&url, words(&error)))?;
    check(&mut connection, &url, mode).await?;
    let schema = migrate(&mut connection, &options, mode).await?;
    if collect::uses_are_unread(&mut connection).await.map_err(|error| unusable(&url, words(&error)))? {
        if mode != OpenMode::Create {
            return Err(Error::SchemaOlder);
        }
        read_uses(&options, &url).await?;
    }
    if mode == OpenMode::Create {
        scratch::sweep(&mut connection).await?;
    }
    connection.close().await?;
    Ok((options, schema))
}

/// Whether the server keeps text and what was committed as this program needs it.
async fn check(connection: &mut PgConnection, url: &str, mode: OpenMode) -> Result<()> {
    let text = "SELECT current_setting('server_version_num')::int4, current_setting('server_encoding'), \
         current_setting('fsync'), current_setting('full_page_writes')";
    let row = Statement::plain(text).row(connection).await.map_err(|error| unusable(url, words(&error)))?;
    let version: i32 = row.try_get(0)?;
    if version < VERSION_MIN {
        return Err(unusable(url, format!("the server is older than PostgreSQL {}", VERSION_MIN / 10_000)));
    }
    let encoding: String = row.try_get(1)?;
    if encoding != "UTF8" {
        return Err(unusable(url, format!("the database's encoding is {encoding}, and must be UTF8")));
    }
    let (fsync, pages): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    // Said once, by the gateway; commands beside it need not repeat it.
    if mode == OpenMode::Create && (fsync == "off" || pages == "off") {
        tracing::warn!(%url, fsync, full_page_writes = pages, "a power cut loses what this server commits");
    }
    Ok(())
}

async fn migrate(connection: &mut PgConnection, options: &PgConnectOptions, mode: OpenMode) -> Result<Schema> {
    let url = shown(options);
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = schema_found(connection).await.map_err(|error| unusable(&url, words(&error)))?;
    if let Some(found) = found.filter(|found| *found > known) {
        return Err(Error::SchemaNewer { found, known });
    }
    if found != Some(known) {
        match (mode, found) {
            (OpenMode::Create, _) => run_migrations(options, &url).await?,
            (OpenMode::Existing, None) => return Err(Error::RegistryMissing { url }),
            (OpenMode::Existing, Some(_)) => return Err(Error::SchemaOlder),
        }
    }
    Ok(Schema { found, now: known })
}

/// Runs what is missing, as long as it takes; of several that come at once, one does it and the others wait.
pub(super) async fn run_migrations(options: &PgConnectOptions, url: &str) -> Result<()> {
    let patient = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(patient).await;
    let pool = pool.map_err(|error| unusable(url, words(&error)))?;
    let outcome = MIGRATIONS.run(&pool).await;
    pool.close().await;
    outcome.map_err(|error| unusable(url, error))
}

/// Fills in what SQL could not, as long as it takes; of several that come at once, one does it and the others wait.
pub(super) async fn read_uses(options: &PgConnectOptions, url: &str) -> Result<()> {
    let patient = options.clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let mut connection = connect(&patient).await.map_err(|error| unusable(url, words(&error)))?;
    collect::read_uses(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn schema_found(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let table = Statement::plain("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
    if !table.row(&mut *connection).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    Statement::plain("SELECT max(version) FROM _sqlx_migrations").row(connection).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_its_secrets() {
        let url = "postgres://someone:hush@db.example:6432/registry?sslmode=require";
        assert_eq!(shown(&understand(url).unwrap()), "postgres://db.example:6432/registry");
        let url = "postgres:///registry?host=/run/postgresql&user=someone&password=hush";
        assert_eq!(shown(&understand(url).unwrap()), "postgres:///registry?host=/run/postgresql");
        let refused = understand("postgres://someone:hush@:no-port/x").unwrap_err().to_string();
        assert!(!refused.contains("hush") && !refused.contains('\n'), "{refused}");
    }
}
