//! The files of scratch stores: beside the registry, named by the process that fills them.
//!
//! Invariant: a file is only removed when its process has ended.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands between the registry's name and the process's number.
const MARK: &str = ".scratch-";
/// Where Linux shows the processes that there are.
const PROCESSES: &str = "/proc";

/// Where this process may fill another scratch store.
pub(super) fn fresh(registry: &Path) -> PathBuf {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut path = registry.as_os_str().to_owned();
    path.push(format!("{MARK}{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    PathBuf::from(path)
}

/// Removes what replays left behind that were killed. What cannot be read or removed stays, named so that an operator
/// sees what it was; so does everything where processes cannot be looked for.
pub(super) fn sweep(registry: &Path) {
    let (Some(folder), Some(name)) = (registry.parent(), registry.file_name()) else { return };
    let mut beginning = name.to_owned();
    beginning.push(MARK);
    let processes = Path::new(PROCESSES);
    if !processes.join(std::process::id().to_string()).exists() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if let Some(process) = process_of(&entry.file_name(), &beginning)
            && !processes.join(process.to_string()).exists()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whose scratch file this is, if it is one.
fn process_of(name: &OsString, beginning: &OsString) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(beginning.to_str()?)?;
    rest.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{fresh, sweep};

    #[test]
    fn files_of_the_dead_are_removed_and_those_of_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("registry.db");
        // No process has a number above 2^22.
        let dead = ["registry.db.scratch-4194305-0", "registry.db.scratch-4194305-0-wal"];
        let kept = ["registry.db", "registry.db.scratch-x", "other.db.scratch-4194305-0"];
        for name in dead.iter().chain(&kept) {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let ours = fresh(&registry);
        std::fs::write(&ours, b"").unwrap();
        sweep(&registry);
        assert!(ours.exists());
        for name in kept {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        for name in dead {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
    }
}
