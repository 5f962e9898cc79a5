//! The promises of the registry, each tried on a whole one: SQLite in a folder, bytes in memory, a clock that tests set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests speak by panicking")]

mod files;
mod harness;
mod interleaving;
mod listing;
mod multipart;
mod packages;
mod postgres;
mod powercut;
mod retelling;
mod stores;
