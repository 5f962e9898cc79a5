//! A fresh folder of the measured disk, for files by the thousand.
//!
//! Some file systems (ext4 without a journal) pass over every inode that was freed in the last minutes, one by one,
//! when a file is made: whoever is measured after a folder was removed pays for it, up to several times its own cost.
//! So a folder is emptied when it is done with, and removed by [`clear`] when nothing more is measured.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// What the names of all these folders begin with.
const BEGIN: &str = "bench-";

/// A folder that was not there before.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it in another.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh(below: &Path) -> anyhow::Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix(BEGIN).tempdir_in(below)?.keep()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        empty(&self.0);
    }
}

/// Gives back the room of every file below. What cannot be read or written keeps its room until the folder is removed.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => empty(&entry.path()),
            Ok(kind) if kind.is_file() => {
                let _ = OpenOptions::new().write(true).truncate(true).open(entry.path());
            }
            _ => {}
        }
    }
}

/// Removes every such folder in this one. Nothing may be measured in the minutes after.
///
/// # Errors
/// When one cannot be removed.
pub fn clear(below: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(BEGIN)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Folder, clear};

    #[test]
    fn a_folder_that_is_done_with_keeps_its_files_and_none_of_their_bytes_until_it_is_cleared() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::fresh(below.path()).unwrap();
        let path = folder.path().join("a/b");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"bytes").unwrap();
        let results = below.path().join("results");
        std::fs::create_dir(&results).unwrap();
        drop(folder);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        clear(below.path()).unwrap();
        assert!(!path.exists() && results.exists());
    }
}
