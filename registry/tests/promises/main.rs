//! The promises of the registry, each tried on a whole one: SQLite in a folder, bytes in memory, a clock that tests set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests speak by panicking")]

mod agreeing;
mod believing;
mod breaking;
mod collecting;
mod counting;
mod dialect;
mod erasing;
mod expiring;
mod explaining;
mod files;
mod harness;
mod interleaving;
mod keeping;
mod keys;
mod listing;
mod meanwhile;
mod multipart;
mod packages;
mod powercut;
mod racing;
mod retelling;
mod retention;
mod revisions;
mod scrubbing;
mod stores;
mod versions;
