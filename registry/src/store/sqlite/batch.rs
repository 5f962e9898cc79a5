//! A batch on SQLite: one transaction of the one writing connection.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use artifactstore_backends::digest::ContentAddress;
use artifactstore_backends::failpoint::{Point, reach};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::statement::{padded, values};
use super::{rows, write};
use crate::error::Result;
use crate::model::event::Record;
use crate::model::name::{FileName, PackageId, PartNumber, ProducerName, UploadId};
use crate::model::row::Sequence;
use crate::model::state::{Head, PackageKey, State, Touched};
use crate::store::Batch;

pub(super) struct SqliteBatch {
    pub(super) transaction: Transaction<'static, Sqlite>,
    pub(super) head: Head,
}

/// A query whose values are bound one after another.
pub(super) type Bound = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

#[async_trait]
impl Batch for SqliteBatch {
    fn head(&self) -> Head {
        self.head
    }

    async fn load(&mut self, mut touched: Touched, state: &mut State) -> Result<()> {
        state.retain_unloaded(&mut touched);
        self.load_producers(&touched.producers, state).await?;
        self.load_names(&touched.names, state).await?;
        for member in &touched.members {
            self.load_members(member, state).await?;
        }
        self.load_packages(&touched.packages, state).await?;
        self.load_latest(&touched.latest, state).await?;
        self.load_files(&touched.files, state).await?;
        self.load_blobs(&touched.blobs, state).await?;
        self.load_chunks(&touched.chunks, state).await?;
        self.load_uploads(&touched.uploads, state).await?;
        self.load_parts(&touched.parts, state).await
    }

    async fn write(&mut self, records: &[Record], head: Head, state: &State) -> Result<()> {
        write::records(&mut self.transaction, records).await?;
        reach(Point::EventsWritten);
        write::head(&mut self.transaction, head).await?;
        write::views(&mut self.transaction, state).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }
}

impl SqliteBatch {
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
            found.extend(query.fetch_all(&mut *self.transaction).await?);
        }
        Ok(found)
    }

    async fn load_producers(&mut self, keys: &BTreeSet<ProducerName>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM producers WHERE name IN (VALUES {keys})", rows::PRODUCER);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::producer(&row)?;
            state.producers.load(row.name.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.producers.load(key.clone(), None));
        Ok(())
    }

    async fn load_names(&mut self, keys: &BTreeSet<FileName>, state: &mut State) -> Result<()> {
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

    async fn load_members(&mut self, key: &PackageKey, state: &mut State) -> Result<()> {
        let mut members = BTreeMap::new();
        let (text, bounds) = super::reads::members_query(&key.0, &key.1, None);
        let mut query = sqlx::query(AssertSqlSafe(text));
        for bound in bounds {
            query = query.bind(bound);
        }
        for row in query.bind(i64::MAX).fetch_all(&mut *self.transaction).await? {
            let (name, sequence) = load_named(&row, state)?;
            members.insert(name.key, sequence);
        }
        state.members.insert(key.clone(), members);
        Ok(())
    }

    async fn load_packages(&mut self, keys: &BTreeSet<PackageId>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM packages WHERE id IN (VALUES {keys})", rows::PACKAGE);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::package(&row)?;
            state.packages.load(row.id.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.packages.load(key.clone(), None));
        Ok(())
    }

    async fn load_latest(&mut self, keys: &BTreeSet<PackageKey>, state: &mut State) -> Result<()> {
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

    async fn load_files(&mut self, keys: &BTreeSet<Sequence>, state: &mut State) -> Result<()> {
        let wanted: Vec<i64> = keys.iter().map(|key| write::signed(*key)).collect();
        let text = |keys: &str| format!("SELECT {} FROM files AS f WHERE f.sequence IN (VALUES {keys})", rows::FILE);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(*key)).await? {
            let row = rows::file(&row)?;
            state.files.load(row.sequence, Some(row));
        }
        keys.iter().for_each(|key| state.files.load(*key, None));
        Ok(())
    }

    async fn load_blobs(&mut self, keys: &BTreeSet<ContentAddress>, state: &mut State) -> Result<()> {
        let wanted: Vec<ContentAddress> = keys.iter().copied().collect();
        let text = |keys: &str| format!("SELECT {} FROM blobs WHERE content_address IN (VALUES {keys})", rows::BLOB);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.0.to_vec())).await? {
            let row = rows::blob(&row)?;
            state.blobs.load(row.content_address, Some(row));
        }
        keys.iter().for_each(|key| state.blobs.load(*key, None));
        Ok(())
    }

    async fn load_chunks(&mut self, keys: &BTreeSet<ContentAddress>, state: &mut State) -> Result<()> {
        let wanted: Vec<ContentAddress> = keys.iter().copied().collect();
        let text = |keys: &str| format!("SELECT {} FROM chunks WHERE address IN (VALUES {keys})", rows::CHUNK);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.0.to_vec())).await? {
            let row = rows::chunk(&row)?;
            state.chunks.load(row.chunk.address, Some(row));
        }
        keys.iter().for_each(|key| state.chunks.load(*key, None));
        Ok(())
    }

    async fn load_uploads(&mut self, keys: &BTreeSet<UploadId>, state: &mut State) -> Result<()> {
        let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let text = |keys: &str| format!("SELECT {} FROM uploads WHERE id IN (VALUES {keys})", rows::UPLOAD);
        for row in self.select(&wanted, 1, text, |query, key| query.bind(key.clone())).await? {
            let row = rows::upload(&row)?;
            state.uploads.load(row.id.clone(), Some(row));
        }
        keys.iter().for_each(|key| state.uploads.load(key.clone(), None));
        Ok(())
    }

    async fn load_parts(&mut self, keys: &BTreeSet<(UploadId, PartNumber)>, state: &mut State) -> Result<()> {
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
