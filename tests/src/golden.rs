//! Golden files: encodings and error bodies that do not change by accident.

use std::path::PathBuf;

use crate::command::workspace;

/// The folder of the golden files.
#[must_use]
pub fn folder() -> PathBuf {
    workspace().join("tests/golden")
}

/// A golden file's bytes.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn read(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make golden` writes it", path.display()))
}

/// Compares with a golden file; with `ARTIFACTSTORE_GOLDEN=write` in the environment, rewrites it instead.
///
/// # Panics
/// When they differ.
pub fn compare(name: &str, bytes: &[u8]) {
    if std::env::var_os("ARTIFACTSTORE_GOLDEN").is_some_and(|mode| mode == "write") {
        let path = folder().join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let golden = read(name);
    if golden != bytes {
        let (want, have) = (String::from_utf8_lossy(&golden), String::from_utf8_lossy(bytes));
        panic!("{name} changed; if that is meant, `make golden` rewrites it\n--- golden\n{want}\n--- now\n{have}");
    }
}
