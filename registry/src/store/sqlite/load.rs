//! Loading rows by their keys, many by one statement: for batches of the log writer, and for readers' look-ups.

use std::collections::BTreeMap;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use rusqlite::Connection;

use super::statement::{padded, query, values};
use super::values::{Cells, Values};
use super::{reads, rows, write};
use crate::error::Result;
use crate::model::name::{AccessKeyId, FileName, PackageId, PartNumber, ProducerName, UploadId};
use crate::model::row::{Sequence, Subresource};
use crate::model::state::{PackageKey, State, Touched};

/// Loads what the state does not have yet.
pub(super) fn load(connection: &Connection, mut touched: Touched, state: &mut State) -> Result<()> {
    state.retain_unloaded(&mut touched);
    for key in &touched.members {
        members(connection, key, state)?;
    }
    load_all(&mut Loading { connection, state }, &touched)?;
    loaded(touched, state);
    Ok(())
}

/// Where rows come from, and where they go.
struct Loading<'a> {
    connection: &'a Connection,
    state: &'a mut State,
}

impl Loading<'_> {
    /// Asks for the rows of some keys by as few statements as may be, and takes each into the state. `text` gets the
    /// placeholders, one group for each key.
    fn ask<K: Clone>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        columns: usize,
        text: impl Fn(&str) -> String,
        bind: impl Fn(&mut dyn Values, &K),
        take: impl Fn(&dyn Cells, &mut State) -> Result<()>,
    ) -> Result<()> {
        let keys: Vec<K> = keys.into_iter().collect();
        for group in padded(&keys) {
            let text = text(&values(group.len(), columns));
            let bind = |values: &mut dyn Values| group.iter().for_each(|key| bind(values, key));
            query(self.connection, &text, bind, |row| take(row, self.state))?;
        }
        Ok(())
    }
}

fn load_all(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    producers(loading, touched)?;
    names(loading, touched)?;
    packages(loading, touched)?;
    latest(loading, touched)?;
    keepers(loading, touched)?;
    files(loading, touched)?;
    histories(loading, touched)?;
    history(loading, touched)?;
    subresources(loading, touched)?;
    blobs(loading, touched)?;
    chunks(loading, touched)?;
    uploads(loading, touched)?;
    parts(loading, touched)?;
    access_keys(loading, touched)?;
    moves(loading, touched)?;
    retention(loading, touched)?;
    swept(loading, touched)?;
    orphans(loading, touched)?;
    scrubs(loading, touched)
}

/// All of that is loaded: what was asked for and not found is known to be absent.
fn loaded(touched: Touched, state: &mut State) {
    state.moves_loaded |= touched.moves;
    state.retention_loaded |= touched.retention;
    state.scrubs_loaded |= touched.scrubs;
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

fn members(connection: &Connection, key: &PackageKey, state: &mut State) -> Result<()> {
    let mut members = BTreeMap::new();
    let (text, bounds) = reads::members_query(&key.0, &key.1, None);
    let bind = |values: &mut dyn Values| {
        bounds.iter().for_each(|bound| {
            values.bind(bound.as_str());
        });
        values.bind(i64::MAX);
    };
    query(connection, &text, bind, |row| {
        let (name, sequence) = load_named(row, state)?;
        members.insert(name.key, sequence);
        Ok(())
    })?;
    state.members.insert(key.clone(), members);
    Ok(())
}

fn producers(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM producers WHERE name IN (VALUES {keys})", rows::PRODUCER);
    let bind = |values: &mut dyn Values, key: &&ProducerName| {
        values.bind(key.as_str());
    };
    loading.ask(&touched.producers, 1, text, bind, |row, state| {
        let row = rows::producer(row)?;
        state.producers.load(row.name.clone(), Some(row));
        Ok(())
    })
}

fn names(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    // CROSS JOIN keeps the order: each wanted key is one step down the names, then one down the files.
    let text = |keys: &str| {
        format!(
            "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
             CROSS JOIN names AS n ON n.producer = w.producer AND n.key = w.key \
             CROSS JOIN files AS f ON f.sequence = n.sequence",
            rows::FILE
        )
    };
    let bind = |values: &mut dyn Values, key: &&FileName| {
        values.bind(key.producer.as_str()).bind(key.key.as_str());
    };
    loading.ask(&touched.names, 2, text, bind, |row, state| load_named(row, state).map(|_| ()))
}

fn packages(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM packages WHERE id IN (VALUES {keys})", rows::PACKAGE);
    let bind = |values: &mut dyn Values, key: &&PackageId| {
        values.bind(key.as_str());
    };
    loading.ask(&touched.packages, 1, text, bind, |row, state| {
        let row = rows::package(row)?;
        state.packages.load(row.id.clone(), Some(row));
        Ok(())
    })
}

fn latest(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!(
            "WITH wanted (producer, name) AS (VALUES {keys}) SELECT {} FROM packages WHERE id IN (\
             SELECT (SELECT p.id FROM packages AS p WHERE p.producer = w.producer AND p.name = w.name \
             ORDER BY p.revision DESC LIMIT 1) FROM wanted AS w)",
            rows::PACKAGE
        )
    };
    let bind = |values: &mut dyn Values, key: &&PackageKey| {
        values.bind(key.0.as_str()).bind(key.1.as_str());
    };
    loading.ask(&touched.latest, 2, text, bind, |row, state| {
        let row = rows::package(row)?;
        state.latest.insert((row.producer.clone(), row.name.clone()), Some(row.id.clone()));
        state.packages.load(row.id.clone(), Some(row));
        Ok(())
    })
}

fn keepers(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!(
            "SELECT {} FROM packages WHERE (producer, name) IN (VALUES {keys}) \
             AND (keeping IS NOT NULL OR released_sequence IS NOT NULL OR EXISTS (SELECT 1 FROM packages AS r \
             WHERE r.producer = packages.producer AND r.name = packages.name \
             AND r.revision = packages.revision - 1 AND r.released_sequence IS NOT NULL))",
            rows::PACKAGE
        )
    };
    let bind = |values: &mut dyn Values, key: &&PackageKey| {
        values.bind(key.0.as_str()).bind(key.1.as_str());
    };
    loading.ask(&touched.keepers, 2, text, bind, |row, state| {
        let row = rows::package(row)?;
        state.packages.load(row.id.clone(), Some(row));
        Ok(())
    })
}

fn files(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM files AS f WHERE f.sequence IN (VALUES {keys})", rows::FILE);
    let bind = |values: &mut dyn Values, key: &&Sequence| {
        values.bind(write::signed(**key));
    };
    loading.ask(&touched.files, 1, text, bind, |row, state| {
        let row = rows::file(row)?;
        state.files.load(row.sequence, Some(row));
        Ok(())
    })
}

/// The newest entries of histories and the null ones, and the files that they are about.
fn histories(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let depth = write::signed(u64::try_from(touched.history_depth()).unwrap_or(u64::MAX));
    let names: Vec<&FileName> = touched.histories.keys().collect();
    let entries = "wanted AS w CROSS JOIN history AS h ON h.producer = w.producer AND h.key = w.key";
    let newest = "h.sequence IN (SELECT n.sequence FROM history AS n WHERE n.producer = w.producer \
         AND n.key = w.key ORDER BY n.sequence DESC LIMIT ";
    let bind = |values: &mut dyn Values, key: &&FileName| {
        values.bind(key.producer.as_str()).bind(key.key.as_str());
    };
    for which in [format!("{newest}{depth})"), "h.versioned = 0".to_owned()] {
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM {entries} AND {which}",
                rows::HISTORY
            )
        };
        loading.ask(names.clone(), 2, text, bind, load_history)?;
        let text = |keys: &str| {
            format!(
                "WITH wanted (producer, key) AS (VALUES {keys}) SELECT {} FROM {entries} AND {which} \
                 CROSS JOIN files AS f ON f.sequence = h.sequence",
                rows::FILE
            )
        };
        loading.ask(names.clone(), 2, text, bind, |row, state| {
            let row = rows::file(row)?;
            state.files.load(row.sequence, Some(row));
            Ok(())
        })?;
    }
    Ok(())
}

fn history(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!(
            "WITH wanted (producer, key, sequence) AS (VALUES {keys}) SELECT {} FROM wanted AS w CROSS JOIN \
             history AS h ON h.producer = w.producer AND h.key = w.key AND h.sequence = w.sequence",
            rows::HISTORY
        )
    };
    let bind = |values: &mut dyn Values, key: &&(FileName, Sequence)| {
        values.bind(key.0.producer.as_str()).bind(key.0.key.as_str()).bind(write::signed(key.1));
    };
    loading.ask(&touched.history, 3, text, bind, load_history)
}

fn subresources(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!("SELECT {} FROM subresources WHERE (producer, name) IN (VALUES {keys})", rows::SUBRESOURCE)
    };
    let bind = |values: &mut dyn Values, key: &&(ProducerName, Subresource)| {
        values.bind(key.0.as_str()).bind(key.1.as_str());
    };
    loading.ask(&touched.subresources, 2, text, bind, |row, state| {
        let row = rows::subresource(row)?;
        state.subresources.load((row.producer.clone(), row.name), Some(row));
        Ok(())
    })
}

fn blobs(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM blobs WHERE content_address IN (VALUES {keys})", rows::BLOB);
    let bind = |values: &mut dyn Values, key: &&ContentAddress| {
        values.bind(key.0.as_slice());
    };
    loading.ask(&touched.blobs, 1, text, bind, |row, state| {
        let row = rows::blob(row)?;
        state.blobs.load(row.content_address, Some(row));
        Ok(())
    })
}

fn chunks(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM chunks WHERE address IN (VALUES {keys})", rows::CHUNK);
    let bind = |values: &mut dyn Values, key: &&ContentAddress| {
        values.bind(key.0.as_slice());
    };
    loading.ask(&touched.chunks, 1, text, bind, |row, state| {
        let row = rows::chunk(row)?;
        state.chunks.load(row.chunk.address, Some(row));
        Ok(())
    })
}

fn uploads(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM uploads WHERE id IN (VALUES {keys})", rows::UPLOAD);
    let bind = |values: &mut dyn Values, key: &&UploadId| {
        values.bind(key.as_str());
    };
    loading.ask(&touched.uploads, 1, text, bind, |row, state| {
        let row = rows::upload(row)?;
        state.uploads.load(row.id.clone(), Some(row));
        Ok(())
    })
}

fn access_keys(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM access_keys WHERE id IN (VALUES {keys})", rows::ACCESS_KEY);
    let bind = |values: &mut dyn Values, key: &&AccessKeyId| {
        values.bind(key.as_str());
    };
    loading.ask(&touched.access_keys, 1, text, bind, |row, state| {
        let row = rows::access_key(row)?;
        state.access_keys.load(row.id.clone(), Some(row));
        Ok(())
    })
}

fn parts(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!(
            "WITH wanted (u, n) AS (VALUES {keys}) SELECT {} FROM wanted AS w \
             CROSS JOIN parts ON upload = w.u AND number = w.n",
            rows::PART
        )
    };
    let bind = |values: &mut dyn Values, key: &&(UploadId, PartNumber)| {
        values.bind(key.0.as_str()).bind(i64::from(key.1.get()));
    };
    loading.ask(&touched.parts, 2, text, bind, |row, state| {
        let row = rows::part(row)?;
        state.parts.load((row.upload.clone(), row.number), Some(row));
        Ok(())
    })
}

fn retention(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    // As of the moves.
    let bind = |values: &mut dyn Values, key: &i64| {
        values.bind(*key);
    };
    let text = |keys: &str| format!("SELECT {} FROM retention_classes WHERE 1 IN (VALUES {keys})", rows::CLASS);
    loading.ask(touched.retention.then_some(1_i64), 1, text, bind, |row, state| {
        let row = rows::class(row)?;
        state.classes.load(row.name.clone(), Some(row));
        Ok(())
    })?;
    let text = |keys: &str| format!("SELECT {} FROM clock_jumps WHERE 1 IN (VALUES {keys})", rows::JUMP);
    loading.ask(touched.retention.then_some(1_i64), 1, text, bind, |row, state| {
        let row = rows::clock_jump(row)?;
        state.jumps.load(row.sequence, Some(row));
        Ok(())
    })
}

fn moves(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    // One key, which fits all: they are few, and all are wanted.
    let text = |keys: &str| format!("SELECT {} FROM storage_moves WHERE 1 IN (VALUES {keys})", rows::MOVE);
    let bind = |values: &mut dyn Values, key: &i64| {
        values.bind(*key);
    };
    loading.ask(touched.moves.then_some(1_i64), 1, text, bind, |row, state| {
        let row = rows::storage_move(row)?;
        state.moves.load(row.sequence, Some(row));
        Ok(())
    })
}

fn swept(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM swept_objects WHERE object IN (VALUES {keys})", rows::SWEPT);
    loading.ask(&touched.swept, 1, text, object_key, |row, state| {
        let row = rows::swept(row)?;
        state.swept.load(row.object, Some(row));
        Ok(())
    })
}

fn orphans(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| format!("SELECT {} FROM orphan_objects WHERE object IN (VALUES {keys})", rows::ORPHAN);
    loading.ask(&touched.orphans, 1, text, object_key, |row, state| {
        let row = rows::orphan(row)?;
        state.orphans.load(row.object, Some(row));
        Ok(())
    })
}

fn scrubs(loading: &mut Loading<'_>, touched: &Touched) -> Result<()> {
    let text = |keys: &str| {
        format!("SELECT {} FROM scrub_passes WHERE 1 IN (VALUES {keys}) ORDER BY sequence DESC LIMIT 1", rows::SCRUB)
    };
    let bind = |values: &mut dyn Values, key: &i64| {
        values.bind(*key);
    };
    loading.ask(touched.scrubs.then_some(1_i64), 1, text, bind, |row, state| {
        let row = rows::scrub_pass(row)?;
        state.scrubs.load(row.sequence, Some(row));
        Ok(())
    })?;
    let text = |keys: &str| format!("SELECT {} FROM damaged_objects WHERE object IN (VALUES {keys})", rows::DAMAGED);
    loading.ask(&touched.damaged, 1, text, object_key, |row, state| {
        let row = rows::damaged(row)?;
        state.damaged.load(row.object, Some(row));
        Ok(())
    })?;
    let text = |keys: &str| format!("SELECT {} FROM erasures WHERE version IN (VALUES {keys})", rows::ERASURE);
    let bind = |values: &mut dyn Values, version: &&Sequence| {
        values.bind(write::signed(**version));
    };
    loading.ask(&touched.erasures, 1, text, bind, |row, state| {
        let row = rows::erasure(row)?;
        state.erasures.load(row.version, Some(row));
        Ok(())
    })
}

fn object_key(values: &mut dyn Values, key: &&ObjectKey) {
    values.bind(key.0.as_slice());
}

/// An entry of a history; of a marker it is known that there is no file.
fn load_history(row: &dyn Cells, state: &mut State) -> Result<()> {
    let row = rows::history(row)?;
    if row.marker {
        state.files.load(row.sequence, None);
    }
    state.history.load((row.name.clone(), row.sequence), Some(row));
    Ok(())
}

/// A version that has its name now: the version and the name both.
fn load_named(row: &dyn Cells, state: &mut State) -> Result<(FileName, Sequence)> {
    let file = rows::file(row)?;
    let (name, sequence) = (file.name.clone(), file.sequence);
    let named = crate::model::state::NameRow { name: name.clone(), package: file.package.clone(), sequence };
    state.names.load(name.clone(), Some(named));
    state.files.load(sequence, Some(file));
    Ok((name, sequence))
}
