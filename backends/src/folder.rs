//! What a folder needs beyond reading and writing files, so that an acknowledged object survives a power cut.
//!
//! A renamed file lasts once its folder is synced, and a new folder once the folder above it is; the library that
//! writes the files does neither. Temporary files of a process that died are swept from here, too.
//!
//! Invariant: after [`Folder::settle`], every entry from the root down to the object is on the disk.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::digest::ObjectKey;
use crate::failpoint::{Point, reach};
use crate::layout::{self, OBJECTS};

const TEMPORARIES: &str = "tmp";

/// The folder of a local backend. Every method blocks.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Fan-out folders whose own entries are known to be on the disk: one level, and both.
    durable: Mutex<Durable>,
    probes: AtomicU64,
}

#[derive(Debug, Default)]
struct Durable {
    branches: HashSet<u8>,
    leaves: HashSet<[u8; 2]>,
}

impl Folder {
    /// Makes the folder when there is none, and proves that it can be written.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(root.join(OBJECTS))?;
        fs::create_dir_all(root.join(TEMPORARIES))?;
        sync(root)?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        let root = root.canonicalize()?;
        let folder = Self { durable: Mutex::new(settled(&root)?), root, probes: AtomicU64::new(0) };
        folder.clock()?;
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn temporaries(&self) -> PathBuf {
        self.root.join(TEMPORARIES)
    }

    /// Syncs whatever leads to an object that was just renamed into place: in the long run one folder.
    pub(crate) fn settle(&self, key: &ObjectKey) -> io::Result<()> {
        let [first, second, ..] = key.0;
        let object = self.root.join(layout::object_path(key));
        let mut folders = object.ancestors().skip(1);
        let mut sync_next = || folders.next().map_or(Ok(()), sync);
        sync_next()?;
        reach(Point::LeafSynced);
        if self.durable().leaves.contains(&[first, second]) {
            return Ok(());
        }
        sync_next()?;
        if !self.durable().branches.contains(&first) {
            sync_next()?;
        }
        let mut durable = self.durable();
        durable.branches.insert(first);
        durable.leaves.insert([first, second]);
        Ok(())
    }

    /// The time by the clock that stamps files here, taken from a file that is made for it: also a proof that files
    /// can be written.
    pub(crate) fn clock(&self) -> io::Result<SystemTime> {
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        let path = self.temporaries().join(format!("probe-{}-{number}", std::process::id()));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(b"?")?;
            file.metadata()?.modified()
        });
        let removed = fs::remove_file(&path);
        let clock = written?;
        removed?;
        Ok(clock)
    }

    /// Bytes that may still be written.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.root)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// Removes temporary files last written at least this long ago; says how many.
    pub(crate) fn sweep(&self, older_than: Duration) -> io::Result<u64> {
        let clock = self.clock()?;
        let mut swept = 0;
        for entry in fs::read_dir(self.temporaries())? {
            let entry = entry?;
            // A file that is renamed or removed meanwhile is no concern of the sweep.
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let age = clock.duration_since(modified).unwrap_or_default();
            if age >= older_than && fs::remove_file(entry.path()).is_ok() {
                swept += 1;
                reach(Point::TemporarySwept);
            }
        }
        Ok(swept)
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        // The sets only grow, by folders that are synced already: a panic elsewhere leaves nothing half done.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes what an earlier process left durable once, so that a grown store starts with its long-run cost.
fn settled(root: &Path) -> io::Result<Durable> {
    let mut durable = Durable::default();
    let objects = root.join(OBJECTS);
    sync(&objects)?;
    for (first, branch) in fan_out(&objects)? {
        sync(&branch)?;
        durable.branches.insert(first);
        durable.leaves.extend(fan_out(&branch)?.into_iter().map(|(second, _)| [first, second]));
    }
    Ok(durable)
}

/// The folders in here that are named by one byte.
fn fan_out(folder: &Path) -> io::Result<Vec<(u8, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let byte = name.to_str().and_then(|name| u8::from_str_radix(name, 16).ok());
        if let Some(byte) = byte.filter(|byte| name == *hex::encode([*byte]))
            && entry.file_type()?.is_dir()
        {
            found.push((byte, entry.path()));
        }
    }
    Ok(found)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::Folder;
    use crate::digest::ObjectKey;

    #[test]
    fn fan_out_folders_are_known_to_be_durable_once_settled_and_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let key = ObjectKey([0xab; 32]);
        std::fs::create_dir_all(root.path().join("blake3/ab/ab")).unwrap();
        assert!(!folder.durable().leaves.contains(&[0xab, 0xab]));
        folder.settle(&key).unwrap();
        assert!(folder.durable().leaves.contains(&[0xab, 0xab]));
        assert!(Folder::open(root.path()).unwrap().durable().leaves.contains(&[0xab, 0xab]));
    }
}
