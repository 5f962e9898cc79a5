//! The promises of the registry once more, on PostgreSQL; and those that only a database can keep which many share.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests speak by panicking")]

#[path = "../promises/believing.rs"]
mod believing;
#[path = "../promises/breaking.rs"]
mod breaking;
mod clocks;
#[path = "../promises/collecting.rs"]
mod collecting;
#[path = "../promises/counting.rs"]
mod counting;
mod dialect;
#[path = "../promises/erasing.rs"]
mod erasing;
#[path = "../promises/expiring.rs"]
mod expiring;
#[path = "../promises/explaining.rs"]
mod explaining;
#[path = "../promises/files.rs"]
mod files;
#[path = "../promises/harness.rs"]
mod harness;
#[path = "../promises/interleaving.rs"]
mod interleaving;
#[path = "../promises/keeping.rs"]
mod keeping;
#[path = "../promises/keys.rs"]
mod keys;
#[path = "../promises/listing.rs"]
mod listing;
#[path = "../promises/multipart.rs"]
mod multipart;
mod opening;
mod outcomes;
#[path = "../promises/packages.rs"]
mod packages;
#[path = "../promises/powercut.rs"]
mod powercut;
#[path = "../promises/racing.rs"]
mod racing;
mod restarts;
#[path = "../promises/retelling.rs"]
mod retelling;
#[path = "../promises/retention.rs"]
mod retention;
#[path = "../promises/revisions.rs"]
mod revisions;
#[path = "../promises/scrubbing.rs"]
mod scrubbing;
mod sharing;
mod standbys;
mod stores;
#[path = "../promises/versions.rs"]
mod versions;
