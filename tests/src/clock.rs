//! A clock that is wrong, for one process: a shim between the program and the system's clock.
//!
//! Libraries that fake the time call the allocator while the program's own one asks for the time, and end it; this one
//! only adds. The monotonic clock stays what it is.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::sign::date_of;

const SHIFT: &str = "ARTIFACTSTORE_TESTS_CLOCK_SHIFT_SECONDS";

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *shown) {
    int outcome = (int)syscall(SYS_clock_gettime, clock, shown);
    const char *shift = getenv("ARTIFACTSTORE_TESTS_CLOCK_SHIFT_SECONDS");
    if (outcome == 0 && clock == CLOCK_REALTIME && shift) shown->tv_sec += atoll(shift);
    return outcome;
}
"#;

/// The shim, for as long as it is kept.
#[derive(Debug)]
pub struct WrongClock {
    folder: TempDir,
}

impl WrongClock {
    /// Makes the shim.
    ///
    /// # Panics
    /// When there is no C compiler, which the program needs as well.
    #[must_use]
    pub fn make() -> Self {
        let folder = TempDir::with_prefix("artifactstore-clock-").expect("a folder for the clock");
        let source = folder.path().join("clock.c");
        std::fs::write(&source, SHIM).expect("the clock's source is written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("clock.so")).arg(&source);
        let made = compiler.status().expect("a C compiler");
        assert!(made.success(), "the clock compiles");
        Self { folder }
    }

    /// What a program sees in its environment whose clock is to be off by so much.
    #[must_use]
    pub fn off_by(&self, by: Duration) -> [(&'static str, String); 2] {
        let shim: &Path = &self.folder.path().join("clock.so");
        [("LD_PRELOAD", shim.display().to_string()), (SHIFT, by.whole_seconds().to_string())]
    }

    /// The time by such a clock, as requests are dated.
    #[must_use]
    pub fn date(by: Duration) -> String {
        date_of(OffsetDateTime::now_utc() + by)
    }
}
