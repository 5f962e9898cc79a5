//! The files of scratch stores, beside the registry. Each has a file that is locked for as long as the store is in use.
//!
//! A row that is written where its table has it in order costs little; one that its indexes want somewhere in the middle
//! costs more than all the rest of a replay. So a scratch store has no index but its keys until all rows are there, and
//! gets the others, each in one go, when a registry is about to take the rows over.
//!
//! Invariant: a scratch store begins empty, and is only removed by whoever holds its lock.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::{Row, SqliteConnection};

use super::writer::{Use, Writer, connect};
use crate::error::Result;

/// Stands between the registry's name and the scratch store's own.
const MARK: &str = ".scratch-";
/// What the locked file's name ends with.
const LOCK: &str = "-lock";
/// What the names of the other files end with, behind the store's.
const PARTS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// How often another name is tried.
const ATTEMPTS: u32 = 8;

/// A place for a scratch store; its files are removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    /// Locked until the process ends, however it ends.
    _lock: File,
}

impl Scratch {
    /// A fresh place beside this registry.
    pub(super) fn beside(registry: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let mut name = [0; 16];
            getrandom::fill(&mut name)?;
            let path = with(registry.as_os_str(), &format!("{MARK}{}", hex::encode(name)));
            let lock = OpenOptions::new().write(true).create_new(true).open(with(path.as_os_str(), LOCK))?;
            // Somebody who sweeps may have come between.
            if lock.try_lock().is_ok() {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("no scratch file could be locked"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(self.path.as_os_str());
    }
}

/// Removes what replays left behind that were killed. What cannot be read or removed stays, named so that an operator
/// sees what it was.
pub(super) fn sweep(registry: &Path) {
    let (Some(folder), Some(name)) = (registry.parent(), registry.file_name().and_then(OsStr::to_str)) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let beginning = format!("{name}{MARK}");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(store) =
            name.to_str().filter(|name| name.starts_with(&beginning)).and_then(|it| it.strip_suffix(LOCK))
        else {
            continue;
        };
        let lock = OpenOptions::new().write(true).open(entry.path());
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            remove(folder.join(store).as_os_str());
        }
    }
}

fn remove(store: &OsStr) {
    for part in PARTS.into_iter().chain([LOCK]) {
        // What cannot be removed is left for the next sweep.
        let _ = std::fs::remove_file(with(store, part));
    }
}

/// Drops every index that is no key, but the one by which all packages of a producer are deleted.
pub(super) fn drop_indexes(scratch: &Writer) -> Result<()> {
    let text = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND name <> 'packages_by_name'";
    let mut names = Vec::new();
    scratch.query(
        text,
        |_| {},
        |row| {
            names.push(row.get::<_, String>(0)?);
            Ok(())
        },
    )?;
    for name in names {
        scratch.execute(&format!("DROP INDEX {name}"), |_| {})?;
    }
    Ok(())
}

/// The indexes that a database has besides those of its keys: their names, and what makes them.
pub(super) async fn indexes(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>> {
    let text = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid";
    let rows = sqlx::query(text).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Makes those of these indexes that a scratch store does not have: with them, a registry takes its tables over as they
/// are. Nobody waits for a lock meanwhile, and rows are sorted in files, not in memory.
pub(super) async fn complete(scratch: &str, wanted: Vec<(String, String)>) -> Result<()> {
    let path = PathBuf::from(scratch);
    Ok(super::elsewhere(move || make(&path, &wanted)).await??)
}

fn make(path: &Path, wanted: &[(String, String)]) -> rusqlite::Result<()> {
    let connection = connect(path, Use::Scratch)?;
    let text = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?)";
    for (name, sql) in wanted {
        if !connection.query_row(text, [name], |row| row.get::<_, bool>(0))? {
            connection.execute_batch(sql)?;
        }
    }
    Ok(())
}

fn with(path: &OsStr, suffix: &str) -> PathBuf {
    let mut path: OsString = path.to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::{Scratch, indexes, sweep};
    use crate::store::Store;
    use crate::store::sqlite::{OpenMode, SqliteStore};

    #[tokio::test]
    async fn a_registry_takes_rows_over_with_the_indexes_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await.unwrap();
        let of = async |path: &str| {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            indexes(&mut connection).await.unwrap()
        };
        let before = of(&store.location()).await;
        let scratch = store.scratch().await.unwrap();
        let names: Vec<String> = of(&scratch.location()).await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["packages_by_name"]);
        assert!(before.len() > 9, "{before:?}");
        assert!(store.adopt(&*scratch).await.unwrap(), "both are empty");
        assert_eq!(of(&scratch.location()).await.len(), before.len());
        assert_eq!(of(&store.location()).await, before);
        scratch.close().await;
        store.close().await;
    }

    #[test]
    fn files_of_the_dead_are_removed_and_those_of_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry.db");
        let dead = ["registry.db.scratch-00-lock", "registry.db.scratch-00", "registry.db.scratch-00-wal"];
        let kept = ["registry.db", "registry.db.scratch-x", "other.db.scratch-00-lock"];
        for name in dead.iter().chain(&kept) {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let (ours, other) = (Scratch::beside(&registry).unwrap(), Scratch::beside(&registry).unwrap());
        assert_ne!(ours.path, other.path);
        std::fs::write(&ours.path, b"").unwrap();
        sweep(&registry);
        assert!(ours.path.exists());
        for name in kept {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        for name in dead {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        let path = ours.path.clone();
        drop((ours, other));
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), kept.len());
    }
}
