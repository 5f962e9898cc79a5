//! Loading rows by their keys, many by one script: for batches of the log writer, and for readers' look-ups.

use std::collections::BTreeMap;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::statement::Script;
use super::{rows, write};
use crate::error::Result;
use crate::model::name::{AccessKeyId, FileName, PackageId, PartNumber, ProducerName, UploadId};
use crate::model::row::{Sequence, Subresource};
use crate::model::state::{PackageKey, State, Touched};

/// Loads what the state does not have yet.
pub(super) async fn load(connection: &mut SqliteConnection, mut touched: Touched, state: &mut State) -> Result<()> {
    state.retain_unloaded(&mut touched);
    for key in &touched.members {
        members(connection, key, state).await?;
    }
    let mut asked = Asked::default();
    asked.producers(&touched);
    asked.names(&touched);
    asked.packages(&touched);
    asked.latest(&touched);
    asked.keepers(&touched);
    asked.files(&touched);
    asked.histories(&touched);
    asked.history(&touched);
    asked.subresources(&touched);
    asked.blobs(&touched);
    asked.chunks(&touched);
    asked.uploads(&touched);
    asked.parts(&touched);
    asked.access_keys(&touched);
    asked.moves(&touched);
    asked.retention(&touched);
    asked.swept(&touched);
    asked.orphans(&touched);
    asked.scrubs(&touched);
    for (take, found) in asked.takers.iter().zip(asked.script.fetch(connection).await?) {
        found.iter().try_for_each(|row| take(row, state))?;
    }
    state.moves_loaded |= touched.moves;
    state.retention_loaded |= touched.retention;
    state.scrubs_loaded |= touched.scrubs;
    absent(touched, state);
    Ok(())
}

/// What was asked for and not found is known to be absent.
fn absent(touched: Touched, state: &mut State) {
    touched.producers.into_iter().for_each(|key| state.producers.load(key, None));
    touched.names.into_iter().for_each(|key| state.names.load(key, None));
    touched.packages.into_iter().for_each(|key| state.packages.load(key, None));
    touched.files.into_iter().for_each(|key| state.files.load(key, None));
    touched.history.into_iter().for_each(|key| state.history.load(key, None));
    touched.subresources.into_iter().for_each(|key| state.subresources.load(key, None));
    state.histories.extend(touched.histories.into_keys());
    touched.blobs.into_iter().for_each(|key| state.blobs.load(key, None));
    touched.chunks.into_iter().for_each(|key| state.chunks.load(key, None));
    touched.uploads.into_iter().for_each(|key| state.uploads.load(key, None));
    touched.parts.into_iter().for_each(|key| state.parts.load(key, None));
    touched.access_keys.into_iter().for_each(|key| state.access_keys.load(key, None));
    touched.swept.into_iter().for_each(|key| state.swept.load(key, None));
    touched.orphans.into_iter().for_each(|key| state.orphans.load(key, None));
    touched.damaged.into_iter().for_each(|key| state.damaged.load(key, None));
    touched.erasures.into_iter().for_each(|key| state.erasures.load(key, None));
    state.keepers.extend(touched.keepers);
    for key in touched.latest {
        state.latest.entry(key).or_insert(None);
    }
}

async fn members(connection: &mut SqliteConnection, key: &PackageKey, state: &mut State) -> Result<()> {
    let mut members = BTreeMap::new();
    let (text, bounds) = super::reads::members_query(&key.0, &key.1, None);
    let mut query = sqlx::query(AssertSqlSafe(text));
    for bound in bounds {
        query = query.bind(bound);
    }
    for row in query.bind(i64::MAX).fetch_all(connection).await? {
        let (name, sequence) = load_named(&row, state)?;
        members.insert(name.key, sequence);
    }
    state.members.insert(key.clone(), members);
    Ok(())
}

/// Takes a row into the state.
type Taker = fn(&SqliteRow, &mut State) -> Result<()>;

/// What is asked in one script, and what is done with the rows that each of its statements finds.
#[derive(Default)]
struct Asked {
    script: Script,
    takers: Vec<Taker>,
}

impl Asked {
    fn ask<K: Clone>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        columns: usize,
        text: impl Fn(&str) -> String,
        bind: impl Fn(&mut Script, &K),
        take: Taker,
    ) {
        let keys: Vec<K> = keys.into_iter().collect();
        let statements = self.script.keys(&keys, columns, text, bind);
        self.takers.extend(std::iter::repeat_n(take, statements));
    }

    fn producers(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM producers WHERE name IN (VALUES {keys})", rows::PRODUCER);
        let bind = |script: &mut Script, key: &&ProducerName| {
            script.bind(key.to_string());
        };
        self.ask(&touched.producers, 1, text, bind, |row, state| {
            let row = rows::producer(row)?;
            state.producers.load(row.name.clone(), Some(row));
            Ok(())
        });
    }

    fn names(&mut self, touched: &Touched) {
        // CROSS JOIN keeps the order: each wanted key is one step down the names, then one down the files.
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
                 CROSS JOIN names AS n ON n.producer = w.producer AND n.key = w.key \
                 CROSS JOIN files AS f ON f.sequence = n.sequence",
                rows::FILE
            )
        };
        let bind = |script: &mut Script, key: &&FileName| {
            script.bind(key.producer.to_string()).bind(key.key.to_string());
        };
        self.ask(&touched.names, 2, text, bind, |row, state| load_named(row, state).map(|_| ()));
    }

    fn packages(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM packages WHERE id IN (VALUES {keys})", rows::PACKAGE);
        let bind = |script: &mut Script, key: &&PackageId| {
            script.bind(key.to_string());
        };
        self.ask(&touched.packages, 1, text, bind, |row, state| {
            let row = rows::package(row)?;
            state.packages.load(row.id.clone(), Some(row));
            Ok(())
        });
    }

    fn latest(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, name) AS (VALUES {keys}) SELECT {} FROM packages WHERE id IN (\
                 SELECT (SELECT p.id FROM packages AS p WHERE p.producer = w.producer AND p.name = w.name \
                 ORDER BY p.revision DESC LIMIT 1) FROM wanted AS w)",
                rows::PACKAGE
            )
        };
        let bind = |script: &mut Script, key: &&PackageKey| {
            script.bind(key.0.to_string()).bind(key.1.to_string());
        };
        self.ask(&touched.latest, 2, text, bind, |row, state| {
            let row = rows::package(row)?;
            state.latest.insert((row.producer.clone(), row.name.clone()), Some(row.id.clone()));
            state.packages.load(row.id.clone(), Some(row));
            Ok(())
        });
    }

    fn keepers(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!(
                "SELECT {} FROM packages WHERE (producer, name) IN (VALUES {keys}) AND keeping IS NOT NULL",
                rows::PACKAGE
            )
        };
        let bind = |script: &mut Script, key: &&PackageKey| {
            script.bind(key.0.to_string()).bind(key.1.to_string());
        };
        self.ask(&touched.keepers, 2, text, bind, |row, state| {
            let row = rows::package(row)?;
            state.packages.load(row.id.clone(), Some(row));
            Ok(())
        });
    }

    fn files(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM files AS f WHERE f.sequence IN (VALUES {keys})", rows::FILE);
        let bind = |script: &mut Script, key: &&Sequence| {
            script.bind(write::signed(**key));
        };
        self.ask(&touched.files, 1, text, bind, |row, state| {
            let row = rows::file(row)?;
            state.files.load(row.sequence, Some(row));
            Ok(())
        });
    }

    /// The newest entries of histories and the null ones, and the files that they are about.
    fn histories(&mut self, touched: &Touched) {
        let depth = write::signed(u64::try_from(touched.history_depth()).unwrap_or(u64::MAX));
        let names: Vec<&FileName> = touched.histories.keys().collect();
        let entries = "wanted AS w CROSS JOIN history AS h ON h.producer = w.producer AND h.key = w.key";
        let newest = "h.sequence IN (SELECT n.sequence FROM history AS n WHERE n.producer = w.producer \
             AND n.key = w.key ORDER BY n.sequence DESC LIMIT ";
        let bind = |script: &mut Script, key: &&FileName| {
            script.bind(key.producer.to_string()).bind(key.key.to_string());
        };
        for which in [format!("{newest}{depth})"), "h.versioned = 0".to_owned()] {
            let text = |keys: &str| {
                format!(
                    "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM {entries} AND {which}",
                    rows::HISTORY
                )
            };
            self.ask(names.clone(), 2, text, bind, load_history);
            let text = |keys: &str| {
                format!(
                    "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM {entries} AND {which} \
                     CROSS JOIN files AS f ON f.sequence = h.sequence",
                    rows::FILE
                )
            };
            self.ask(names.clone(), 2, text, bind, |row, state| {
                let row = rows::file(row)?;
                state.files.load(row.sequence, Some(row));
                Ok(())
            });
        }
    }

    fn history(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, key, sequence) AS (VALUES {keys}) SELECT {} FROM wanted AS w CROSS JOIN \
                 history AS h ON h.producer = w.producer AND h.key = w.key AND h.sequence = w.sequence",
                rows::HISTORY
            )
        };
        let bind = |script: &mut Script, key: &&(FileName, Sequence)| {
            script.bind(key.0.producer.to_string()).bind(key.0.key.to_string()).bind(write::signed(key.1));
        };
        self.ask(&touched.history, 3, text, bind, load_history);
    }

    fn subresources(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!("SELECT {} FROM subresources WHERE (producer, name) IN (VALUES {keys})", rows::SUBRESOURCE)
        };
        let bind = |script: &mut Script, key: &&(ProducerName, Subresource)| {
            script.bind(key.0.to_string()).bind(key.1.as_str());
        };
        self.ask(&touched.subresources, 2, text, bind, |row, state| {
            let row = rows::subresource(row)?;
            state.subresources.load((row.producer.clone(), row.name), Some(row));
            Ok(())
        });
    }

    fn blobs(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM blobs WHERE content_address IN (VALUES {keys})", rows::BLOB);
        let bind = |script: &mut Script, key: &&ContentAddress| {
            script.bind(key.0.to_vec());
        };
        self.ask(&touched.blobs, 1, text, bind, |row, state| {
            let row = rows::blob(row)?;
            state.blobs.load(row.content_address, Some(row));
            Ok(())
        });
    }

    fn chunks(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM chunks WHERE address IN (VALUES {keys})", rows::CHUNK);
        let bind = |script: &mut Script, key: &&ContentAddress| {
            script.bind(key.0.to_vec());
        };
        self.ask(&touched.chunks, 1, text, bind, |row, state| {
            let row = rows::chunk(row)?;
            state.chunks.load(row.chunk.address, Some(row));
            Ok(())
        });
    }

    fn uploads(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM uploads WHERE id IN (VALUES {keys})", rows::UPLOAD);
        let bind = |script: &mut Script, key: &&UploadId| {
            script.bind(key.to_string());
        };
        self.ask(&touched.uploads, 1, text, bind, |row, state| {
            let row = rows::upload(row)?;
            state.uploads.load(row.id.clone(), Some(row));
            Ok(())
        });
    }

    fn access_keys(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM access_keys WHERE id IN (VALUES {keys})", rows::ACCESS_KEY);
        let bind = |script: &mut Script, key: &&AccessKeyId| {
            script.bind(key.to_string());
        };
        self.ask(&touched.access_keys, 1, text, bind, |row, state| {
            let row = rows::access_key(row)?;
            state.access_keys.load(row.id.clone(), Some(row));
            Ok(())
        });
    }

    fn parts(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!(
                "WITH wanted (u, n) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
                 CROSS JOIN parts ON upload = w.u AND number = w.n",
                rows::PART
            )
        };
        let bind = |script: &mut Script, key: &&(UploadId, PartNumber)| {
            script.bind(key.0.to_string()).bind(i64::from(key.1.get()));
        };
        self.ask(&touched.parts, 2, text, bind, |row, state| {
            let row = rows::part(row)?;
            state.parts.load((row.upload.clone(), row.number), Some(row));
            Ok(())
        });
    }
}

impl Asked {
    fn retention(&mut self, touched: &Touched) {
        // As of the moves.
        let bind = |script: &mut Script, key: &i64| {
            script.bind(*key);
        };
        let text = |keys: &str| format!("SELECT {} FROM retention_classes WHERE 1 IN (VALUES {keys})", rows::CLASS);
        self.ask(touched.retention.then_some(1_i64), 1, text, bind, |row, state| {
            let row = rows::class(row)?;
            state.classes.load(row.name.clone(), Some(row));
            Ok(())
        });
        let text = |keys: &str| format!("SELECT {} FROM clock_jumps WHERE 1 IN (VALUES {keys})", rows::JUMP);
        self.ask(touched.retention.then_some(1_i64), 1, text, bind, |row, state| {
            let row = rows::clock_jump(row)?;
            state.jumps.load(row.sequence, Some(row));
            Ok(())
        });
    }

    fn moves(&mut self, touched: &Touched) {
        // One key, which fits all: they are few, and all are wanted.
        let text = |keys: &str| format!("SELECT {} FROM storage_moves WHERE 1 IN (VALUES {keys})", rows::MOVE);
        let bind = |script: &mut Script, key: &i64| {
            script.bind(*key);
        };
        self.ask(touched.moves.then_some(1_i64), 1, text, bind, |row, state| {
            let row = rows::storage_move(row)?;
            state.moves.load(row.sequence, Some(row));
            Ok(())
        });
    }
}

impl Asked {
    fn swept(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM swept_objects WHERE object IN (VALUES {keys})", rows::SWEPT);
        self.ask(&touched.swept, 1, text, object_key, |row, state| {
            let row = rows::swept(row)?;
            state.swept.load(row.object, Some(row));
            Ok(())
        });
    }

    fn orphans(&mut self, touched: &Touched) {
        let text = |keys: &str| format!("SELECT {} FROM orphan_objects WHERE object IN (VALUES {keys})", rows::ORPHAN);
        self.ask(&touched.orphans, 1, text, object_key, |row, state| {
            let row = rows::orphan(row)?;
            state.orphans.load(row.object, Some(row));
            Ok(())
        });
    }
}

impl Asked {
    fn scrubs(&mut self, touched: &Touched) {
        let text = |keys: &str| {
            format!(
                "SELECT {} FROM scrub_passes WHERE 1 IN (VALUES {keys}) ORDER BY sequence DESC LIMIT 1",
                rows::SCRUB
            )
        };
        let bind = |script: &mut Script, key: &i64| {
            script.bind(*key);
        };
        self.ask(touched.scrubs.then_some(1_i64), 1, text, bind, |row, state| {
            let row = rows::scrub_pass(row)?;
            state.scrubs.load(row.sequence, Some(row));
            Ok(())
        });
        let text =
            |keys: &str| format!("SELECT {} FROM damaged_objects WHERE object IN (VALUES {keys})", rows::DAMAGED);
        self.ask(&touched.damaged, 1, text, object_key, |row, state| {
            let row = rows::damaged(row)?;
            state.damaged.load(row.object, Some(row));
            Ok(())
        });
        let text = |keys: &str| format!("SELECT {} FROM erasures WHERE version IN (VALUES {keys})", rows::ERASURE);
        let bind = |script: &mut Script, version: &&Sequence| {
            script.bind(write::signed(**version));
        };
        self.ask(&touched.erasures, 1, text, bind, |row, state| {
            let row = rows::erasure(row)?;
            state.erasures.load(row.version, Some(row));
            Ok(())
        });
    }
}

fn object_key(script: &mut Script, key: &&ObjectKey) {
    script.bind(key.0.to_vec());
}

/// An entry of a history; of a marker it is known that there is no file.
fn load_history(row: &SqliteRow, state: &mut State) -> Result<()> {
    let row = rows::history(row)?;
    if row.marker {
        state.files.load(row.sequence, None);
    }
    state.history.load((row.name.clone(), row.sequence), Some(row));
    Ok(())
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
