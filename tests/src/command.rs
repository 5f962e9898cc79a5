//! Running programs: the binary under test, and the clients.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The longest that a program may run.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it said on the side.
    pub stderr: String,
    what: String,
}

impl Outcome {
    /// What it said, once it is sure that it went well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n--- stdout\n{}\n--- stderr\n{}", self.what, self.stdout, self.stderr);
        self.stdout
    }

    /// Checks that it ended with a code other than 0 and one line on the side that has this in it.
    ///
    /// # Panics
    /// When it did not.
    pub fn failed_with_one_line(&self, part: &str) {
        assert!(self.code.is_some_and(|code| code != 0), "{} should have failed: {self:?}", self.what);
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "one clear line, not {lines:#?}");
        assert!(lines[0].to_lowercase().contains(&part.to_lowercase()), "{:?} should name {part:?}", lines[0]);
    }
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started or does not end in time.
pub async fn run(mut command: Command) -> Outcome {
    let what = format!("{:?}", command.as_std());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{what} did not end within {} s", PATIENCE.as_secs()))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        what,
    }
}

/// The program under test: what `ARTIFACTSTORE_BINARY` names, or the one that was built beside this test.
///
/// # Panics
/// When it is not there: these tests never build it, so that they never test an old one by accident.
#[must_use]
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("ARTIFACTSTORE_BINARY") {
        Some(path) => PathBuf::from(path),
        None => profile_folder().join("artifactstore"),
    };
    assert!(path.is_file(), "{} is missing: `make build` builds it", path.display());
    path
}

/// The program that the crash tests can end at a named step, built beside this test.
///
/// # Panics
/// When it is not there; see [`binary`].
#[must_use]
pub fn failpoints_binary() -> PathBuf {
    let path = profile_folder().join("artifactstore-failpoints");
    assert!(path.is_file(), "{} is missing: `make failpoints` builds it", path.display());
    path
}

/// The folder of the build profile that this test was built with, such as `target/debug`.
///
/// # Panics
/// When the test does not lie in one.
#[must_use]
pub fn profile_folder() -> PathBuf {
    let this = std::env::current_exe().expect("the test knows its own path");
    let folder = this.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps"));
    folder.and_then(Path::parent).expect("tests lie in target/<profile>/deps").to_path_buf()
}

/// The workspace's folder.
///
/// # Panics
/// Never: this crate lies one level below it.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}
