//! Loading rows by their keys, many by one statement: for batches of the log writer, and for readers' look-ups.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use artifactstore_backends::digest::ContentAddress;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::statement::{padded, values};
use super::{rows, write};
use crate::error::Result;
use crate::model::name::{FileName, PackageId, PartNumber, ProducerName, UploadId};
use crate::model::row::Sequence;
use crate::model::state::{PackageKey, State, Touched};

/// A query whose values are bound one after another.
pub(super) type Bound = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Loads what the state does not have yet.
pub(super) async fn load(connection: &mut SqliteConnection, mut touched: Touched, state: &mut State) -> Result<()> {
    state.retain_unloaded(&mut touched);
    let mut load = Load(connection);
    load.producers(&touched.producers, state).await?;
    load.names(&touched.names, state).await?;
    for member in &touched.members {
        load.members(member, state).await?;
    }
    load.packages(&touched.packages, state).await?;
    load.latest(&touched.latest, state).await?;
    load.files(&touched.files, state).await?;
    load.blobs(&touched.blobs, state).await?;
    load.chunks(&touched.chunks, state).await?;
    load.uploads(&touched.uploads, state).await?;
    load.parts(&touched.parts, state).await
}

struct Load<'a>(&'a mut SqliteConnection);

impl Load<'_> {
    /// Asks one statement for many keys; `text` gets the placeholders, one group for each key.
    async fn select<K: Clone + Sync>(
        &mut self,
        keys: &[K],
        columns: usize,
        text: impl Fn(&str) -> String + Send,
        bind: impl Fn(Bound, &K) -> Bound + Send,
    ) -> Result<Vec<SqliteRow>> {
        let mut found = Vec::new();
        for group in padded(keys) {
            let mut query = sqlx::query(AssertSqlSafe(text(&values(group.len(), columns))));
            for key in &group {
                query = bind(query, key);
            }
            found.extend(query.fetch_all(&mut *self.0).await?);
        }
        Ok(found)
    }

    async fn producers(&mut self, keys: &BTreeSet<ProducerName>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM producers WHERE name IN (VALUES {keys})", rows::PRODUCER);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::producer(&row)?;
            state.producers.load(row.name.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.producers.load(key.clone(), None));
        Ok(())
    }

    async fn names(&mut self, keys: &BTreeSet<FileName>, state: &mut State) -> Result<()> {
        let wanted: Vec<(String, String)> =
            keys.iter().map(|name| (name.producer.to_string(), name.key.to_string())).collect();
        // CROSS JOIN keeps the order: each wanted key is one step down the names, then one down the files.
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
                 CROSS JOIN names AS n ON n.producer = w.producer AND n.key = w.key \
                 CROSS JOIN files AS f ON f.sequence = n.sequence",
                rows::FILE
            )
        };
        let bind = |query: Bound, key: &(String, String)| query.bind(key.0.clone()).bind(key.1.clone());
        for row in self.select(&wanted, 2, text, bind).await? {
            load_named(&row, state)?;
        }
        keys.iter().for_each(|key| state.names.load(key.clone(), None));
        Ok(())
    }

    async fn members(&mut self, key: &PackageKey, state: &mut State) -> Result<()> {
        let mut members = BTreeMap::new();
        let (text, bounds) = super::reads::members_query(&key.0, &key.1, None);
        let mut query = sqlx::query(AssertSqlSafe(text));
        for bound in bounds {
            query = query.bind(bound);
        }
        for row in query.bind(i64::MAX).fetch_all(&mut *self.0).await? {
            let (name, sequence) = load_named(&row, state)?;
            members.insert(name.key, sequence);
        }
        state.members.insert(key.clone(), members);
        Ok(())
    }

    async fn packages(&mut self, keys: &BTreeSet<PackageId>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM packages WHERE id IN (VALUES {keys})", rows::PACKAGE);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::package(&row)?;
            state.packages.load(row.id.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.packages.load(key.clone(), None));
        Ok(())
    }

    async fn latest(&mut self, keys: &BTreeSet<PackageKey>, state: &mut State) -> Result<()> {
        let wanted: Vec<(String, String)> = keys.iter().map(|key| (key.0.to_string(), key.1.to_string())).collect();
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, name) AS (VALUES {keys}) SELECT {} FROM packages WHERE id IN (\
                 SELECT (SELECT p.id FROM packages AS p WHERE p.producer = w.producer AND p.name = w.name \
                 ORDER BY p.revision DESC LIMIT 1) FROM wanted AS w)",
                rows::PACKAGE
            )
        };
        let bind = |query: Bound, key: &(String, String)| query.bind(key.0.clone()).bind(key.1.clone());
        for row in self.select(&wanted, 2, text, bind).await? {
            let row = rows::package(&row)?;
            state.latest.insert((row.producer.clone(), row.name.clone()), Some(row.id.clone()));
            state.packages.load(row.id.clone(), Some(row));
        }
        for key in keys {
            state.latest.entry(key.clone()).or_insert(None);
        }
        Ok(())
    }

    async fn files(&mut self, keys: &BTreeSet<Sequence>, state: &mut State) -> Result<()> {
        let wanted: Vec<i64> = keys.iter().map(|key| write::signed(*key)).collect();
        let text = |keys: &str| format!("SELECT {} FROM files AS f WHERE f.sequence IN (VALUES {keys})", rows::FILE);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(*key)).await? {
            let row = rows::file(&row)?;
            state.files.load(row.sequence, Some(row));
        }
        keys.iter().for_each(|key| state.files.load(*key, None));
        Ok(())
    }

    async fn blobs(&mut self, keys: &BTreeSet<ContentAddress>, state: &mut State) -> Result<()> {
        let wanted: Vec<ContentAddress> = keys.iter().copied().collect();
        let text = |keys: &str| format!("SELECT {} FROM blobs WHERE content_address IN (VALUES {keys})", rows::BLOB);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.0.to_vec())).await? {
            let row = rows::blob(&row)?;
            state.blobs.load(row.content_address, Some(row));
        }
        keys.iter().for_each(|key| state.blobs.load(*key, None));
        Ok(())
    }

    async fn chunks(&mut self, keys: &BTreeSet<ContentAddress>, state: &mut State) -> Result<()> {
        let wanted: Vec<ContentAddress> = keys.iter().copied().collect();
        let text = |keys: &str| format!("SELECT {} FROM chunks WHERE address IN (VALUES {keys})", rows::CHUNK);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.0.to_vec())).await? {
            let row = rows::chunk(&row)?;
            state.chunks.load(row.chunk.address, Some(row));
        }
        keys.iter().for_each(|key| state.chunks.load(*key, None));
        Ok(())
    }

    async fn uploads(&mut self, keys: &BTreeSet<UploadId>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM uploads WHERE id IN (VALUES {keys})", rows::UPLOAD);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::upload(&row)?;
            state.uploads.load(row.id.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.uploads.load(key.clone(), None));
        Ok(())
    }

    async fn parts(&mut self, keys: &BTreeSet<(UploadId, PartNumber)>, state: &mut State) -> Result<()> {
        let wanted: Vec<(String, i64)> = keys.iter().map(|key| (key.0.to_string(), i64::from(key.1.get()))).collect();
        let text = |keys: &str| {
            format!(
                "WITH wanted (u, n) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
                 CROSS JOIN parts ON upload = w.u AND number = w.n",
                rows::PART
            )
        };
        let bind = |query: Bound, key: &(String, i64)| query.bind(key.0.clone()).bind(key.1);
        for row in self.select(&wanted, 2, text, bind).await? {
            let row = rows::part(&row)?;
            state.parts.load((row.upload.clone(), row.number), Some(row));
        }
        keys.iter().for_each(|key| state.parts.load(key.clone(), None));
        Ok(())
    }
}

/// A version that has its name now: the version and the name both.
fn load_named(row: &SqliteRow, state: &mut State) -> Result<(FileName, Sequence)> {
    let file = rows::file(row)?;
    let (name, sequence) = (file.name.clone(), file.sequence);
    let named = crate::model::state::NameRow { name: name.clone(), package: file.package.clone(), sequence };
    state.names.load(name.clone(), Some(named));
    state.files.load(sequence, Some(file));
    Ok((name, sequence))
}
